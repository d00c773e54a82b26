"""Starting an encoder from a trained baseline: what corresponds is copied, what sees fewer levels is sliced.

A new token layer starts from the baseline's layer at the same relative depth: res5 passes every layer of either, so
depth is what a layer's work has in common. The first starts from the first, the last from the last, and with six
layers each from its own. The offsets and weights of the levels that it sees are taken; the softmax over fewer of them
renormalises by itself. Max-pool has no weights, so the 3x3 convolution is left behind and its norm taken. Levels that
the baseline does not have, re-calibration and scores have no counterpart and stay as initialised. Encoders of other
families name a module as the baseline does exactly where it is the same thing; all else of theirs stays as initialised.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from proscale_bench.config.trained_on import places_of, trained_on
from proscale_bench.errors import BenchError
from proscale_bench.models.build import OwnModel, build
from proscale_bench.models.checkpoints.checkpoint import INDEX, Checkpoint
from proscale_bench.models.checkpoints.save import save_checkpoint
from proscale_bench.models.deformable_detr import DeformableDetr
from proscale_bench.results.inspection import WarmStart
from proscale_bench.specs.box_decoder import DetectorHead
from proscale_bench.specs.encoders.early_exit import EarlyExit
from proscale_bench.specs.encoders.multiscale import DETECTOR_LEVELS
from proscale_bench.specs.encoders.staged import Schedule
from proscale_bench.specs.families import as_encoder_of
from proscale_bench.specs.levels import LEVELS
from proscale_bench.specs.model import EncoderSpec

# What may differ, with what it follows from; every other difference is an error.
CLASS_HEADS = ("decoder.class_head.", "decoder.class_heads.", "proposals.class_head.")
FREE = {
    **dict.fromkeys(CLASS_HEADS, "another number of classes"),
    "decoder.query_": "another number of queries",
    "encoder.pixel_embedding.0.": "another kind of convolution",
    "decoder.queries": "another number of queries",
}
TOKEN_LAYER = re.compile(r"encoder\.layers\.(\d+)\.(.+)")
PROJECTION = re.compile(r"encoder\.projections\.(\d+)\.(.+)")


def start_from(
    baseline: Checkpoint, encoder: EncoderSpec, path: Path, seed: int = 0, overwrite: bool = True
) -> WarmStart:
    """Write a checkpoint with this encoder that starts from a baseline's.

    Args:
        seed: seed of the tensors that the baseline does not have.

    Raises:
        BenchError: see `warm_start`; a head alone; a path that cannot be written.
    """
    spec = baseline.inferred.spec
    if spec is None:
        raise BenchError(f"{baseline.path}: a head alone", "start from a checkpoint with its backbone")
    torch.manual_seed(seed)
    model = build(replace(spec, encoder=as_encoder_of(spec, encoder)))
    started = warm_start(model, baseline)
    provenance = {
        "started_from": baseline.path.name,
        "weights": baseline.digest,
        "layers": started.layers,
        "seed": seed,
    }
    seen = trained_on(baseline.translation.stored.metadata)
    save_checkpoint(model, path, provenance, overwrite, seen=seen)
    return started


@torch.no_grad()
def warm_start(
    model: OwnModel, baseline: Checkpoint, classes: Sequence[str] = (), known: Sequence[str] = ()
) -> WarmStart:
    """Initialise a model from a baseline's checkpoint, in place.

    Args:
        model: model with any encoder, with the baseline's backbone and dimensions; classes and queries may differ.
        baseline: a complete checkpoint whose token layers all see three levels.
        classes: names of the model's classes, in order. Where the checkpoint names its own, each takes the row of its
            name, and other classes start afresh. Empty: a class is the one at its place.
        known: the names of the checkpoint's classes, where somebody else than its file says them.

    Raises:
        BenchError: the checkpoint is no baseline, or has other dimensions; names the first tensor.
    """
    baseline.require_complete()
    encoder = model.encoder.spec
    if baseline.inferred.schedule.encoder not in ("mask2former", "deformable_detr"):
        raise BenchError(
            f"{baseline.path}: schedule {baseline.inferred.schedule.compact} is no baseline",
            "start from a model whose token layers see all levels",
        )
    all_levels = DETECTOR_LEVELS if isinstance(model, DeformableDetr) else LEVELS
    if (all_levels is LEVELS) == isinstance(baseline.inferred.head, DetectorHead):
        raise BenchError(
            f"{baseline.path}: a detector and a model with masks have no head in common", "start from its kind"
        )
    source, reordered, by_place = _by_class(baseline, classes, known)
    depth = len(baseline.inferred.schedule.layers)
    whole = EarlyExit() if isinstance(encoder, EarlyExit) else encoder  # it has all layers, whichever run
    levels = [layer.reads or layer.levels for layer in whole.layers]
    layers = tuple((2 * index + 1) * depth // (2 * len(levels)) for index in range(len(levels)) if depth)
    tokens_of = encoder.levels if isinstance(encoder, Schedule) else all_levels
    start: dict[str, Tensor] = {}
    sliced: list[str] = []
    left: dict[str, str] = {}
    state = {key: tensor for key, tensor in model.state_dict().items() if not key.endswith(INDEX)}
    for key, ours in state.items():
        match = TOKEN_LAYER.match(key) if layers else None
        counterpart = f"encoder.layers.{layers[int(match[1])]}.{match[2]}" if match else key
        if (projection := PROJECTION.match(key)) and tokens_of != all_levels:
            level = tokens_of[int(projection[1])]
            counterpart = f"encoder.projections.{LEVELS.index(level)}.{projection[2]}" if level in LEVELS else ""
        if counterpart not in source:
            is_head = key.startswith(CLASS_HEADS)
            left[key] = "classes of other names" if is_head else "no counterpart in the baseline"
            continue
        theirs = source[counterpart]
        if match and match[2].startswith(("attention.sampling_offsets.", "attention.attention_weights.")):
            seen = levels[int(match[1])]
            theirs = rows_of_levels(theirs, baseline.inferred.head.encoder_heads, seen, ours, all_levels)
            sliced += [key] if seen != all_levels else []
        elif key == "encoder.level_embedding" and tokens_of != all_levels:
            theirs = rows_of_levels(theirs, 1, tokens_of, ours)
            sliced.append(key)
        if theirs.shape == ours.shape:
            start[key] = theirs
        elif key.startswith("encoder.") and not isinstance(encoder, Schedule):
            left[key] = "of another shape in the baseline"
        elif reason := next((reason for prefix, reason in FREE.items() if key.startswith(prefix)), None):
            left[key] = reason
        else:
            raise BenchError(
                f"{baseline.path}: {key}: shape {list(theirs.shape)}, and the model's is {list(ours.shape)}",
                "the model needs the baseline's backbone, width and heads",
            )
    for key, tensor in start.items():  # only now that all fit
        state[key].copy_(tensor)
    started = layers if any(map(TOKEN_LAYER.match, start)) else ()
    taken = tuple(key for key in start if key not in (*sliced, *reordered))
    return WarmStart(taken, tuple(sliced), left, started, reordered, tuple(key for key in by_place if key in start))


def _by_class(
    baseline: Checkpoint, classes: Sequence[str], known: Sequence[str]
) -> tuple[dict[str, Tensor], tuple[str, ...], tuple[str, ...]]:
    """A baseline's tensors with the rows of its class heads in the order of these classes, the keys of those rows, and
    those of rows whose classes have no names.

    The class head of other classes is left out. Where either has no names, or their numbers differ, it stays.
    """
    tensors = dict(baseline.translation.tensors)
    known = known or trained_on(baseline.translation.stored.metadata).names
    places = places_of(known, classes)
    heads = tuple(key for key in tensors if key.startswith(CLASS_HEADS))
    if not len(known) == len(classes) == baseline.inferred.head.num_classes:
        return tensors, (), heads if classes else ()
    if places == tuple(range(len(classes))):
        return tensors, (), ()
    for key in heads:
        tensor = tensors.pop(key)
        if places is not None:
            tensors[key] = tensor[[*places, *range(len(places), len(tensor))]]  # "no object" stays the last
    return tensors, () if places is None else heads, ()


def rows_of_levels(
    rows: Tensor, heads: int, levels: Sequence[str], ours: Tensor | None = None, known: Sequence[str] = LEVELS
) -> Tensor:
    """The rows of these levels, of rows that lie (head, level, point), and for offsets (x, y).

    Args:
        ours: where the rows of levels that the baseline does not have come from.
        known: the levels of the rows.
    """
    grouped = rows.reshape(heads, len(known), -1, *rows.shape[1:])
    columns: dict[str, Tensor] = {level: grouped[:, index] for index, level in enumerate(known)}
    if ours is not None and len(ours) * len(known) == len(rows) * len(levels):  # of the same heads and points
        fresh = ours.reshape(heads, len(levels), -1, *ours.shape[1:]).unbind(dim=1)
        columns = {**dict(zip(levels, fresh, strict=True)), **columns}
    return torch.stack([columns[level] for level in levels if level in columns], dim=1).flatten(0, 2)
