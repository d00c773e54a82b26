"""Do three engines agree? The closed form against a trace of the real model and against fvcore.

The closed form and the trace share `cost.rules` (what an operator is worth, how einsums are rounded); fvcore shares
nothing with either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod

from proscale_bench.cost.closed_form import ClosedForm
from proscale_bench.cost.count import FlopCount, as_given
from proscale_bench.cost.geometry import parse_size
from proscale_bench.cost.rules import get_rules
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.measure.flops import sum_flops, trace_model
from proscale_bench.measure.fvcore_count import count_with_fvcore

OnSizeVerified = Callable[[str, int, int], None]  # what is being done, sizes done, sizes in all


@dataclass(frozen=True)
class Verification:
    """The agreement of the engines, to the last FLOP.

    Args:
        traced_sizes: distinct (padded, output) sizes traced: all that the input has.
        fvcore_sizes: those that fvcore counted, as `HxW` of the padded input.
        unseen_by_fvcore: FLOPs that the model computes and fvcore alone does not see, at the largest of them.
        uncounted_calls: arithmetic that the trace met and no rule set counts, in calls an image.
    """

    traced_sizes: int
    fvcore_sizes: tuple[str, ...]
    unseen_by_fvcore: dict[str, int]
    uncounted_calls: dict[str, int]


def verify(
    count: FlopCount, all_sizes: bool = False, progress: OnSizeVerified = lambda what, done, total: None
) -> Verification:
    """Count again by tracing, under the count's own rules, and by fvcore, under the rules `fvcore`.

    Args:
        count: in closed form.
        all_sizes: fvcore counts every distinct size and not the largest alone.

    Raises:
        BenchError: engines disagree, or an operator has no rule (exit code 3).
    """
    spec = count.spec
    traces = trace_model(spec, count.input, partial(progress, "tracing"))
    _compare("the trace", sum_flops(traces, count.rules, count.convention), count.flops, count)

    by_area = sorted(count.input.groups, key=lambda group: (prod(group.padded), prod(group.output)))
    sizes = [
        as_given(spec, parse_size(group.padded, group.output)) for group in (by_area if all_sizes else by_area[-1:])
    ]
    form = ClosedForm(spec, get_rules("fvcore"))
    unseen: dict[str, int] = {}
    for done, size in enumerate(sizes):
        progress("fvcore", done, len(sizes))
        found = count_with_fvcore(spec, size.groups[0])
        _compare(f"fvcore at {size}", found.flops, form.count(size), count)
        unseen = found.unseen
    progress("fvcore", len(sizes), len(sizes))
    return Verification(
        traced_sizes=len(traces),
        fvcore_sizes=tuple(map(str, sizes)),
        unseen_by_fvcore=unseen,
        uncounted_calls=dict(traces[-1][0].uncounted.most_common()),
    )


def verify_executed(count: FlopCount, progress: OnSizeVerified = lambda what, done, total: None) -> None:
    """Trace the model after the exact optimizations of inference, and compare with the count as executed.

    Raises:
        BenchError: they disagree, or an operator has no rule (exit code 3).
    """
    executed = count.executed
    traces = trace_model(count.spec, count.input, partial(progress, "tracing as executed"), as_executed=True)
    _compare("the trace as executed", sum_flops(traces, count.rules, count.convention), executed.flops, executed)


def _compare(engine: str, found: Mapping[str, int], expected: Mapping[str, int], count: FlopCount) -> None:
    if found == expected:
        return
    both = {part: (found.get(part, 0), expected.get(part, 0)) for part in {**expected, **found}}
    differences = [f"{part}: {one:,} against {other:,}" for part, (one, other) in both.items() if one != other]
    raise BenchError(
        f"{count.variant} on {count.backbone} at {count.input}: {engine} and the closed form disagree on "
        + "; ".join(differences),
        "this is a bug of ours: please report it with the output of 'pip list'",
        ExitCode.UNTRUSTED,
    )
