"""A run's tables in the terminal: costs alone, or costs, latencies and accuracies side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from proscale_bench.analysis.labels import MEAN, row_names, shared_model
from proscale_bench.analysis.settings import by_backbone, by_setting, main_setting
from proscale_bench.analysis.views import SideBySide
from proscale_bench.render import columns
from proscale_bench.render.notes import notes_on_records
from proscale_bench.render.style import backbone_name
from proscale_bench.render.table import Row, Table, markdown_tables
from proscale_bench.results.record import Record
from proscale_bench.specs.model import model_words
from proscale_bench.units import show_mac

WIDE = 140  # columns of text that the long form takes, or a little more
SPARE = (
    "params, M",
    "MiB",
    "stuff",
    "things",
    "tokens",
    "mIoU",
    "AP",
)  # the first to go where the terminal is too narrow


def costs_table(records: Sequence[Record]) -> Table | None:
    """One line for each configuration of the run's main setting, with costs alone; None where nothing has a cost."""
    setting = main_setting(records)
    if setting is None:
        return None
    names, shown = row_names(records), by_setting(records)[setting]
    shared = {backbone: model_words(backbone, shared_model(group)) for backbone, group in by_backbone(shown).items()}
    wider = (*columns.COSTS, columns.DETECTORS_ACCURACY)
    titles, found = columns.known(wider, [columns.cells(wider, [record]) for record in shown])
    rows = tuple(
        Row(names[record.digest], (shared[record.identity.backbone], *cells), strong=record.is_baseline)
        for record, cells in zip(shown, found, strict=True)
    )
    return Table(f"GFLOPs, {setting.how}", ("schedule", "backbone", *titles), rows)


def costs_footer(records: Sequence[Record]) -> list[str]:
    """Sentences below `costs_table`: its columns and marks, and what the report has beside them."""
    lines = ["percentages: savings against the baseline; tokens: savings of the encoder's token layers"]
    if any(record.accuracy and record.accuracy.provenance == "published" for record in records):
        lines.append(f"{columns.PUBLISHED}: published by others, sources in the report")
    lines += notes_on_records(records)
    shown = main_setting(records)
    others = [
        f"{len(group)} configurations at {setting.where}"
        for setting, group in by_setting(records).items()
        if setting != shown
    ]
    return [*lines, f"also in the report: {', '.join(others)}"] if others else lines


def tables(side: SideBySide, width: int = WIDE) -> Iterator[Table]:
    """One table for each backbone and one line for each schedule; a column without values is left out.

    Args:
        width: columns that there are.
    """
    shown = columns.LONG if width >= WIDE else columns.SHORT
    expected: list[columns.SectionName] = ["cost"]
    expected += ["profile"] if side.setting.is_timed else []
    expected += ["accuracy"] if side.key else []
    for backbone, group in groupby(side.rows, lambda row: row.record.identity.backbone):
        lines = list(group)
        shared = shared_model([line.record for line in lines])
        found = [columns.cells(shown, line.records, expected) for line in lines]
        titles, rows = columns.known(shown, found)
        yield Table(
            f"{model_words(backbone_name(backbone), shared)}: {_title(side)}",
            ("schedule", *titles),
            tuple(Row(line.label, row, strong=line.record.is_baseline) for line, row in zip(lines, rows, strict=True)),
            spare=tuple(titles.index(name) + 1 for name in SPARE if name in titles),
        )


def footer(side: SideBySide) -> list[str]:
    """The meaning of the columns, beside what the title says."""
    lines, records = [], [row.record for row in side.rows]
    if any(record.cost for record in records):
        counted = f"{show_mac(side.setting.convention)}, rules {side.setting.rules}"
        lines.append(f"encoder, total: GFLOPs, {counted}; percentages: savings against the baseline")
        lines += notes_on_records(record for row in side.rows for record in row.records)
    if side.setting.is_timed:
        rounds = sorted({len(record.profile.samples_ms) for record in records if record.profile})
        shown = " to ".join(dict.fromkeys(map(str, (*rounds[:1], *rounds[-1:])))) or "no"
        timed = f"ms: a pass, the median of {shown} rounds in turns with the baseline"
        lines.append(f"{timed}; {columns.MARKS}")
    if side.key:
        draws = {one.resamples for record in records if (one := record.evaluated)}
        drawn = f"; ±, [ ]: 95 %, from {max(draws):,} bootstrap draws of the images" if any(draws) else ""
        boxes = all(columns.DETECTORS_ACCURACY.cell(record) for record in records if record.accuracy)
        lines.append(f"{'box AP' if boxes else 'PQ, AP, mIoU'}: percent, on {side.key.images:,} images{drawn}")
    known = [record.accuracy for record in records if record.accuracy]
    if sources := dict.fromkeys(one.source for one in known if one.provenance == "published"):
        lines.append(f"{columns.PUBLISHED}: published: {', '.join(sources)}")
    if any(one.source.startswith(MEAN) for one in known):
        lines.append("mean of seeds: of these trainings; ±, [ ]: of the mean, over images and trainings together")
    lines += [
        f"{row.label} {columns.FAILED}: {row.record.error.message}".replace("\n", " ")
        for row in side.rows
        if row.record.error
    ]
    return lines


def section(side: SideBySide, text: Callable[[str], str]) -> list[str]:
    """The tables in a report, as lines of Markdown; `text` escapes words."""
    if not side.setting.is_timed or side.key is None:
        return []  # the tables of its one half say it all
    lines = markdown_tables(tables(side), text, "## Side by side: ")
    return [*lines, *(text(line) + "  " for line in footer(side)), ""]


def _title(side: SideBySide) -> str:
    setting = side.setting
    parts = [] if setting.dataset and side.key else [setting.where]
    parts += [setting.execution.words] if setting.is_timed and setting.execution else []
    parts += [side.data] if side.key else []
    return " · ".join(parts)
