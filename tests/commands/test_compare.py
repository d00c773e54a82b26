"""`proscale-bench compare`: what it shows, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from proscale_bench.results.store import write_record
from tests.cli import run
from tests.results.evaluations import evaluated
from tests.results.records import record, renamed
from tests.sweeps.profiles import measured, profiled_in_sessions, profiled_records, request, slowed

ZOO = Path(__file__).parents[2] / "reports" / "zoo"


@pytest.fixture
def runs(tmp_path: Path) -> tuple[str, str]:
    """Two runs of the same configurations, the second better by little."""
    for name, more in (("old", 0.0), ("new", 0.5)):
        for schedule, pq in (("baseline", 41.0), ("3,3,3", 40.0)):
            write_record(tmp_path / name, evaluated(schedule, pq + more, source=name))
    return str(tmp_path / "old"), str(tmp_path / "new")


def test_every_configuration_and_metric(runs: tuple[str, str]) -> None:
    result = run("compare", *runs)
    assert result.exit_code == 0, result.stderr
    assert "3,3,3 on tiny, val" in result.stdout
    assert "baseline on tiny, val" in result.stdout
    line = next(line for line in result.stdout.splitlines() if line.startswith("PQ, %"))
    assert line.split() == ["PQ,", "%", "41.00", "41.50", "+0.50", "+0.50", "…", "+0.50", "better"]
    assert "the same" in result.stdout  # costs


def test_two_sweeps_are_a_page(tmp_path: Path) -> None:
    """One schedule of three was edited, on two backbones: its changes stand first, and the rest in one line."""
    for name, edited in (("old", "2,2,2"), ("new", "2,3,2")):
        for backbone in ("resnet50", "swin_t"):
            for schedule in ("3,3,3", "1,1,1"):
                write_record(tmp_path / name, record(schedule, backbone))
            write_record(tmp_path / name, renamed(record(edited, backbone), label="mine"))
    runs = (str(tmp_path / "old"), str(tmp_path / "new"))
    shown = run("compare", *runs).stdout
    first, *rest = [" ".join(line.split()) for line in shown.splitlines()]
    assert first == "encoder, GFLOPs"
    assert re.fullmatch(r"2,2,2 → 2,3,2, 64x64 \+\d+\.\d\d% geometric mean", rest[2])
    assert re.fullmatch(r"swin_t [\d.]+ [\d.]+ \+\d+\.\d\d% worse", rest[3])
    assert "3,3,3" not in shown
    assert rest[-1] == "26 values of 6 configurations: 8 worse; not shown without --all: 18 the same"
    everything = run("compare", *runs, "--all").stdout
    assert "3,3,3, 64x64" in everything
    assert "not shown" not in everything
    assert len(everything.splitlines()) > len(shown.splitlines()) + 16


def test_a_mean_over_backbones(tmp_path: Path) -> None:
    """Two schedules of one run on two backbones: the geometric mean of their ratios, for each metric."""
    for backbone in ("resnet50", "swin_t"):
        for schedule in ("baseline", "3,3,3"):
            write_record(tmp_path, record(schedule, backbone))
    result = run("compare", str(tmp_path), str(tmp_path), "--old", "baseline", "--new", "3,3,3")
    lines = [line.split() for line in result.stdout.splitlines()]
    means = [float(line[-3].rstrip("%")) for line in lines if line[-2:] == ["geometric", "mean"]]
    ratios = {
        one: record("3,3,3", one).cost.gflops["total"] / record("baseline", one).cost.gflops["total"]  # type: ignore[union-attr]
        for one in ("resnet50", "swin_t")
    }
    assert len(means) == 4
    assert means[2] == pytest.approx(100 * ((ratios["resnet50"] * ratios["swin_t"]) ** 0.5 - 1), abs=0.005)


def test_what_changed_most_stands_first(tmp_path: Path) -> None:
    write_record(tmp_path / "old", evaluated(pq=40.0, source="old"))
    write_record(tmp_path / "new", evaluated("2,2,2", pq=40.5, source="new"))
    lines = run("compare", str(tmp_path / "old"), str(tmp_path / "new")).stdout.splitlines()
    costs = [float(line.split()[-2].rstrip("%")) for line in lines if "GFLOPs" in line]
    assert len(costs) == 3
    assert costs == sorted(costs, key=abs, reverse=True)


def test_nothing_changed(runs: tuple[str, str]) -> None:
    assert run("compare", runs[0], runs[0]).stdout == (
        "24 values of 2 configurations: not shown without --all: 24 the same\n"
    )


def test_the_least_change_that_counts(runs: tuple[str, str], tmp_path: Path) -> None:
    """It hides a change, and no gate fails over it, however strict."""
    backwards = tuple(reversed(runs))
    assert run("compare", *backwards, "--fail", "pq:0", "--min-change", "0.4").exit_code == 1
    result = run("compare", *backwards, "--fail", "pq:0", "--min-change", "0.6")
    assert result.exit_code == 0, result.stdout
    assert "PQ, %" not in result.stdout
    assert "16 below 0.6 points" in result.stdout
    assert "below 0.6 points" in run("compare", *backwards, "--min-change", "0.6", "--all").stdout
    for wrong in ("nan", "inf", "-1"):
        assert run("compare", *runs, "--min-change", wrong).exit_code == 2


def test_nothing_in_a_name_is_markup(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)> @octocat [x](https://e.org)|`"
    for side, schedule in (("old", "2,2,2"), ("new", "2,3,2")):
        write_record(tmp_path / side, renamed(record(schedule), label=name))
        write_record(tmp_path / side, renamed(record(), label=f"the {side} {name}"))
    result = run("compare", str(tmp_path / "old"), str(tmp_path / "new"), "--export-markdown", str(tmp_path / "c.md"))
    assert result.exit_code == 0, result.stderr
    text = (tmp_path / "c.md").read_text()
    assert "\\<img src=x" in text
    for markup in ("<img", "@octocat", "[x](", "https://"):
        assert not re.search(rf"(?<!\\){re.escape(markup)}", text)
    assert name in result.stdout


def test_two_schedules_of_one_run(runs: tuple[str, str]) -> None:
    result = run("compare", runs[0], runs[0], "--old", "baseline", "--new", "proscale-3-3-3")
    assert result.exit_code == 0, result.stderr
    assert "baseline on tiny against 3,3,3 on tiny" in result.stdout
    assert "worse" in result.stdout


def test_what_chance_explains_is_not_significant(tmp_path: Path) -> None:
    write_record(tmp_path / "old", evaluated(pq=40.0))
    write_record(tmp_path / "new", evaluated(pq=40.1, shift=71))
    assert "not significant" in run("compare", str(tmp_path / "old"), str(tmp_path / "new")).stdout


def test_documents(runs: tuple[str, str], tmp_path: Path) -> None:
    result = run("compare", *runs, "--export-json", "-", "--export-markdown", str(tmp_path / "c.md"))
    (first, _) = json.loads(result.stdout)["results"]
    assert first["changes"]["pq"]["unit"] == "points"
    assert first["changes"]["pq"]["significant"] is True
    assert "| PQ, % |" in (tmp_path / "c.md").read_text()


def test_a_reason_stands_below_the_table_which_has_no_room_for_it(tmp_path: Path) -> None:
    write_record(tmp_path / "old", evaluated(pq=40.0))
    write_record(tmp_path / "new", evaluated(pq=41.0, resamples=0))
    lines = run("compare", str(tmp_path / "old"), str(tmp_path / "new")).stdout.splitlines()
    assert any(line.split()[-3:] == ["too", "few", "samples"] for line in lines)
    assert "too few samples: no common draws" in lines
    assert max(map(len, lines[:-2])) <= 80


def test_another_evaluation_of_a_model_that_is_there_has_not_vanished(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for run_folder in (old, new):
        write_record(run_folder, evaluated(pq=40.0))
    write_record(old, evaluated(pq=38.0, resize="400,600"))
    said = run("compare", str(old), str(new)).stdout
    assert "an evaluation in OLD alone: 3,3,3 on tiny" in said
    assert "vanished" not in said
    assert "an evaluation in NEW alone: 3,3,3 on tiny" in run("compare", str(new), str(old)).stdout


def test_what_stands_alone_is_named(runs: tuple[str, str], tmp_path: Path) -> None:
    write_record(Path(runs[1]), record("1,1,1"))
    assert "added: 1,1,1 on resnet50, 64x64" in run("compare", *runs).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["OLD", "/nowhere"], "no such folder"),
        (["OLD", "."], "no records"),
        (["OLD", "NEW", "--old", "2,2,2"], "nothing of 2,2,2"),
        (["OLD", "NEW", "--old", "3,3"], "3,3"),
        (["OLD", "OTHER"], "nothing to compare"),
        (["OLD"], "NEW"),
        (["OLD", "NEW", "--fail", "speed:1"], "unknown metric 'speed'"),
        (["OLD", "NEW", "--fail", "pq"], "not a number"),
        (["OLD", "NEW", "--fail", "latency_median_ms:1"], "neither side knows it"),
    ],
)
def test_bad_input(arguments: list[str], message: str, runs: tuple[str, str], tmp_path: Path) -> None:
    write_record(tmp_path / "other", record("1,1,1"))
    write_record(tmp_path / "other", record("2,2,2"))
    places = {"OLD": runs[0], "NEW": runs[1], "OTHER": str(tmp_path / "other"), ".": str(tmp_path)}
    result = run("compare", *[places.get(argument, argument) for argument in arguments])
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_damaged_record_is_left_out(runs: tuple[str, str]) -> None:
    next((Path(runs[0]) / "records").iterdir()).write_text("{")
    result = run("compare", *runs)
    assert result.exit_code == 0
    assert "left out" in result.stderr


def test_a_regression_fails(runs: tuple[str, str]) -> None:
    worse = run("compare", *reversed(runs), "--fail", "pq:0.4", "--fail", "encoder_gflops:0")
    assert worse.exit_code == 1
    assert (
        "regression: pq of 3,3,3 on tiny, val: 40.50 is now 40.00 (-0.50), worse by more than 0.4 points"
        in worse.stdout
    )
    assert run("compare", *reversed(runs), "--fail", "pq:0.6").exit_code == 0
    assert run("compare", *runs, "--fail", "pq:0").exit_code == 0


def test_exported_files(tmp_path: Path) -> None:
    for name, schedule in (("old", "2,2,2"), ("new", "3,3,3")):
        run("flops", "-s", schedule, "--size", "64x64", "--export-json", str(tmp_path / f"{name}.json"))
    paths = [str(tmp_path / f"{name}.json") for name in ("old", "new")]
    result = run("compare", *paths, "--fail", "encoder_gflops:1")
    assert result.exit_code == 1
    assert "2,2,2 on resnet50 against 3,3,3 on resnet50" in result.stdout
    write_record(tmp_path / "run", record("3,3,3"))
    result = run("compare", paths[1], str(tmp_path / "run"), "--fail", "encoder_gflops:0")
    assert (result.exit_code, "renamed" in result.stdout) == (0, False)


def test_a_gate_says_what_it_cannot_stop(tmp_path: Path) -> None:
    """Two models have several sessions a side, and two others one: nothing tells of those."""
    for name, speed in (("old", 1.0), ("new", 1.3)):
        asked = request("2,2,2", backbone="swin_t")
        alone = [slowed(measured(one), speed) for one in asked.in_turns]
        found = profiled_records("2,2,2", found=alone, backbone="swin_t")
        for one in (*profiled_in_sessions(1.0, 1.01, 0.99), *found):
            write_record(tmp_path / name, one)
    paths = str(tmp_path / "old"), str(tmp_path / "new")
    result = run("compare", *paths, "--fail", "latency_median_ms:1")
    assert result.exit_code == 0, result.stderr
    said = "--fail latency_median_ms: nothing tells of 2 of 4 configurations: another session"
    assert said in " ".join(result.stdout.split())
    assert "nothing tells" not in run("compare", *paths, "--fail", "latency_saving_pct:1").stdout


def test_times_net_of_the_baseline_say_so(tmp_path: Path) -> None:
    for name, speeds, by in (("old", (1.0, 1.01, 0.99), 1.0), ("new", (0.8, 0.81, 0.79), 1.05)):
        for one in profiled_in_sessions(*speeds, by=by):
            write_record(tmp_path / name, one)
    result = run("compare", str(tmp_path / "old"), str(tmp_path / "new"), "--export-json", str(tmp_path / "found.json"))
    for said in ("latency, median: changes are net of the baseline's, which changed by -20.00%", "by +25.00%"):
        assert said in result.stdout
    rows = json.loads((tmp_path / "found.json").read_text())["results"]
    net = [row["changes"]["latency_median_ms"] for row in rows]
    assert [one["baseline_change_pct"] for one in net] == [None, pytest.approx(-20, abs=0.1)]
    assert net[1]["difference"] == pytest.approx(5)
    (line,) = [line for line in result.stdout.splitlines() if "+5.00% net" in line]
    assert line.rstrip().endswith("worse")


def test_what_was_renamed_is_named(tmp_path: Path) -> None:
    for name, label, schedule in (("old", "mine", "2,2,2"), ("new", "mine", "2,3,2")):
        write_record(tmp_path / name, renamed(record(schedule), label=label))
        write_record(tmp_path / name, renamed(record(), label=f"the {name}"))
    shown = run("compare", str(tmp_path / "old"), str(tmp_path / "new")).stdout
    assert "renamed: the old is now the new: 3,3,3 on resnet50, 64x64" in shown
    assert "changed: mine was 2,2,2 on resnet50 and is 2,3,2 on resnet50, 64x64" in shown


def test_two_conventions_never_stand_side_by_side(tmp_path: Path) -> None:
    for name, convention in (("mac", "mac"), ("flop", "flop")):
        flags = ("--schedule", "3,3,3", "--schedule", "baseline", "--size", "64x64", "--convention", convention)
        assert run("flops", *flags, "--export-json", str(tmp_path / f"{name}.json")).exit_code == 0
    mac, flop = str(tmp_path / "mac.json"), str(tmp_path / "flop.json")
    for old, new in ((mac, flop), (flop, mac)):
        result = run("compare", old, new)
        assert result.exit_code == 2
        assert "such GFLOPs never stand side by side" in result.stderr
        assert "--convert" in result.stderr
        one = run("compare", old, new, "--old", "baseline", "--new", "3,3,3")  # what one pair would have been made of
        assert (one.exit_code, one.stdout) == (2, "")
        converted = run("compare", old, new, "--convert", "--export-json", str(tmp_path / "same.json"), "--force")
        assert converted.exit_code == 0, converted.stderr
        rows = json.loads((tmp_path / "same.json").read_text())["results"]
        assert len(rows) == 2
        assert {change["difference"] for row in rows for change in row["changes"].values()} == {0.0}


def test_a_count_that_cannot_be_converted_is_refused(tmp_path: Path) -> None:
    one = record("3,3,3")
    assert one.cost is not None
    other = one.model_copy(update={"convention": "flop"})
    write_record(tmp_path / "flop", other)  # half of what this version counts
    write_record(tmp_path / "mac", one)
    result = run("compare", str(tmp_path / "flop"), str(tmp_path / "mac"), "--convert")
    assert result.exit_code == 2
    assert "counted otherwise than this version counts" in result.stderr
    write_record(tmp_path / "other", renamed(other, model="custom"))
    write_record(tmp_path / "another", renamed(one, model="custom"))
    result = run("compare", str(tmp_path / "other"), str(tmp_path / "another"), "--convert")
    assert result.exit_code == 2
    assert "cannot be converted from its record" in result.stderr


def test_a_long_last_line_is_two_lines() -> None:
    result = run("compare", str(ZOO), str(ZOO), "--old", "3,3,3", "--new", "3,3,3+conv")
    last = result.stdout.splitlines()[-2:]
    assert last[0].startswith("25 values of 3 configurations: ")
    assert last[1] == "not shown without --all: 4 the same"
    assert "\\n" not in result.stdout
