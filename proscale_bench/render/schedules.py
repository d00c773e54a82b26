"""Schedules as tables and as a drawing: levels against layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from proscale_bench.render.flops import model_of
from proscale_bench.render.table import Row, Table
from proscale_bench.specs.encoders.early_exit import EarlyExit
from proscale_bench.specs.encoders.hybrid import Hybrid
from proscale_bench.specs.encoders.interleaved import Lite
from proscale_bench.specs.encoders.multiscale import DETECTOR_LEVELS, MultiScale, MultiScaleLite
from proscale_bench.specs.encoders.pem import Pem
from proscale_bench.specs.encoders.staged import Schedule
from proscale_bench.specs.levels import LEVELS, STRIDES
from proscale_bench.specs.model import TOTAL, EncoderSpec
from proscale_bench.units import show_gflops, show_reduction, show_tokens

if TYPE_CHECKING:
    from proscale_bench.cost.count import FlopCount, LayerCost

REFINED, KEPT, READ, UNSEEN = "■", "◧", "□", "·"
PLAIN = str.maketrans({"■": "#", "◧": "%", "□": "o", "·": ".", "×": "x"})  # for a terminal that has no more than ASCII
PIXEL_EMBEDDINGS = {
    "maxpool": "3x3 max-pool (LPE)",
    "conv": "3x3 convolution",
    "depthwise": "depth-wise 3x3 convolution (ours, not the paper's)",
}
DRAWN_LAYERS = 12  # a stage of more is written `■ × 40`


def catalogue_table(entries: Sequence[tuple[EncoderSpec, str]]) -> Table:
    """Name, compact form and description of what ships."""
    rows = tuple(
        Row(schedule.name or schedule.compact, (schedule.compact, description)) for schedule, description in entries
    )
    return Table("", ("schedule", "compact", "what it is"), rows)


def cost_table(names: Sequence[str], counts: Sequence[Sequence[FlopCount]]) -> Table:
    """GFLOPs of the encoder and in all, and what each saves against the baseline; of a gate's choice the least and the
    most.

    Args:
        counts: for each name those of its exits, or the one there is.
    """
    rows = []
    for name, exits in zip(names, counts, strict=True):
        rows.append(Row(name, _costs(exits[0])))
        if len(exits) > 1:  # ranges in one line are wider than a terminal
            rows.append(Row("at most", _costs(exits[-1]), indent=1))
    header = ("GFLOPs", "encoder", "", "total", "")
    return Table(f"{model_of(counts[0][0].spec)} at {counts[0][0].input.name}", header, tuple(rows))


def _costs(count: FlopCount) -> tuple[str, ...]:
    """GFLOPs of the encoder and in all, each with what it saves."""
    pairs = (
        (show_gflops(count.gflops[part]), "" if count.is_baseline else show_reduction(count.reduction_pct[part]))
        for part in ("encoder", TOTAL)
    )
    return tuple(cell for pair in pairs for cell in pair)


def drawing(count: FlopCount, plain: bool = False) -> Table:
    """The levels against the layers of each stage, with tokens and cost at the count's size; `plain` keeps to ASCII.

    A level is marked by what a layer does with it: refines its tokens, or a share of them, lets others read them, or
    neither.
    """
    stages = [list(layers) for _, layers in groupby(count.layers, key=lambda layer: layer.stage)]
    header = ["", *(f"stage {layers[0].stage}" for layers in stages), "tokens"]
    levels = {level for layer in count.layers for level in (*layer.levels, *(layer.reads or ()))}
    rows = []
    for level in sorted({*LEVELS, *levels}, key=lambda level: -STRIDES[level]):
        marks = (_runs([_mark(level, layer) for layer in layers]) for layers in stages)
        cells = (
            *(mark.translate(PLAIN) if plain else mark for mark in marks),
            show_tokens(round(count.level_tokens[level])),
        )
        rows.append(Row(f"{level}  1/{STRIDES[level]}", cells))
    if stages:
        tokens = (_a_layer([show_tokens(round(layer.tokens)) for layer in layers]) for layers in stages)
        rows.append(Row("tokens a layer", (*tokens, ""), strong=True))
        gflops = (_a_layer([show_gflops(layer.gflops) for layer in layers]) for layers in stages)
        rows.append(Row("GFLOPs a layer", (*gflops, "")))
    return Table("", tuple(header), tuple(rows))


def options(encoder: EncoderSpec) -> list[tuple[str, str]]:
    """The options of an encoder beside its layers, as pairs of (name, value)."""
    if isinstance(encoder, MultiScale):
        return _options_of_multiscale(encoder)
    return _options_of_detectors_lite(encoder) if isinstance(encoder, MultiScaleLite) else _options(encoder)


def _options(encoder: EncoderSpec) -> list[tuple[str, str]]:
    match encoder:
        case Schedule():
            return _options_of_schedule(encoder)
        case Lite(layers, embedding):
            keys = "keys of their own projection" if layers.project_keys else "keys that are the values"
            return [
                ("mapping", "ours: no code of Lite-DETR's encoder as Mask2Former's pixel decoder is public"),
                ("layers", "all read all levels and refine res5 and res4; the last of a block refines res3 too"),
                ("attention", f"key-aware, with {keys}" if layers.key_aware else "plain: a query predicts its weights"),
                *([("locations", "the same offsets on all levels")] if layers.same_locations else ()),
                ("FFN of res3", "small, of its own" if layers.small_ffn else "that of the coarse levels"),
                ("pixel embedding", PIXEL_EMBEDDINGS[embedding]),
            ]
        case Pem(width):
            return [
                ("mapping", "PEM's pixel decoder before Mask2Former's transformer decoder, not before PEM's own"),
                ("layers", "none of tokens: res5, res4, res3 each convolved deformably and upsampled for the next"),
                (
                    "width",
                    f"{width or 'half of the head'}; the transformer decoder begins with a projection of each level",
                ),
                ("pixel embedding", "1x1 convolution and ReLU at stride 4"),
            ]
        case Hybrid():
            folded = "one 3x3 convolution each" if encoder.folded else "3x3 and 1x1 side by side, folded in inference"
            place = "its own place" if encoder.position_order == "token" else "the released code's, down columns"
            return [
                ("mapping", "ours: no code of RT-DETR's encoder as Mask2Former's pixel decoder is public"),
                ("layers", f"one of attention over res5; a token's position is {place}"),
                ("paths", f"top-down and bottom-up, {encoder.blocks} RepVGG blocks in each of 4 CSP layers"),
                ("RepVGG blocks", folded),
                ("pixel embedding", PIXEL_EMBEDDINGS[encoder.pixel_embedding]),
            ]
        case EarlyExit(exit_):
            leaves = f"always after layer {exit_}" if exit_ else "after the layer that its gate chooses, image by image"
            return [
                ("layers", f"Mask2Former's six; an image leaves {leaves}"),
                ("gate", "a linear layer on the mean of the projected res5"),
                ("pixel embedding", PIXEL_EMBEDDINGS["conv"]),
            ]
    return []


def _options_of_multiscale(encoder: MultiScale) -> list[tuple[str, str]]:
    mapping = "PRO-SCALE's stages in a detector: ours, no code is public; a layer sees the coarsest levels of its stage"
    share = f"{100 * encoder.keep:.6g} % of all tokens are refined in layers over all levels, by a score of ours"
    return [
        *([("mapping", mapping)] if any(encoder.stages[:-1]) else ()),
        *([("token retention", share)] if encoder.keep < 1 else ()),
        ("levels", "res6 to res3, with the positions and valid ratios of padded images; nothing at stride 4"),
    ]


def _options_of_detectors_lite(encoder: MultiScaleLite) -> list[tuple[str, str]]:
    layers, refined = encoder.interleaving, ", ".join(DETECTOR_LEVELS[: encoder.coarse])
    keys = "keys of their own projection" if layers.project_keys else "keys that are the values"
    return [
        ("layers", f"all read all levels and refine {refined}; the last of a block refines the others too"),
        ("attention", f"key-aware, with {keys}" if layers.key_aware else "plain: a query predicts its weights"),
        *([("locations", "the same offsets on all levels")] if layers.same_locations else ()),
        ("FFN of fine levels", "small, of its own" if layers.small_ffn else "that of the coarse levels"),
    ]


def _options_of_schedule(schedule: Schedule) -> list[tuple[str, str]]:
    gate = {"none": "none", "linear": "linear", "conv": "1x1 convolution"}[schedule.recalibration]
    if schedule.recalibration != "none":
        *others, last = schedule.levels[:-1]
        gate += f" on {schedule.finest}, temperature {schedule.recalibration_temperature:g}"
        gate += f", gates {', '.join(others)} and {last} ({schedule.recalibration_layout} layout)"
    mapping = [("levels", f"{', '.join(schedule.levels)} (our mapping, not the paper's)")]
    share = f"{100 * schedule.keep:.6g} % of {schedule.finest}'s tokens"
    retention = [("token retention", f"{share} are refined in layers that see all levels (ours, not the paper's)")]
    return [
        *(mapping if schedule.levels != LEVELS else ()),
        ("re-calibration", gate),
        ("pixel embedding", PIXEL_EMBEDDINGS[schedule.pixel_embedding]),
        ("residual", f"after every layer that does not see {schedule.finest}" if schedule.residual else "none"),
        *(retention if schedule.keep < 1 else ()),
    ]


def _mark(level: str, layer: LayerCost) -> str:
    """The mark of a level in a layer's column."""
    if level in layer.levels:
        kept_of = layer.levels if layer.keeps_of_all else layer.levels[-1:]
        return KEPT if layer.keep < 1 and level in kept_of else REFINED
    return READ if level in (layer.reads or ()) else UNSEEN


def _runs(marks: list[str]) -> str:
    """The marks of a stage's layers; of many layers each run by its number, as in `■ × 40`."""
    if len(marks) <= DRAWN_LAYERS:
        return " ".join(marks)
    return " ".join(f"{mark} × {len(list(run))}" for mark, run in groupby(marks))


def _a_layer(values: list[str]) -> str:
    """The values that a stage's layers have, as in `5,250 / 22,050`."""
    return " / ".join(dict.fromkeys(values))
