"""The layout of a file's keys, and the place of each.

The names that wrappers of modules put into keys are taken out before, wherever they stand.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.detector_layouts import DETECTORS, settled
from proscale_bench.models.checkpoints.key_layout import KeyLayout
from proscale_bench.models.checkpoints.layouts import LAYOUTS

# Of torch.compile, activation checkpointing, FSDP (old and new), Lightning's strategies, Opacus, and DataParallel.
_WRAPPER = re.compile(
    r"(?:^|(?<=\.))"
    r"(?:_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module|_fpw_module|_forward_module|_module|module)\."
)


def recognise(keys: list[str]) -> tuple[KeyLayout, str]:
    """The layout of a file's keys, and a wrapper's prefix that its keys have: `module.`, `model.`, ...

    Where two sets of weights lie in one file, the averaged one is meant.

    Args:
        keys: without the names of wrappers.

    Raises:
        BenchError: none that we know, or several models that nothing chooses between.
    """
    for layout in (*LAYOUTS.values(), *DETECTORS):
        if prefixes := sorted(set(layout.prefixes(keys)), key=lambda prefix: ("ema" not in prefix, len(prefix))):
            first, *others = prefixes
            if others and first not in ("", "model.") and "ema" not in first:
                raise BenchError(
                    f"several models in it, under {', '.join(sorted(prefixes))}", "save the one that is meant by itself"
                )
            return layout, first
    raise BenchError(
        f"no Mask2Former in it: {len(keys)} tensors, the first is {min(keys, default='none')[:200]}",
        "known layouts: official (detectron2), Hugging Face, and our own",
    )


@dataclass(frozen=True)
class KeyMap:
    """The places of a file's keys.

    Args:
        layout: layout of the keys.
        prefix: what stands before them, as the file spells it.
        sources: the file's keys of each of ours: one, or three that it joins.
        unused, unexpected: the file's keys that matter to training alone, and those that we do not know.
    """

    layout: KeyLayout
    prefix: str
    sources: dict[str, tuple[str, ...]]
    unused: list[str]
    unexpected: list[str]

    def bare(self, key: str) -> str:
        """A key of the file as its layout has it."""
        return unwrapped(key).removeprefix(unwrapped(self.prefix))

    def strays_of_encoder(self) -> list[str]:
        """The file's keys that are the encoder's and that we do not know; other weights beside these are none of it."""
        prefix = unwrapped(self.prefix)
        beside = set(self.layout.prefixes([unwrapped(key) for key in self.unexpected])) - {prefix}
        return [
            key
            for key in self.unexpected
            if re.match(self.layout.encoder, self.bare(key))
            and not any(self.layout.places(unwrapped(key), other) for other in beside)
        ]


def unwrapped(key: str) -> str:
    """A key without the names that wrappers have put into it."""
    return _WRAPPER.sub("", key)


def map_keys(keys: list[str]) -> KeyMap:
    """Find every key's place.

    Raises:
        BenchError: a layout that we do not know.
    """
    layout, prefix = recognise([unwrapped(key) for key in keys])
    spelt = (key.removesuffix(anchor) for key in keys for anchor in layout.anchors if key.endswith(anchor))
    prefixes = (before for before in spelt if unwrapped(before) == prefix)
    found = KeyMap(layout, next(prefixes, prefix), {}, [], [])
    parts: dict[str, dict[int, str]] = defaultdict(dict)
    for key in keys:
        bare = layout.current(found.bare(key))
        place = layout.to_ours(bare) if unwrapped(key).startswith(prefix) else None
        if place is None:
            (found.unused if layout.is_unused(bare) else found.unexpected).append(key)
            continue
        ours, part = place
        if part is not None and part not in parts[ours]:
            parts[ours][part] = key
        elif ours in found.sources or part is not None:  # a second spelling of the same tensor
            (found.unused if layout.turned else found.unexpected).append(key)
        elif layout.is_unused(bare):
            found.unused.append(key)
        else:
            found.sources[ours] = (key,)
    for ours, thirds in parts.items():
        if len(thirds) < 3 or ours in found.sources:
            found.unexpected.extend(thirds.values())
        else:
            found.sources[ours] = (thirds[0], thirds[1], thirds[2])
    if layout.turned:
        refined = any(re.search(r"\bdecoder\.bbox_embed\.", key) for key in keys)
        sources, repeated = settled(found.sources, refined)
        return replace(found, sources=sources, unused=[*found.unused, *repeated])
    return found


def shapes_under_our_keys(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shapes of a file's tensors under our keys, as `translate` would find them.

    Raises:
        BenchError: a layout that we do not know, or an encoder that has tensors without a place.
    """
    found = {}
    keys = map_keys(list(shapes))
    if strays := keys.strays_of_encoder():
        raise BenchError(f"{strays[0]} has no place in the encoder")
    for key, sources in keys.sources.items():
        first, *others = (shapes[source] for source in sources)
        found[key] = (first[0] + sum(shape[0] for shape in others), *first[1:]) if others else first
    return found
