"""Models as tables: dimensions, parameters, cost, published results, and the contents of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from proscale_bench.render.table import Row, Table
from proscale_bench.results.inspection import PARTS, STATUSES, Entry, Inspection, WarmStart
from proscale_bench.specs.backbones import BACKBONES, ResNet, Swin
from proscale_bench.specs.deformable_detr import DeformableDetrSpec
from proscale_bench.specs.encoders.hybrid import Hybrid
from proscale_bench.specs.encoders.multiscale import MultiScale
from proscale_bench.specs.encoders.staged import baseline, parse_compact
from proscale_bench.specs.families import OwnSpec
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.model import EncoderSpec

if TYPE_CHECKING:
    from proscale_bench.config.weights import WeightsHeader
    from proscale_bench.results.registry import PublishedRow

HOW_KNOWN = {"given": "as given", "metadata": "from the file's metadata", "shapes": "read off the tensors"}
NAMED_LEFT_BEHIND = 6
COMPARED = (baseline(), parse_compact("3,3,3"))
DETECTORS_COMPARED = (MultiScale(), MultiScale((2, 2, 1, 1)))


def list_table() -> Table:
    """Every backbone with the parameters and GFLOPs of the baseline and of 3,3,3."""
    from proscale_bench.cost.count import count_model
    from proscale_bench.cost.geometry import parse_size
    from proscale_bench.cost.rules import get_rules

    rows = []
    for name in BACKBONES:
        specs = (mask2former(schedule, name) for schedule in COMPARED)
        old, new = (count_model(spec, parse_size(), get_rules("fvcore")) for spec in specs)
        numbers = [old.params_m["backbone"]]
        numbers += [number for count in (old, new) for number in (count.params_m["total"], count.gflops["total"])]
        rows.append(Row(name, (str(mask2former(baseline(), name).head.queries), *(f"{n:.2f}" for n in numbers))))
    header = ("model", "queries", "backbone M", "baseline M", "GFLOPs", "3,3,3 M", "GFLOPs")
    return Table("", header, tuple(rows))


def weights_table(shipped: Mapping[str, WeightsHeader]) -> Table:
    """The weights that come with the package."""
    rows = (
        Row(name, (told.schedule.compact, "" if told.seed is None else str(told.seed)))
        for name, told in shipped.items()
    )
    return Table("", ("weights that ship", "schedule", "seed"), tuple(rows))


def dimensions(spec: OwnSpec) -> list[tuple[str, str]]:
    """The dimensions of a model as pairs of (name, value)."""
    return backbone_dimensions(spec.backbone) + head_dimensions(spec.head, spec.encoder)


def backbone_dimensions(backbone: ResNet | Swin, name: str = "") -> list[tuple[str, str]]:
    """The dimensions of a backbone as pairs; `name` goes before its kind."""
    if isinstance(backbone, ResNet):
        lines = [("backbone", f"{name} ResNet, depths {dashed(backbone.depths)}, frozen batch norm".lstrip())]
    else:
        lines = [
            ("backbone", f"{name} Swin, depths {dashed(backbone.depths)}, heads {dashed(backbone.heads)}".lstrip()),
            ("window", f"{backbone.window}"),
        ]
    return [*lines, ("channels res2 to res5", dashed(backbone.channels))]


def head_dimensions(head: Head, encoder: EncoderSpec) -> list[tuple[str, str]]:
    """The dimensions of everything after the backbone, as pairs; of a token layer where the encoder has any."""
    is_plain = isinstance(encoder, Hybrid)  # its one layer samples no points
    name, points = ("attention layer", "") if is_plain else ("token layer", f"{head.encoder_points} points a level, ")
    layer = (name, f"{head.encoder_heads} heads, {points}FFN {head.encoder_ffn}")
    return [
        ("width of the head", f"{head.width}"),
        *([layer] if encoder.layers else ()),
        ("transformer decoder", f"{head.decoder_layers} layers, {head.decoder_heads} heads, FFN {head.decoder_ffn}"),
        ("queries, classes", f"{head.queries}, {head.num_classes}"),
    ]


def parameter_table(spec: OwnSpec) -> Table:
    """The parameters of the baseline and of a schedule of PRO-SCALE, by part."""
    compared = DETECTORS_COMPARED if isinstance(spec, DeformableDetrSpec) else COMPARED
    counts = [replace(spec, encoder=schedule).parameters() for schedule in compared]
    rows = [Row(part.replace("_", " "), tuple(f"{count[part]:,}" for count in counts)) for part in counts[0]]
    rows.append(Row("total", tuple(f"{sum(count.values()):,}" for count in counts), strong=True))
    return Table("", ("parameters", *(schedule.compact for schedule in compared)), tuple(rows))


def published_table(results: Sequence[PublishedRow]) -> Table:
    """Published results on COCO val2017, each with the number of its source."""
    marks = {source: index for index, source in enumerate(_sources(results), start=1)}
    rows = []
    for result in results:
        found = (result.pq, result.ap, result.miou, result.fps)
        numbers = ("–" if value is None else f"{value:g}" for value in found)
        rows.append(Row(result.schedule, (result.pretraining, *numbers, f"[{marks[result.source]}]")))
    header = ("schedule", "pretraining", "PQ", "AP", "mIoU", "FPS", "source")
    return Table("published, COCO val2017 panoptic", header, tuple(rows))


def sources(results: Sequence[PublishedRow]) -> list[str]:
    """The numbered sources of `published_table`, and the hardware of its FPS."""
    lines = [f"[{index}] {source}" for index, source in enumerate(_sources(results), start=1)]
    hardware = dict.fromkeys(f"{result.device}, {result.scope}" for result in results if result.fps is not None)
    return lines + [f"FPS: {words}" for words in hardware]


def _sources(results: Sequence[PublishedRow]) -> list[str]:
    return list(dict.fromkeys(result.source for result in results))


def dashed(numbers: Sequence[int]) -> str:
    """Numbers as `2-2-6-2`."""
    return "-".join(map(str, numbers))


def facts(inspection: Inspection) -> list[tuple[str, str]]:
    """The contents of the file as pairs of (name, value)."""
    lines = [("format", inspection.format), ("layout", inspection.layout)]
    if inspection.entry:
        lines.append(("weights under", inspection.entry))
    if inspection.left_behind:
        named = ", ".join(inspection.left_behind[:NAMED_LEFT_BEHIND])
        more = len(inspection.left_behind) - NAMED_LEFT_BEHIND
        lines.append(("beside them", f"{named}, and {more} more" if more > 0 else named))
    lines.append(("schedule", f"{inspection.schedule.compact} ({HOW_KNOWN[inspection.schedule_from]})"))
    if inspection.backbone is None:
        lines.append(("backbone", "missing: the file holds a head alone"))
        lines.append(("channels res2 to res5", dashed(inspection.channels)))
    else:
        name = inspection.backbone_name
        lines += backbone_dimensions(inspection.backbone, f"{name}:" if name else "custom")
    lines += head_dimensions(inspection.head, inspection.schedule)
    lines += [
        ("parameters", f"{inspection.parameters:,}"),
        ("stored as", ", ".join(f"{number} tensors {dtype}" for dtype, number in inspection.dtypes.items())),
        *(("metadata", f"{key}: {_short(value)}") for key, value in inspection.metadata.items()),
        ("digest of the weights", inspection.digest),
    ]
    return lines


def account_table(inspection: Inspection) -> Table:
    """The number of tensors of each part, by status."""
    total = inspection.count()
    header = [status for status in reversed(STATUSES) if total[status] or status not in ("unused", "derived")]
    rows = []
    for part in PARTS:
        counts = inspection.count(part)
        if counts:
            rows.append(Row(part, tuple(str(counts[status] or "") for status in header)))
    rows.append(Row("all", tuple(str(total[status]) for status in header), strong=True))
    return Table("", ("tensors", *header), tuple(rows))


def entry_lines(entry: Entry, columns: int) -> list[str]:
    """A tensor on one line where there is room, else with the model's name for it on a second line."""
    what = f"{entry.status:10}  {entry.key}  {list(entry.shape)} {entry.dtype}"
    renamed = entry.model_key is not None and entry.model_key != entry.key
    ours = f"-> {entry.model_key}" if renamed else ""
    if entry.how:
        ours += f"{' ' if ours else ''}({entry.how})"
    if not ours:
        return [what]
    return [f"{what}  {ours}"] if len(what) + len(ours) + 2 <= columns else [what, f"{'':12}{ours}"]


def warm_start_lines(started: WarmStart) -> list[str]:
    """The tensors that the new model has from the baseline, and those that it has not."""
    lines = [
        f"taken    {len(started.taken)} tensors",
        f"sliced   {len(started.sliced)} tensors, to the levels a layer sees",
    ]
    if started.layers:
        mapping = ", ".join(f"{new} from {old}" for new, old in enumerate(started.layers))
        lines.append(f"layers   {mapping}")
    return lines + [f"left     {key}: {reason}" for key, reason in started.left.items()]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
