"""The table and figures of what was counted, timed and judged, from records made by hand."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from proscale_bench.analysis.joined import Join, joined
from proscale_bench.render.figure import default_x, pareto_figure
from proscale_bench.render.grid import Grid, table
from proscale_bench.render.joined import footer, grids
from proscale_bench.render.markdown import report
from proscale_bench.render.savings import has_savings, savings_figure
from proscale_bench.render.style import save
from proscale_bench.results.record import Failure, Record
from tests.analysis.test_joined import counted, judged, timed

RECORDS = [*counted(), *timed(), *judged()]


def grid(join: Join, width: int = 140) -> Grid:
    (one,) = grids(join, width)
    return one


def drawn(join: Join, width: int) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=False)
    console.print(table(grid(join, width), break_labels=True))
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(("width", "columns"), [(80, 10), (140, 19)])
def test_it_fits_80_columns_and_uses_140(width: int, columns: int) -> None:
    (join,) = joined(RECORDS)
    assert len(grid(join, width).header) == columns
    lines = drawn(join, width)
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
    row = next(line.split() for line in lines if line.startswith("3,3,3"))
    profile, accuracy = join.rows[2].profile, join.rows[2].accuracy
    assert profile is not None
    assert accuracy is not None
    assert f"{profile.latency_median_ms:.1f}" in row
    assert f"{accuracy.pq:.1f}" in row
    assert "±1.0" in row


def test_several_backbones_have_a_table_each() -> None:
    large = [
        one.model_copy(update={"identity": one.identity.model_copy(update={"backbone": "swin_t"})}) for one in RECORDS
    ]
    (join,) = joined([*RECORDS, *large])
    assert [one.title.partition(":")[0] for one in grids(join)] == ["Swin-T", "tiny Swin"]
    assert [len(one.rows) for one in grids(join)] == [3, 3]


def test_columns_of_what_nobody_knows_are_left_out() -> None:
    (join,) = joined([*counted(), *judged()])
    assert "ms" not in grid(join).header
    (join,) = joined([*counted(), *timed()])
    assert "PQ" not in grid(join).header


def test_the_footer_says_how() -> None:
    (join,) = joined(RECORDS)
    said = "\n".join(footer(join))
    assert "1 MAC = 1 FLOP, rules fvcore" in said
    assert "the median of 12 rounds" in said
    assert "of 256 images; ±: 95 %, the images drawn anew 200 times" in said
    assert grid(join).title == (
        "tiny Swin: 160x160 · a CPU, fp32, batch 1, eager, embedding_bag sampling, 4 threads · val"
    )


def test_a_failure_stands_in_its_columns() -> None:
    records = [*counted(), *timed(), *judged()[1:]]
    lost = judged()[0].model_copy(update={"accuracy": None, "execution": None})
    failed = lost.model_copy(update={"error": Failure(message="not whole", exit_code=2)})
    (join,) = joined([*records, failed])
    shown = grid(join)
    assert shown.rows[0].cells[shown.header.index("PQ") - 1] == "failed"
    assert "baseline failed: not whole" in footer(join)


def test_several_trainings_are_named() -> None:
    (join,) = joined([*RECORDS, *judged(42.0, source="other")])
    assert [row.label for row in grid(join).rows] == ["baseline (2)", "1,1,1 (2)", "3,3,3 (2)"]
    assert any("mean of n trainings" in line for line in footer(join))


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
    assert joined(shuffled) == joined(RECORDS)
    assert report(shuffled) == report(RECORDS)
