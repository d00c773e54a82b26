"""What `profile` does between its flags and its tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from proscale_bench.commands.loading import uninterrupted
from proscale_bench.errors import BenchError, ExitCode, one_of
from proscale_bench.render.console import detail, note, shows_progress, stderr_console, warn
from proscale_bench.units import printable

if TYPE_CHECKING:
    from rich.console import Console

    from proscale_bench.bench.profile import ProfileRequest
    from proscale_bench.measure.profile import ProfileSettings
    from proscale_bench.results.profile import DeviceType
    from proscale_bench.results.record import Record

DEFAULT_SIZES: dict[DeviceType, str] = {"cuda": "800x1333", "cpu": "640x640"}  # a CPU takes seconds for the former


@dataclass(frozen=True)
class Asked:
    """The flags, as they were given."""

    schedules: tuple[str, ...]
    backbone: str
    size: str | None
    output_size: str | None
    batch_sizes: tuple[int, ...]
    device: str | None
    dtype: str
    compiled: bool
    cuda_graphs: bool
    sampling: str
    optimizations: bool
    threads: int | None
    seed: int
    max_seconds: float
    repeats: int | None
    ceilings: bool

    def check(self) -> None:
        """What can be found wrong without loading torch, which takes seconds.

        Raises:
            BenchError: a flag's value is unknown.
        """
        from proscale_bench.config import choices
        from proscale_bench.config.architecture import get_architecture
        from proscale_bench.config.catalogue import parse_schedule
        from proscale_bench.cost.geometry import COCO_SIZES, parse_size
        from proscale_bench.results.profile import DeviceType, DType

        for schedule in self.schedules:
            parse_schedule(schedule)
        get_architecture(self.backbone)
        if self.size in COCO_SIZES:
            raise BenchError(
                f"--size {self.size}: a latency is of one size, and this is many",
                "give a size as in --size 800x1333; 'proscale-bench flops' counts the COCO sets",
            )
        parse_size(self.size or DEFAULT_SIZES["cpu"], self.output_size)
        one_of(DType, self.dtype, "dtype")
        one_of(choices.Sampling, self.sampling, "sampling")
        if self.device is not None:
            one_of(DeviceType, self.device, "device")

    def settings(self) -> ProfileSettings:
        """How to run. Loads torch.

        Raises:
            BenchError: no such device, or one that cannot do what was asked.
        """
        import torch

        from proscale_bench.measure.latency import Limits
        from proscale_bench.measure.profile import ProfileSettings
        from proscale_bench.models.sampling import choose
        from proscale_bench.results.profile import DeviceType, DType

        device: DeviceType = "cuda" if torch.cuda.is_available() else "cpu"
        if self.device is not None:
            device = one_of(DeviceType, self.device, "device")
        elif device == "cpu":
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
        )
        choose(self.sampling, torch.device(device), self.compiled)
        return settings

    def request(self, device: DeviceType) -> ProfileRequest:
        from proscale_bench.bench.profile import ProfileRequest
        from proscale_bench.config.catalogue import parse_schedule
        from proscale_bench.cost.geometry import parse_size

        size = parse_size(self.size or DEFAULT_SIZES[device], self.output_size)
        schedules = tuple(parse_schedule(schedule) for schedule in self.schedules)
        return ProfileRequest(schedules, self.backbone, size, self.batch_sizes, self.ceilings)


def measure_with_progress(asked: Asked, out: Path | None) -> tuple[list[Record], Path]:
    """Measure, with a bar on stderr where stderr is a terminal: the records, and the run's folder.

    The bar is drawn between rounds only: a thread that draws it meanwhile would take time from what is measured.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    asked.check()
    columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    records: list[Record] = []
    quiet = not shows_progress()
    with Progress(*columns, console=stderr_console(), transient=True, disable=quiet, auto_refresh=False) as bar:
        task = bar.add_task("loading torch", total=None)
        with uninterrupted():
            import torchvision  # noqa: F401

            from proscale_bench.bench.profile import profile

        def show(what: str, share: float | None) -> None:
            bar.update(task, description=what, completed=share or 0, total=None if share is None else 1, refresh=True)

        settings = asked.settings()
        request = asked.request(settings.device)
        run = out or Path("reports") / f"profile-{asked.backbone}-{settings.device}"
        try:
            for record in profile(request, settings, run, show):
                records.append(record)
                detail(f"{record.identity.schedule}, batch {record.execution and record.execution.batch_size}: kept")
        except KeyboardInterrupt:
            if not records:
                raise
            raise KeyboardInterrupt(f"what is measured is kept in {run}") from None
    return records, run


def show_profile(records: Sequence[Record], run: Path, console: Console) -> None:
    """The tables and sentences; what to beware of on stderr."""
    from rich.text import Text

    from proscale_bench.render import profile as render
    from proscale_bench.render.table import rich_table

    for table in render.tables(records):
        console.print(rich_table(table, break_labels=True))
        console.print()
    for line in render.headlines(records):
        console.print(Text(line))
    for line in render.footer(records):
        console.print(Text(line, style="dim"))
    where = printable(f"records: {run} (figures: proscale-bench report {run})")
    console.print(Text(where, style="dim"), soft_wrap=True)
    for line in render.failures(records):
        warn(f"{line}", "use a smaller --batch-size or --size" if "out of memory" in line else None)
    for message, advice in _cautions(records):
        warn(message, advice)


def check(records: Sequence[Record], fail_unstable: bool) -> None:
    """What makes the command fail, after all is shown and kept.

    Raises:
        BenchError: nothing could be measured, something failed for another reason than memory, or a latency cannot
            be trusted and a gate asked for that (exit code 3).
    """
    failed = [record.error for record in records if record.error]
    faults = [error for error in failed if "out of memory" not in error.message]
    if failed and (faults or len(failed) == len(records)):
        first = (faults or failed)[0]
        raise BenchError(
            f"{len(failed)} of {len(records)} could not be measured, the first: {first.message}",
            first.hint,
            ExitCode.UNTRUSTED,
        )
    unstable = [record.profile for record in records if record.profile and record.profile.unstable]
    if fail_unstable and unstable:
        kinds = sorted({caution.kind for profile in unstable for caution in profile.unstable})
        raise BenchError(
            f"{len(unstable)} of {len(records)} latencies cannot be trusted: {', '.join(kinds)}",
            "the warnings above say what to do",
            ExitCode.UNTRUSTED,
        )


def _cautions(records: Sequence[Record]) -> Iterator[tuple[str, str]]:
    """What to beware of, with advice: a warning a kind, with the records that it is about unless it is about all."""
    from proscale_bench.render.profile import name_of

    measured = [record for record in records if record.profile]
    about: dict[str, dict[str, list[str]]] = {}
    advice: dict[str, str] = {}
    for record in measured:
        for caution in record.profile.warnings if record.profile else ():
            about.setdefault(caution.kind, {}).setdefault(caution.message, []).append(name_of(record))
            advice[caution.kind] = caution.advice
    for kind, messages in about.items():
        lines = [
            message if len(names) == len(measured) else f"{' and '.join(names)}: {message}"
            for message, names in messages.items()
        ]
        yield "\n  ".join(lines), advice[kind]
