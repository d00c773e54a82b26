"""Notes on models whose gate chooses how much of them runs: no one cost, or one that is an expectation."""

from __future__ import annotations

from collections.abc import Iterable

from proscale_bench.results.record import Record
from proscale_bench.specs.model import ModelSpec


def notes_on_models(specs: Iterable[ModelSpec]) -> list[str]:
    """What a reader must know of models that have no one cost, and of those whose cost is an expectation."""
    notes = []
    for spec in specs:
        if spec.exits:
            notes.append(
                f"{spec.variant}: its gate chooses an exit for each image, so it has no one cost, and every exit is "
                f"shown; for an expected cost state how many images take each: {spec.variant}+exits:10/20/30/20/20"
            )
        if spec.expected_over:
            taken = _words((one.variant, float(share)) for one, share in spec.expected_over)
            notes.append(f"{spec.variant}: expected over the exits as stated ({taken}); no image costs this")
    return notes


def notes_on_records(records: Iterable[Record]) -> list[str]:
    """The same of records: over which exits a cost is expected, and whether that was measured."""
    notes = {}
    for record in records:
        if record.cost and record.cost.exits:
            taken = _words((one.schedule, one.share) for one in record.cost.exits)
            how = f"measured on {record.input.images:,} images" if record.is_evaluated else "as stated"
            name = record.identity.name
            notes[f"{name}: GFLOPs are expected over the exits {how} ({taken}); no image costs this"] = True
    return list(notes)


def _words(shares: Iterable[tuple[str, float]]) -> str:
    return ", ".join(f"{100 * share:.3g} % {name}" for name, share in shares if share)
