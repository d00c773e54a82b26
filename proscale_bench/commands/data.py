"""`proscale-bench data`: data sets to evaluate on and to train with."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from proscale_bench.commands.options import (
    EXPORT_JSON,
    FORCE,
    BenchCommand,
    BenchSubgroup,
    MaybePath,
    MaybeStr,
    MaybeStrs,
    flag,
)
from proscale_bench.errors import BenchError, one_of
from proscale_bench.units import printable

if TYPE_CHECKING:
    from rich.console import Console

    from proscale_bench.data.shapes.writing import Written
    from proscale_bench.results.data_check import DataCheck

PATIENCE_S = 2  # what takes no longer has no bar

HELP = """Data sets: look through one, convert one, make the embedded one.

Example: proscale-bench data check ~/coco
"""

app = typer.Typer(cls=BenchSubgroup, help=HELP, no_args_is_help=True)


@app.command("check", cls=BenchCommand)
def check(
    folder: Path = typer.Argument(
        metavar="DIR", help="Folder with annotations/ and the folders of images, as COCO's archives unpack."
    ),
    split: MaybeStr = flag("--split NAME", "Split, such as val2017. [default: val2017, val, or the only one]"),
    quick: bool = flag("--quick", "Read only the headers of images, and decode no pixel."),
    everything: bool = flag("--all", "List every finding, not the first ones of a kind."),
    export_json: MaybePath = EXPORT_JSON,
    force: bool = FORCE,
) -> None:
    """Check a data set: every annotation, image and map. Errors would stop an evaluation; warnings would not.

    Example: proscale-bench data check ~/coco --quick
    """
    from proscale_bench.commands.exporting import Exports
    from proscale_bench.commands.progress import progress_bar
    from proscale_bench.data.check import check_dataset

    exports = Exports(json=export_json, force=force)
    with progress_bar("images") as bar:

        def show_progress(done: int, total: int) -> None:
            bar.show(f"images {bar.per_second:,.0f}/s" if bar.per_second else "images", done, total)

        found = check_dataset(folder, split, quick=quick, progress=show_progress)
    show(found, exports.console, everything)
    exports.write([found.row()], lambda: "")
    if found.errors:
        hint = None if everything else "--all lists every one, --export-json writes them to a file"
        raise BenchError(f"{folder}: {_counted(found.errors, 'problem')} would stop an evaluation", hint)


def show(found: DataCheck, console: Console, everything: bool) -> None:
    """Print the facts, then every kind of problem with examples, its meaning and what to do."""
    from rich.padding import Padding
    from rich.text import Text

    from proscale_bench.render import data_check as render

    console.print(Text(printable(found.folder), style="bold"))
    for what, how in render.facts(found):
        console.print(Text(printable(f"{what:17} {how}")), soft_wrap=True)
    for kind, findings in found.by_kind():
        console.print()
        style = "bold red" if kind.severity == "error" else "bold yellow"
        console.print(Text(printable(render.heading(kind, findings)), style=style))
        for line in render.example_lines(findings, everything):
            console.print(Padding(Text(printable(line)), (0, 0, 0, 2), expand=False))
        console.print(Padding(Text(kind.meaning, style="dim"), (0, 0, 0, 2), expand=False))
    console.print()
    console.print(Text(printable(render.verdict(found)), style="bold"))


@app.command("make-shapes", cls=BenchCommand)
def make_shapes(
    folder: Path = typer.Argument(metavar="DIR", help="Folder to write to; made where it is missing."),
    images: int = flag("--images, -n N", "Number of images.", default=256),
    seed: int = flag("--seed N", "Seed; the same one gives the same pixels, everywhere.", default=0),
    split: str = flag("--split NAME", "Name of the split, as in COCO's folders.", default="val"),
    force: bool = flag("--force", "Replace a split of Shapes that is there."),
) -> None:
    """Write Shapes, a synthetic data set of things, stuff, crowds and void, in COCO's formats.

    Example: proscale-bench data make-shapes shapes --images 2000 --seed 1 --split train
    """
    from proscale_bench.commands.exporting import print_lines
    from proscale_bench.commands.progress import progress_bar, uninterrupted
    from proscale_bench.render.console import stdout_console

    with uninterrupted():
        from proscale_bench.data.shapes.writing import write_shapes

    try:
        with progress_bar("images", images, after_s=PATIENCE_S) as bar:
            written = write_shapes(
                folder, images, seed, split, force=force, progress=lambda done, total: bar.show(None, done)
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"nothing is left in {folder}") from None
    console = stdout_console()
    print_lines(console, _said(written, folder, split, seed), style="", soft_wrap=True)
    print_lines(console, [f"check it: proscale-bench data check {folder}"], soft_wrap=True)


@app.command("convert", cls=BenchCommand)
def convert(
    kind: str = typer.Argument(
        metavar="KIND", help="Layout: cityscapes, ade20k, coco-instances, index-pngs, yolo or segments-info."
    ),
    source: Path = typer.Argument(metavar="SOURCE", help="Folder of the data set, or YOLO's YAML file."),
    out: Path = typer.Argument(metavar="OUT", help="Folder to write to, in COCO's layout."),
    split: MaybeStrs = flag("--split NAME", "Split of the source. Repeat for several. [default: all]"),
    classes: MaybePath = flag("--classes FILE", "List of classes, for index-pngs and segments-info."),
    void: MaybeStrs = flag("--void LABEL", "Label without a class, by number or name, for index-pngs. [default: 255]"),
    no_images: bool = flag("--no-images", "Convert the annotations alone."),
    copy: bool = flag("--copy", "Copy images instead of making hard links."),
    allow_unlabelled: bool = flag(
        "--allow-unlabelled", "Take images without labels as empty (yolo), or leave them out (index-pngs)."
    ),
    force: bool = flag("--force", "Replace a folder that convert wrote."),
) -> None:
    """Convert a data set to COCO's layout, which eval and train read. It is written whole, or not at all.

    Example: proscale-bench data convert cityscapes ~/cityscapes cityscapes-coco --split val
    """
    from proscale_bench.commands.exporting import print_lines
    from proscale_bench.commands.progress import progress_bar
    from proscale_bench.data.convert.convert import convert
    from proscale_bench.data.convert.source import ConvertRequest, Kind
    from proscale_bench.render.console import stdout_console

    request = ConvertRequest(source, tuple(split or ()), classes, tuple(void or ()), not no_images, allow_unlabelled)
    start = time.monotonic()
    try:
        with progress_bar("images", after_s=PATIENCE_S) as bar:

            def show_progress(done: int, total: int) -> None:
                is_long = time.monotonic() - start > PATIENCE_S
                bar.show("images", done, total, line=(lambda: f"{done:,}/{total:,} images") if is_long else None)

            written = convert(one_of(Kind, kind, "kind"), request, out, force=force, copy=copy, progress=show_progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"nothing is left in {out}") from None
    console = stdout_console()
    for one in written:
        hidden = f"; {_counted(one.hidden, 'instance')} wholly below others, in no panoptic map" if one.hidden else ""
        said = (
            f"{one.name}: {_counted(one.images, 'image')}, {_counted(one.segments, 'segment')}, "
            f"{_counted(one.instances, 'instance')} ({_counted(one.crowds, 'crowd')}), "
            f"{one.categories:,} categories{hidden}"
        )
        print_lines(console, [printable(said)], style="", soft_wrap=True)
    print_lines(console, [printable(f"check it: proscale-bench data check {out}")], soft_wrap=True)


def _said(written: Written, folder: Path, split: str, seed: int) -> list[str]:
    large = written.things - written.small - written.medium
    return [
        f"Shapes, seed {seed}: {_counted(written.images, 'image')} in {folder / split}",
        f"{_counted(written.things, 'thing')} ({written.small:,} small, {written.medium:,} medium, {large:,} large), "
        f"{_counted(written.stuff, 'region')} of stuff, {_counted(written.crowds, 'crowd')}, "
        f"{_counted(written.voids, 'image')} with void",
        f"annotations: {folder / 'annotations' / f'panoptic_{split}.json'} and instances_{split}.json",
    ]


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
