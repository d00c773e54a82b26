"""Profiles as Markdown: a document of their own, and their part of a run's report. Pure functions of records."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from proscale_bench.analysis.settings import Setting, by_backbone, profiled
from proscale_bench.render.profile import failures, footer, headlines, name_of, tables
from proscale_bench.render.table import Row, Table, markdown_table
from proscale_bench.results.profile import Execution
from proscale_bench.results.record import Record

Text = Callable[[str], str]  # makes words safe for Markdown


def markdown(records: Sequence[Record]) -> str:
    """What `profile --export-markdown` writes: the terminal's tables, sentences and footer."""
    lines: list[str] = []
    for table in tables(records):
        lines += [f"### {table.title}", "", *markdown_table(table), ""]
    lines += [f"- {line}" for line in (*headlines(records), *failures(records), *_cautions(records))]
    lines += ["", *(f"<sub>{line}</sub>  " for line in footer(records))]
    return "\n".join(lines) + "\n"


def section(setting: Setting, records: Sequence[Record], text: Text) -> list[str]:
    """A setting's part of a report.

    Args:
        setting: with an execution.
        records: all of it.
        text: makes words safe for Markdown.
    """
    lines = [f"## Measured: {text(setting.ran)}", ""]
    lines += [f"- {text(line)}" for line in headlines(records)]
    lines += ["", *(text(line) + "  " for line in footer(records)), ""] if lines[2:] else []
    for table in tables(records):
        rows = tuple(Row(text(row.label), tuple(map(text, row.cells)), row.indent, row.strong) for row in table.rows)
        safe = Table("", tuple(map(text, table.header)), rows)
        lines += [f"### {text(table.title)}", "", *markdown_table(safe), ""]
    if cautions := _cautions(records):
        lines += ["### Beware", "", *(f"- {text(line)}" for line in cautions), ""]
    return lines


def commands(records: Sequence[Record]) -> list[str]:
    """The `profile` commands that measure the same again, one a setting and backbone."""
    found = []
    for setting, group in profiled(records).items():
        for backbone, rows in by_backbone(group).items():
            words = ["proscale-bench", "profile", "--backbone", backbone, "--size", setting.size]
            words += ["--output-size", setting.output] if setting.output else []
            words += [word for record in rows for word in ("--schedule", record.identity.schedule)]
            found.append(shlex.join(words + (_flags(setting.execution) if setting.execution else [])))
    return found


def _flags(execution: Execution) -> list[str]:
    flags = ["--batch-size", str(execution.batch_size), "--device", execution.device, "--dtype", execution.dtype]
    flags += ["--compile"] if "compiled" in execution.mode else []
    flags += ["--cuda-graphs"] if "cuda_graphs" in execution.mode else []
    flags += ["--sampling", execution.sampling, *([] if execution.optimizations else ["--no-rewrites"])]
    return [*flags, "--threads", str(execution.threads)]


def _cautions(records: Sequence[Record]) -> list[str]:
    """Why a number may mislead, once for all the records that say so alike."""
    about: dict[str, list[str]] = {}
    for record in records:
        for caution in record.profile.warnings if record.profile else ():
            about.setdefault(f"{caution.message}; {caution.advice}", []).append(name_of(record))
    return [f"{' and '.join(names)}: {said}" for said, names in about.items()]
