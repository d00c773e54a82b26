"""Records: what they hold, what names them, and how their metrics are read."""

from __future__ import annotations

import json
import math
from array import array

import pytest
from pydantic import ValidationError

from proscale_bench.bench.specs import count_flops
from proscale_bench.errors import BenchError
from proscale_bench.results.accuracy import Accuracy
from proscale_bench.results.metrics import METRICS, metric, provenance_of
from proscale_bench.results.record import Origin, Record
from tests.results.evaluations import evaluated
from tests.results.records import configuration, paper, record, renamed, with_accuracy


def test_a_record_survives_json() -> None:
    for one in paper():
        assert Record.model_validate_json(one.to_json()) == one


def test_the_digest_is_stable_between_versions_of_this_tool() -> None:
    """A change here renames every record that users have: do not change it lightly."""
    assert record().digest == "2befa9dfcc8045d83a579a1a5ae9d95359d7e982d7e247ba2e48fcd8a90a9d77"


def test_the_digest_names_what_identifies_and_nothing_else() -> None:
    one = record()
    same = [
        renamed(one, label="another name"),
        one.model_copy(update={"cost": None, "accuracy": None, "references": ()}),
        one.model_copy(update={"environment": {"python": "4"}, "provenance": Origin(tool_version="9", created="now")}),
    ]
    assert {other.digest for other in same} == {one.digest}
    others = [
        record("3,3,3+trc:none"),
        record("3,3,3+temp:0.2"),
        record(backbone="swin_t"),
        record(size="96x64"),
        record(size="coco-first100"),
        renamed(one, weights="abc"),
        renamed(one, model="Another"),
        one.model_copy(update={"rules": "complete"}),
        one.model_copy(update={"convention": "flop"}),
    ]
    assert len({other.digest for other in [one, *others]}) == len(others) + 1


def test_the_digest_is_known_before_anything_is_counted() -> None:
    assert configuration().digest == record().digest


def test_two_spellings_have_one_digest() -> None:
    assert record("proscale-3-3-3").digest == record("3,3,3").digest == record("5:3,54:3,543:3").digest


def test_the_row_has_every_key_of_a_flops_row() -> None:
    ours = record("1,1,1", "swin_t", "800x1333").row()
    theirs = count_flops("1,1,1", "swin_t", (800, 1333)).row()
    assert {key: ours[key] for key in theirs} == json.loads(json.dumps(theirs))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_is_null(value: float) -> None:
    one = with_accuracy(record(), pq=value, ap=40.0)
    assert json.loads(one.to_json())["accuracy"]["pq"] is None
    assert metric(one, "pq") is None
    assert metric(one, "ap") == 40.0


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema_version",), 2),
        (("schema_version",), "1"),
        (("identity", "backbone"), 50),
        (("identity", "backbone"), ""),
        (("identity", "label"), "a\x1b[31mb"),
        (("identity", "more"), "x"),
        (("input", "images"), 0),
        (("cost", "gflops", "total"), "12"),
        (("cost", "gflops", "total"), -1.0),
        (("cost", "gflops", "total"), None),
        (("cost", "params_m"), {}),
        (("convention",), "macs"),
        (("accuracy",), {"dataset": "x", "provenance": "guessed", "source": "y"}),
        (("accuracy",), {"dataset": "x", "provenance": "published"}),
        (("environment",), {"python": 3}),
    ],
)
def test_what_is_not_a_record_is_refused(path: tuple[str, ...], value: object) -> None:
    data = json.loads(record().to_json())
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(ValidationError):
        Record.model_validate_json(json.dumps(data))


def test_metrics_are_read_by_the_names_of_the_contract() -> None:
    one = with_accuracy(record(), provenance="published", pq=50.0)
    assert one.cost is not None
    assert metric(one, "encoder_gflops") == one.cost.gflops["encoder"]
    assert metric(one, "token_layers_gflops") == one.cost.gflops["encoder_token_layers"]
    assert metric(one, "total_gflops") == one.cost.gflops["total"]
    assert metric(one, "params_m") == one.cost.params_m["total"]
    assert (metric(one, "pq"), metric(one, "miou")) == (50.0, None)
    assert (provenance_of(one, "pq"), provenance_of(one, "params_m")) == ("published", "counted")


def test_a_record_without_results_has_no_metric() -> None:
    empty = record().model_copy(update={"cost": None, "accuracy": None})
    assert [metric(empty, name) for name in METRICS] == [None] * len(METRICS)


@pytest.mark.parametrize(("name", "near"), [("encoder_gflop", "encoder_gflops"), ("PQ", "pq"), ("mIoU", "miou")])
def test_an_unknown_metric_has_a_near_miss(name: str, near: str) -> None:
    with pytest.raises(BenchError, match=f"unknown metric '{name}'") as caught:
        metric(record(), name)
    assert caught.value.hint == f"did you mean '{near}'?"


def test_records_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        record().rules = "complete"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Accuracy(dataset="x", provenance="measured", source="y").pq = 1.0  # type: ignore[misc]


def test_draws_take_eight_bytes_each_and_are_written_as_they_were() -> None:
    one = evaluated(pq=40.0)
    text = one.to_json()
    again = Record.model_validate_json(text)
    assert again == one
    assert again.to_json() == text
    drawn = again.evaluated.replicates["pq"] if again.evaluated else ()
    assert isinstance(drawn, array)
    assert (drawn.itemsize, list(drawn)) == (8, json.loads(text)["accuracy"]["evaluated"]["replicates"]["pq"])
    with pytest.raises(ValidationError):
        Record.model_validate_json(text.replace('"replicates": {\n', '"replicates": {\n"sq": ["x"],\n', 1))
