"""Notes on models for the readers of their numbers: costs that are none or an expectation, and what is ours in them."""

from __future__ import annotations

from collections.abc import Iterable

from proscale_bench.results.record import Record
from proscale_bench.specs.custom import CUSTOM
from proscale_bench.specs.model import ModelSpec
from proscale_bench.specs.origin import ours_in, ours_in_spelling

UNSEEN = "FLOPs of other models: by rules fvcore, which count fused attention as 0; flops --rules products counts it"


def notes_on_models(specs: Iterable[ModelSpec]) -> list[str]:
    """Notes on models that a reader needs: no one cost, a cost that is an expectation, and what no paper has."""
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
        if ours := ours_in(spec.encoder):
            notes.append(f"{spec.variant}: {ours}")
    return notes


def notes_on_records(records: Iterable[Record]) -> list[str]:
    """The same of records; whether shares of exits were measured, and what rules do not see in models of others."""
    notes = {}
    for record in records:
        if record.cost and record.cost.exits:
            taken = _words((one.schedule, one.share) for one in record.cost.exits)
            how = f"measured on {record.input.images:,} images" if record.is_evaluated else "as stated"
            name = record.identity.name
            notes[f"{name}: GFLOPs are expected over the exits {how} ({taken}); no image costs this"] = True
        if ours := ours_in_spelling(record.identity.schedule, record.identity.model):
            notes[f"{record.identity.schedule}: {ours}"] = True
        if record.identity.model == CUSTOM and record.rules == "fvcore":
            notes[UNSEEN] = True
    return list(notes)


def _words(shares: Iterable[tuple[str, float]]) -> str:
    return ", ".join(f"{100 * share:.3g} % {name}" for name, share in shares if share)
