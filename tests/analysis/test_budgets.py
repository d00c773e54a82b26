"""Limits held to counts and records."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from proscale_bench.analysis.budgets import Checker, Finding
from proscale_bench.analysis.explain import explain
from proscale_bench.bench.specs import count_flops
from proscale_bench.commands.check import read_weights
from proscale_bench.config.budget import read_budgets
from proscale_bench.config.weights import read_header, require_shipped_weights
from proscale_bench.errors import BenchError
from proscale_bench.render.check import expected, message, where
from proscale_bench.results.collect import SourcedRecord, read_export
from proscale_bench.results.export import envelope
from proscale_bench.results.record import Record
from proscale_bench.results.store import load
from tests.results.evaluations import by_an_older_version, evaluated
from tests.results.records import record, renamed, with_accuracy
from tests.results.test_collect import aged
from tests.sweeps.profiles import (
    by_round,
    crowded,
    execution,
    measured,
    profiled_in_sessions,
    profiled_records,
    request,
)


def check(
    folder: Path, limit: str, records: Sequence[Record] = (), other: Sequence[Record] = (), **budget: str
) -> Finding:
    """The one finding of a file with one limit."""
    scope = {"schedule": "'3,3,3'", "backbone": "resnet50", "size": "64x64", **budget}
    lines = "\n    ".join(f"{key}: {value}" for key, value in scope.items())
    (folder / "budgets.yaml").write_text(f"schema_version: 1\nbudgets:\n  - {lines}\n    {limit}\n")
    checker = Checker(
        lambda: [SourcedRecord(one, "reports/run") for one in records],
        lambda path: [SourcedRecord(one, str(path)) for one in other],
    )
    (finding,) = checker.check(read_budgets(folder / "budgets.yaml"))
    return finding


COST = count_flops("3,3,3", "resnet50", "64x64")


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("encoder_gflops", COST.gflops["encoder"]),
        ("token_layers_gflops", COST.gflops["encoder_token_layers"]),
        ("total_gflops", COST.gflops["total"]),
        ("params_m", COST.params_m["total"]),
    ],
)
def test_costs_are_counted_on_the_spot(metric: str, value: float, tmp_path: Path) -> None:
    at = check(tmp_path, f"{metric}: {{max: {value!r}}}")
    assert (at.status, at.found, at.excess) == ("kept", value, 0)
    below = check(tmp_path, f"{metric}: {{max: {value * 0.9!r}}}")
    assert below.status == "exceeded"
    assert below.failed
    assert below.excess == pytest.approx(value * 0.1)
    assert below.excess_pct == pytest.approx(100 / 9)
    short = check(tmp_path, f"{metric}: {{min: {value * 1.25!r}, level: warn}}")
    assert (short.status, short.failed, short.warned) == ("exceeded", False, True)
    assert short.excess_pct == pytest.approx(20)


def test_a_saving_against_the_baseline(tmp_path: Path) -> None:
    saved = COST.reduction_pct["encoder"]
    assert saved is not None
    for pct, status in ((saved - 0.1, "kept"), (saved + 0.1, "exceeded")):
        finding = check(tmp_path, f"encoder_gflops: {{max_increase_pct: {-pct}, against: baseline}}")
        assert finding.status == status
        assert finding.reference == COST.baseline.gflops["encoder"]


def heavier(one: Record, factor: float) -> Record:
    assert one.cost is not None
    gflops = one.cost.gflops | {"encoder": one.cost.gflops["encoder"] * factor}
    return one.model_copy(update={"cost": one.cost.model_copy(update={"gflops": gflops})})


@pytest.mark.parametrize(("factor", "status"), [(1.0, "kept"), (0.995, "kept"), (0.98, "exceeded")])
def test_an_increase_against_a_record(factor: float, status: str, tmp_path: Path) -> None:
    old = heavier(record(), factor)
    limit = "encoder_gflops: {max_increase_pct: 1}"
    assert check(tmp_path, limit, [old]).status == status
    by_path = check(tmp_path, limit.replace("1}", "1, against: runs/a}"), other=[old])
    assert (by_path.status, by_path.reference) == (status, check(tmp_path, limit, [old]).reference)


def test_the_newest_record_is_what_counts(tmp_path: Path) -> None:
    ages = [aged(heavier(record(), 0.5), "2026-01-01T00:00:00Z"), aged(record(), "2026-02-01T00:00:00Z")]
    assert check(tmp_path, "encoder_gflops: {max_increase_pct: 1}", ages).status == "kept"


def test_without_a_record_nothing_is_kept(tmp_path: Path) -> None:
    finding = check(tmp_path, "encoder_gflops: {max_increase_pct: 1}", [record(size="96x96"), record("2,2,2")])
    assert (finding.status, finding.failed, finding.expected) == ("unknown", True, None)
    assert "no record of 3,3,3 on resnet50 at 64x64" in finding.why


LATENCY = "latency_median_ms: {max: MAX, device: a CPU}"


@pytest.mark.parametrize(("most", "status"), [(1000, "kept"), (10, "exceeded")])
def test_a_latency_comes_from_a_record(most: int, status: str, tmp_path: Path) -> None:
    finding = check(tmp_path, LATENCY.replace("MAX", str(most)), profiled_records("3,3,3"), size="640x640")
    assert finding.status == status
    assert finding.source == "reports/run"
    assert len(finding.samples) == 12
    assert finding.interval is not None


@pytest.mark.parametrize("level", ["error", "warn"])
@pytest.mark.parametrize("other", [{"device": "A CPU"}, {"dtype": "bf16"}, {"batch_size": "2"}])
def test_numbers_of_other_runs_say_nothing(other: dict[str, str], level: str, tmp_path: Path) -> None:
    limit = f"latency_median_ms: {{max: 1000, level: {level}}}"
    scope = {"device": "a CPU", "size": "640x640", **other}
    finding = check(tmp_path, limit, profiled_records("3,3,3"), **scope)
    assert (finding.status, finding.failed, finding.warned) == ("unknown", level == "error", level == "warn")
    if "device" in other:
        assert finding.advice == "there are records of a CPU"


def test_at_the_coco_sizes_a_latency_of_any_size_counts(tmp_path: Path) -> None:
    assert check(tmp_path, LATENCY.replace("MAX", "1000"), profiled_records("3,3,3"), size="coco-val").status == "kept"


def test_every_record_must_keep_the_limit(tmp_path: Path) -> None:
    found = [measured("3,3,3", execution(batch)) for batch in (1, 4)]
    finding = check(tmp_path, LATENCY.replace("MAX", "200"), profiled_records("3,3,3", found=found), size="640x640")
    assert finding.status == "exceeded"
    assert finding.record is not None
    assert finding.record.execution is not None
    assert finding.record.execution.batch_size == 4


def test_a_latency_against_the_baseline_of_its_run(tmp_path: Path) -> None:
    records = profiled_records("3,3,3")
    for pct, status in ((0, "kept"), (-90, "exceeded")):
        limit = f"latency_median_ms: {{max_increase_pct: {pct}, against: baseline, device: a CPU}}"
        assert check(tmp_path, limit, records, size="640x640").status == status
    alone = [one for one in records if one.identity.schedule == "3,3,3"]
    assert check(tmp_path, limit, alone, size="640x640").status == "unknown"


def test_a_saving_is_a_metric_of_its_own(tmp_path: Path) -> None:
    records = profiled_records("3,3,3")
    for least, status in ((10, "kept"), (25, "exceeded")):
        limit = f"latency_saving_pct: {{min: {least}, device: a CPU}}"
        finding = check(tmp_path, limit, records, size="640x640")
        assert finding.status == status
        assert finding.interval is not None
    limit = "encoder_latency_saving_pct: {min: 25, device: a CPU}"
    assert check(tmp_path, limit, records, size="640x640").status == "kept"


def test_a_relative_limit_on_what_took_turns_is_held_by_rounds(tmp_path: Path) -> None:
    """Both were slow in half of the rounds, the model in one more: medians say little, rounds a lot."""
    base, model = (measured(one, rounds=24) for one in request("3,3,3").in_turns)
    torn = [1.0 if place % 2 else 3.0 for place in range(len(base.samples.whole_ms))]
    noise = random.Random(0)  # equal ratios differ by rounding alone, whose signs go in rows
    late = [by * noise.gauss(1, 0.002) * (3.0 if place == 1 else 1.0) for place, by in enumerate(torn)]
    records = profiled_records("3,3,3", found=[by_round(base, torn), by_round(model, late)])
    raw = records[1].profile.latency_median_ms / records[0].profile.latency_median_ms  # type: ignore[union-attr]
    assert raw > 1.2
    for metric, bound, percent in (
        ("latency_median_ms", "max_increase_pct", -10),
        ("throughput_ips", "max_decrease_pct", -10),
    ):
        limit = f"{metric}: {{{bound}: {percent}, against: baseline, device: a CPU}}"
        finding = check(tmp_path, limit, records, size="640x640")
        assert finding.status == "kept"
        assert "round by round" in expected(finding)
        limit = f"{metric}: {{{bound}: {2 * percent}, against: baseline, device: a CPU}}"
        assert check(tmp_path, limit, records, size="640x640").status == "exceeded"


def test_a_saving_below_nothing_may_become_better(tmp_path: Path) -> None:
    """A share of what is negative lies below it."""
    slow, less = (profiled_in_sessions(1.0, 1.01, 0.99, by=by)[1] for by in (1.5, 1.49))
    limit = "latency_saving_pct: {max_decrease_pct: 10, against: runs/a, device: a CPU}"
    finding = check(tmp_path, limit, [less], [slow], size="640x640")
    assert finding.found is not None
    assert finding.reference is not None
    assert finding.reference < finding.found < 0
    assert (finding.status, finding.by_chance) == ("kept", False)
    assert finding.excess is not None
    assert finding.excess < 0


def test_a_latency_of_another_session_is_not_held_against_one(tmp_path: Path) -> None:
    (_, old), (_, new) = profiled_records("2,2,2"), profiled_records("3,3,3")
    old = renamed(old, schedule=new.identity.schedule, encoder=new.identity.encoder, label=new.identity.label)
    limit = "latency_median_ms: {max_increase_pct: PCT, against: runs/a, device: a CPU}"
    for pct, status in ((90, "kept"), (0, "unknown")):
        finding = check(tmp_path, limit.replace("PCT", str(pct)), [new], [old], size="640x640")
        assert (finding.status, finding.failed) == (status, status == "unknown")
    assert "another session" in finding.why
    assert "--sessions" in (finding.advice or "")


def test_a_latency_of_several_sessions_is_held_net_of_the_baseline(tmp_path: Path) -> None:
    """A machine that became faster hides no slower model, and one that became slower makes none."""
    (_, old) = profiled_in_sessions(1.0, 1.01, 0.99)
    limit = "latency_median_ms: {max_increase_pct: 2, against: runs/a, device: a CPU}"
    for speeds, by, status in (
        ((0.8, 0.81, 0.79), 1.05, "exceeded"),
        ((0.8, 0.81, 0.79), 1.0, "kept"),
        ((1.2, 1.21, 1.19), 1.0, "kept"),
        ((1.2, 1.21, 1.19), 1.05, "exceeded"),
    ):
        (_, new) = profiled_in_sessions(*speeds, by=by)
        finding = check(tmp_path, limit, [new], [old], size="640x640")
        assert finding.status == status
        assert finding.baseline_pct == pytest.approx(100 * (speeds[0] - 1), abs=0.5)
        assert finding.excess_pct == pytest.approx(100 * (by / 1.02 - 1), abs=0.01)
        assert "as the baseline since" in expected(finding)


@pytest.mark.parametrize("metric", ["latency_median_ms", "latency_saving_pct"])
def test_what_a_busy_machine_says_is_held_against_no_other_run(tmp_path: Path, metric: str) -> None:
    (_, old), (_, new) = profiled_in_sessions(1.0, 1.01, 0.99), profiled_in_sessions(1.0, 1.01, 0.99, by=1.2)
    bound = "max_increase_pct" if metric == "latency_median_ms" else "max_decrease_pct"
    limit = f"{metric}: {{{bound}: 2, against: runs/a, device: a CPU}}"
    assert check(tmp_path, limit, [new], [old], size="640x640").status == "exceeded"
    finding = check(tmp_path, limit, [crowded(new)], [old], size="640x640")
    assert finding.status == "unknown"
    assert "another session (the machine was busy)" in finding.why
    assert finding.advice == "close other programs and profile both again"


def test_an_accuracy_is_the_worst_of_its_weights(tmp_path: Path) -> None:
    records = [evaluated(pq=40.0, source="a"), evaluated(pq=42.0, source="b")]
    for least, status in ((39.9, "kept"), (41.0, "exceeded")):
        finding = check(tmp_path, f"pq: {{min: {least}, dataset: val}}", records, backbone="tiny")
        assert (finding.status, finding.found) == (status, 40.0)
    assert check(tmp_path, "pq: {min: 1, dataset: val2017}", records, backbone="tiny").status == "unknown"


def in_folder(one: Record, folder: str) -> Record:
    assert one.accuracy is not None
    assert one.evaluated is not None
    how = one.evaluated.model_copy(update={"data_folder": folder})
    return one.model_copy(update={"accuracy": one.accuracy.model_copy(update={"evaluated": how})})


def test_a_name_that_stands_for_two_data_sets_is_refused(tmp_path: Path) -> None:
    records = [in_folder(evaluated(pq=40.0), "d1"), in_folder(evaluated(pq=60.0, images="b" * 64), "d2")]
    finding = check(tmp_path, "pq: {min: 50, dataset: val}", records, backbone="tiny")
    assert (finding.status, finding.why) == (
        "unknown",
        "records of several data sets called val, in folders 'd1' and 'd2'",
    )
    assert finding.advice == "name one by its folder: `dataset: d1`"
    for folder, status in (("d1", "exceeded"), ("d2", "kept")):
        assert check(tmp_path, f"pq: {{min: 50, dataset: {folder}}}", records, backbone="tiny").status == status


def on_shapes(one: Record, images: int = 256) -> Record:
    """Return the record as an evaluation on the embedded data, on all images or on the first few."""
    assert one.accuracy is not None
    assert one.accuracy.evaluated is not None
    assert one.evaluation is not None
    name, limit = ("shapes-val", None) if images == 256 else (f"shapes-val[:{images}]", images)
    how = one.accuracy.evaluated.model_copy(update={"images": images})
    parts = {
        "accuracy": one.accuracy.model_copy(update={"dataset": name, "evaluated": how}),
        "evaluation": one.evaluation.model_copy(update={"dataset": "shapes-val", "images": images, "limit": limit}),
        "input": one.input.model_copy(update={"size": name, "images": images}),
    }
    return one.model_copy(update=parts)


def test_a_limit_that_names_no_data_is_on_all_of_the_models_own(tmp_path: Path) -> None:
    limit = "pq: {min: 55}"
    good, few = on_shapes(evaluated(pq=60.0)), on_shapes(evaluated(pq=99.0), images=4)
    finding = check(tmp_path, limit, [few, good, evaluated(pq=10.0)], backbone="tiny")
    assert (finding.status, finding.found, finding.dataset, finding.images) == ("kept", 60.0, "shapes-val", 256)
    assert where(finding) == "'3,3,3' on tiny, shapes-val, 256 images".replace("'", "")
    for records in ([few], [by_an_older_version(few)], [evaluated(pq=60.0)]):
        finding = check(tmp_path, limit, records, backbone="tiny")
        assert finding.status == "unknown"
        assert "of all images of shapes-val" in finding.why
        assert "there are values on" in (finding.advice or "")
    assert "on 4 images of shapes-val" in (check(tmp_path, limit, [few], backbone="tiny").advice or "")
    on_coco = check(tmp_path, limit, [renamed(few, backbone="resnet50"), renamed(good, backbone="resnet50")])
    assert on_coco.status == "unknown"
    assert on_coco.dataset == "COCO val2017"
    finding = check(tmp_path, limit, [few], classes="3")
    assert finding.why == "3,3,3 on resnet50, 3 classes has no data of its own that an accuracy could be of"
    assert where(finding) == "3,3,3 on resnet50, 3 classes, no data"


def test_a_limit_may_name_data_split_images_and_tasks(tmp_path: Path) -> None:
    few = on_shapes(evaluated(pq=60.0, tasks=("panoptic",)), images=4)
    for scope, status in (
        ("images: 4", "kept"),
        ("images: 8", "unknown"),
        ("dataset: shapes-val, images: 4, split: val", "kept"),
        ("images: 4, split: train", "unknown"),
        ("images: 4, tasks: panoptic", "kept"),
        ("images: 4, tasks: [panoptic, instance]", "unknown"),
        ("dataset: 'shapes-val[:4]'", "unknown"),  # a part is named by its number
        ("dataset: val2017, images: 4", "unknown"),
    ):
        assert check(tmp_path, f"pq: {{min: 50, {scope}}}", [few], backbone="tiny").status == status, scope
    said = message(check(tmp_path, "pq: {min: 70, images: 4}", [few], backbone="tiny"))
    assert "shapes-val, 4 images" in said
    assert "coco-first100" not in said


def test_a_limit_may_name_how_a_latency_was_taken(tmp_path: Path) -> None:
    records = profiled_records("3,3,3")
    (one,) = [record for record in records if record.identity.schedule == "3,3,3"]
    assert one.execution is not None
    how = one.execution
    for scope, status in (
        (f"mode: {how.mode}, threads: {how.threads}, sampling: {how.sampling}, optimizations: true", "kept"),
        ("mode: compiled", "unknown"),
        (f"threads: {how.threads + 1}", "unknown"),
        ("sampling: dense", "unknown"),
        ("optimizations: false", "unknown"),
    ):
        limit = f"latency_median_ms: {{max: 1000, device: a CPU, {scope}}}"
        assert check(tmp_path, limit, records, size="640x640").status == status, scope


def test_models_of_other_dimensions_are_held_to_limits_of_their_own(tmp_path: Path) -> None:
    mine = renamed(on_shapes(evaluated(pq=30.0)), dimensions={"queries": 20})
    usual = on_shapes(evaluated(pq=60.0))
    assert check(tmp_path, "pq: {min: 1}", [mine, usual], backbone="tiny").found == 60.0
    assert check(tmp_path, "pq: {min: 1}", [mine, usual], backbone="tiny", queries="20").found == 30.0
    finding = check(tmp_path, "pq: {min: 1}", [usual], backbone="tiny", queries="20")
    assert (finding.status, where(finding)) == ("unknown", "3,3,3 on tiny, 20 queries, shapes-val")
    costs = [
        check(tmp_path, "total_gflops: {max: 9999}", queries=queries, classes=classes).found or 0.0
        for queries, classes in (("20", "133"), ("100", "133"), ("100", "3"))
    ]
    assert costs[0] < costs[1]
    assert costs[2] < costs[1] == COST.gflops["total"]
    assert check(tmp_path, "pq: {min: 51.4, published: true}", queries="20").status == "unknown"
    assert check(tmp_path, "pq: {min: 51.4, published: true}", classes="3").status == "unknown"
    old = heavier(renamed(record(), dimensions={"queries": 20}), 0.5)
    assert check(tmp_path, "encoder_gflops: {max_increase_pct: 1}", [old]).status == "unknown"


def test_a_percentage_is_of_what_was_evaluated_alike(tmp_path: Path) -> None:
    limit = "pq: {max_decrease_pct: 10, against: baseline}"
    mine, alike = (on_shapes(evaluated(name, pq)) for name, pq in (("3,3,3", 50.0), ("baseline", 52.0)))
    assert check(tmp_path, limit, [mine, alike], backbone="tiny").reference == 52.0
    for other in (
        on_shapes(evaluated("baseline", 52.0, resize="400,1333")),
        renamed(alike, dimensions={"queries": 20}),
        by_an_older_version(alike),
    ):
        assert check(tmp_path, limit, [mine, other], backbone="tiny").status == "unknown"


def test_an_accuracy_that_is_lower_within_chance_keeps_a_relative_limit(tmp_path: Path) -> None:
    limit = "pq: {max_decrease_pct: 0, against: baseline}"
    base = on_shapes(evaluated("baseline", 40.1))

    def status(one: Record) -> str:
        return check(tmp_path, limit, [one, base], backbone="tiny").status

    chance = on_shapes(evaluated("3,3,3", 40.0, shift=71))  # draws differ by more than the means do
    assert status(chance) == "kept"
    assert expected(check(tmp_path, limit, [chance, base], backbone="tiny")).endswith(
        "; 0.1 points less, not significant"
    )
    assert status(on_shapes(evaluated("3,3,3", 40.0))) == "exceeded"  # lower in every draw
    assert status(on_shapes(evaluated("3,3,3", 40.0, resamples=0))) == "exceeded"  # nobody can tell: as it is written


SHIPPED = require_shipped_weights()["tiny-3-3-3"]


def test_a_budget_may_be_on_weights(tmp_path: Path) -> None:
    digest = read_header(SHIPPED).digest

    def find(body: str, *records: Record, model: str = f"weights: {SHIPPED}") -> Finding:
        lines = f"  - {model}\n    size: 64x64\n    {body}\n"
        (tmp_path / "budgets.yaml").write_text(f"schema_version: 1\nbudgets:\n{lines}")
        checker = Checker(lambda: [SourcedRecord(one, "run") for one in records], lambda path: [])
        (finding,) = checker.check(read_budgets(tmp_path / "budgets.yaml", read_weights))
        return finding

    cost = count_flops("3,3,3", "tiny", "64x64", classes=13)
    assert find("total_gflops: {max: 1}").found == cost.gflops["total"]
    own = renamed(on_shapes(evaluated(pq=60.0)), weights=digest, classes=13)
    other = renamed(on_shapes(evaluated(pq=10.0)), classes=13)
    finding = find("pq: {min: 55}", other, own)
    assert (finding.status, finding.found) == ("kept", 60.0)
    assert find("pq: {min: 55}", other).status == "unknown"
    with pytest.raises(BenchError, match=r"budgets.yaml:3:5: weights say their backbone and queries themselves"):
        find("backbone: tiny\n    queries: 20\n    pq: {min: 55}")
    with pytest.raises(BenchError, match=r"budgets.yaml:3:\d+: .*no-such-file"):
        find("pq: {min: 55}", model="weights: no-such-file.safetensors")
    with pytest.raises(BenchError, match="no schedule and no weights"):
        find("pq: {min: 55}", model="backbone: tiny")


COMMITTED = Path(__file__).parents[2] / "reports"


def test_an_export_and_a_folder_say_the_same_in_any_order(tmp_path: Path) -> None:
    runs = [SourcedRecord(one, "") for run in ("zoo", "cpu") for one in load(COMMITTED / run)[0]]
    device = sorted({one.record.execution.device_name for one in runs if one.record.execution})
    limits = [
        *(f"{name}: {{min: 1, images: 256}}" for name in ("pq", "ap", "miou")),
        "pq: {max_decrease_pct: 3, against: baseline}",
        *(f"latency_median_ms: {{max: 10, device: '{name}'}}" for name in device),
        *(f"latency_median_ms: {{max_increase_pct: 0, against: baseline, device: '{name}'}}" for name in device),
    ]
    lines = "".join(
        f"  - schedule: '{schedule}'\n    backbone: {backbone}\n    {limit}\n"
        for schedule in ("3,3,3", "1,1,1")
        for backbone in ("tiny", "resnet50")
        for limit in limits
    )
    (tmp_path / "budgets.yaml").write_text(f"schema_version: 1\nbudgets:\n{lines}")
    budgets = read_budgets(tmp_path / "budgets.yaml")
    found = Checker(lambda: runs, lambda path: []).check(budgets)
    (tmp_path / "x.json").write_text(json.dumps(envelope([one.record.row() for one in runs])))
    exported = [SourcedRecord(one, "") for one in read_export(tmp_path / "x.json")]
    assert any(one.status == "kept" for one in found)
    assert any(one.status == "exceeded" for one in found)
    for others in (exported, exported[::-1], runs[::-1], random.Random(0).sample(runs, len(runs))):
        again = Checker(lambda others=others: others, lambda path: []).check(budgets)
        for one, other in zip(found, again, strict=True):
            assert replace(one, record=None, unstable=()) == replace(other, record=None, unstable=())
            assert [each.record.digest for each in one.unstable] == [each.record.digest for each in other.unstable]


def test_a_published_value_counts_only_where_the_budget_says_so(tmp_path: Path) -> None:
    assert check(tmp_path, "pq: {min: 51.4}").status == "unknown"
    assert "published: true" in (check(tmp_path, "pq: {min: 51.4}").advice or "")
    assert check(tmp_path, "pq: {min: 51.4, published: true}").status == "kept"
    assert check(tmp_path, "pq: {min: 51.5, published: true}").status == "exceeded"
    assert check(tmp_path, "pq: {min: 51.4, published: true}", schedule="'2,2,2'").status == "unknown"
    recorded = [with_accuracy(record("2,2,2"), "published", pq=50.0)]
    for published, status in (("true", "kept"), ("false", "unknown")):
        limit = f"pq: {{min: 49, published: {published}}}"
        assert check(tmp_path, limit, recorded, schedule="'2,2,2'").status == status


def test_what_was_measured_comes_before_what_is_published(tmp_path: Path) -> None:
    mine = [with_accuracy(record(), pq=30.0)]
    assert check(tmp_path, "pq: {min: 51.4, published: true}", mine).found == 30.0


def test_off_is_off_but_must_be_valid(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not enough values"):
        check(tmp_path, "encoder_gflops: {max: 0, level: off}")
    with pytest.raises(BenchError, match=r"budgets.yaml:5:5: size: unknown size"):
        check(tmp_path, "encoder_gflops: {max: 0, level: off}", size="64x")


def test_a_layer_that_was_added_is_named(tmp_path: Path) -> None:
    old = renamed(record("2,2,2"), label="mine")
    schedule = tmp_path / "mine.yaml"
    text = (Path(__file__).parents[2] / "schedules/proscale-2-2-2.yaml").read_text()
    schedule.write_text(
        text.replace("name: proscale-2-2-2", "name: mine").replace("res4], layers: 2", "res4], layers: 3")
    )
    finding = check(tmp_path, "encoder_gflops: {max_increase_pct: 1}", [old], schedule="mine.yaml")
    assert finding.status == "exceeded"
    found = explain(finding, [SourcedRecord(old, "run")])
    assert found.since is not None
    assert [(one.name, one.old) for one in found.changes] == [("token layer 5 (res5 + res4)", None)]
    assert found.changes[0].new == pytest.approx((finding.found or 0) - (found.old or 0))
    assert explain(finding, [SourcedRecord(heavier(old, 2), "run")]).since is None


def test_a_part_that_changed_is_named(tmp_path: Path) -> None:
    old = heavier(record(), 0.9)
    assert old.cost is not None
    parts = old.cost.gflops | {"pixel_embedding": 0.001, "backbone": 1.0}
    old = old.model_copy(update={"cost": old.cost.model_copy(update={"gflops": parts})})
    finding = check(tmp_path, "encoder_gflops: {max_increase_pct: 1}", [old])
    (change,) = explain(finding, [SourcedRecord(old, "run")]).changes  # the backbone is none of the encoder's
    assert (change.name, change.old, change.new) == ("pixel_embedding", 0.001, COST.gflops["pixel_embedding"])


def test_a_latency_is_explained_by_stage(tmp_path: Path) -> None:
    (now,) = [one for one in profiled_records("3,3,3") if one.identity.schedule == "3,3,3"]
    assert now.profile is not None
    stages = {name: stage.model_copy(update={"latency_median_ms": 1.0}) for name, stage in now.profile.stages.items()}
    profile = now.profile.model_copy(update={"latency_median_ms": 5.0, "stages": stages})
    before = aged(now.model_copy(update={"profile": profile}), "2026-01-01T00:00:00Z")
    finding = check(tmp_path, LATENCY.replace("MAX", "10"), [before, now], size="640x640")
    found = explain(finding, [SourcedRecord(before, "old"), SourcedRecord(now, "new")])
    assert found.since is not None
    assert found.since.source == "old"
    assert {"backbone", "encoder_token_layer_1"} <= {one.name for one in found.changes}


@pytest.mark.parametrize("schedule", ["hybrid", "pem"])
def test_a_limit_on_layers_that_there_are_not_is_refused(schedule: str, tmp_path: Path) -> None:
    with pytest.raises(
        BenchError, match=f"token_layers_gflops: {schedule} has no token layers, and any limit"
    ) as caught:
        check(tmp_path, "token_layers_gflops: {max: 1}", schedule=schedule)
    assert "budgets.yaml:6:5" in caught.value.message
    assert check(tmp_path, "token_layers_gflops: {max: 0}", schedule="'0,0,0'").status == "kept"
