"""`proscale-bench zoo`: every training of a zoo that is missing, then weights and a sweep that measures them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from proscale_bench.commands.options import MaybeInt, MaybeInts, MaybePath, MaybeStr, flag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proscale_bench.sweeps.zoo import FailedTraining, Training

RUNS = Path("runs")


def zoo(
    spec: MaybePath = typer.Argument(
        None,
        metavar="SPEC",
        help="Zoo: a YAML file, or zoo, verdict or detection, which ship. \\[default: zoo, whose weights ship]",
    ),
    coco: MaybePath = flag(
        "--coco DIR", "Folder of images in COCO's layout, for recipes that learn from a folder. [default: none]"
    ),
    out: MaybePath = flag("--out DIR", "Folder of the zoo. [default: runs/zoo; runs/NAME for another that ships]"),
    seed: MaybeInts = flag("--seed N", "Seed of the trainings. Repeat for several. [default: the file's]", min=0),
    jobs: MaybeInt = flag(
        "--jobs N", "Number of trainings that run at once. [default: one per core; one on a GPU]", min=1, max=256
    ),
    device: MaybeStr = flag("--device NAME", "Device: cuda or cpu. [default: cpu]"),
    list_only: bool = flag("--list", "List what is missing, and stop."),
) -> None:
    """Train one model under many schedules, all alike, so that they can be compared.

    Each goes on from one baseline, or is trained from scratch, as the zoo says.

    What its folder holds already is not trained again, so the same command resumes an interrupted one.

    Example: proscale-bench zoo --seed 0 --seed 1
    """
    from proscale_bench.config.choices import DeviceType, shipped
    from proscale_bench.config.zoo import SHIPPED, read_zoo
    from proscale_bench.errors import BenchError, one_of
    from proscale_bench.files import locked
    from proscale_bench.machine import usable_cores
    from proscale_bench.render.console import note, stdout_console
    from proscale_bench.render.table import rich_table
    from proscale_bench.render.training import zoo_table
    from proscale_bench.sweeps.zoo import pack, plan_zoo, require_own, require_weights, write_sweep

    if device is not None:
        one_of(DeviceType, device, "device")
    read = read_zoo(spec or SHIPPED)
    out = out or RUNS / (str(spec) if str(spec) in shipped("zoos") else SHIPPED)
    plan = plan_zoo(read, out, seed or (), coco)
    require_own(plan)
    if not list_only:
        with locked(out, "zoo"):
            failed = _train(plan, jobs or (1 if device == "cuda" else usable_cores()), device, out)
            trained = (
                require_weights(plan) if not failed else [each for each in plan if each.is_done and not each.is_trunk]
            )
            weights = [pack(training) for training in trained]
            path = write_sweep(read, out, weights, coco) if weights else None
        if failed:
            first, more = failed[0], f", and {len(failed) - 1} more" if len(failed) > 1 else ""
            raise BenchError(
                [
                    f"{first.training.folder}: training ended with exit code {first.exit_code}{more}:",
                    *first.said.split("\n"),
                ],
                f"see errors.txt there; {len(trained)} of {len(plan)} trainings are done",
            )
    stdout_console().print(rich_table(zoo_table(plan), justify="left"))
    if not list_only and path:
        note(f"measure them: proscale-bench sweep {path}")


def _train(plan: Sequence[Training], jobs: int, device: str | None, out: Path) -> list[FailedTraining]:
    """Train, with a bar for each training that runs."""
    from proscale_bench.commands.progress import LINE_EVERY_S, Bars
    from proscale_bench.sweeps.zoo import train_missing
    from proscale_bench.training.stopping import sigterm_interrupts

    bars = Bars(line_after_s=LINE_EVERY_S, titled=True)
    bar_of = {id(each): bars.add("", each.iterations, title=each.title, visible=False) for each in plan}

    def show(running: Sequence[Training]) -> None:
        for each in plan:
            runs = each in running
            bar_of[id(each)].show(None, each.iteration if runs else 0, visible=runs)
        bars.log(lambda: said(running))

    def said(running: Sequence[Training]) -> str:
        now = [f"{each.title} of seed {each.seed} at {each.iteration:,} of {each.iterations:,}" for each in running]
        done = sum(each.is_done for each in plan)
        return f"{done} of {len(plan)} trainings are done; {', '.join(now) or 'none'} running"

    try:
        with bars, sigterm_interrupts():
            begun = sum(0 < each.iteration < each.iterations for each in plan)
            done = sum(each.is_done for each in plan)
            if begun or done:
                left = "nothing is left to do" if done == len(plan) else "going on"
                bars.say(f"{done} of {len(plan)} trainings are done, and {begun} begun: {left}")
            return train_missing(plan, jobs, device, show)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"what is done is kept in {out}; run the same command to go on") from None
