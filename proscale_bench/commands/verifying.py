"""What `flops --verify` does: count again with the other engines, and say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from proscale_bench.commands.loading import uninterrupted
from proscale_bench.render.console import detail, note, shows_progress, stderr_console

if TYPE_CHECKING:
    from proscale_bench.cost.count import FlopCount


def verify_counts(counts: Sequence[FlopCount], all_sizes: bool, as_executed: bool = False) -> list[dict[str, Any]]:
    """Verify every count, with a progress bar on stderr; what agreed, for the JSON.

    Raises:
        BenchError: engines disagree, or an operator has no rule (exit code 3).
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    verified = []
    with Progress(*columns, console=stderr_console(), transient=True, disable=not shows_progress()) as bar:
        task = bar.add_task("loading torch", total=None)
        with uninterrupted():
            from proscale_bench.measure.verify import verify, verify_executed

        for count in counts:

            def show(what: str, done: int, total: int, name: str = count.schedule.compact) -> None:
                bar.update(task, description=f"{name}: {what}", completed=done, total=total if total > 1 else None)

            result = verify(count, all_sizes, show)
            verified.append(result)
            if as_executed:
                verify_executed(count, show)
                note(f"verified {count.schedule.compact} as executed: closed form = trace, to the last FLOP")
            sizes = f"{result.traced_sizes} sizes" if result.traced_sizes > 1 else "the size"
            at = "every size" if all_sizes and len(result.fvcore_sizes) > 1 else result.fvcore_sizes[-1]
            unseen = ", ".join(f"{operator} {n:,} FLOPs" for operator, n in result.unseen_by_fvcore.items())
            note(
                f"verified {count.schedule.compact}: closed form = trace at {sizes}, = fvcore at {at} "
                f"(padded), to the last FLOP; of these fvcore alone does not see {unseen}"
            )
            detail(f"met by the trace and counted by no rules, calls an image: {result.uncounted_calls}")
    return [asdict(result) for result in verified]
