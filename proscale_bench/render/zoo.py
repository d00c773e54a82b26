"""A zoo for a reader: which of its trainings are done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from proscale_bench.render.table import Row, Table


class Trained(Protocol):
    """What is shown of a training."""

    @property
    def title(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def iteration(self) -> int: ...
    @property
    def iterations(self) -> int: ...
    @property
    def is_done(self) -> bool: ...


def zoo_table(plan: Sequence[Trained]) -> Table:
    """Every training, and how far it is."""
    rows = (Row(each.title, (str(each.seed), _standing(each))) for each in plan)
    return Table("", ("training", "seed", ""), tuple(rows))


def _standing(training: Trained) -> str:
    if training.is_done:
        return f"done ({training.iterations:,} iterations)"
    return f"{training.iteration:,} of {training.iterations:,}" if training.iteration else "missing"
