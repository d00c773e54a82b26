"""`proscale-bench report`: a run as a page, Markdown, LaTeX, CSV and figures, which `sweep` writes too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from proscale_bench.commands.options import FORCE, MaybePath, MaybeStrs, flag

if TYPE_CHECKING:
    from rich.console import Console

    from proscale_bench.results.record import Record

FILES = ("index.html", "report.md", "report.tex", "report.csv", "pareto.svg", "pareto.png", "costs.svg", "costs.png")
PROFILE_FILES = ("latency.svg", "latency.png")  # where something was run on a device
SAVINGS_FILES = ("savings.svg", "savings.png")  # beside its baseline


def report(
    run: Path = typer.Argument(metavar="RUN", help="Folder that sweep, profile or eval wrote."),
    out: MaybePath = flag("--out DIR", "Folder to write to. [default: RUN]", show_default=False),
    x: MaybeStrs = flag(
        "--x METRIC", "Metric on the x axis. Repeat for several panels. [default: total_gflops, encoder_gflops]"
    ),
    y: str = flag("--y METRIC", "Metric on the y axis.", default="pq"),
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
    from proscale_bench.results.metrics import get_metric
    from proscale_bench.results.store import load

    for name in (*(x or ()), y):
        get_metric(name)
    if export_parquet is not None:
        require_parquet()
        refuse_overwrite(export_parquet, force)
    records, problems = load(run)
    folder = out or run
    refuse_reports(folder, force or folder.resolve() == run.resolve())
    warn_of_gaps(problems, records)
    path = write_report(records, folder, x or None, y)
    if export_parquet is not None:
        write_atomic(export_parquet, parquet(records))
    print_lines(stdout_console(), [f"report: {path}"], style="", soft_wrap=True)


def refuse_reports(folder: Path, force: bool) -> None:
    """Refuse to overwrite files of another run, and to begin what ends with figures that cannot be drawn.

    Raises:
        BenchError: a file of a report is there already.
        ModuleNotFoundError: matplotlib is not installed.
    """
    from importlib.util import find_spec

    from proscale_bench.files import refuse_overwrite

    if find_spec("matplotlib") is None:
        raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
    for name in (*FILES, *PROFILE_FILES, *SAVINGS_FILES):
        refuse_overwrite(folder / name, force)


def write_report(records: Sequence[Record], folder: Path, x: Sequence[str] | None = None, y: str | None = None) -> Path:
    """Write every file of a report; the path of its page."""
    from proscale_bench.analysis.frame import rows
    from proscale_bench.analysis.settings import by_setting, profiled
    from proscale_bench.commands.progress import uninterrupted
    from proscale_bench.files import write_atomic
    from proscale_bench.render.bars import costs_figure, latency_figure
    from proscale_bench.render.figure import DEFAULT_Y, default_x, pareto_figure
    from proscale_bench.render.latex import latex
    from proscale_bench.render.markdown import report as markdown
    from proscale_bench.render.page import page
    from proscale_bench.render.savings import has_savings, savings_figure
    from proscale_bench.render.style import load_matplotlib, save
    from proscale_bench.results.export import to_csv

    with uninterrupted():
        load_matplotlib()
    ordered = [record for group in by_setting(records).values() for record in group]
    costs, worth = tuple(x or default_x(ordered)), y or DEFAULT_Y
    made_by = reproduce(ordered)
    figures = [pareto_figure(ordered, costs, worth), costs_figure(ordered)]
    names: tuple[str, ...] = FILES
    if profiled(ordered):
        figures.append(latency_figure(ordered))
        names += PROFILE_FILES
    if has_savings(ordered):
        figures.append(savings_figure(ordered))
        names += SAVINGS_FILES
    documents: list[str | bytes] = [
        page(ordered, made_by, costs, worth),
        markdown(ordered, made_by, costs, worth),
        latex(ordered),
        to_csv(rows(ordered)),
        *(save(figure, kind) for figure in figures for kind in ("svg", "png")),
    ]
    for name, document in zip(names, documents, strict=True):
        write_atomic(folder / name, document)
    return folder / FILES[0]


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
