"""Published numbers of others beside a run's own: only those that a run's axes can hold, and why the rest cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proscale_bench.errors import BenchError
from proscale_bench.results.published import DATASET, accuracy_of
from proscale_bench.results.record import Cost, Identity, Origin, PartRow, Record
from proscale_bench.results.registry import PublishedRow
from proscale_bench.specs.model import TOTAL, WHOLE
from proscale_bench.units import show_mac

ENGINE = "published"  # of a cost that others counted
_WORDS = {
    "network": "network",
    "with post-processing": "network with its post-processing",
    "encoder alone": "encoder alone",
}


@dataclass(frozen=True)
class Refused:
    """A row that is not drawn, and why."""

    row: PublishedRow
    why: str


@dataclass(frozen=True)
class Marks:
    """Published rows as records that figures and the page draw, each named as published; and those refused."""

    drawn: tuple[Record, ...]
    refused: tuple[Refused, ...]

    def notes(self) -> list[str]:
        """A sentence for each reason, with the rows that it keeps out."""
        by_reason: dict[str, list[str]] = {}
        for one in self.refused:
            by_reason.setdefault(one.why, []).append(one.row.id)
        return [f"not drawn, since {why}: {', '.join(names)}" for why, names in by_reason.items()]


def published_marks(rows: Sequence[PublishedRow], records: Sequence[Record], y: str) -> Marks:
    """Set published rows beside the records of a run.

    Args:
        y: the accuracy that is drawn; rows without it or without GFLOPs have no place.

    Raises:
        BenchError: none of the rows can be drawn.
    """
    counted = [record for record in records if record.cost]
    drawn, refused = [], []
    for row in (row for row in rows if row.gflops is not None and getattr(row, y, None) is not None):
        alike = [record for record in counted if record.input.size == row.size]
        if why := _why_not(row, alike, counted):
            refused.append(Refused(row, why))
        else:
            drawn.append(_mark(row, next(one for one in alike if one.convention == row.convention)))
    if not drawn:
        first = refused[0] if refused else None
        what = f"{len(rows)} published rows: none can be drawn beside this run"
        raise BenchError(
            f"{what}: {f'{first.row.id}: {first.why}' if first else f'none prints both GFLOPs and {y}'}",
            "'models published' shows size and convention of every row; 'models recount' counts them alike",
        )
    return Marks(tuple(drawn), tuple(refused))


def _why_not(row: PublishedRow, alike: Sequence[Record], counted: Sequence[Record]) -> str:
    """The reason why a row is not drawn; empty where it can be."""
    if row.schedule and any(
        (one.identity.backbone, one.identity.schedule) == (row.backbone, row.schedule) for one in alike
    ):
        return "its accuracy stands at the run's own count of the very model"
    if row.dataset != DATASET:
        return f"it is of {row.dataset}, and the axes of a run are of {DATASET}"
    if row.convention == "unknown" or row.convention is None:
        return "its convention is not stated: 1 MAC may be 1 FLOP or 2"
    if not alike:
        sizes = ", ".join(dict.fromkeys(record.input.size for record in counted))
        return f"it is counted at {row.size or 'a size that is not stated'}, the run at {sizes}"
    if row.convention not in {record.convention for record in alike}:
        return f"it counts {show_mac(row.convention)}, the run {show_mac(alike[0].convention)}"
    return ""


def _mark(row: PublishedRow, beside: Record) -> Record:
    """A row as a record at the size and in the convention of another. Its rules are those that it is drawn under."""
    name = f"{row.name}{' 21k' if row.pretraining == 'ImageNet-21k' else ''}, published"
    accuracy = accuracy_of(row)
    counted = f"{row.gflops:g} GFLOPs" + ("" if row.counted in (None, "unknown") else f" of the {_WORDS[row.counted]}")
    part = PartRow(name=TOTAL, title="total", of=None, quoted=True)
    cost = Cost.model_construct(  # of its parameters it may say nothing
        engine=ENGINE,
        parts=(part,),
        gflops={TOTAL: row.gflops, WHOLE: row.gflops},
        params_m={} if row.params_m is None else {"total": row.params_m},
        layers=(),
        baseline=None,
        reduction_pct={},
        uncounted_ops={},
    )
    return Record.model_construct(
        schema_version=beside.schema_version,
        identity=Identity(
            model=row.family, backbone=row.backbone or row.family, schedule=name, encoder=ENGINE, label=name
        ),
        input=beside.input,
        convention=beside.convention,
        rules=beside.rules,
        execution=None,
        evaluation=None,
        cost=cost,
        profile=None,
        accuracy=accuracy.model_copy(update={"note": f"{accuracy.note}{'; ' if accuracy.note else ''}{counted}"}),
        references=(),
        error=None,
        provenance=Origin(tool_version=beside.provenance.tool_version, created=beside.provenance.created),
        environment={},
    )
