"""The identity of a record: change anything that decides a result, and it is another."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from proscale_bench.results.model_key import model_of
from proscale_bench.results.profile import Execution
from proscale_bench.results.record import COCO_CLASSES, EvaluationProtocol, Identity, Record, protocol_of
from proscale_bench.results.store import load, write_record
from tests.results.evaluations import by_an_older_version, evaluated
from tests.results.records import record, renamed
from tests.sweeps.profiles import profiled_records

DIMENSIONS: tuple[dict[str, Any], ...] = (
    {"width": 128},
    {"encoder_heads": 4},
    {"encoder_points": 8},
    {"encoder_ffn": 512},
    {"decoder_heads": 4},
    {"decoder_ffn": 512},
    {"decoder_layers": 6},
    {"queries": 20},
    {"queries": 50},
    {"queries": 50, "width": 128},
    {"backbone_depths": (1, 1, 2, 1)},
    {"backbone_depths": (1, 2, 1, 1)},
)
MODELS: tuple[dict[str, Any], ...] = (
    {"model": "Another"},
    {"backbone": "swin_t"},
    {"schedule": "2,2,2"},
    {"classes": 3},
    {"classes": 20},
    *({"dimensions": dimensions} for dimensions in DIMENSIONS),
)
PROTOCOLS: tuple[dict[str, Any], ...] = (
    {"dataset": "train"},
    {"annotations": "c" * 64},
    {"split": "minival"},
    {"images": 4, "limit": 4},
    {"images": 8, "limit": 8},
    {"tasks": ("panoptic",)},
    {"resize": "400,1333"},
    {"resize": "800,1333"},
    {"thresholds": {"score": 0.5, "overlap": 0.8, "mask": 0.5}},
    {"thresholds": {"score": 0.8, "overlap": 0.5, "mask": 0.5}},
    {"thresholds": {"score": 0.8, "overlap": 0.8, "mask": 0.4}},
)
EXECUTIONS: tuple[dict[str, Any], ...] = (
    {"device_name": "another CPU"},
    {"dtype": "bf16"},
    {"batch_size": 2},
    {"mode": "compiled"},
    {"sampling": "grid_sample"},
    {"threads": 8},
)


def evaluated_by(one: Record, **changes: Any) -> Record:
    """With another protocol."""
    assert one.evaluation is not None
    return one.model_copy(update={"evaluation": one.evaluation.model_copy(update=changes)})


def run_by(one: Record, **changes: Any) -> Record:
    """With another execution."""
    assert one.execution is not None
    return one.model_copy(update={"execution": Execution(**{**dict(one.execution), **changes})})


def all_others() -> list[Record]:
    """An evaluation, and others that each differ from it, and from one another, in what identifies a result."""
    one = evaluated()
    return [
        one,
        *(renamed(one, **change) for change in MODELS),
        renamed(one, weights="f" * 64),
        *(evaluated_by(one, **change) for change in PROTOCOLS),
        *(run_by(one, **change) for change in EXECUTIONS),
        by_an_older_version(one),
    ]


def test_whatever_decides_a_result_changes_digest_and_file(tmp_path: Path) -> None:
    others = all_others()
    paths = {write_record(tmp_path, one) for one in others}
    assert len(paths) == len({one.digest for one in others}) == len(others)
    assert {one.digest for one in load(tmp_path)[0]} == {one.digest for one in others}


def test_whatever_makes_another_model_changes_the_model() -> None:
    for one in (evaluated(), record(), profiled_records("3,3,3")[1]):
        models = [one, *(renamed(one, **change) for change in MODELS)]
        for first, second in combinations(models, 2):
            assert model_of(first) != model_of(second)
            assert first.digest != second.digest


def test_a_repeated_measurement_replaces_the_old_one(tmp_path: Path) -> None:
    one = evaluated(pq=40.0)
    paths = {write_record(tmp_path, again) for again in (one, evaluated(pq=41.0), renamed(one, label="mine"))}
    assert len(paths) == 1
    assert len(load(tmp_path)[0]) == 1


def test_weights_are_of_a_model_and_not_another() -> None:
    assert model_of(renamed(evaluated(), weights="f" * 64)) == model_of(evaluated())
    assert model_of(renamed(record(), classes=COCO_CLASSES)) == model_of(record())


def test_a_model_without_differences_is_the_named_one() -> None:
    named = {"backbone": "tiny", "schedule": "3,3,3", "encoder": "proscale", "label": "x"}
    assert Identity(**named, dimensions={}) == Identity(**named)
    listed = Identity(**named, dimensions={"backbone_depths": [1, 2]})
    assert listed == Identity(**named, dimensions={"backbone_depths": (1, 2)})
    assert Identity.model_validate_json(listed.model_dump_json()) == listed


@pytest.mark.parametrize("wrong", [{"queries": 2.5}, {"queries": None}, {"queries": {"a": 1}}, {"": 1}, "queries", 3])
def test_what_is_no_dimension_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        Identity(backbone="tiny", schedule="3,3,3", encoder="proscale", label="x", dimensions=wrong)


def test_an_older_record_is_read_as_what_it_says() -> None:
    one = evaluated()
    old = protocol_of(by_an_older_version(one))
    assert isinstance(old, EvaluationProtocol)
    assert one.evaluation is not None
    assert old == one.evaluation.model_copy(update={"split": None, "thresholds": None})
    assert old != one.evaluation
    assert old.missing == ("split", "thresholds")
    assert protocol_of(one) is one.evaluation
    assert protocol_of(record()) is None
    assert one.accuracy is not None
    first = by_an_older_version(one).model_copy(
        update={"accuracy": one.accuracy.model_copy(update={"dataset": "val[:4]"})}
    )
    protocol = protocol_of(first)
    assert protocol is not None
    assert (protocol.dataset, protocol.limit) == ("val", 4)


def test_an_older_record_of_weights_has_as_many_classes_as_it_lists() -> None:
    old = renamed(evaluated(), classes=None)
    assert model_of(old).classes == 2
    unknown = old.model_copy(update={"accuracy": None})
    assert model_of(unknown).classes is None
    assert model_of(unknown) != model_of(record("3,3,3", "tiny"))
