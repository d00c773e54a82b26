"""`proscale-bench models published` and `models recount`: what others print, with its source, and counted again."""

from __future__ import annotations

from typing import get_args

from proscale_bench.commands.options import ExportOptions, MaybePath, MaybeStr, MaybeStrs, flag, takes
from proscale_bench.errors import BenchError, one_of
from proscale_bench.specs.tasks import Task

FAMILY = flag("--family, -f NAME", "Family, such as EoMT. Repeat for several. [default: all]")


class PublishedOptions(ExportOptions):
    """The flags of `models published`."""

    family: MaybeStrs = FAMILY
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


class RecountOptions(ExportOptions):
    """The flags of `models recount`."""

    family: MaybeStrs = FAMILY
    brief: bool = flag("--brief", "Leave out the numbers that cannot be counted here.")


@takes(RecountOptions)
def recount(options: RecountOptions) -> None:
    """Count published FLOPs again from models that are built here, and say where and why they differ.

    Example: proscale-bench models recount --family RT-DETR
    """
    from proscale_bench.commands.exporting import print_lines, print_tables
    from proscale_bench.commands.progress import LINE_EVERY_S, progress_bar
    from proscale_bench.render import recounts as render
    from proscale_bench.results.recounts import recounts
    from proscale_bench.results.registry import of_families, shipped_registry

    exports = options.exports()
    wanted = {row.id for row in of_families(shipped_registry(), options.family or [])}
    chosen = [one for one in recounts() if one.id in wanted and (one.model or not options.brief)]
    if not chosen:
        raise BenchError("no number of FLOPs is published of these", "see 'models published'")
    if any(one.model.startswith("hf:") for one in chosen):
        require_transformers()
    from proscale_bench.bench.recount import recount as count_again

    found = []
    with progress_bar("recounting", line_after_s=LINE_EVERY_S) as bar:
        for done, one in enumerate(chosen):
            line = f"recounting {one.id}"
            bar.show(one.id, done, len(chosen), line=line.__str__)
            found.append(count_again(one))
    console = exports.console
    print_tables(console, [render.table(found)])
    print_lines(console, render.footer(found), soft_wrap=True)
    exports.write([render.json_row(one) for one in found], lambda: render.markdown(found))


def require_transformers() -> None:
    """Find that transformers is missing before anything is counted.

    Raises:
        BenchError: it is not installed.
    """
    from importlib.util import find_spec

    if find_spec("transformers") is None:
        raise BenchError(
            "models recount builds models of transformers, which is not installed",
            'python -m pip install "proscale-bench[hf]", or choose families of this tool: --family PRO-SCALE',
        )
