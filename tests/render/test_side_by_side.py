"""The table and figures of what was counted, timed and judged, from records made by hand."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from proscale_bench.analysis.views import Table, tables
from proscale_bench.render.figure import default_x, pareto_figure
from proscale_bench.render.grid import Grid, table
from proscale_bench.render.joined import footer, grids
from proscale_bench.render.markdown import report
from proscale_bench.render.savings import has_savings, savings_figure
from proscale_bench.render.style import save
from proscale_bench.results.record import Failure, Record
from tests.analysis.test_views import counted, judged, timed
from tests.results.records import with_accuracy
from tests.sweep.profiles import with_energy

RECORDS = [*counted(), *timed(), *judged()]


def grid(joined: Table, width: int = 140) -> Grid:
    (one,) = grids(joined, width)
    return one


def drawn(joined: Table, width: int) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=False)
    console.print(table(grid(joined, width), break_labels=True))
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(("width", "columns"), [(80, 10), (140, 19)])
def test_it_fits_80_columns_and_uses_140(width: int, columns: int) -> None:
    (joined,) = tables(RECORDS)
    assert len(grid(joined, width).header) == columns
    lines = drawn(joined, width)
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
    row = next(line.split() for line in lines if line.startswith("3,3,3"))
    profile, accuracy = joined.rows[2].profile, joined.rows[2].accuracy
    assert profile is not None
    assert accuracy is not None
    assert f"{profile.latency_median_ms:.1f}" in row
    assert f"{accuracy.pq:.1f}" in row
    assert "±1.0" in row


def test_several_backbones_have_a_table_each() -> None:
    large = [
        one.model_copy(update={"identity": one.identity.model_copy(update={"backbone": "swin_t"})}) for one in RECORDS
    ]
    (joined,) = tables([*RECORDS, *large])
    assert [one.title.partition(":")[0] for one in grids(joined)] == ["Swin-T", "tiny Swin"]
    assert [len(one.rows) for one in grids(joined)] == [3, 3]


def test_columns_of_what_nobody_knows_are_left_out() -> None:
    (joined,) = tables([*counted(), *judged()])
    assert "ms" not in grid(joined).header
    (joined,) = tables([*counted(), *timed()])
    assert "PQ" not in grid(joined).header


def test_energy_is_shown_where_it_is_known() -> None:
    (joined,) = tables([*counted(), *(with_energy(one, 2.5) for one in timed())])
    shown = grid(joined)
    assert [row.cells[shown.header.index("J/image") - 1] for row in shown.rows] == ["2.5"] * 3
    assert "J/image" not in grid(tables(RECORDS)[0]).header


def test_what_is_published_is_marked() -> None:
    (joined,) = tables([with_accuracy(one, "published", pq=51.0) for one in timed()])
    shown = grid(joined)
    assert [row.cells[shown.header.index("PQ") - 1] for row in shown.rows] == ["51.0*"] * 3
    assert "*: published: a test" in footer(joined)


def test_the_footer_says_how() -> None:
    (joined,) = tables(RECORDS)
    said = "\n".join(footer(joined))
    assert "1 MAC = 1 FLOP, rules fvcore" in said
    assert "the median of 12 rounds" in said
    assert "of 256 images; ±: 95 %, the images drawn anew 200 times" in said
    assert grid(joined).title == (
        "tiny Swin: 160x160 · a CPU, fp32, batch 1, eager, embedding_bag sampling, 4 threads · val"
    )


def test_a_failure_stands_in_its_columns() -> None:
    records = [*counted(), *timed(), *judged()[1:]]
    lost = judged()[0].model_copy(update={"accuracy": None, "execution": None})
    failed = lost.model_copy(update={"error": Failure(message="not whole", exit_code=2)})
    (joined,) = tables([*records, failed])
    shown = grid(joined)
    assert shown.rows[0].cells[shown.header.index("PQ") - 1] == "failed"
    assert "baseline failed: not whole" in footer(joined)


def test_several_trainings_are_named() -> None:
    (joined,) = tables([*RECORDS, *judged(42.0, source="other")])
    assert [row.label for row in grid(joined).rows] == ["baseline (2)", "1,1,1 (2)", "3,3,3 (2)"]
    assert any("mean of n trainings" in line for line in footer(joined))


def labels(svg: str) -> set[str]:
    return set(re.findall(r'id="label-([^"]+)"', svg))


def test_accuracy_stands_against_costs_and_latency_where_all_are_known() -> None:
    assert default_x(RECORDS) == ("total_gflops", "encoder_gflops", "latency_median_ms")
    assert default_x([*counted(), *judged()]) == default_x(counted()) == ("total_gflops", "encoder_gflops")
    svg = save(pareto_figure(RECORDS, default_x(RECORDS)), "svg").decode()
    for words in ("total GFLOPs", "(1 MAC = 1 FLOP, rules fvcore, 160x160)", "latency, median, ms (160x160, a CPU"):
        assert words in svg
    assert {"3,3,3", "baseline"} <= labels(svg)
    assert svg.encode() == save(pareto_figure(RECORDS, default_x(RECORDS)), "svg")


def test_time_saved_stands_against_gflops_saved() -> None:
    assert has_savings(RECORDS)
    assert not has_savings([*counted(), *judged()])
    svg = save(savings_figure(RECORDS), "svg").decode()
    assert {"1,1,1", "3,3,3"} <= labels(svg)
    assert "baseline" not in labels(svg)
    assert "encoder GFLOPs saved against the baseline, %" in svg
    assert svg.encode() == save(savings_figure(RECORDS), "svg")


def test_the_report_has_them_side_by_side() -> None:
    markdown = report(RECORDS)
    assert "## Side by side: tiny Swin: 160x160" in markdown
    assert "savings.svg" in markdown
    assert markdown.splitlines()[2].endswith("at 160x160.**")


def test_the_order_of_records_changes_nothing() -> None:
    shuffled: list[Record] = RECORDS[::-1]
    assert tables(shuffled) == tables(RECORDS)
    assert report(shuffled) == report(RECORDS)
