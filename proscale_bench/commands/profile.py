"""`proscale-bench profile`: what schedules cost on this machine, and what counted savings are worth there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from proscale_bench.commands import completion
from proscale_bench.commands.any_model import AnyModelOptions, found_models, refuse_ours
from proscale_bench.commands.engines import (
    EXPORTED,
    EngineOptions,
    chosen_engines,
    engines_of_graphs,
    is_exported,
    precisions,
    refuse_of_torch,
)
from proscale_bench.commands.graph import refuse_of_models, size_of
from proscale_bench.commands.options import (
    HOW,
    MAX_BATCH_SIZE,
    OUTPUT_SIZE,
    PREPARED,
    ExecutionOptions,
    ExportOptions,
    MaybeInt,
    MaybePath,
    MaybePaths,
    MaybeStr,
    ModelOptions,
    flag,
    seed_in_range,
    takes,
)
from proscale_bench.config.choices import DeviceType, DType, EngineName
from proscale_bench.errors import BenchError, ExitCode, one_of

if TYPE_CHECKING:
    from rich.console import Console

    from proscale_bench.bench.profile import ProfileRequest
    from proscale_bench.measure.profile import ProfileSettings
    from proscale_bench.results.record import Record
    from proscale_bench.specs.model import ModelSpec

HOW_LONG = "How long it is measured"
DEFAULT_SIZES: dict[DeviceType, str] = {"cuda": "800x1333", "cpu": "640x640"}  # a CPU takes seconds for the former


class ProfileOptions(ModelOptions, AnyModelOptions, EngineOptions, ExecutionOptions, ExportOptions):
    """The flags of `profile`."""

    size: MaybeStr = flag(
        "--size HxW",
        "Image size, height x width. [default: 800x1333 on a GPU, 640x640 on a CPU]",
        values=completion.single_sizes,
    )
    output_size: MaybeStr = OUTPUT_SIZE
    batch_size: list[int] = flag(
        "--batch-size, -n N",
        "Number of images in a batch. Repeat to compare several.",
        HOW,
        default=[1],
        min=1,
        max=MAX_BATCH_SIZE,
    )
    graph: MaybePaths = flag(
        "--graph FILE", "ONNX file, whoever exported it, in place of schedules. Repeat to compare several.", EXPORTED
    )
    cuda_graphs: bool = flag("--cuda-graphs", "Replay CUDA graphs of the model and its stages.", PREPARED)
    seed: int = flag("--seed N", "Seed of the images and weights.", HOW, default=0, callback=seed_in_range)
    max_seconds: float = flag(
        "--max-seconds S", "Time limit per schedule and batch size, in seconds.", HOW_LONG, default=30.0, min=0.1
    )
    repeats: MaybeInt = flag("--repeats N", "Exact number of rounds. [default: until stable]", HOW_LONG, min=1)
    sessions: int = flag(
        "--sessions N",
        "Number of fresh processes that share the time limit: their spread is part of every interval.",
        HOW_LONG,
        default=1,
        min=1,
        max=1000,
    )
    ceilings: bool = flag("--ceilings", "Measure the device's highest speeds, and keep them for later profiles.")
    fail_unstable: bool = flag("--fail-unstable", "Exit with 3 if a latency cannot be trusted.")
    out: MaybePath = flag("--out DIR", "Folder of the run. [default: reports/profile-BACKBONE-DEVICE]")

    @property
    def exported_file(self) -> Path | None:
        """The exported file that is timed."""
        return self.weights if is_exported(self.weights) else None

    def engines(self) -> tuple[EngineName, ...]:
        """The engines that models take turns in; see `chosen_engines`."""
        if self.graph:
            return engines_of_graphs(self.engine or ())
        return chosen_engines(self.engine or (), self.exported_file)

    @property
    def only_batch(self) -> int | None:
        """The batch that a file is asked to take; None: its own, since one is also the default."""
        (found,) = self.batch_size
        return found if found > 1 else None

    def check_engines(self) -> None:
        """Refuse what exported files are not, or do not take.

        Raises:
            BenchError: an engine that is unknown or not installed, a flag that says something of torch alone, or one
                that says what a file says.
        """
        if self.graph:
            refuse_of_models(self, ("exported", "quantize", "trust"))
            if len(self.batch_size) > 1:
                raise BenchError("--batch-size of files is one", "profile them one after the other")
        engines = self.engines()
        refuse_of_torch(self, engines)
        precisions(self.quantize, engines)
        if engines == ("torch",) and (self.exported is not None or self.trust or self.quantize):
            raise BenchError("--exported, --quantize and --trust are of exported files", "name an --engine")
        if engines != ("torch",) and self.others:
            raise BenchError("--engine: a model of --model is not exported here", "leave out --engine")
        if self.exported_file is not None and self.schedule:
            raise BenchError(f"{self.exported_file}: says its schedule itself", "leave out --schedule")

    def check(self) -> None:
        """Check also the size and the engines; see `DeviceOptions.check`."""
        from proscale_bench.cost.geometry import COCO_SIZES, parse_size

        self.check_engines()
        if self.size in COCO_SIZES:
            hint = "give a size as in --size 800x1333; 'proscale-bench flops' counts the COCO sets"
            raise BenchError(f"--size {self.size}: a latency is of one size, and this is many", hint)
        parse_size(DEFAULT_SIZES["cpu"] if self.size is None else self.size, self.output_size)
        if not self.others:
            self.refuse_without_model()
        super().check()

    def settings(self) -> ProfileSettings:
        """The settings that the models run with. Loads torch.

        Raises:
            BenchError: there is no such device, or it cannot do what was asked.
        """
        import torch

        from proscale_bench.measure.engines import EngineChoice
        from proscale_bench.measure.latency import Limits
        from proscale_bench.measure.profile import ProfileSettings
        from proscale_bench.models.sampling import choose
        from proscale_bench.render.console import note

        engines = self.engines()
        device = self.chosen_device() if engines == ("torch",) else "cpu"
        if self.device is None and device == "cpu" and engines == ("torch",):
            note("no GPU: profiling the CPU")
        settings = ProfileSettings(
            device=device,
            dtype=one_of(DType, self.dtype, "dtype"),
            compiled=self.compiled,
            cuda_graphs=self.cuda_graphs,
            sampling=self.sampling,
            optimizations=self.optimizations,
            threads=self.threads,
            seed=self.seed,
            limits=Limits(self.max_seconds, self.repeats),
            engines=EngineChoice(engines, precisions(self.quantize), self.exported, self.exported_file, self.trust),
        )
        choose(self.sampling, torch.device(device), self.compiled)
        return settings

    def request(self, specs: tuple[ModelSpec, ...], device: DeviceType) -> ProfileRequest:
        """The request to profile models on a device.

        Raises:
            BenchError: an exported file takes another size, or another number of images.
        """
        from proscale_bench.bench.profile import ProfileRequest
        from proscale_bench.cost.geometry import parse_size

        size, batch_sizes = self.size, tuple(dict.fromkeys(self.batch_size))
        if self.graph:
            from proscale_bench.bench.graphs import given_to

            given = given_to(self.graph, size_of(self.size), self.only_batch)
            return ProfileRequest(specs, given, (given.batch_size,))
        if self.exported_file is not None:
            size, batch_sizes = input_of(self.exported_file, self.trust, size, batch_sizes)
        if size is None:
            size = DEFAULT_SIZES["cpu" if self.others else device]
        return ProfileRequest(
            specs=specs,
            size=parse_size(size, self.output_size),
            batch_sizes=batch_sizes,
            ceilings=self.ceilings,
        )


def input_of(
    file: Path, trust: bool, size: str | None, batch_sizes: tuple[int, ...]
) -> tuple[str | None, tuple[int, ...]]:
    """The size and batch sizes that an exported file is timed at: those asked for, where it takes them.

    Raises:
        BenchError: it does not.
    """
    from proscale_bench.export.engines import load_exported

    loaded = load_exported(file, trust=trust)
    if loaded.size is None or loaded.batch_size is None:
        return size, batch_sizes
    own = "x".join(map(str, loaded.size))
    if size not in (None, own) or batch_sizes not in ((1,), (loaded.batch_size,)):
        what = f"{size or own}, batch {', '.join(map(str, batch_sizes))}"
        takes = f"it takes {own}, batch {loaded.batch_size}"
        raise BenchError(f"{file}: {what}, and {takes}", "export it for that, or with --dynamic")
    return own, (loaded.batch_size,)


@takes(ProfileOptions)
def profile(options: ProfileOptions) -> None:
    """Time schedules in turns with the baseline: latency by stage, memory, energy, and what counted savings are worth.

    With --model, models of others take turns too, and the table says what a pass of each contains.

    Example: proscale-bench profile --schedule 3,3,3 --backbone tiny --size 64x96
    """
    from proscale_bench.bench.profile import refuse_expectations
    from proscale_bench.render.console import note
    from proscale_bench.render.profile import markdown

    exports = options.exports()
    options.check()
    options.requests()
    specs = models_in_turns(options)
    refuse_expectations(specs)
    for spec in specs:
        if spec.exits:
            note(f"{spec.variant}: its gate chooses an exit for each image, so every exit is timed by itself")
    records, run = measure(options, specs)
    show(records, run, exports.console)
    exports.write([record.row() for record in records], lambda: markdown(records))
    check_measured(records, options.fail_unstable)


def models_in_turns(options: ProfileOptions) -> tuple[ModelSpec, ...]:
    """The models that take turns: those of `--schedule`, then those of `--model`, each built and run once to be
    counted. All are held against one: that of `--against`, else the baseline of the schedules, if there are any."""
    from proscale_bench.commands.progress import LINE_EVERY_S, progress_bar
    from proscale_bench.render.console import note

    if options.graph:
        from proscale_bench.bench.graphs import find_graphs, given_to

        how = (size_of(options.size), options.only_batch)
        given_to(options.graph, *how)
        return find_graphs(options.graph, *how)
    if not options.others:
        return options.specs()
    if not options.schedule:
        refuse_ours(options)
    own = options.specs() if options.schedule else ()
    base = own[0].baseline() if own else None
    with progress_bar("loading torch", line_after_s=LINE_EVERY_S) as bar:
        size = DEFAULT_SIZES["cpu"] if options.size is None else options.size
        found = found_models(options, size, 1, bar, base)
    for said in (f"{one.spec}: {said}" for one in found for said in one.notes):
        note(said)
    against = found[0].spec.against if options.against else None
    return (*(replace(spec, against=against) for spec in own), *(one.spec for one in found))


def measure(options: ProfileOptions, specs: tuple[ModelSpec, ...]) -> tuple[list[Record], Path]:
    """Measure; the records, and the run's folder.

    The bar is drawn between rounds only: a thread that draws it meanwhile would take time from what is measured.
    """
    from proscale_bench.commands.progress import progress_bar, uninterrupted
    from proscale_bench.render.console import detail

    records: list[Record] = []
    with progress_bar("loading torch", by_clock=False) as bar:
        with uninterrupted():
            import torchvision  # noqa: F401

            from proscale_bench.bench.profile import profile as profile_into

        def show_progress(what: str, share: float | None) -> None:
            bar.show(what, share or 0, None if share is None else 1)

        settings = options.settings()
        run = options.out or Path("reports") / f"profile-{specs[0].backbone_name}-{settings.device}"
        try:
            request = options.request(specs, settings.device)
            for record in profile_into(request, settings, run, show_progress, options.sessions):
                records.append(record)
                detail(f"{record.identity.schedule}, batch {record.execution and record.execution.batch_size}: kept")
        except KeyboardInterrupt as interrupt:
            if not records or interrupt.args:
                raise
            raise KeyboardInterrupt(f"what is measured is kept in {run}") from None
    return records, run


def show(records: Sequence[Record], run: Path, console: Console) -> None:
    """Print tables and sentences, and what to beware of on stderr."""
    from proscale_bench.commands.exporting import print_lines, print_tables
    from proscale_bench.render import profile as render
    from proscale_bench.render.console import warn

    print_tables(console, render.tables(records), break_labels=True)
    print_lines(console, render.headlines(records), style="")
    print_lines(console, render.footer(records))
    print_lines(console, [f"records: {run} (figures: proscale-bench report {run})"], soft_wrap=True)
    for line in render.failures(records):
        warn(line.split("\n"), "use a smaller --batch-size or --size" if "out of memory" in line else None)
    for message, advice in _cautions(records):
        warn(message, advice)
    print_lines(console, render.speedups(records), style="")


def check_measured(records: Sequence[Record], fail_unstable: bool) -> None:
    """Fail, after all is shown and kept, where that is due.

    Raises:
        BenchError: nothing could be measured, something failed for another reason than memory, or a latency cannot
            be trusted and a gate asked for that (exit code 3).
    """
    failed = [record.error for record in records if record.error]
    faults = [error for error in failed if "out of memory" not in error.message]
    if failed and (faults or len(failed) == len(records)):
        first = (faults or failed)[0]
        message = f"{len(failed)} of {len(records)} could not be measured, the first: {first.message}"
        raise BenchError(message.split("\n"), first.hint, ExitCode.UNTRUSTED)
    unstable = [record.profile for record in records if record.profile and record.profile.unstable]
    if fail_unstable and unstable:
        kinds = sorted({caution.kind for profile in unstable for caution in profile.unstable})
        message = f"{len(unstable)} of {len(records)} latencies cannot be trusted: {', '.join(kinds)}"
        raise BenchError(message, "the warnings above say what to do", ExitCode.UNTRUSTED)


def _cautions(records: Sequence[Record]) -> Iterator[tuple[list[str], str]]:
    """Warnings with advice, one a kind, with the records that it is about unless it is about all."""
    from proscale_bench.render.profile import full_names, name_of

    measured = [record for record in records if record.profile]
    known = full_names(measured)
    about: dict[str, dict[str, list[str]]] = {}
    advice: dict[str, str] = {}
    for record in measured:
        for caution in record.profile.warnings if record.profile else ():
            about.setdefault(caution.kind, {}).setdefault(caution.message, []).append(name_of(record, known))
            advice[caution.kind] = caution.advice
    for kind, messages in about.items():
        lines = [
            message if len(names) == len(measured) else f"{' and '.join(names)}: {message}"
            for message, names in messages.items()
        ]
        yield [lines[0], *(f"  {line}" for line in lines[1:])], advice[kind]
