"""What commands do with `--model`: a model of somebody else's, built and run once to be counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proscale_bench.errors import BenchError, one_of

if TYPE_CHECKING:
    from proscale_bench.commands.flops import FlopsOptions

OF_OURS = ("schedule", "backbone", "weights", "classes", "queries", "width", "output_size", "verify", "as_executed")


def refuse_ours(options: object, names: tuple[str, ...] = OF_OURS) -> None:
    """Refuse flags that say something of the tool's own models.

    Raises:
        BenchError: one is given.
    """
    for name in (name for name in names if getattr(options, name, None)):
        hint = "arguments of its constructor are --model-args KEY=VALUE"
        raise BenchError(f"--{name.replace('_', '-')} is of the models that --schedule names, not of --model", hint)


def flops_of_models(options: FlopsOptions) -> None:
    """Count models that `--model` names.

    Raises:
        BenchError: a flag is wrong, a model cannot be built or run, or an operator has no rule (exit code 3).
    """
    from proscale_bench.commands.exporting import print_lines, print_tables
    from proscale_bench.commands.progress import LINE_EVERY_S, progress_bar, uninterrupted
    from proscale_bench.cost.geometry import COCO_SIZES, parse_size
    from proscale_bench.cost.rules import Convention, get_rules
    from proscale_bench.render import flops as render
    from proscale_bench.render.console import note

    refuse_ours(options)
    exports, rules = options.exports(), get_rules(options.rules)
    convention = one_of(Convention, options.convention, "convention")
    requests, base = options.requests(), options.base_request()
    if options.size is not None and options.size not in COCO_SIZES:
        parse_size(options.size)
    counts, notes, baseline = [], [], None
    with progress_bar("loading torch", line_after_s=LINE_EVERY_S) as bar:
        with uninterrupted():
            from proscale_bench.bench.any_model import count_any
        if base is not None:
            bar.show(str(base), 0, None)
            baseline = count_any(base, options.size, options.batch_size, rules, convention).count
        for request in requests:
            bar.show(str(request), 0, None)
            found = count_any(request, options.size, options.batch_size, rules, convention, baseline)
            counts.append(found.count)
            notes += [f"{request}: {one}" for one in found.notes]
    for one in dict.fromkeys(notes):
        note(one)
    exports.write([count.row() for count in counts], lambda: render.markdown(counts, options.by.value))
    console = exports.console
    print_tables(console, render.tables(counts, options.by.value, console.width))
    print_lines(console, render.headlines(counts), style="")
    print_lines(console, render.footer(counts[0]))
