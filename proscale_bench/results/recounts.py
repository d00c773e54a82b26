"""The recounts of published numbers of FLOPs: one row for each, or the reason why it cannot be.

A recount has two numbers. One follows the source: its convention, its rules, the part of the model that it counted, as
far as these are known or follow from the match. The other is `complete` at one FLOP a multiply-accumulate, which is the
same for every row, so that models of two sources can be compared.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Literal, get_args

from proscale_bench.errors import BenchError
from proscale_bench.results.registry import RULES, PublishedRow, shipped_registry
from proscale_bench.specs.terms import Operator

if TYPE_CHECKING:
    from importlib.abc import Traversable

CountedPart = Literal["total", "total_with_postprocessing", "encoder"]
FILE = "recounts.csv"
OURS, HUGGING_FACE = "ours", "hf:"
LEFT_OUT = "+left_out"
MODEL = re.compile(r"ours|hf:[a-z0-9-]+|proscale_bench(\.\w+)+:\w+")


@dataclass(frozen=True)
class Recount:
    """The recount of one published number.

    Args:
        id: of its row of the registry.
        model: `ours`; `hf:NAME`, a configuration in `data/configurations/`; or `proscale_bench.MODULE:FACTORY`. Empty:
            it cannot be counted here.
        arguments: `KEY=VALUE; ...`, of the model.
        size: of the images, where the source's is not stated in the registry.
        rules: a rule set, and operators that the source counts besides or leaves out: `published -masked_qk`.
            `+left_out` is one for each output element of the arithmetic that no rule set counts.
        part: what is counted.
        without: patterns of modules whose operators the source's counter does not see, separated by spaces.
        why: what explains the difference, or why there is no recount.
    """

    id: str
    model: str
    arguments: str
    size: str
    rules: str
    part: CountedPart
    without: str
    why: str

    @property
    def row(self) -> PublishedRow:
        return _rows_by_id()[self.id]

    @property
    def given(self) -> dict[str, str]:
        """The arguments of the model by name."""
        pairs = (pair.partition("=") for pair in filter(None, map(str.strip, self.arguments.split(";"))))
        return {key: value for key, _, value in pairs}

    @property
    def input_size(self) -> str:
        return self.size or self.row.size or ""

    @property
    def published(self) -> float:
        """The number that is counted again, in GFLOPs."""
        row = self.row
        value = row.encoder_gflops if self.part == "encoder" or row.gflops is None else row.gflops
        assert value is not None
        return value

    @property
    def changes(self) -> list[str]:
        """The operators that the source counts besides its rule set or leaves out, as `+masked_qk`."""
        return [word for word in self.rules.split()[1:] if word != LEFT_OUT]

    @property
    def counts_left_out(self) -> bool:
        """The source counts all arithmetic, also by elements."""
        return LEFT_OUT in self.rules.split()

    def operators(self, base: frozenset[Operator]) -> frozenset[Operator]:
        """The operators that the source counts, from those of its rule set.

        Raises:
            BenchError: an unknown operator.
        """
        counted = set(base)
        for change in self.changes:
            (counted.add if change[0] == "+" else counted.discard)(_operator(change))
        return frozenset(counted)


@dataclass(frozen=True)
class Recounted:
    """A published number beside what is counted here.

    Args:
        gflops: as the source counts; None where the model cannot be counted here.
        complete_gmacs: every product, one a multiply-accumulate, which no source's counter decides.
    """

    recount: Recount
    gflops: float | None = None
    complete_gmacs: float | None = None

    @property
    def difference_pct(self) -> float | None:
        """The recount against the published number, in percent of that."""
        return None if self.gflops is None else 100 * (self.gflops / self.recount.published - 1)


@cache
def recounts() -> tuple[Recount, ...]:
    """Every recount, in the order of the registry."""
    text = resources.files(__package__).joinpath(f"data/{FILE}").read_text("utf-8")
    return parse_recounts(text, FILE)


def parse_recounts(text: str, place: str) -> tuple[Recount, ...]:
    """The recounts of a text; `place` is the name of its file.

    Raises:
        BenchError: a row is wrong: every fault with its line and column's name.
    """
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
    columns = [field.name for field in fields(Recount)]
    if reader.fieldnames != columns:
        raise BenchError(f"{place}:1: the columns are not {', '.join(columns)}")
    found: list[Recount] = []
    problems: list[str] = []
    for values in reader:
        faults = _problems(values)
        if not faults:
            one = Recount(**values)  # type: ignore[arg-type]
            faults = [f"id: '{one.id}' stands twice"] if any(one.id == other.id for other in found) else []
            found.append(one)
        problems += [f"{place}:{reader.line_num}: {fault}" for fault in faults]
    if problems:
        raise BenchError(problems)
    order = list(_rows_by_id())
    return tuple(sorted(found, key=lambda one: order.index(one.id)))


def configuration(name: str) -> Traversable:
    """The file of a configuration that ships."""
    return resources.files(__package__).joinpath(f"data/configurations/{name}.json")


@cache
def _rows_by_id() -> dict[str, PublishedRow]:
    return {row.id: row for row in shipped_registry()}


def _problems(values: dict[str, str]) -> list[str]:
    row = _rows_by_id().get(values["id"])
    if row is None:
        return [f"id: '{values['id']}' is of no row of the registry"]
    if None in values.values() or None in values:
        return ["another number of cells than of columns"]
    if not values["model"]:
        return [] if values["why"] else ["why: empty, and nothing is counted"]
    found = []
    if not MODEL.fullmatch(values["model"]):
        found.append(f"model: '{values['model']}' is neither ours nor hf:NAME nor a factory of this package")
    elif (
        values["model"].startswith(HUGGING_FACE)
        and not configuration(values["model"].removeprefix(HUGGING_FACE)).is_file()
    ):
        found.append(f"model: there is no configuration '{values['model'].removeprefix(HUGGING_FACE)}'")
    if values["part"] not in get_args(CountedPart):
        found.append(f"part: '{values['part']}' is none of {', '.join(get_args(CountedPart))}")
    elif (row.encoder_gflops if values["part"] == "encoder" else row.gflops) is None:
        found.append(f"part: the registry has no number of '{values['part']}'")
    if not (values["size"] or row.size):
        found.append("size: empty, and the registry does not say it")
    base, *changes = values["rules"].split() or [""]
    if base not in RULES:
        found.append(f"rules: '{base}' is none of {', '.join(RULES)}")
    for change in (word for word in changes if word != LEFT_OUT):
        try:
            _operator(change)
        except BenchError as error:
            found.append(f"rules: {error.message}")
    return found


def _operator(change: str) -> Operator:
    """The operator of `+masked_qk` or `-masked_qk`.

    Raises:
        BenchError: neither.
    """
    try:
        if change[0] in "+-":
            return Operator(change[1:])
    except ValueError:
        pass
    raise BenchError(f"'{change}' is neither + nor - an operator", f"operators: {', '.join(map(str, Operator))}")
