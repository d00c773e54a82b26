"""Flags that several commands share, each with one meaning everywhere, and commands that take theirs as one value.

Help leaves types out where they say nothing, and old spellings of flags are understood.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Optional, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from proscale_bench.commands import completion
from proscale_bench.config.choices import DeviceType, DType, Sampling
from proscale_bench.errors import one_of
from proscale_bench.units import printable

if TYPE_CHECKING:
    from proscale_bench.bench.execution import ExecutionSettings
    from proscale_bench.commands.exporting import Exports
    from proscale_bench.specs.families import OwnSpec

# Typer on Python 3.10 reads this form in every version.
MaybeFloat = Optional[float]  # noqa: UP045
MaybeInt = Optional[int]  # noqa: UP045
MaybeInts = Optional[list[int]]  # noqa: UP045
MaybePath = Optional[Path]  # noqa: UP045
MaybePaths = Optional[list[Path]]  # noqa: UP045
MaybeStr = Optional[str]  # noqa: UP045
MaybeStrs = Optional[list[str]]  # noqa: UP045

Given = TypeVar("Given", bound="Options")
WHICH, ANY_MODEL, HOW, PREPARED, EXPORT = (
    "Which model",
    "Any other model",
    "How it is run",
    "How the model is prepared",
    "Export",
)
MAX_SEED = 2**32 - 1
SHARE: dict[str, Any] = {"min": 0, "max": 1}
# Spellings that Typer cannot declare, and those of earlier versions, which no help shows.
SPELLINGS = {
    "--verify=all": "--verify-all",  # an option with an optional value
    "--rewrites": "--optimizations",
    "--no-rewrites": "--no-optimizations",
}


# The width of Typer's help; it stumbles over what is none, and a very large one would be padded with spaces.
TERMINAL_WIDTH = re.compile("[1-9][0-9]{1,3}")
USAGE_ERROR: Any = typer.BadParameter.__base__


def tame_help() -> None:
    """Let Typer's help and usage errors follow the rules that our own output follows.

    A stream is coloured where it is a terminal, or FORCE_COLOR says that it is, and never with NO_COLOR or
    `--no-color`; Typer takes every job on GitHub for a terminal. This is called when help is written, not before, since
    what it imports takes as long as a whole `check`.
    """
    from proscale_bench.render.console import is_coloured

    if not TERMINAL_WIDTH.fullmatch(os.environ.get("TERMINAL_WIDTH", "")):
        os.environ.pop("TERMINAL_WIDTH", None)
    from typer import rich_utils

    rich_utils.FORCE_TERMINAL = None
    rich_utils.COLOR_SYSTEM = "auto" if is_coloured() else None


@contextmanager
def plain_usage_errors() -> Iterator[None]:
    """Say in one line, as everything else is said, that the command line is wrong: see `tame_help`."""
    try:
        yield
    except USAGE_ERROR as error:
        tame_help()
        error.message = printable(error.message)
        raise


class BenchCommand(TyperCommand):
    def format_help(self, ctx: Any, formatter: Any) -> None:
        tame_help()
        super().format_help(ctx, formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [SPELLINGS.get(arg, arg) for arg in args])

    def get_params(self, ctx: Any) -> list[Any]:
        return untyped(super().get_params(ctx))


class BenchSubgroup(TyperGroup):
    def format_help(self, ctx: Any, formatter: Any) -> None:
        tame_help()
        super().format_help(ctx, formatter)

    def get_params(self, ctx: Any) -> list[Any]:
        return untyped(super().get_params(ctx))


def untyped(params: list[Any]) -> list[Any]:
    """Flags take no value and arguments are named by what they are; Typer may write `<bool>`, `<path>` beside them."""
    for param in params:
        if param.param_type_name == "argument":
            param.display_type_rich = lambda **_: None
        elif getattr(param, "is_flag", False):
            param.metavar = ""
    return params


def flag(
    written: str,
    text: str | None = None,
    panel: str | None = None,
    *,
    default: Any = None,
    values: Callable[..., list[str]] | None = None,
    **limits: Any,
) -> Any:
    """Declare a flag as manual pages write it: `n: int = flag("--batch-size, -n N", "Images in a batch.", default=1)`.

    Args:
        written: its spellings, and the name of its value if it takes one.
        text: its help; `[default: ...]` at the end says what a default of None stands for.
        panel: heading of the help that it stands under.
        default: its value where it is not given; a switch, which takes no value, is then off.
        values: offers the values to a shell; None: as `completion.OFFERS` has it.
        limits: other arguments of `typer.Option`, such as `min`.
    """
    *names, last = written.split(", ")
    last, _, value = last.partition(" ")
    values = values or completion.OFFERS.get([*names, last][0])
    if default is None and not value:
        default = False
    text = text and text.replace("[", "\\[")  # no markup of rich's
    return typer.Option(
        default, *names, last, metavar=value or None, help=text, rich_help_panel=panel, autocompletion=values, **limits
    )


class Options:
    """The flags of a command as one value, whose attributes do not change: `class EvalOptions(Options)`.

    A subclass annotates each flag and says the rest with `flag`, once. It is made by `takes` alone, with every flag
    given. This is no dataclass, since all commands' are made at every start and those take 20 ms.
    """

    def __init__(self, **given: Any) -> None:
        vars(self).update(given)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{name} is what the command line says")


def takes(options: type[Given]) -> Callable[[Callable[[Given], None]], Callable[..., None]]:
    """Make a command of a function of options: `@takes(EvalOptions)`.

    The flags of the class itself come before those of its bases.
    """
    flags = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=getattr(options, name))
        for owner in options.__mro__
        for name, kind in inspect.get_annotations(owner, eval_str=True).items()
    ]

    def decorate(command: Callable[[Given], None]) -> Callable[..., None]:
        @wraps(command)
        def run(**given: Any) -> None:
            command(options(**given))

        run.__signature__ = inspect.Signature(flags)  # type: ignore[attr-defined]
        return run

    return decorate


def seed_in_range(seed: int) -> int:
    """Check a seed. This is a callback, since help shows `max=` with all its ten digits."""
    if not 0 <= seed <= MAX_SEED:
        raise typer.BadParameter(f"{seed} is not in the range 0<=x<={MAX_SEED}.")
    return seed


# --- What is counted or run ---

SCHEDULE_HELP = "Schedule: a YAML file, a name of the catalogue, or compact, as in 3,3,3+conv."


class DimensionOptions(Options):
    """Flags of a model's dimensions, which are those of the backbone's published model where nothing else is said."""

    weights: MaybePath = flag("--weights, -w FILE", "Checkpoint whose schedule and dimensions the model has.", WHICH)
    classes: MaybeInt = flag("--classes N", "Number of classes. [default: 133]", WHICH, min=1)
    queries: MaybeInt = flag("--queries N", "Number of queries. [default: 100; 200 for swin_l]", WHICH, min=1)
    width: MaybeInt = flag("--width N", "Number of channels of the head. [default: 256; 64 for tiny]", WHICH, min=1)

    def specs_of(
        self, schedules: Sequence[str], backbone: str | None, models: Sequence[str] = ()
    ) -> tuple[OwnSpec, ...]:
        """The models that are meant, in the order of the schedules; see `ModelChoice`.

        Raises:
            BenchError: a name or a number is unknown, the weights cannot be read, or a flag contradicts them.
        """
        from proscale_bench.bench.specs import ModelChoice

        return ModelChoice(
            schedules=schedules,
            models=models,
            backbone=backbone,
            weights=self.weights,
            classes=self.classes,
            queries=self.queries,
            width=self.width,
        ).specs()


class BackboneOptions(DimensionOptions):
    """Flags of a model, all but its schedule."""

    backbone: MaybeStr = flag(
        "--backbone, -b NAME",
        "Backbone: resnet50, resnet101, swin_t, swin_s, swin_b, swin_l or tiny. [default: resnet50]",
        WHICH,
    )


class ModelOptions(BackboneOptions):
    """Flags of models that differ in their schedules alone."""

    schedule: MaybeStrs = flag(
        "--schedule, -s SCHEDULE",
        f"{SCHEDULE_HELP} Repeat to compare several. [default: 3,3,3, or that of the weights]",
        WHICH,
    )

    def specs(self) -> tuple[OwnSpec, ...]:
        """The models that are meant; see `DimensionOptions.specs_of`."""
        return self.specs_of(self.schedule or (), self.backbone, getattr(self, "own_models", ()))


OWN_MODEL = flag(
    "--model NAME",
    "Model: mask2former, or deformable-detr (also +refine, +two-stage, +ffn:2048). [default: mask2former]",
    WHICH,
    values=completion.own_models,
)
OUTPUT_SIZE = flag("--output-size HxW", "Size of the final masks, height x width. [default: the input's]")


def size_flag(default: str | None, otherwise: str = "") -> Any:
    """The size of images, or a set of sizes.

    Args:
        otherwise: what stands for the size where there is no default.
    """
    text = "Image size: height x width as in 800x1333, or coco-first100, or coco-val."
    return flag("--size SIZE", f"{text} {otherwise}".strip(), default=default)


# --- How a model is run ---

MAX_BATCH_SIZE = 4096


class DeviceOptions(Options):
    """Flags of what runs a model."""

    device: MaybeStr = flag("--device NAME", "Device: cuda or cpu. [default: cuda if there is one]", HOW)
    sampling: str = flag(
        "--sampling NAME",
        "Core of deformable attention: auto, grid_sample, embedding_bag, embedding_bag_compiled, dense, fused, "
        "gather, triton or deformops.",
        PREPARED,
        default="auto",
    )
    threads: MaybeInt = flag("--threads N", "Number of CPU threads. [default: PyTorch's]", HOW, min=1, max=1024)

    def check(self) -> None:
        """Find what is wrong without loading torch, which takes seconds.

        Raises:
            BenchError: a flag has an unknown value.
        """
        one_of(Sampling, self.sampling, "sampling")
        if self.device is not None:
            one_of(DeviceType, self.device, "device")

    def chosen_device(self) -> DeviceType:
        """The device that was asked for, else a GPU if there is one. Loads torch."""
        import torch

        if self.device is not None:
            return one_of(DeviceType, self.device, "device")  # type: ignore[no-any-return]
        return "cuda" if torch.cuda.is_available() else "cpu"


class ExecutionOptions(DeviceOptions):
    """Flags of what runs a model for inference."""

    dtype: str = flag("--dtype NAME", "Number format: fp32, tf32, or bf16 and fp16 by autocast.", HOW, default="fp32")
    compiled: bool = flag("--compile", "Compile the model with torch.compile.", PREPARED)
    optimizations: bool = flag(
        "--optimizations/--no-optimizations", "Run with the exact optimizations of inference.", PREPARED, default=True
    )

    def check(self) -> None:
        """Check these flags too; see `DeviceOptions.check`."""
        one_of(DType, self.dtype, "dtype")
        super().check()

    def execution_settings(self) -> ExecutionSettings:
        """The settings that an evaluation or a prediction runs with. Loads torch.

        Raises:
            BenchError: there is no such device.
        """
        from proscale_bench.bench.execution import ExecutionSettings

        return ExecutionSettings(
            device=self.chosen_device(),
            dtype=one_of(DType, self.dtype, "dtype"),
            compiled=self.compiled,
            sampling=self.sampling,
            optimizations=self.optimizations,
            threads=self.threads,
        )


# --- What is written ---

EXPORT_JSON = flag("--export-json PATH", "Write the results as JSON; - for stdout.", EXPORT)
FORCE = flag("--force", "Overwrite existing files.", EXPORT)


class ExportOptions(Options):
    """Flags of the documents that a command writes."""

    export_json: MaybePath = EXPORT_JSON
    export_csv: MaybePath = flag("--export-csv PATH", "Write the results as CSV; - for stdout.", EXPORT)
    export_markdown: MaybePath = flag("--export-markdown PATH", "Write the tables as Markdown; - for stdout.", EXPORT)
    force: bool = FORCE

    def exports(self) -> Exports:
        """The documents, checked before anything is measured; see `Exports`."""
        from proscale_bench.commands.exporting import Exports

        return Exports(json=self.export_json, csv=self.export_csv, markdown=self.export_markdown, force=self.force)
