"""The YAML form of a zoo: one backbone trained under many schedules, all alike, so that they can be compared.

schema_version: 1
name: tiny
model: deformable-detr        # a detector's zoo; without it Mask2Former's
backbone: tiny
trunk: shapes-trunk           # the recipe of the baseline that all start from
branch: shapes-branch         # the recipe of every schedule, the baseline too, from there on
recipe: shapes                # or, in the place of both, that of all, from scratch
schedules: [baseline, "3,3,3"]
seeds: [0]
repeats: {schedules: [baseline], seeds: [1, 2]}  # more seeds of some, after all else
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from proscale_bench.config.catalogue import parse_schedule_of
from proscale_bench.config.choices import find_shipped
from proscale_bench.config.recipe import MAX_SEED, DetectionRecipe, Recipe, read_recipe
from proscale_bench.config.yaml_file import Document, SchemaVersion, StrictModel, as_list, load_yaml, seen_from
from proscale_bench.errors import BenchError
from proscale_bench.specs.backbones import BackboneName
from proscale_bench.specs.families import MASK2FORMER, is_detector, own_model, own_name
from proscale_bench.specs.model import EncoderSpec

SHIPPED = "zoo"  # whose weights ship

Words = Annotated[list[str], Field(min_length=1, max_length=200), BeforeValidator(as_list)]
Seeds = Annotated[
    list[Annotated[int, Field(ge=0, le=MAX_SEED)]], Field(min_length=1, max_length=100), BeforeValidator(as_list)
]


class Repeats(StrictModel):
    schedules: Words
    seeds: Seeds


class ZooFile(StrictModel):
    schema_version: SchemaVersion
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    description: Annotated[str, Field(max_length=400)] = ""
    model: Annotated[str, Field(max_length=200)] = MASK2FORMER
    backbone: BackboneName
    trunk: str | None = None
    branch: str | None = None
    recipe: str | None = None
    schedules: Words
    seeds: Seeds = [0]  # noqa: RUF012 - pydantic copies it
    repeats: Repeats | None = None


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe, and the word that names it."""

    word: str
    recipe: Recipe


@dataclass(frozen=True)
class Zoo:
    """A zoo as read.

    Args:
        model: the words of `--model` that name its family.
        trunk: recipe of the baseline that all start from; None where all are trained from scratch.
        branch: recipe of every schedule.
        members: schedules and seeds, in the order in which they are trained.
    """

    name: str
    description: str
    model: str
    backbone: str
    trunk: NamedRecipe | None
    branch: NamedRecipe
    members: tuple[tuple[EncoderSpec, int], ...]

    @property
    def schedules(self) -> tuple[EncoderSpec, ...]:
        return tuple(dict.fromkeys(schedule for schedule, _ in self.members))


def read_zoo(word: str | Path = SHIPPED) -> Zoo:
    """Read a zoo that ships, by name, or a file of one, and every recipe and schedule that it names.

    Raises:
        BenchError: each problem at its `file:line:column`; no such zoo.
    """
    path = find_shipped("zoos", str(word))
    document = load_yaml(path, ZooFile)
    file = document.value
    with document.at("model"):
        first = parse_schedule_of(own_name(file.model), "baseline")
        own_model(file.model, first, file.backbone)  # knows its options
    if (file.recipe is None) == (file.branch is None) or (file.trunk is None) != (file.branch is None):
        given = ", ".join(key for key in ("trunk", "branch", "recipe") if getattr(file, key) is not None) or "none"
        raise document.error((), f"recipes: {given}", "give a trunk and a branch, or one recipe for all, from scratch")
    trunk = None if file.trunk is None else _recipe(document, "trunk", path.parent)
    branch = _recipe(document, "recipe" if file.branch is None else "branch", path.parent)
    members = _members(document, ("schedules",), file.schedules, file.seeds, path.parent)
    if file.repeats is not None:
        place = ("repeats", "schedules")
        members += _members(document, place, file.repeats.schedules, file.repeats.seeds, path.parent)
    return Zoo(
        name=file.name,
        description=file.description,
        model=file.model,
        backbone=file.backbone,
        trunk=trunk,
        branch=branch,
        members=tuple(dict.fromkeys(members)),
    )


def _recipe(document: Document[ZooFile], key: str, folder: Path) -> NamedRecipe:
    word = seen_from(folder, getattr(document.value, key))
    with document.at(key):
        recipe = read_recipe(find_shipped("recipes", word))
        family = recipe.model if isinstance(recipe, DetectionRecipe) else MASK2FORMER
        if is_detector(family) != is_detector(document.value.model):
            raise BenchError(
                f"the recipe {recipe.name} is a {family}'s, and the zoo of {document.value.model}", f"model: {family}"
            )
        return NamedRecipe(word, recipe)


def _members(
    document: Document[ZooFile], place: tuple[str, ...], words: Sequence[str], seeds: Sequence[int], folder: Path
) -> list[tuple[EncoderSpec, int]]:
    """All schedules of one seed after the other."""
    schedules = []
    for index, word in enumerate(words):
        with document.at(*place, index):
            schedules.append(parse_schedule_of(document.value.model, seen_from(folder, word)))
    return [(schedule, seed) for seed in seeds for schedule in schedules]
