"""The YAML form of a zoo: one backbone trained under many schedules, all alike, so that they can be compared.

schema_version: 1
name: tiny
backbone: tiny
trunk: shapes-trunk           # the recipe of the baseline that all start from
branch: shapes-branch         # the recipe of every schedule, the baseline too, from there on
schedules: [baseline, "3,3,3"]
seeds: [0]
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from proscale_bench.config.catalogue import parse_schedule
from proscale_bench.config.choices import find_shipped
from proscale_bench.config.recipe import MAX_SEED, Recipe, read_recipe
from proscale_bench.config.yaml_file import Document, SchemaVersion, StrictModel, as_list, load_yaml, seen_from
from proscale_bench.specs.backbones import BackboneName
from proscale_bench.specs.model import EncoderSpec

SHIPPED = Path(__file__).parent / "zoo.yaml"


class ZooFile(StrictModel):
    schema_version: SchemaVersion
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    description: Annotated[str, Field(max_length=400)] = ""
    backbone: BackboneName
    trunk: str
    branch: str
    schedules: Annotated[list[str], Field(min_length=1, max_length=200), BeforeValidator(as_list)]
    seeds: Annotated[
        list[Annotated[int, Field(ge=0, le=MAX_SEED)]], Field(min_length=1, max_length=100), BeforeValidator(as_list)
    ] = [0]  # noqa: RUF012 - pydantic copies it


@dataclass(frozen=True)
class Zoo:
    """A zoo as read: `trunk_word` and `branch_word` are the words that name its two recipes."""

    name: str
    description: str
    backbone: str
    trunk: Recipe
    branch: Recipe
    trunk_word: str
    branch_word: str
    schedules: tuple[EncoderSpec, ...]
    seeds: tuple[int, ...]


def read_zoo(path: Path = SHIPPED) -> Zoo:
    """Read a zoo's file, and every recipe and schedule that it names.

    Raises:
        BenchError: each problem at its `file:line:column`.
    """
    document = load_yaml(path, ZooFile)
    file = document.value
    trunk_word, trunk = _recipe(document, "trunk", path.parent)
    branch_word, branch = _recipe(document, "branch", path.parent)
    schedules = []
    for index, word in enumerate(file.schedules):
        with document.at("schedules", index):
            schedules.append(parse_schedule(seen_from(path.parent, word)))
    return Zoo(
        name=file.name,
        description=file.description,
        backbone=file.backbone,
        trunk=trunk,
        branch=branch,
        trunk_word=trunk_word,
        branch_word=branch_word,
        schedules=tuple(dict.fromkeys(schedules)),
        seeds=tuple(dict.fromkeys(file.seeds)),
    )


def _recipe(document: Document[ZooFile], key: str, folder: Path) -> tuple[str, Recipe]:
    word = seen_from(folder, getattr(document.value, key))
    with document.at(key):
        return word, read_recipe(find_shipped("recipes", word))
