"""The YAML form of a sweep: the product of backbones, sizes and schedules.

schema_version: 1
name: paper
backbones: [resnet50, swin_t]
schedules: catalogue          # or a list of names, files (seen from this file) and compact spellings
sizes: [coco-first100, 800x1333]
rules: fvcore
convention: mac
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from proscale_bench.config.architecture import BackboneName
from proscale_bench.config.catalogue import catalogue, parse_schedule
from proscale_bench.config.located import Located, SchemaVersion, StrictModel, load_yaml
from proscale_bench.config.schedule import Schedule
from proscale_bench.errors import BenchError, did_you_mean

CATALOGUE = "catalogue"
MAX_ENTRIES = 200


def _as_list(value: Any) -> Any:
    """A single word stands for a list of one."""
    return [value] if isinstance(value, str) else value


Words = Annotated[list[str], Field(min_length=1, max_length=MAX_ENTRIES), BeforeValidator(_as_list)]


class SweepFile(StrictModel):
    schema_version: SchemaVersion
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    description: Annotated[str, Field(max_length=200)] = ""
    backbones: Annotated[list[BackboneName], Field(min_length=1, max_length=MAX_ENTRIES), BeforeValidator(_as_list)]
    schedules: Words = [CATALOGUE]  # noqa: RUF012 - pydantic copies it
    sizes: Words
    rules: Literal["fvcore", "published", "complete"] = "fvcore"
    convention: Literal["mac", "flop"] = "mac"


@dataclass(frozen=True)
class SweepSpec:
    """A sweep as read: its schedules are resolved, its sizes are left to whoever counts (see `sweep.plan`)."""

    file: Located[SweepFile]
    schedules: tuple[Schedule, ...]

    @property
    def name(self) -> str:
        return self.file.value.name


def shipped_sweeps() -> dict[str, Path]:
    """The sweeps that come with the tool, by name."""
    folder = Path(__file__).parent / "sweeps"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_sweep(word: str) -> Path:
    """The file of a sweep given by name or path.

    Raises:
        BenchError: neither a shipped sweep nor a file.
    """
    shipped = shipped_sweeps()
    if word in shipped:
        return shipped[word]
    path = Path(word)
    if path.suffix in (".yaml", ".yml") or path.exists():
        return path
    known = f"a sweep is a YAML file or one of: {', '.join(shipped)}"
    raise BenchError(f"unknown sweep '{word}'", did_you_mean(word, tuple(shipped), known))


def read_sweep(path: Path) -> SweepSpec:
    """Read a sweep's file, and every schedule that it names.

    Raises:
        BenchError: each problem at its `file:line:column`.
    """
    located = load_yaml(path, SweepFile)
    return SweepSpec(located, tuple(_schedules(located, path.parent)))


def _schedules(located: Located[SweepFile], folder: Path) -> Iterator[Schedule]:
    for index, word in enumerate(located.value.schedules):
        if word == CATALOGUE:
            yield from (schedule for schedule, _ in catalogue())
            continue
        is_file = word.endswith((".yaml", ".yml"))
        try:
            yield parse_schedule(folder / word if is_file else word)
        except BenchError as error:
            hint = did_you_mean(word, (CATALOGUE,), error.hint)
            raise BenchError(f"{located.where('schedules', index)}: {error.message}", hint) from error
