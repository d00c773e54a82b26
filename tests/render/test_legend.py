"""Legends: whatever is in them, they lie within the figure and off its panels, and the panels keep their size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from proscale_bench.render.bars import costs_figure, latency_figure
from proscale_bench.render.figure import pareto_figure
from proscale_bench.render.savings import savings_figure
from proscale_bench.render.style import style
from proscale_bench.results.record import Record
from tests.results.evaluations import evaluated
from tests.results.records import record, renamed, with_accuracy
from tests.sweeps.profiles import profiled_records

SIZE = "160x160"
ENCODERS = ("3,3,3+trc:none", "3,3,3", "3,3,3+keep:0.5", "lite:(2+1)x3", "early-exit", "pem", "hybrid", "1,1,1")
ONE = ("total_gflops",)
TWO = ("total_gflops", "encoder_gflops")
LEAST_INCHES = 1.9  # of a panel's height


def worth(backbones: Sequence[str]) -> list[Record]:
    """Two evaluated encoders of each backbone, and a third of unknown quality."""
    found = []
    for n, name in enumerate(backbones):
        encoders = ENCODERS[n % 7], ENCODERS[n % 7 + 1]
        for more, encoder in enumerate(encoders):
            found.append(renamed(record(encoder, "tiny", SIZE), backbone=name))
            found.append(renamed(evaluated(encoder, 40.0 + n % 5 - 9 * more), backbone=name))
        found.append(renamed(record("6,3,3", "tiny", SIZE), backbone=name))
    return found


def names(count: int) -> list[str]:
    return [f"tiny {n}" if n % 3 else f"backbone of somebody else {n}" for n in range(count)]


def checked(figure: Any) -> list[str]:
    """The entries of the figure's legend, which lies where it should at any resolution."""
    (legend,) = figure.legends
    for dpi in (72, 200):
        figure.set_dpi(dpi)
        with style():  # as it is saved
            figure.draw_without_rendering()
            box = legend.get_window_extent()
            tops = [axes.get_tightbbox().y1 for axes in figure.axes if axes.axison]
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
        assert max(tops) <= box.y0
    return [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize(("count", "x"), [(1, ONE), (1, TWO), (2, TWO), (16, TWO), (25, ONE)])
def test_the_legend_of_the_pareto_figure(count: int, x: tuple[str, ...]) -> None:
    backbones = names(count)
    figure = pareto_figure(worth(backbones), x)
    entries = checked(figure)
    assert {*entries[:count]} == {*backbones}
    assert entries[count:] == ["measured", "frontier", "dominated: hollow", "95 % interval", "cost only, no PQ known"]
    assert all(axes.bbox.height >= LEAST_INCHES * figure.dpi for axes in figure.axes)


def test_a_long_name_is_broken_and_not_cut() -> None:
    name = "organisation/a-model-of-theirs-with-a-very-long-name-that-nobody-can-remember-at-all-at-800-pixels"
    figure = pareto_figure([with_accuracy(renamed(record("3,3,3"), backbone=name), pq=50.0)], ONE)
    assert "".join(checked(figure)[0].split()) == name


@pytest.mark.parametrize("count", [1, 30])
def test_the_legend_takes_the_place_of_a_panel_where_it_fits(count: int) -> None:
    figure = pareto_figure(worth(names(count)), (*TWO, "params_m"))
    free = figure.axes[3]
    assert (free.get_legend() is not None) == (count == 1)
    if count > 1:
        checked(figure)
        return
    with style():
        figure.draw_without_rendering()
        box = free.get_legend().get_window_extent()
    assert free.bbox.x0 <= box.x0 < box.x1 <= free.bbox.x1
    assert free.bbox.y0 <= box.y0 < box.y1 <= free.bbox.y1


def test_the_legend_of_bars_of_many_encoders() -> None:
    figure = costs_figure([record(encoder, "tiny", SIZE) for encoder in ("baseline", *ENCODERS)])
    assert len(checked(figure)) > 9
    inches = figure.axes[0].bbox.height / figure.dpi
    assert inches >= 0.22 * 9  # bars that are read


@pytest.mark.parametrize("draw", [latency_figure, savings_figure])
def test_the_legend_of_what_was_timed(draw: Any) -> None:
    records = profiled_records("3,3,3")
    more = [renamed(one, backbone=name) for name in names(5) for one in records]
    assert len(checked(draw([*records, *more]))) > 3
