"""The page as a file: small, the same every time, nothing in it that could run or be fetched but its own."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import itertools
import json
import re
from dataclasses import asdict
from typing import Any

import pytest

from proscale_bench.analysis.significance import change
from proscale_bench.config.choices import OFFICIAL_THRESHOLDS
from proscale_bench.errors import BenchError
from proscale_bench.render.page import ESCAPES, island, page
from proscale_bench.render.page_data import document
from proscale_bench.render.provenance import commands, environments
from proscale_bench.results.export import to_csv
from proscale_bench.results.metrics import METRICS
from proscale_bench.results.record import Record
from tests.analysis.test_views import counted, judged, lost, seeds, timed
from tests.results.evaluations import evaluated
from tests.results.many import HOSTILE, evaluation, many
from tests.results.records import paper, record, renamed, with_accuracy
from tests.sweeps.profiles import out_of_memory, profiled_records, with_energy

LIMIT_BYTES = 1_500_000


def values_of(text: str) -> Any:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found)


def rows_of(*records: Record) -> list[dict[str, Any]]:
    (view,) = values_of(page(records))["views"]
    rows: list[dict[str, Any]] = view["rows"]
    return rows


def test_200_configurations_fit() -> None:
    text = page(many())
    assert len(text.encode()) < LIMIT_BYTES
    (view,) = values_of(text)["views"]
    assert len(view["rows"]) == 200


def test_the_same_records_give_the_same_bytes_in_any_order() -> None:
    assert page(paper()) == page(tuple(reversed(paper())))


def test_the_policy_allows_the_pages_own_style_and_script_alone() -> None:
    text = page(paper())
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    for element in ("style", "script"):
        (own,) = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")


def test_nothing_is_fetched() -> None:
    text = page(paper())
    assert re.findall(r'(?:src|href)="(?!#|data:,)[^"]*"', text) == []
    assert re.findall(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", text) == []
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) == {"http://www.w3.org/2000/svg"}  # a name, not an address


def test_no_name_ends_the_island() -> None:
    hostile = HOSTILE + "<!--" + "\u2028 & "
    text = island({"name": hostile})
    assert json.loads(text) == {"name": hostile}
    assert not set(text) & set(ESCAPES)


def test_names_are_escaped_in_the_text() -> None:
    text = page([renamed(record("3,3,3"), backbone=HOSTILE, label=HOSTILE)])
    assert "alert(1)" in text
    assert "<script>alert" not in text
    assert "<img" not in text


def test_the_headline_stands_in_the_page_without_a_script() -> None:
    lead = '<p class="lead">3,3,3 on Swin-T: encoder −51.74%, total −27.35%, token layers −36.36% at coco-first100.</p>'
    assert lead in page(paper())
    assert "Timed on a CPU: 3,3,3 on ResNet-50: −27.86% FLOPs" in page(profiled_records("3,3,3"))


def test_a_row_adds_up() -> None:
    for row in rows_of(*profiled_records("3,3,3")):
        assert sum(row["gflops"]) == pytest.approx(row["values"]["total_gflops"], rel=1e-5)
        assert sum(row["ms"]) == pytest.approx(row["values"]["latency_median_ms"], rel=0.02)  # stages run by themselves


def test_a_saving_has_what_was_counted_and_what_was_realised() -> None:
    base, new = rows_of(*profiled_records("3,3,3"))
    assert base["savings"] == [None] * 4
    whole, encoder, *_ = new["savings"]
    assert (round(whole["counted"], 2), round(whole["executed"], 2), round(whole["realised"], 1)) == (
        27.86,
        29.41,
        16.5,
    )
    assert whole["low"] <= whole["realised"] <= whole["high"]
    assert round(encoder["realised"], 1) == 29.5


def test_what_is_nothing_is_not_what_is_unknown() -> None:
    (row,) = rows_of(with_accuracy(record("3,3,3"), pq=0.0))
    assert row["evaluations"][0]["values"] == {"pq": 0.0}


def test_published_and_measured_stand_side_by_side() -> None:
    (one, other) = profiled_records("3,3,3")
    *_, row = rows_of(one, other, evaluation(other, 40.0, 1.0))
    assert [evaluation["provenance"] for evaluation in row["evaluations"]] == ["published", "measured"]
    assert row["evaluations"][1]["intervals"]["pq"] == [39.0, 41.0]


def test_several_trainings_are_one_point_that_says_so() -> None:
    row, *_ = rows_of(*counted(), *timed(), *seeds(40.0, 43.0, 44.5))
    (evaluation,) = row["evaluations"]
    assert evaluation["trainings"] == "mean of seeds 0, 1, 2"
    assert "name" not in evaluation  # the page says it beside the name
    assert evaluation["values"]["pq"] == pytest.approx(42.5)
    low, high = evaluation["intervals"]["pq"]
    off = (5.68**2 + 1.0**2) ** 0.5  # Student's t of three, and the images
    assert (low, high) == pytest.approx((42.5 - off, 42.5 + off), abs=0.01)
    told = [words for name, words in evaluation["details"] if name == "training"]
    assert [words.partition(",")[0] for words in told] == ["seed 0", "seed 1", "seed 2"]
    assert "PQ 44.50" in told[2]
    (alone,) = rows_of(*counted(), *seeds(40.0))[0]["evaluations"]
    assert "trainings" not in alone


def test_energy_is_a_metric_of_the_page_and_of_the_csv() -> None:
    records = [with_energy(one, 2.5) for one in profiled_records("3,3,3")]
    assert [row["values"]["energy_j"] for row in rows_of(*records)] == [2.5, 2.5]
    head, *lines = csv.reader(io.StringIO(to_csv([one.row() for one in records])))
    assert [line[head.index("energy_j")] for line in lines] == ["2.5", "2.5"]


def test_a_failed_evaluation_takes_no_cost_away() -> None:
    row, *_ = rows_of(*counted(), lost(judged()[0]))
    assert row["error"] == "out of memory"
    assert "encoder_gflops" in row["values"]


def test_everything_known_has_its_words() -> None:
    (one, other) = profiled_records("3,3,3")
    *_, row = rows_of(one, other, evaluation(other, 40.0, 1.0))
    assert {"total with post-processing", "official code", "timed", "energy", "record"} <= {
        name for name, _ in row["details"]
    }
    told = dict(row["evaluations"][1]["details"])
    assert told["data"] == "shapes-val"
    assert told["weights"] == "d" * 16


def test_a_failure_says_why() -> None:
    *_, row = rows_of(*profiled_records("3,3,3", found=[out_of_memory("baseline"), out_of_memory("3,3,3")]))
    assert row["error"] == "out of memory at batch size 1"
    assert "ms" not in row or row["ms"] == []


def test_what_is_asked_for_is_shown_first() -> None:
    start = values_of(page(paper(), x=["params_m", "total_gflops"], y="ap"))["start"]
    assert start == {"view": 0, "x": "params_m", "y": "ap"}


def test_the_first_view_is_one_with_a_point() -> None:
    small = record("3,3,3", size="64x64").model_copy(update={"accuracy": None})
    large = with_accuracy(record("3,3,3", size="640x640"), pq=40.0)
    found = document([small, large], ["total_gflops"], "pq")
    assert found.views[found.start.view].rows[0].evaluations


def test_it_says_how_to_find_the_same_again() -> None:
    assert '<pre tabindex="0">proscale-bench sweep paper</pre>' in page(paper(), ["proscale-bench sweep paper"])
    assert "proscale-bench profile --backbone resnet50 --size 640x640" in page(profiled_records("3,3,3"))


def test_every_kind_of_record_has_its_command() -> None:
    """Models that no flags name are a remark."""
    base, new = profiled_records("3,3,3")
    found = "\n".join(commands([record("3,3,3"), base, new, evaluation(new, 40.0, 1.0)]))
    for begins in ("proscale-bench flops --backbone resnet50", "proscale-bench profile --backbone resnet50"):
        assert begins in found
    assert re.search(
        r"^proscale-bench eval --weights \S+ .*--tasks \S+ --resize \S+ .*--bootstrap", found, re.MULTILINE
    )
    judged = evaluation(new, 40.0, 1.0)
    assert judged.evaluation is not None
    thresholds = {**asdict(OFFICIAL_THRESHOLDS), "score": 0.5}
    loose = judged.model_copy(update={"evaluation": judged.evaluation.model_copy(update={"thresholds": thresholds})})
    assert "--score-threshold 0.5 --bootstrap" in commands([loose])[-1]
    odd = new.model_copy(update={"identity": new.identity.model_copy(update={"dimensions": {"heads": 4}})})
    assert commands([odd])[-1].startswith("# at 640x640 models of dimensions that no flags name")


def test_an_environment_stands_once_with_what_differs() -> None:
    one = record("3,3,3")
    loads = ("0.5", "10.25", "2.0")
    records = [one.model_copy(update={"environment": {"python": "3.11.7", "load": load}}) for load in loads]
    records.append(one.model_copy(update={"environment": {"python": "3.11.7", "device": "A", "cpu": "x"}}))
    records.append(one.model_copy(update={"environment": {"python": "3.11.7", "device": "B", "cpu": "x"}}))
    assert environments(records) == ["python 3.11.7, cpu x", "load: 0.5 to 10.25", "device: A; B"]


def test_an_unknown_metric_is_an_error() -> None:
    with pytest.raises(BenchError, match="unknown metric 'flops'"):
        page(paper(), x=["flops"])


def test_the_page_says_of_two_what_compare_says() -> None:
    """Every verdict on the page is that of `compare` on the two records: draws, rounds, sessions, other data."""
    judged = [
        evaluated("baseline", 40.0),
        evaluated("3,3,3", 38.0),
        evaluated("2,2,2", 40.1, shift=71),
        evaluated("1,1,1", 39.0, resamples=0),
        evaluated("6,3,3", 39.0, images="b" * 64),
    ]
    clocked = profiled_records("3,3,3", "1,1,1")
    (other,) = [one for one in profiled_records("2,2,2") if not one.is_baseline]  # of another session
    shown = document([*clocked, other, *judged], ["total_gflops"], "pq").plain()
    said: dict[str, set[str]] = {"accuracy": set(), "profile": set()}
    (view,) = [one for one in shown["views"] if one.get("verdicts")]
    rows = [row for one in shown["views"] for row in one["rows"]]
    found = [(row["schedule"], one) for row in rows for one in row.get("evaluations", [])]
    places = {one["place"]: schedule for schedule, one in found if one["provenance"] == "measured"}
    asked = (
        (view["verdicts"], [*clocked, other], {place: row["schedule"] for place, row in enumerate(view["rows"])}),
        (shown["verdicts"], judged, places),
    )
    for tables, records, names in asked:
        known = {record.identity.name: record for record in records}
        for name, table in tables.items():
            for (a, one), (b, two) in itertools.product(names.items(), repeat=2):
                sides = known[one], known[two]
                before, after = map(METRICS[name].read, sides)
                if before is None or after is None:
                    assert table[a][b] == "-"
                    continue
                verdict = change(METRICS[name], *sides, before, after).verdict
                assert shown["words"][int(table[a][b])] == verdict, (name, one, two)
                said[METRICS[name].section].add(verdict)
    assert said["accuracy"] == {"significant", "not significant", "too few samples", "other data"}
    assert {"significant", "another session"} <= said["profile"]
