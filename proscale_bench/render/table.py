"""A table before it is drawn, and its two forms: for the terminal and as Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from proscale_bench.units import printable

if TYPE_CHECKING:
    from rich.table import Table as RichTable

MARKUP = re.compile(r"([\\`*_\[\]<>#~&$])")  # a table cell's bar is escaped by the table
LINKS = re.compile(r"(?i)(@|:(?=//)|\bwww(?=\.))")  # of these GitHub makes mentions and links without any markup

GAP = 2  # between the columns of a terminal's table


@dataclass(frozen=True)
class Row:
    """A line of a table. `strong` lines are sums; `indent` shows what is contained in what."""

    label: str
    cells: tuple[str, ...]
    indent: int = 0
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """A title, a header and rows; `header[0]` stands over the labels.

    Args:
        spare: places in the header of columns that a narrow terminal does without, the first first.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[Row, ...]
    spare: tuple[int, ...] = ()

    @property
    def width(self) -> int:
        """The columns of a terminal that it takes, with nothing left out."""
        widths = self._widths()
        return sum(widths) + GAP * (len(widths) - 1)

    def _widths(self) -> list[int]:
        """The width of each column."""
        header = (self.header[0], *map(broken, self.header[1:]))
        lines = [header, *((broken("  " * row.indent + row.label), *row.cells) for row in self.rows)]
        return [max(len(part) for cell in column for part in cell.split("\n")) for column in zip(*lines, strict=True)]

    def fitted(self, width: int) -> Table:
        """The table without as many spare columns as need be to have `width`, so that no number of others is cut."""
        widths = self._widths()
        dropped: set[int] = set()
        for place in self.spare:
            if sum(widths) + GAP * (len(widths) - len(dropped) - 1) <= width:
                break
            untitled = takewhile(lambda other: not self.header[other], range(place + 1, len(widths)))
            for other in (place, *untitled):  # what has no title belongs to the column before it
                widths[other] = 0
                dropped.add(other)
        if not dropped:
            return self

        def kept(cells: tuple[str, ...], first: int) -> tuple[str, ...]:
            return tuple(cell for place, cell in enumerate(cells, first) if place not in dropped)

        rows = (replace(row, cells=kept(row.cells, 1)) for row in self.rows)
        return Table(self.title, kept(self.header, 0), tuple(rows))


def rich_table(
    table: Table,
    justify: Literal["left", "right"] = "right",
    break_labels: bool = False,
    fold_labels: bool = False,
    styles: Mapping[str, str] = MappingProxyType({}),
) -> RichTable:
    """A table for the terminal.

    Args:
        justify: of the columns after the labels.
        break_labels: put each option of a schedule on a line of its own, which keeps the labels narrow.
        fold_labels: break labels between words where the terminal is too narrow.
        styles: of cells, by their words.
    """
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(
        title=Text(printable(table.title), style="bold") if table.title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )
    vertical: Literal["top", "bottom"] = "bottom" if justify == "right" else "top"  # of headers, and of wrapped text
    drawn.add_column(Text(printable(table.header[0]), style="dim"), no_wrap=not fold_labels)
    for name in table.header[1:]:
        drawn.add_column(Text(broken(printable(name))), justify=justify, vertical=vertical, no_wrap=justify == "right")
    for row in table.rows:
        style = "bold" if row.strong else ("dim" if row.indent > 1 else "")
        label = broken(printable(row.label)) if break_labels else printable(row.label)
        drawn.add_row(
            Text("  " * row.indent + label),
            *(Text(printable(cell), styles.get(cell, "")) for cell in row.cells),
            style=style,
        )
    return drawn


def broken(name: str) -> str:
    """A schedule's name with each option on a line of its own, so that a column stays narrow."""
    return re.sub(r"(?<=\S)\+(?=[a-z])", "\n+", name)


def markdown_text(words: str) -> str:
    """Words on one line with all that Markdown and GitHub read as markup, mention or link escaped."""
    return LINKS.sub(r"\1<!-- -->", MARKUP.sub(r"\\\1", printable(words.replace("\n", " "))))


def markdown_tables(
    tables: Iterable[Table], text: Callable[[str], str] = markdown_text, heading: str = "### "
) -> list[str]:
    """The lines of several tables in Markdown, each below its title; `text` escapes words."""
    lines: list[str] = []
    for table in tables:
        rows = tuple(Row(text(row.label), tuple(map(text, row.cells)), row.indent, row.strong) for row in table.rows)
        safe = Table("", tuple(map(text, table.header)), rows)
        lines += [f"{heading}{text(table.title)}", "", *markdown_table(safe), ""]
    return lines


def markdown_table(table: Table, align: str = "l") -> list[str]:
    """The lines of a table in Markdown; `align` has an `l` or `r` for each column, and those after it are as `r`."""

    def line(values: Iterable[str]) -> str:
        return "| " + " | ".join(value.replace("|", "\\|") for value in values) + " |"

    sides = ({"l": ":--", "r": "--:"}[side] for side in align.ljust(len(table.header), "r"))
    lines = [line(table.header), f"|{'|'.join(sides)}|"]
    for row in table.rows:
        values = ["&nbsp;" * 4 * row.indent + row.label, *(cell.strip() for cell in row.cells)]
        lines.append(line(f"**{value}**" if row.strong and value else value for value in values))
    return lines
