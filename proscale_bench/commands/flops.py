"""`proscale-bench flops`: what schedules cost on paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from enum import Enum
from typing import TYPE_CHECKING, Any

from proscale_bench.commands.any_model import AnyModelOptions, flops_of_models
from proscale_bench.commands.options import (
    OUTPUT_SIZE,
    ExportOptions,
    MaybePath,
    MaybeStr,
    ModelOptions,
    flag,
    size_flag,
    takes,
)
from proscale_bench.errors import BenchError, one_of

if TYPE_CHECKING:
    from proscale_bench.cost.count import FlopCount
    from proscale_bench.specs.model import ModelSpec


class By(str, Enum):
    stage = "stage"
    layer = "layer"
    operator = "operator"


class FlopsOptions(ModelOptions, AnyModelOptions, ExportOptions):
    """The flags of `flops`."""

    size: MaybeStr = size_flag(None, "[default: coco-first100; with --model what it was made for, else 640x640]")
    output_size: MaybeStr = OUTPUT_SIZE
    training: bool = flag("--training", "Count a forward and a backward pass, in training mode.")
    memory: bool = flag("--memory", "Show the peak of activations, too.")
    batch_size: int = flag("--batch-size, -n N", "Number of images in a pass that is traced.", default=1, min=1)
    rules: str = flag(
        "--rules NAME", "Rule set of the count: fvcore, published, complete or products.", default="fvcore"
    )
    convention: str = flag("--convention NAME", "FLOPs of one multiply-accumulate: 1 (mac) or 2 (flop).", default="mac")
    by: By = flag("--by NAME", "Rows of the table: stage, layer or operator.", default=By.stage)
    as_executed: bool = flag("--as-executed", "Show what inference executes after its exact optimizations, too.")
    graph: MaybePath = flag(
        "--graph FILE", "Count the nodes of this ONNX file, whoever exported it, in place of a model."
    )
    verify: bool = flag("--verify", "Repeat the count by a trace and by fvcore; --verify=all: at every size.")
    verify_all: bool = flag("--verify-all", hidden=True)

    @property
    def is_traced(self) -> bool:
        """True if no closed form gives the numbers that are asked for."""
        return self.training or self.memory


@takes(FlopsOptions)
def flops(options: FlopsOptions) -> None:
    """Count FLOPs and parameters, each schedule against the baseline.

    Example: proscale-bench flops --schedule 3,3,3 --backbone swin_t
    """
    from proscale_bench.commands.exporting import print_lines, print_tables
    from proscale_bench.cost.count import count_model
    from proscale_bench.cost.geometry import DEFAULT_SIZE, parse_size
    from proscale_bench.cost.rules import Convention, get_rules
    from proscale_bench.render import flops as render
    from proscale_bench.render.console import detail
    from proscale_bench.render.notes import notes_on_models
    from proscale_bench.specs.model import by_exit

    if options.graph is not None:
        from proscale_bench.commands.graph import flops_of_graph

        return flops_of_graph(options, options.graph)
    if options.others:
        return flops_of_models(options)
    options.refuse_without_model()
    if options.is_traced:
        return flops_of_passes(options)
    if options.batch_size > 1:
        hint = "a count of ours is of one image; with --training or --memory of a batch"
        raise BenchError("--batch-size is of a model that --model names", hint)
    exports, as_executed = options.exports(), options.as_executed
    size = parse_size(DEFAULT_SIZE if options.size is None else options.size, options.output_size)
    rules = get_rules(options.rules)
    convention = one_of(Convention, options.convention, "convention")
    specs = options.specs()
    counts = [count_model(spec, size, rules, convention) for spec in by_exit(specs)]
    names: Sequence[object] = options.schedule or (options.weights,)
    for number, spec in enumerate(specs):
        asked = names[number % len(names)] or "the default"
        detail(f"{asked} is {spec.variant}: {len(size.groups)} distinct sizes, {size.images} images")
    notes = notes_on_models(specs)
    rows = [count.row(as_executed) for count in counts]
    if options.verify or options.verify_all:
        verified = verify_counts(counts, all_sizes=options.verify_all, as_executed=as_executed)
        rows = [{**row, "verified": found} for row, found in zip(rows, verified, strict=True)]

    exports.write(rows, lambda: render.markdown(counts, options.by.value, as_executed, notes))
    console = exports.console
    print_tables(console, render.tables(counts, options.by.value, console.width, as_executed))
    print_lines(console, render.headlines(counts), style="")
    print_lines(console, [*notes, *render.footer(counts[0], as_executed)])
    return None


def flops_of_passes(options: FlopsOptions) -> None:
    """Count the training of models of ours, or the peak of their activations, of which a trace tells.

    Raises:
        BenchError: a flag is wrong, or a model cannot be run.
    """
    from proscale_bench.bench.own_pass import traced_pass
    from proscale_bench.commands.exporting import print_lines, print_tables
    from proscale_bench.commands.progress import LINE_EVERY_S, progress_bar, uninterrupted
    from proscale_bench.cost.count import count_model
    from proscale_bench.cost.geometry import COCO_SIZES, in_batch, parse_size
    from proscale_bench.cost.rules import Convention, get_rules
    from proscale_bench.render import flops as render
    from proscale_bench.render.notes import notes_on_models
    from proscale_bench.specs.model import by_exit

    for name in ("as_executed", "verify", "verify_all"):
        if getattr(options, name):
            hint = "ask for one after the other"
            raise BenchError(f"--{name.replace('_', '-')} goes with neither --training nor --memory", hint)
    if options.size in COCO_SIZES:
        hint = "give a size as in --size 640x640"
        raise BenchError(f"--size {options.size}: a trace is of one size, and this is many", hint)
    exports, rules = options.exports(), get_rules(options.rules)
    convention = one_of(Convention, options.convention, "convention")
    size = in_batch(parse_size(options.size or "640x640", options.output_size), options.batch_size)
    models = options.specs()
    specs = [traced_pass(spec, training=options.training, memory=options.memory) for spec in by_exit(models)]
    with progress_bar("loading torch", line_after_s=LINE_EVERY_S) as bar:
        with uninterrupted():
            import torch  # noqa: F401
        counts: list[FlopCount] = []
        for spec in specs:
            bar.show(str(spec), len(counts), len(specs))
            counts.append(count_model(spec, size, rules, convention))
            counts[-1].row()  # its baseline is traced too
    notes = notes_on_models(models)
    exports.write([count.row() for count in counts], lambda: render.markdown(counts, options.by.value, notes=notes))
    console = exports.console
    print_tables(console, render.tables(counts, options.by.value, console.width))
    print_lines(console, render.headlines(counts), style="")
    print_lines(console, [*notes, *render.footer(counts[0])])


def verify_counts(counts: Sequence[FlopCount], *, all_sizes: bool, as_executed: bool) -> list[dict[str, Any]]:
    """Count again with the other engines and say so; what agreed, for the JSON.

    Raises:
        BenchError: engines disagree, or an operator has no rule (exit code 3).
    """
    from proscale_bench.commands.progress import LINE_EVERY_S, progress_bar, uninterrupted
    from proscale_bench.render.console import detail, note

    with progress_bar("loading torch", line_after_s=LINE_EVERY_S) as bar:
        with uninterrupted():
            from proscale_bench.measure.verify import verify, verify_executed

        known: dict[ModelSpec, Any] = {}  # an exit may be asked for by itself and in an expectation

        def verified_once(count: FlopCount) -> Any:
            if count.spec not in known:
                known[count.spec] = verified_by_engines(count)
            return known[count.spec]

        def verified_by_engines(count: FlopCount) -> Any:
            if count.exits:  # no model runs an expectation, which is a mean of what is verified
                return [verified_once(one) for one, _ in count.exits][-1]

            def show(what: str, done: int, total: int, name: str = count.variant) -> None:
                line = f"verifying {name}: {what}{f', {done} of {total}' if total > 1 else ''}"
                bar.show(f"{name}: {what}", done, total if total > 1 else None, line=lambda: line)

            result = verify(count, all_sizes, show)
            if as_executed:
                verify_executed(count, show)
                note(f"verified {count.variant} as executed: closed form = trace, to the last FLOP")
            sizes = f"{result.traced_sizes} sizes" if result.traced_sizes > 1 else "the size"
            at = "every size" if all_sizes and len(result.fvcore_sizes) > 1 else result.fvcore_sizes[-1]
            unseen = ", ".join(f"{operator} {n:,} FLOPs" for operator, n in result.unseen_by_fvcore.items())
            note(
                f"verified {count.variant}: closed form = trace at {sizes}, = fvcore at {at} "
                f"(padded), to the last FLOP; fvcore alone does not see {unseen}"
            )
            detail(f"met by the trace and counted by no rules, calls an image: {result.uncounted_calls}")
            return asdict(result)

        return [verified_once(count) for count in counts]
