"""The picture of the field: models of many families, counted alike, timed in turns, published accuracies beside.

Run by hand, on a quiet machine:

    python benchmarks/field.py reports/field --measure 30

The session is run in its folder `models`, where the configurations are, with so many seconds a model: ten minutes in
all. Without `--measure` the records that are there are drawn. This reads them, counts every product
of each model at the size that was timed, and writes `field.md`, `field.csv`, `field.svg` and `field.png` beside them.
Accuracies are those of the registry: at the size that their source used, by weights that nobody loaded here. Latencies
are of random weights, at one size for all.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from proscale_bench.bench.any_model import find_model
from proscale_bench.bench.specs import ModelChoice
from proscale_bench.config.model_request import read_request
from proscale_bench.cost.count import as_given, count_model
from proscale_bench.cost.geometry import parse_size
from proscale_bench.cost.rules import get_rules
from proscale_bench.files import write_atomic
from proscale_bench.render.label_placement import Name, draw_names
from proscale_bench.render.style import COLORS, INK, WIDTH_INCHES, draw_point, save, style
from proscale_bench.render.table import Row, Table, markdown_table, markdown_text
from proscale_bench.results.record import Record
from proscale_bench.results.registry import PublishedRow, shipped_registry
from proscale_bench.results.store import load
from proscale_bench.specs.custom import CUSTOM

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# By the words that name a model in the session: what a reader calls it, and its row of the registry.
MODELS = {
    "baseline": ("Mask2Former R50", "mask2former-r50"),
    "3,3,3": ("PRO-SCALE 3,3,3 R50", "pro-scale-r50"),
    "hf:mask2former-r50.json": ("Mask2Former (HF)", "mask2former-r50"),
    "hf:maskformer-r50.json": ("MaskFormer R50", "maskformer-r50-coco-panoptic"),
    "hf:eomt-small-640.json(attn_mask_probs=0)": ("EoMT S", "eomt-vit-s-640"),
    "hf:eomt-base-640.json(attn_mask_probs=0)": ("EoMT B", "eomt-vit-b-640"),
    "hf:detr-r50.json": ("DETR R50", "detr-r50"),
    "hf:conditional-detr-r50.json": ("Conditional DETR R50", "conditional-detr-r50"),
    "hf:deformable-detr-r50.json": ("Deformable DETR R50", "deformable-detr-r50"),
    "hf:rt-detr-r18.json": ("RT-DETR R18", "rt-detr-r18"),
    "hf:rt-detr-r50.json": ("RT-DETR R50", "rt-detr-r50"),
    "hf:lw-detr-small.json": ("LW-DETR small", "lw-detr-small"),
    "hf:d-fine-l.json": ("D-FINE L", "d-fine-l"),
}
NOT_KNOWN = "–"
COLUMNS = (
    *("PQ", "box AP", "published at", "published GFLOPs", "GMACs here", "params, M"),
    *("ms here", "interval", "images/s here", "a pass here", "published images/s"),
)


@dataclass(frozen=True)
class Rival:
    """One model of the picture.

    Args:
        gmacs: every product of one image at the size that was timed, at one a multiply-accumulate.
        published: its row of the registry; None where that has none of COCO.
    """

    name: str
    record: Record
    gmacs: float
    published: PublishedRow | None

    @property
    def accuracy(self) -> tuple[str, float] | None:
        """The published accuracy, by the name of its metric."""
        row = self.published
        if row is None:
            return None
        return ("PQ", row.pq) if row.pq is not None else ("box AP", row.ap_bbox) if row.ap_bbox is not None else None

    @property
    def cells(self) -> tuple[str, ...]:
        row, profile = self.published, self.record.profile
        accuracy = dict([self.accuracy]) if self.accuracy else {}
        gflops = f"{row.gflops:g} ({_worth(row)})" if row and row.gflops else NOT_KNOWN
        fps = f"{row.fps:g} ({row.device}; {row.scope})" if row and row.fps else NOT_KNOWN
        params = self.record.cost.params_m["total"] if self.record.cost else 0.0
        assert profile is not None
        return (
            *(f"{accuracy[name]:g}" if name in accuracy else NOT_KNOWN for name in ("PQ", "box AP")),
            (row.size if row and row.size else NOT_KNOWN),
            gflops,
            f"{self.gmacs:.1f}",
            f"{params:.1f}",
            f"{profile.latency_median_ms:,.0f}",
            "[{:,.0f}, {:,.0f}]".format(*profile.latency_interval_ms),
            f"{profile.throughput_ips:.2f}",
            ", ".join(profile.contains),
            fps,
        )


def _worth(row: PublishedRow) -> str:
    flops = {"mac": "1 a MAC", "flop": "2 a MAC", "unknown": "convention not stated"}[row.convention or "unknown"]
    return f"{flops}, {row.counted}, {row.size or 'size not stated'}"


def rivals(records: Sequence[Record], configurations: Path) -> list[Rival]:
    """The models of a session, each counted once more: every product, whatever fvcore sees of it.

    Args:
        configurations: the folder that the session was run in, from which models are seen.
    """
    rows = {row.id: row for row in shipped_registry()}
    found = []
    os.chdir(configurations)
    for record in records:
        if record.profile is None or record.identity.schedule not in MODELS:
            continue
        name, row = MODELS[record.identity.schedule]
        found.append(Rival(name, record, _gmacs(record), rows[row] if row else None))
    order = list(MODELS)
    return sorted(found, key=lambda one: order.index(one.record.identity.schedule))


def _gmacs(record: Record) -> float:
    size = parse_size(record.input.size)
    if record.identity.model == CUSTOM:
        found = find_model(read_request(record.identity.schedule), record.input.size)
        return count_model(found.spec, found.size, get_rules("complete")).gflops["total"]
    (spec,) = ModelChoice(schedules=[record.identity.schedule], backbone=record.identity.backbone).specs()
    return count_model(spec, as_given(spec, size), get_rules("complete")).gflops["total"]


def document(found: Sequence[Rival]) -> str:
    """The table, and what each of its numbers is of."""
    first = found[0].record
    assert first.execution is not None
    size, profile = first.input.size, first.profile
    table = Table("", ("", *COLUMNS), tuple(Row(markdown_text(one.name), one.cells) for one in found))
    sources = {one.name: one.published for one in found if one.published}
    rounds = sorted({len(one.record.profile.samples_ms) for one in found if one.record.profile})
    lines = [
        f"# The field at {size}",
        "",
        "![published accuracy against milliseconds and GMACs](field.svg)",
        "",
        *markdown_table(table),
        "",
        f"- ms, images/s here: random weights, {first.execution.words}, {' to '.join(map(str, rounds))} rounds in "
        f"turns in one session ({profile.session if profile else ''}); median with its 95 % interval, of few rounds.",
        "- a pass here: pre-processing is normalising and padding on the device, network is from normalised images to "
        "logits, masks or boxes; post-processing is in none.",
        f"- GMACs here: one image of {size}, rules complete, 1 FLOP a multiply-accumulate: every product, attention "
        "and sampling among them, whatever an implementation fuses.",
        "- PQ, box AP, published GFLOPs and images/s: of the sources below, on COCO val2017, at the size in `published "
        "at` (`coco-first100`, `800,1333`: short side 800, long side at most 1333). Nothing was trained or evaluated "
        f"here; at {size} accuracies of those that were published at a larger size would be lower.",
        "- Models without accuracies have no row of COCO in the registry.",
        "",
        *(f"- {markdown_text(name)}: {markdown_text(row.source)}" for name, row in sources.items()),
    ]
    return "\n".join(lines) + "\n"


def figure(found: Sequence[Rival]) -> Figure:
    """Published accuracy against time, with its interval, and products: a row for PQ, one for box AP."""
    from matplotlib.figure import Figure

    first = found[0].record
    assert first.execution is not None
    palette = list(COLORS.values())
    with style():
        drawn = Figure(figsize=(WIDTH_INCHES, 6.4), layout="constrained")
        grid = drawn.subplots(2, 2, sharey="row", squeeze=False)
        panels = []
        for row, metric in zip(grid, ("PQ", "box AP"), strict=True):
            shown = [one for one in found if one.accuracy and one.accuracy[0] == metric]
            for axes, axis in zip(row, ("ms", "GMACs"), strict=True):
                names, points, bars = [], [], []
                for place, one in enumerate(shown):
                    assert one.accuracy is not None
                    assert one.record.profile is not None
                    x = one.record.profile.latency_median_ms if axis == "ms" else one.gmacs
                    point, color = (x, one.accuracy[1]), palette[place % len(palette)]
                    if axis == "ms":
                        bars.append([(end, point[1]) for end in one.record.profile.latency_interval_ms])
                        axes.plot(*zip(*bars[-1], strict=True), color=color, linewidth=1.2)
                    draw_point(axes, *point, color, color)
                    names.append(Name(one.name, point, INK, color))
                    points.append(point)
                axes.margins(0.45, 0.4)
                axes.set_xlim(left=0)
                where = f"ms a pass, {first.execution.device_name}" if axis == "ms" else "GMACs, every product"
                axes.set_xlabel(f"{where}\nat {first.input.size}, batch 1, random weights" if axis == "ms" else where)
                panels.append((axes, names, points, bars))
            row[0].set_ylabel(f"{metric}, COCO val2017, published")
        drawn.draw_without_rendering()
        drawn.set_layout_engine("none")  # the places found below must stay
        for axes, names, points, bars in panels:
            draw_names(axes, names, points, bars)
    return drawn


def table_csv(found: Sequence[Rival]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("model", "words", "size", *COLUMNS, "source"))
    for one in found:
        source = one.published.source if one.published else ""
        writer.writerow((one.name, one.record.identity.schedule, one.record.input.size, *one.cells, source))
    return stream.getvalue()


def measure(run: Path, seconds: float) -> None:
    """Time all models in turns, in place of the records that are there."""
    words = [word for one in MODELS for word in (("--model" if ":" in one else "--schedule"), one)]
    how = ("--backbone", "resnet50", "--size", "640x640", "--device", "cpu", "--threads", "2")
    shutil.rmtree(run / "records", ignore_errors=True)
    command = [sys.executable, "-m", "proscale_bench", "profile", *words, *how, "--max-seconds", str(seconds)]
    subprocess.run([*command, "--out", str(run), "--force"], check=True, cwd=run / "models")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the session")
    parser.add_argument("--measure", type=float, metavar="SECONDS", help="run the session first, so long a model")
    given = parser.parse_args()
    run = given.run.resolve()
    if given.measure is not None:
        measure(run, given.measure)
    found = rivals(load(run)[0], run / "models")
    write_atomic(run / "field.md", document(found))
    write_atomic(run / "field.csv", table_csv(found))
    drawn = figure(found)
    for kind in ("svg", "png"):
        write_atomic(run / f"field.{kind}", save(drawn, kind))
    print(document(found))


if __name__ == "__main__":
    main()
