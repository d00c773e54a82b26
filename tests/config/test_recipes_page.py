"""The page of recipes has every key, with its default."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from proscale_bench.config.choices import shipped
from proscale_bench.config.recipe import DetectionRecipe, Recipe, StepSchedule

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
ALL, _, DETECTORS = PAGE.partition("## All keys")[2].partition("## A detector's keys")
TABLE, DETECTOR_TABLE = (
    dict(re.findall(r"^\| `([a-z_.]+)` \|(.*?)\|", page, re.MULTILINE)) for page in (ALL, DETECTORS)
)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key that a recipe can have, with its field."""
    for name, field in model.model_fields.items():
        below = list(models_in(field.annotation))
        if not below or (not field.is_required() and field.default is None):
            yield prefix + name, field
        for one in below:
            yield from keys(one, f"{prefix}{name}.")


def test_every_key_is_there_with_its_default() -> None:
    found = dict(keys(Recipe))
    assert set(TABLE) == set(found)
    require_defaults(found, TABLE)


def test_every_key_of_a_detectors_recipe_is_there() -> None:
    common = {key: field.default for key, field in keys(Recipe) if not key.startswith("loss.")}
    found = {key: field for key, field in keys(DetectionRecipe) if common.get(key, ()) != field.default}
    assert set(DETECTOR_TABLE) == set(found)
    require_defaults(found, DETECTOR_TABLE)


def require_defaults(found: dict[str, Any], table: dict[str, str]) -> None:
    for key, field in found.items():
        shown = table[key].strip(" `")
        if field.is_required():
            assert shown == "", key
        else:
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            written = float(shown) if isinstance(default, float) else yaml.safe_load(shown)
            assert written == default, key


def test_every_recipe_is_named() -> None:
    training = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    for name in shipped("recipes"):
        assert f"`{name}`" in training
    assert StepSchedule.model_fields["milestones"].is_required()
