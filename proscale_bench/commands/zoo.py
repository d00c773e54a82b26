"""`proscale-bench zoo`: every training of a zoo that is missing, then weights and a sweep that measures them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from proscale_bench.commands import completion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proscale_bench.sweep.zoo import FailedTraining, Training

OUT = Path("runs/zoo")


def zoo(
    spec: Annotated[
        Optional[Path],  # noqa: UP045 - typer on Python 3.10 reads this form in every version
        typer.Argument(metavar="SPEC", help="A zoo's YAML file. \\[default: the one whose weights ship]"),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The zoo's folder.")] = OUT,
    seed: Annotated[
        Optional[list[int]],  # noqa: UP045
        typer.Option("--seed", min=0, metavar="N", help="Repeat for several. \\[default: the file's]"),
    ] = None,
    jobs: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--jobs", metavar="N", min=1, max=256, help="Processes. \\[default: one a core; on a GPU one]"),
    ] = None,
    device: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--device", metavar="NAME", autocompletion=completion.devices, help="cuda or cpu. \\[default: cpu]"
        ),
    ] = None,
    list_only: Annotated[bool, typer.Option("--list", help="Say what is missing, and stop.")] = False,
) -> None:
    """Train what a zoo's folder does not hold yet: the baseline, then every schedule from there. Resumable.

    Example: proscale-bench zoo --seed 0 --seed 1
    """
    from proscale_bench.config.choices import DeviceType
    from proscale_bench.config.zoo import SHIPPED, read_zoo
    from proscale_bench.errors import BenchError, one_of
    from proscale_bench.files import locked
    from proscale_bench.machine import usable_cores
    from proscale_bench.render.console import note, stdout_console
    from proscale_bench.render.table import rich_table
    from proscale_bench.render.training import zoo_table
    from proscale_bench.sweep.zoo import pack, plan_zoo, require_own, require_weights, write_sweep

    if device is not None:
        one_of(DeviceType, device, "device")
    read = read_zoo(spec or SHIPPED)
    plan = plan_zoo(read, out, seed or ())
    require_own(plan)
    if not list_only:
        with locked(out, "zoo"):
            failed = _train(plan, jobs or (1 if device == "cuda" else usable_cores()), device, out)
            trained = require_weights(plan) if not failed else [each for each in plan if each.is_done and each.start]
            weights = [pack(training, out / "weights") for training in trained]
            path = write_sweep(read, out, weights) if weights else None
        if failed:
            raise BenchError(_tell(failed), f"see errors.txt there; {len(trained)} of {len(plan)} trainings are done")
    stdout_console().print(rich_table(zoo_table(plan), justify="left"))
    if not list_only and path:
        note(f"measure them: proscale-bench sweep {path}")


def _train(plan: Sequence[Training], jobs: int, device: str | None, out: Path) -> list[FailedTraining]:
    """With a bar for each training that runs, on stderr, where that is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from proscale_bench.render.console import shows_progress, stderr_console
    from proscale_bench.sweep.zoo import train_missing
    from proscale_bench.training.stopping import sigterm_interrupts

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bars = Progress(*columns, console=stderr_console(), transient=True, disable=not shows_progress())
    tasks = {id(each): bars.add_task(each.title, total=each.recipe.iterations, visible=False) for each in plan}

    def show(running: Sequence[Training]) -> None:
        for each in plan:
            bars.update(tasks[id(each)], visible=each in running, completed=each.iteration if each in running else 0)

    try:
        with bars, sigterm_interrupts():
            return train_missing(plan, jobs, device, show)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"what is done is kept in {out}; run the same command to go on") from None


def _tell(failed: Sequence[FailedTraining]) -> str:
    first = failed[0]
    more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
    return f"{first.training.folder}: training ended with exit code {first.exit_code}{more}: {first.said}"
