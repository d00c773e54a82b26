"""`proscale-bench models published`: what others print about their models, each number with its source."""

from __future__ import annotations

from typing import get_args

from proscale_bench.commands.options import ExportOptions, MaybePath, MaybeStr, MaybeStrs, flag, takes
from proscale_bench.errors import BenchError, one_of
from proscale_bench.specs.tasks import Task


class PublishedOptions(ExportOptions):
    """The flags of `models published`."""

    family: MaybeStrs = flag("--family, -f NAME", "Family, such as EoMT. Repeat for several. [default: all]")
    task: MaybeStr = flag(
        "--task NAME", f"Task of the accuracies: {', '.join(get_args(Task)[:-1])} or {get_args(Task)[-1]}."
    )
    convention: MaybeStr = flag(
        "--convention NAME",
        "Convert GFLOPs to one FLOP a multiply-accumulate (mac) or two (flop). [default: as printed]",
    )
    registry: MaybePath = flag("--registry FILE", "CSV of your own rows. [default: those that ship]")


@takes(PublishedOptions)
def published(options: PublishedOptions) -> None:
    """Show published accuracies, costs and speeds, each with size, convention and source.

    Example: proscale-bench models published --family EoMT --family PEM
    """
    from proscale_bench.commands.exporting import print_lines, print_tables
    from proscale_bench.cost.rules import Convention
    from proscale_bench.render import published as render
    from proscale_bench.results.registry import of_families, read_registry, shipped_registry

    exports = options.exports()
    to = one_of(Convention, options.convention, "convention") if options.convention else None
    if options.task is not None:
        one_of(Task, options.task, "task")
    known = read_registry(options.registry) if options.registry else shipped_registry()
    rows = [row for row in of_families(known, options.family or []) if options.task in (None, row.task)]
    if not rows:
        raise BenchError(f"no published result of the task '{options.task}' among these", "leave out --task")
    console = exports.console
    print_tables(console, render.tables(rows, to))
    print_lines(console, render.footer(rows, to), soft_wrap=True)
    exports.write([render.json_row(row, to) for row in rows], lambda: render.markdown(rows, to))
