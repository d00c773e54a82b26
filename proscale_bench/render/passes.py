"""The content of one pass of a model, in words: published images a second disagree there by a factor of two."""

from __future__ import annotations

from collections.abc import Sequence

from proscale_bench.results.profile import PassPart, Profile
from proscale_bench.results.record import Record

OWN_PASS = ("pre-processing", "network")  # of a model that this tool builds
PASS_PARTS: dict[PassPart, str] = {
    "pre-processing": "normalising and padding or resizing",
    "network": "from normalised images to logits, masks or boxes",
    "post-processing": "from these to results at the size of the image",
    "forward": "all that the model's forward does",
}


def contents(record: Record) -> str:
    """The content of a pass of a record's model: `pre, network`."""
    return ", ".join(one.removesuffix("-processing") for one in record.profile.contains) if record.profile else ""


def contains_else(profile: Profile) -> bool:
    """A pass contains something else than the ones of the models that this tool builds."""
    return profile.contains not in ((), OWN_PASS)


def pass_words(profiles: Sequence[Profile]) -> str:
    """The pass that latencies are of, in words for a footer."""
    if not any(map(contains_else, profiles)):
        return "from images on the device to logits"
    known = {part for profile in profiles for part in profile.contains}
    kinds = "; ".join(f"{part.removesuffix('-processing')}: {PASS_PARTS[part]}" for part in PASS_PARTS if part in known)
    return f"a pass on the device, of what it contains ({kinds})"
