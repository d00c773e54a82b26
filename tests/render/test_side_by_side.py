"""The table and figures of what was counted, timed and judged, from records made by hand."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from proscale_bench.analysis.views import SideBySide, side_by_side
from proscale_bench.render.figure import default_x, pareto_figure
from proscale_bench.render.markdown import report
from proscale_bench.render.savings import has_savings, savings_figure
from proscale_bench.render.side_by_side import footer, tables
from proscale_bench.render.style import save
from proscale_bench.render.table import Table, rich_table
from proscale_bench.results.record import Failure, Record
from tests.analysis.test_views import counted, judged, seeds, timed
from tests.results.many import with_interval
from tests.results.records import with_accuracy
from tests.sweeps.profiles import with_energy

RECORDS = [*counted(), *timed(), *judged()]


def table(side: SideBySide, width: int = 140) -> Table:
    (one,) = tables(side, width)
    return one


def drawn(side: SideBySide, width: int) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=False)
    console.print(rich_table(table(side, width), break_labels=True))
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(("width", "columns"), [(80, 10), (140, 19)])
def test_it_fits_80_columns_and_uses_140(width: int, columns: int) -> None:
    (side,) = side_by_side(RECORDS)
    assert len(table(side, width).header) == columns
    lines = drawn(side, width)
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
    row = next(line.split() for line in lines if line.startswith("3,3,3"))
    profile, accuracy = side.rows[2].record.profile, side.rows[2].record.accuracy
    assert profile is not None
    assert accuracy is not None
    assert f"{profile.latency_median_ms:.1f}" in row
    assert f"{accuracy.pq:.1f}" in row
    assert "±1.0" in row


def test_several_backbones_have_a_table_each() -> None:
    large = [
        one.model_copy(update={"identity": one.identity.model_copy(update={"backbone": "swin_t"})}) for one in RECORDS
    ]
    (side,) = side_by_side([*RECORDS, *large])
    assert [one.title.partition(":")[0] for one in tables(side)] == ["Swin-T", "tiny Swin"]
    assert [len(one.rows) for one in tables(side)] == [3, 3]


@pytest.mark.parametrize(
    ("width", "gone"), [(80, []), (70, ["AP", "mIoU"]), (140, ["params, M", "MiB", "stuff"]), (1000, [])]
)
def test_what_has_no_room_goes_whole_and_no_number_is_cut(width: int, gone: list[str]) -> None:
    skewed = [with_interval(with_interval(one, 38.8, 45.2), 39.9, 49.1, "ap") for one in judged()]
    (side,) = side_by_side([*counted(), *timed(), *(with_interval(one, 41.0, 51.1, "miou") for one in skewed)])
    whole = table(side, width)
    fitted = whole.fitted(width)
    assert [name for name in whole.header if name not in fitted.header] == gone
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=False).print(rich_table(fitted, break_labels=True))
    assert "[38.8, 45.2]" in out.getvalue()
    assert "…" not in out.getvalue()
    assert {len(row.cells) + 1 for row in fitted.rows} == {len(fitted.header)}


def test_columns_of_what_nobody_knows_are_left_out() -> None:
    (side,) = side_by_side([*counted(), *judged()])
    assert "ms" not in table(side).header
    (side,) = side_by_side([*counted(), *timed()])
    assert "PQ" not in table(side).header


def test_energy_is_shown_where_it_is_known() -> None:
    (side,) = side_by_side([*counted(), *(with_energy(one, 2.5) for one in timed())])
    shown = table(side)
    assert [row.cells[shown.header.index("J/image") - 1] for row in shown.rows] == ["2.5"] * 3
    assert "J/image" not in table(side_by_side(RECORDS)[0]).header


def test_what_is_published_is_marked() -> None:
    (side,) = side_by_side([with_accuracy(one, "published", pq=51.0) for one in timed()])
    shown = table(side)
    assert [row.cells[shown.header.index("PQ") - 1] for row in shown.rows] == ["51.0*"] * 3
    assert "*: published: a test" in footer(side)


def test_the_footer_says_how() -> None:
    (side,) = side_by_side(RECORDS)
    said = "\n".join(footer(side))
    assert "1 MAC = 1 FLOP, rules fvcore" in said
    assert "the median of 12 rounds" in said
    assert "on 256 images; ±, [ ]: 95 %, from 200 bootstrap draws of the images" in said
    assert table(side).title == (
        "tiny Swin: 160x160 · a CPU, fp32, batch 1, eager, embedding_bag sampling, 4 threads · val"
    )


def test_a_failure_stands_in_its_columns() -> None:
    records = [*counted(), *timed(), *judged()[1:]]
    lost = judged()[0].model_copy(update={"accuracy": None, "execution": None})
    failed = lost.model_copy(update={"error": Failure(message="not whole", exit_code=2)})
    (side,) = side_by_side([*records, failed])
    shown = table(side)
    assert shown.rows[0].cells[shown.header.index("PQ") - 1] == "failed"
    assert "baseline failed: not whole" in footer(side)


def test_several_trainings_are_named() -> None:
    (side,) = side_by_side([*counted(), *timed(), *seeds(41.0, 43.0)])
    assert [row.label for row in table(side).rows] == [
        f"{name} (mean of seeds 0, 1)" for name in ("baseline", "1,1,1", "3,3,3")
    ]
    assert any(line.startswith("mean of seeds: ") for line in footer(side))
    assert not any("mean of" in line for line in footer(side_by_side(RECORDS)[0]))


def test_weights_that_do_not_say_their_training_have_a_row_each() -> None:
    (side,) = side_by_side([*RECORDS, *judged(42.0, source="other")])
    assert [row.label for row in table(side).rows] == [
        f"{name}, {file}" for name in ("baseline", "1,1,1", "3,3,3") for file in ("other", "weights.safetensors")
    ]


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
    assert side_by_side(shuffled) == side_by_side(RECORDS)
    assert report(shuffled) == report(RECORDS)


def test_each_backbone_has_its_own_panels() -> None:
    """Two models of one name in one panel would be two points with one label."""
    timed = [one for one in RECORDS if one.profile]
    others = [
        one.model_copy(update={"identity": one.identity.model_copy(update={"backbone": "swin_t"})}) for one in timed
    ]
    figure = savings_figure([*timed, *others])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Swin-T", "", "tiny Swin", ""]
    for axes in figure.axes:
        names = [text.get_text() for text in axes.texts]
        assert len(names) == len(set(names)) > 0
