"""A weights file's account of its training, and the part that a record keeps."""

from __future__ import annotations

import json

import pytest

from proscale_bench.bench.weights import UNKNOWN_ORIGIN, TrainingOrigin, read_origin, read_weights
from proscale_bench.config.weights import METADATA, read_shapes, require_shipped_weights

RECIPE = "a" * 64


def told(provenance: object) -> TrainingOrigin:
    return read_origin({METADATA: json.dumps({"provenance": provenance})})


def test_weights_that_ship_say_their_seed_recipe_and_start() -> None:
    path = require_shipped_weights()["tiny-3-3-3"]
    origin = read_origin(read_shapes(path)[1])
    assert (origin.seed, origin.start) == (0, "baseline")
    assert origin.recipe is not None
    assert read_weights(path).origin == origin


@pytest.mark.parametrize(
    ("provenance", "origin"),
    [
        ({"seed": 3, "recipe_digest": RECIPE, "start": {"kind": "fresh"}}, TrainingOrigin(3, RECIPE, "fresh")),
        ({"seed": 3}, TrainingOrigin(3)),
        ({"seed": True, "recipe_digest": "short", "start": {"kind": "somewhere"}}, UNKNOWN_ORIGIN),
        ({"seed": "3", "recipe_digest": 7, "start": None}, UNKNOWN_ORIGIN),
        ({"start": "fresh"}, UNKNOWN_ORIGIN),
        ([], UNKNOWN_ORIGIN),
        (None, UNKNOWN_ORIGIN),
        ("words", UNKNOWN_ORIGIN),
    ],
)
def test_what_a_file_does_not_say_is_unknown(provenance: object, origin: TrainingOrigin) -> None:
    assert told(provenance) == origin


@pytest.mark.parametrize("metadata", [{}, {METADATA: "{"}, {METADATA: "[]"}, {METADATA: "[" * 100_000}])
def test_files_of_others_say_nothing(metadata: dict[str, str]) -> None:
    assert read_origin(metadata) == UNKNOWN_ORIGIN
