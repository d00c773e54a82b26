"""Tables in a terminal of 80 columns: no name and no number of them is cut."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from proscale_bench.config.catalogue import catalogue
from proscale_bench.config.choices import shipped
from proscale_bench.config.recipe import read_recipe
from proscale_bench.cost.count import count_model
from proscale_bench.cost.geometry import parse_size
from proscale_bench.cost.rules import get_rules
from proscale_bench.render.schedules import catalogue_table, cost_table
from proscale_bench.render.table import Table, rich_table
from proscale_bench.render.training import recipes_table
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.specs.model import by_exit

COLUMNS = 80


def costs() -> Table:
    encoders = [encoder for encoder, _ in catalogue()]
    size, rules = parse_size("800x1333"), get_rules("fvcore")
    counts = [[count_model(one, size, rules) for one in by_exit([mask2former(each)])] for each in encoders]
    return cost_table([each.name or each.compact for each in encoders], counts)


@pytest.mark.parametrize(
    ("table", "justify"),
    [
        (recipes_table([read_recipe(path) for path in shipped("recipes").values()]), "left"),
        (catalogue_table(catalogue()), "left"),
        (costs(), "right"),
    ],
    ids=["recipes", "catalogue", "costs"],
)
def test_nothing_is_cut(table: Table, justify: str) -> None:
    stream = io.StringIO()
    Console(file=stream, width=COLUMNS, color_system=None).print(rich_table(table, justify))  # type: ignore[arg-type]
    shown = stream.getvalue()
    assert "…" not in shown
    assert all(row.label in shown for row in table.rows)
    assert all(word in shown for row in table.rows for cell in row.cells[:4] for word in cell.split())


def test_a_gates_choice_has_its_least_and_its_most() -> None:
    rows = {row.label: row.cells for row in costs().rows}
    assert (rows["early-exit"][1], rows["at most"][1]) == ("-43.48%", "0.00%")
