"""`proscale-bench report`: a run as a page, Markdown, LaTeX, CSV and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from proscale_bench.commands import completion
from proscale_bench.commands.options import ForceOption


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder that sweep, profile or eval wrote.")],
    out: Annotated[
        Optional[Path],  # noqa: UP045 - typer on Python 3.10 reads this form in every version
        typer.Option("--out", metavar="DIR", help="Where the report goes. \\[default: RUN]", show_default=False),
    ] = None,
    x: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--x",
            metavar="METRIC",
            autocompletion=completion.metrics,
            help="On the x axis; repeat for panels. \\[default: total_gflops, encoder_gflops]",
        ),
    ] = None,
    y: Annotated[
        str, typer.Option("--y", metavar="METRIC", autocompletion=completion.metrics, help="On the y axis.")
    ] = "pq",
    force: ForceOption = False,
) -> None:
    """Render a run: one offline page, Markdown, LaTeX, CSV and figures.

    Example: proscale-bench report reports/paper --x params_m
    """
    from proscale_bench.commands.reporting import refuse_reports, write_report
    from proscale_bench.render.console import stdout_console, warn
    from proscale_bench.results.metrics import get_metric
    from proscale_bench.results.store import load
    from proscale_bench.units import printable

    for name in (*(x or ()), y):
        get_metric(name)
    records, problems = load(run)
    folder = out or run
    refuse_reports(folder, force or folder.resolve() == run.resolve())
    for problem in problems:
        warn(f"{problem.message}; left out")
    path = write_report(records, folder, x or None, y)
    stdout_console().print(printable(f"report: {path}"), markup=False, soft_wrap=True)
