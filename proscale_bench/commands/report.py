"""`proscale-bench report`: a run as a page, Markdown, LaTeX, CSV and figures, which `sweep` writes too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from proscale_bench.commands.options import FORCE, MaybePath, MaybeStr, MaybeStrs, flag
from proscale_bench.errors import BenchError, one_of
from proscale_bench.units import printable

if TYPE_CHECKING:
    from rich.console import Console

    from proscale_bench.render.style import FigureFormat
    from proscale_bench.results.record import Record

FurtherFormat = Literal["pdf"]
DOCUMENTS = ("index.html", "report.md", "report.tex", "report.csv")
FIGURES = ("pareto", "costs", "latency", "savings")  # the last two where something was run on a device
FORMATS: tuple[FigureFormat, ...] = ("svg", "png")
FILES = (*DOCUMENTS, *(f"{figure}.{kind}" for figure in FIGURES[:2] for kind in FORMATS))  # of every report
SHOWN = "What is shown"


def report(
    run: Path = typer.Argument(metavar="RUN", help="Folder that sweep, profile or eval wrote."),
    out: MaybePath = flag("--out DIR", "Folder to write to. [default: RUN]", show_default=False),
    x: MaybeStrs = flag(
        "--x METRIC", "Metric on the x axis. Repeat for several panels. [default: total_gflops, encoder_gflops]"
    ),
    y: MaybeStr = flag("--y METRIC", "Metric on the y axis. [default: pq; ap_bbox for detectors alone]"),
    size: MaybeStrs = flag(
        "--size SIZE", "Image size, as the records have it. Repeat for several. [default: all]", SHOWN
    ),
    backbone: MaybeStrs = flag("--backbone, -b NAME", "Backbone. Repeat for several. [default: all]", SHOWN),
    schedule: MaybeStrs = flag("--schedule, -s SCHEDULE", "Schedule. Repeat for several. [default: all]", SHOWN),
    figure_format: MaybeStr = flag("--format FORMAT", "Format of the figures beside SVG and PNG: pdf. [default: none]"),
    published: MaybeStrs = flag(
        "--published NAME",
        "Draw what others print of this family, such as PEM or all, where it can be compared. Repeat for several.",
        SHOWN,
    ),
    export_parquet: MaybePath = flag(
        "--export-parquet PATH", "Parquet file for the rows of report.csv. Needs pyarrow."
    ),
    force: bool = FORCE,
) -> None:
    """Render a run: one offline page, Markdown, LaTeX, CSV and figures.

    Example: proscale-bench report reports/paper --x params_m
    """
    from proscale_bench.analysis.frame import parquet, require_parquet
    from proscale_bench.commands.exporting import print_lines, warn_of_gaps
    from proscale_bench.files import refuse_overwrite, write_atomic
    from proscale_bench.render.console import stdout_console
    from proscale_bench.render.figure import default_y
    from proscale_bench.results.metrics import get_metric
    from proscale_bench.results.store import load

    for name in (*(x or ()), *([y] if y else ())):
        get_metric(name)
    if export_parquet is not None:
        require_parquet()
        refuse_overwrite(export_parquet, force)
    formats = FORMATS if figure_format is None else (*FORMATS, one_of(FurtherFormat, figure_format, "format"))
    records, problems = load(run)
    chosen = chosen_records(records, size or (), backbone or (), schedule or ())
    folder = out or run
    overwrite = force or folder.resolve() == run.resolve()
    refuse_reports(folder, overwrite, formats)
    warn_of_gaps(problems, records)
    marks = published_beside(chosen, published, y or default_y(chosen)) if published else ()
    path = write_report(chosen, folder, x or None, y, formats, overwrite, marks)
    if export_parquet is not None:
        write_atomic(export_parquet, parquet(chosen), overwrite=force)
    print_lines(stdout_console(), [f"report: {path}"], style="", soft_wrap=True)


def published_beside(records: Sequence[Record], names: Sequence[str], y: str) -> Sequence[Record]:
    """The published rows of some families as records beside a run's; those that cannot be compared are named.

    Raises:
        BenchError: an unknown family, or no row that can be drawn.
    """
    from proscale_bench.analysis.published_marks import published_marks
    from proscale_bench.render.console import note
    from proscale_bench.results.registry import of_families, shipped_registry

    everything = [] if "all" in names else list(names)
    found = published_marks(of_families(shipped_registry(), everything), records, y)
    for one in found.notes():
        note(one)
    return found.drawn


def chosen_records(
    records: Sequence[Record], sizes: Sequence[str], backbones: Sequence[str], schedules: Sequence[str]
) -> Sequence[Record]:
    """The records that a report is asked to show; accuracies, which have no size of their own, at every size.

    Args:
        sizes, backbones, schedules: what is shown; all where nothing is named.

    Raises:
        BenchError: something that no record has, with what there is.
    """
    from proscale_bench.analysis.settings import setting_of

    def of_size(record: Record) -> str | None:
        return record.input.size if setting_of(record).evaluation is None else None

    asked: list[tuple[str, Sequence[str], Callable[[Record], str | None]]] = [
        ("size", sizes, of_size),
        ("backbone", backbones, lambda record: record.identity.backbone),
        ("schedule", [_spelling(word) for word in schedules], lambda record: record.identity.schedule),
    ]
    for what, wanted, read in asked:
        there = list(dict.fromkeys(found for record in records if (found := read(record)) is not None))
        for word in wanted:
            if word not in there:
                raise BenchError(f"no record of the {what} '{printable(word)}'", f"there are: {'; '.join(there)}")
        if wanted:
            records = [record for record in records if read(record) in (*wanted, None)]
    return records


def _spelling(schedule: str) -> str:
    """The canonical spelling of a schedule, or the word as it is where it is none."""
    from proscale_bench.config.catalogue import parse_schedule

    try:
        return parse_schedule(schedule).compact
    except BenchError:
        return schedule


def refuse_reports(folder: Path, force: bool, formats: Sequence[str] = FORMATS) -> None:
    """Refuse to overwrite files of another run, and to begin what ends with figures that cannot be drawn.

    Raises:
        BenchError: a file of a report is there already.
        ModuleNotFoundError: matplotlib is not installed.
    """
    from importlib.util import find_spec

    from proscale_bench.files import refuse_overwrite

    if find_spec("matplotlib") is None:
        raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
    for name in (*DOCUMENTS, *(f"{figure}.{kind}" for figure in FIGURES for kind in formats)):
        refuse_overwrite(folder / name, force)


def write_report(
    records: Sequence[Record],
    folder: Path,
    x: Sequence[str] | None = None,
    y: str | None = None,
    formats: Sequence[FigureFormat] = FORMATS,
    overwrite: bool = True,
    published: Sequence[Record] = (),
) -> Path:
    """Write every file of a report; the path of its page.

    Args:
        published: rows of others, which the page and the Pareto figure draw beside the run's own.
    """
    from proscale_bench.analysis.frame import rows
    from proscale_bench.analysis.settings import by_setting, profiled
    from proscale_bench.commands.progress import uninterrupted
    from proscale_bench.files import write_atomic
    from proscale_bench.render.bars import costs_figure, latency_figure
    from proscale_bench.render.figure import default_x, default_y, pareto_figure
    from proscale_bench.render.latex import latex
    from proscale_bench.render.markdown import report as markdown
    from proscale_bench.render.page import page
    from proscale_bench.render.savings import has_savings, savings_figure
    from proscale_bench.render.style import load_matplotlib, save
    from proscale_bench.results.export import to_csv

    with uninterrupted():
        load_matplotlib()
    ordered = [record for group in by_setting(records).values() for record in group]
    costs, worth = tuple(x or default_x(ordered)), y or default_y(ordered)
    made_by = reproduce(ordered)
    drawn = [record for group in by_setting([*ordered, *published]).values() for record in group]
    figures = {"pareto": pareto_figure(drawn, costs, worth), "costs": costs_figure(ordered)}
    if profiled(ordered):
        figures["latency"] = latency_figure(ordered)
    if has_savings(ordered):
        figures["savings"] = savings_figure(ordered)
    documents: list[str | bytes] = [
        page(drawn, made_by, costs, worth),
        markdown(ordered, made_by, costs, worth),
        latex(ordered),
        to_csv(rows(ordered)),
        *(save(figure, kind) for figure in figures.values() for kind in formats),
    ]
    names = (*DOCUMENTS, *(f"{name}.{kind}" for name in figures for kind in formats))
    for name, document in zip(names, documents, strict=True):
        write_atomic(folder / name, document, overwrite)
    return folder / DOCUMENTS[0]


def show_run(records: Sequence[Record], path: Path, console: Console) -> None:
    """Print a run's tables, and where its report is."""
    from proscale_bench.analysis.views import side_by_side
    from proscale_bench.commands.exporting import print_lines, print_tables
    from proscale_bench.render.side_by_side import footer, tables

    found = side_by_side(records)
    if not found:
        show_costs(records, console)
    for side in found:
        print_tables(console, tables(side, console.width), break_labels=True)
        print_lines(console, footer(side))
    print_lines(console, [f"report: {path}"], style="", soft_wrap=True)


def show_costs(records: Sequence[Record], console: Console) -> None:
    """Print what a run counted."""
    from proscale_bench.commands.exporting import print_lines, print_tables
    from proscale_bench.render.side_by_side import costs_footer, costs_table

    print_tables(console, filter(None, [costs_table(records)]))
    print_lines(console, costs_footer(records))


def reproduce(records: Sequence[Record]) -> list[str]:
    """The command of the shipped sweep that these records are, if they are one."""
    from proscale_bench.sweeps.plan import shipped_sweep_of

    counted = {record.digest for record in records if record.execution is None}
    name = shipped_sweep_of(counted, measures=len(counted) < len(records))
    return [f"proscale-bench sweep {name}"] if name else []
