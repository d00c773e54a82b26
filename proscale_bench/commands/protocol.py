"""Reading the flags of `eval` and `predict` that decide what a model sees, and what is made of its output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from proscale_bench.commands.options import Options, flag
from proscale_bench.config.choices import ClassesBy, PostprocessingThresholds, Task
from proscale_bench.errors import BenchError, one_of

if TYPE_CHECKING:
    from proscale_bench.bench.evaluate import Resize

MAX_SIDE_PX = 8192


def classes_by_flag(panel: str) -> Any:
    """The flag that says how classes of weights meet the data's categories."""
    text = "Match classes of weights and data by name, or by order: class k is category k, whatever either is called."
    return flag("--classes-by NAME", text, panel, default="name")


def classes_by_of(word: str) -> ClassesBy:
    """The way that `--classes-by` asks for."""
    way: ClassesBy = one_of(ClassesBy, word, "value of --classes-by")
    return way


def tasks_of(words: str) -> tuple[Task, ...]:
    """The tasks of a list as in `panoptic,semantic`, in the usual order."""
    asked = {one_of(Task, word.strip(), "task") for word in words.split(",")}
    return tuple(task for task in get_args(Task) if task in asked)


def sides_of(words: str) -> Resize | None:
    """The sides of `--resize` in pixels; None for `none`."""
    if words.strip().lower() == "none":
        return None
    parts = words.split(",")
    if len(parts) != 2 or not all(part.strip().isdecimal() and len(part.strip()) < 7 for part in parts):
        raise BenchError(f"--resize {words}: not two sides", "as in --resize 800,1333, or --resize none")
    short, longest = (int(part) for part in parts)
    if not 1 <= short <= longest <= MAX_SIDE_PX:
        message = f"--resize {words}: the short side comes first, and both are 1 to {MAX_SIDE_PX:,} pixels"
        raise BenchError(message, "as in --resize 800,1333")
    return short, longest


def thresholds_of(options: Options) -> PostprocessingThresholds:
    """The thresholds of the panoptic merge; a BenchError where one is not a number, which no limit catches."""
    names = ("score_threshold", "mask_threshold", "overlap_threshold")
    score, mask, overlap = (float(getattr(options, name)) for name in names)
    for name, value in zip(names, (score, mask, overlap), strict=True):
        if not 0 <= value <= 1:
            raise BenchError(f"--{name.replace('_', '-')} {value}", "a number from 0 to 1")
    return PostprocessingThresholds(score, mask, overlap)
