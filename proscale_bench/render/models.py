"""Models as tables: dimensions, parameters, cost, and published results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from proscale_bench.render.table import Row, Table
from proscale_bench.specs.backbones import BACKBONES, ResNet, Swin
from proscale_bench.specs.encoders.staged import baseline, parse_compact
from proscale_bench.specs.mask2former import Mask2FormerSpec, mask2former
from proscale_bench.specs.masked_decoder import Head

if TYPE_CHECKING:
    from proscale_bench.config.weights import WeightsHeader
    from proscale_bench.results.published import PublishedResult

COMPARED = (baseline(), parse_compact("3,3,3"))


def list_table() -> Table:
    """Every backbone with the parameters and GFLOPs of the baseline and of 3,3,3."""
    from proscale_bench.cost.count import count_model
    from proscale_bench.cost.geometry import parse_size
    from proscale_bench.cost.rules import get_rules

    rows = []
    for name in BACKBONES:
        specs = (mask2former(schedule, name) for schedule in COMPARED)
        old, new = (count_model(spec, parse_size(), get_rules("fvcore")) for spec in specs)
        rows.append(
            Row(
                name,
                (
                    str(mask2former(baseline(), name).head.queries),
                    f"{old.params_m['backbone']:.2f}",
                    f"{old.params_m['total']:.2f}",
                    f"{old.gflops['total']:.2f}",
                    f"{new.params_m['total']:.2f}",
                    f"{new.gflops['total']:.2f}",
                ),
            )
        )
    header = ("model", "queries", "backbone M", "baseline M", "GFLOPs", "3,3,3 M", "GFLOPs")
    return Table("", header, tuple(rows))


def weights_table(shipped: Mapping[str, WeightsHeader]) -> Table:
    """The weights that come with the package."""
    rows = (
        Row(name, (told.schedule.compact, "" if told.seed is None else str(told.seed)))
        for name, told in shipped.items()
    )
    return Table("", ("weights that ship", "schedule", "seed"), tuple(rows))


def dimensions(spec: Mask2FormerSpec) -> list[tuple[str, str]]:
    """The dimensions of a model as pairs of (name, value)."""
    return backbone_dimensions(spec.backbone) + head_dimensions(spec.head)


def backbone_dimensions(backbone: ResNet | Swin, name: str = "") -> list[tuple[str, str]]:
    """The dimensions of a backbone as pairs; `name` goes before its kind."""
    if isinstance(backbone, ResNet):
        lines = [("backbone", f"{name} ResNet, depths {dashed(backbone.depths)}, frozen batch norm".lstrip())]
    else:
        lines = [
            (
                "backbone",
                f"{name} Swin, depths {dashed(backbone.depths)}, heads {dashed(backbone.heads)}".lstrip(),
            ),
            ("window", f"{backbone.window}"),
        ]
    return [*lines, ("channels res2 to res5", dashed(backbone.channels))]


def head_dimensions(head: Head) -> list[tuple[str, str]]:
    """The dimensions of everything after the backbone, as pairs."""
    return [
        ("width of the head", f"{head.width}"),
        (
            "token layer",
            f"{head.encoder_heads} heads, {head.encoder_points} points a level, FFN {head.encoder_ffn}",
        ),
        (
            "transformer decoder",
            f"{head.decoder_layers} layers, {head.decoder_heads} heads, FFN {head.decoder_ffn}",
        ),
        ("queries, classes", f"{head.queries}, {head.num_classes}"),
    ]


def parameter_table(spec: Mask2FormerSpec) -> Table:
    """The parameters of the baseline and of 3,3,3, by part."""
    counts = [replace(spec, encoder=schedule).parameters() for schedule in COMPARED]

    def line(label: str, part: str, strong: bool = False) -> Row:
        return Row(label, tuple(f"{count[part] if part else sum(count.values()):,}" for count in counts), strong=strong)

    return Table(
        "",
        ("parameters", *(schedule.compact for schedule in COMPARED)),
        (
            line("backbone", "backbone"),
            line("encoder", "encoder"),
            line("transformer decoder", "transformer_decoder"),
            line("total", "", strong=True),
        ),
    )


def published_table(results: Sequence[PublishedResult]) -> Table:
    """Published results on COCO val2017, each with the number of its source."""
    marks = {source: index for index, source in enumerate(_sources(results), start=1)}
    rows = tuple(
        Row(
            result.schedule,
            (
                result.pretraining,
                *(_known(value) for value in (result.pq, result.ap, result.miou, result.fps)),
                f"[{marks[result.source]}]",
            ),
        )
        for result in results
    )
    return Table(
        "published, COCO val2017 panoptic", ("schedule", "pretraining", "PQ", "AP", "mIoU", "FPS", "source"), rows
    )


def sources(results: Sequence[PublishedResult]) -> list[str]:
    """The numbered sources of `published_table`, and the hardware of its FPS."""
    lines = [f"[{index}] {source}" for index, source in enumerate(_sources(results), start=1)]
    hardware = dict.fromkeys(result.fps_hardware for result in results if result.fps is not None)
    return lines + [f"FPS: {words}" for words in hardware]


def _known(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _sources(results: Sequence[PublishedResult]) -> list[str]:
    return list(dict.fromkeys(result.source for result in results))


def dashed(numbers: Sequence[int]) -> str:
    """Numbers as `2-2-6-2`."""
    return "-".join(map(str, numbers))
