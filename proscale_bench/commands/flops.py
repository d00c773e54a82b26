"""`proscale-bench flops`: what schedules cost on paper."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

import typer

from proscale_bench.commands.help import BenchCommand
from proscale_bench.commands.options import (
    BackboneOption,
    ConventionOption,
    ExportCsvOption,
    ExportJsonOption,
    ExportMarkdownOption,
    ForceOption,
    OutputSizeOption,
    RulesOption,
    ScheduleOption,
    SizeOption,
)

DEFAULT_SCHEDULES = ["3,3,3"]  # the released models


class By(str, Enum):
    stage = "stage"
    layer = "layer"
    operator = "operator"


class VerifyAllCommand(BenchCommand):
    """Reads `--verify=all`: an option with an optional value, which Typer does not have."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, ["--verify-all" if arg == "--verify=all" else arg for arg in args])


def flops(
    schedule: ScheduleOption = DEFAULT_SCHEDULES,
    backbone: BackboneOption = "resnet50",
    size: SizeOption = "coco-first100",
    output_size: OutputSizeOption = None,
    rules: RulesOption = "fvcore",
    convention: ConventionOption = "mac",
    by: Annotated[By, typer.Option("--by", metavar="NAME", help="Rows: stage, layer or operator.")] = By.stage,
    as_executed: Annotated[
        bool,
        typer.Option("--as-executed", help="Show what inference executes too, after exact optimizations."),
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Count again by a trace and by fvcore; --verify=all: at every size."),
    ] = False,
    verify_all: Annotated[bool, typer.Option("--verify-all", hidden=True)] = False,
    export_json: ExportJsonOption = None,
    export_csv: ExportCsvOption = None,
    export_markdown: ExportMarkdownOption = None,
    force: ForceOption = False,
) -> None:
    """Count FLOPs and parameters, each schedule against the baseline.

    Example: proscale-bench flops --schedule 3,3,3 --backbone swin_t
    """
    from rich.text import Text

    from proscale_bench.commands.exporting import Exports
    from proscale_bench.cost.count import count_flops
    from proscale_bench.render import flops as render
    from proscale_bench.render.console import detail
    from proscale_bench.render.table import rich_table

    exports = Exports(export_json, export_csv, export_markdown, force)
    counts = [count_flops(one, backbone, size, output_size, rules, convention) for one in schedule]
    for asked, count in zip(schedule, counts, strict=True):
        detail(f"{asked} is {count.schedule}: {len(count.input.groups)} distinct sizes, {count.input.images} images")
    rows = [count.row(as_executed) for count in counts]
    if verify or verify_all:
        from proscale_bench.commands.verifying import verify_counts

        for row, verified in zip(
            rows, verify_counts(counts, all_sizes=verify_all, as_executed=as_executed), strict=True
        ):
            row["verified"] = verified

    exports.write(rows, lambda: render.markdown(counts, by.value, as_executed))
    console = exports.console
    for table in render.tables(counts, by.value, console.width, as_executed):
        console.print(rich_table(table))
        console.print()
    for line in render.headlines(counts):
        console.print(Text(line))
    for line in render.footer(counts[0], as_executed):
        console.print(Text(line, style="dim"))
