"""`proscale-bench profile`: what schedules cost on this machine, and what counted savings are worth there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from proscale_bench.commands.options import (
    BackboneOption,
    BatchSizeOption,
    CompileOption,
    CudaGraphsOption,
    DeviceOption,
    DtypeOption,
    ExportCsvOption,
    ExportJsonOption,
    ExportMarkdownOption,
    ForceOption,
    MaxSecondsOption,
    OneSizeOption,
    OptimizationsOption,
    OutputSizeOption,
    RepeatsOption,
    SamplingOption,
    ScheduleOption,
    SeedOption,
    ThreadsOption,
)

DEFAULT_SCHEDULES = ["3,3,3"]  # the released models
DEFAULT_BATCHES = [1]


def profile(
    schedule: ScheduleOption = DEFAULT_SCHEDULES,
    backbone: BackboneOption = "resnet50",
    size: OneSizeOption = None,
    output_size: OutputSizeOption = None,
    batch_size: BatchSizeOption = DEFAULT_BATCHES,
    device: DeviceOption = None,
    dtype: DtypeOption = "fp32",
    compiled: CompileOption = False,
    cuda_graphs: CudaGraphsOption = False,
    sampling: SamplingOption = "auto",
    optimizations: OptimizationsOption = True,
    threads: ThreadsOption = None,
    seed: SeedOption = 0,
    max_seconds: MaxSecondsOption = 30.0,
    repeats: RepeatsOption = None,
    ceilings: Annotated[
        bool, typer.Option("--ceilings", help="Measure what the device can do at the most, and keep it.")
    ] = False,
    fail_unstable: Annotated[
        bool, typer.Option("--fail-unstable", help="Exit with 3 if a latency cannot be trusted.")
    ] = False,
    out: Annotated[
        Optional[Path],  # noqa: UP045 - typer on Python 3.10 reads this form in every version
        typer.Option("--out", metavar="DIR", help="The run's folder. \\[default: reports/profile-BACKBONE-DEVICE]"),
    ] = None,
    export_json: ExportJsonOption = None,
    export_csv: ExportCsvOption = None,
    export_markdown: ExportMarkdownOption = None,
    force: ForceOption = False,
) -> None:
    """Time schedules in turns with the baseline: latency by stage, memory, energy, and what counted savings are worth.

    Example: proscale-bench profile --schedule 3,3,3 --backbone tiny --size 64x96
    """
    from proscale_bench.commands.exporting import Exports
    from proscale_bench.commands.profiling import Asked, check, measure_with_progress, show_profile
    from proscale_bench.render.profile import markdown

    exports = Exports(export_json, export_csv, export_markdown, force)
    asked = Asked(
        tuple(schedule),
        backbone,
        size,
        output_size,
        tuple(dict.fromkeys(batch_size)),
        device,
        dtype,
        compiled,
        cuda_graphs,
        sampling,
        optimizations,
        threads,
        seed,
        max_seconds,
        repeats,
        ceilings,
    )
    records, run = measure_with_progress(asked, out)
    show_profile(records, run, exports.console)
    exports.write([record.row() for record in records], lambda: markdown(records))
    check(records, fail_unstable)
