"""The figures: the same bytes every time, marks that tell, labels that never overlap, nothing that crashes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import pytest

from proscale_bench.errors import BenchError
from proscale_bench.render import bars
from proscale_bench.render.bars import costs_figure
from proscale_bench.render.figure import MARKS, pareto_figure
from proscale_bench.render.style import save
from proscale_bench.results.record import Record
from tests.results.records import paper, record, renamed, with_accuracy, without_accuracy


def svg_of(figure: Any) -> str:
    return save(figure, "svg").decode()


def labels_of(axes: Any) -> list[Any]:
    return [text for text in axes.texts if (text.get_gid() or "").startswith("label-")]


def marks_of(axes: Any) -> dict[str, list[Any]]:
    """Points by marker."""
    found: dict[str, list[Any]] = {}
    for line in axes.lines:
        if line.get_marker() in MARKS.values():
            found.setdefault(line.get_marker(), []).append(line)
    return found


@pytest.mark.parametrize("draw", [pareto_figure, costs_figure])
def test_the_same_records_give_the_same_bytes(draw: Any) -> None:
    first, second = draw(paper()), draw(tuple(reversed(paper())))
    assert save(first, "svg") == save(second, "svg") == save(first, "svg")
    assert save(first, "png") == save(second, "png")


@pytest.mark.parametrize("draw", [pareto_figure, costs_figure])
def test_the_users_own_matplotlib_settings_change_nothing(draw: Any) -> None:
    import matplotlib

    before = svg_of(draw(paper()))
    with matplotlib.rc_context(
        {"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path", "lines.linewidth": 9}
    ):
        assert svg_of(draw(paper())) == before


def test_the_svg_has_no_date_and_its_text_is_text() -> None:
    svg = svg_of(pareto_figure(paper()))
    assert "<dc:date>" not in svg
    text = " ".join(ElementTree.fromstring(svg).itertext())
    for words in ("total GFLOPs", "encoder GFLOPs", "1 MAC = 1 FLOP, rules fvcore, coco-first100", "PQ, %", "Swin-T"):
        assert words in text
    for saving in ("−27.35%", "−51.74%", "−28.09%", "−49.97%"):
        assert saving in text
    assert "published" in text
    assert "measured" not in text  # nothing was


def test_a_panel_has_at_most_so_many_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure of metres would take gigabytes."""
    monkeypatch.setattr(bars, "MOST_BARS", 3)
    titles = [axes.get_title(loc="left") for axes in costs_figure(paper()).axes if axes.get_visible()]
    assert any(", the first 3 of " in title for title in titles)


def test_every_size_has_a_row_of_panels() -> None:
    records = paper()
    sizes = list(dict.fromkeys(one.input.size for one in records))
    axes = pareto_figure(records).axes
    assert [label for one in axes for label in sizes if label in one.get_xlabel()] == [
        size for size in sizes for _ in "xy"
    ]
    one_size = [one for one in records if one.input.size == sizes[0]]
    assert len(pareto_figure(one_size).axes) == 2


def test_frontier_points_are_filled_and_dominated_ones_hollow() -> None:
    total, encoder = pareto_figure(paper()).axes[:2]

    def hollow(axes: Any) -> int:
        return sum(line.get_markerfacecolor() == "white" for line in marks_of(axes)["D"])

    assert (hollow(total), hollow(encoder)) == (1, 2)
    assert set(marks_of(total)) == {MARKS["published"]}


def test_measured_and_published_points_have_different_marks() -> None:
    records = [
        with_accuracy(record("baseline"), pq=50.0, provenance="published"),
        with_accuracy(record("3,3,3"), pq=49.0, provenance="measured"),
    ]
    figure = pareto_figure(records, ["total_gflops"])
    assert {mark: len(points) for mark, points in marks_of(figure.axes[0]).items()} == {"D": 1, "o": 1}
    svg = svg_of(figure)
    assert "published" in svg
    assert "measured" in svg


def crowd(count: int) -> list[Record]:
    """Points close to each other, with labels longer than the gaps."""
    return [
        with_accuracy(record(f"{n},3,{1 + n % 3}+conv"), pq=50 + (n * 7 % 5) / 10, provenance="measured")
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("records", "x", "y"),
    [
        (paper(), ("total_gflops", "encoder_gflops"), "pq"),
        (paper(), ("total_gflops",), "params_m"),
        (paper(), ("params_m",), "encoder_gflops"),
        (crowd(12), ("total_gflops",), "pq"),
        (crowd(30), ("total_gflops", "params_m"), "pq"),
    ],
    ids=["paper", "all schedules", "two costs", "crowd", "large crowd"],
)
@pytest.mark.parametrize("dpi", [72, 200])
def test_labels_overlap_neither_each_other_nor_a_point(
    records: Sequence[Record], x: tuple[str, ...], y: str, dpi: int
) -> None:
    figure = pareto_figure(records, x, y)
    figure.set_dpi(dpi)
    figure.draw_without_rendering()
    seen = 0
    for axes in figure.axes[: len(x)]:
        boxes = [label.get_window_extent() for label in labels_of(axes)]
        seen += len(boxes)
        for a, b in combinations(boxes, 2):
            assert not a.overlaps(b)
        points = [
            axes.transData.transform((line.get_xdata()[0], line.get_ydata()[0]))
            for marks in marks_of(axes).values()
            for line in marks
        ]
        for box in boxes:
            assert not any(box.contains(*point) for point in points)
            assert axes.bbox.x0 <= box.x0
            assert box.x1 <= axes.bbox.x1 + 1
    assert seen >= 8


def test_every_configuration_of_the_paper_report_has_its_label() -> None:
    figure = pareto_figure(paper())
    for axes, savings in zip(figure.axes[:2], (["−27.35%", "−28.09%"], ["−49.97%", "−51.74%"]), strict=True):
        texts = sorted(label.get_text() for label in labels_of(axes))
        assert texts == sorted(["baseline", "3,3,3", "baseline", "3,3,3", *savings])


def test_what_has_no_accuracy_is_said_and_shown() -> None:
    records = [without_accuracy(one) for one in paper()]
    svg = svg_of(pareto_figure(records))
    assert "no record has both" in svg
    assert "cost only, no PQ known" in svg


def test_no_record_at_all_is_no_crash() -> None:
    assert "no record has both" in svg_of(pareto_figure([]))
    assert "no configuration has a cost" in svg_of(costs_figure([]))


def test_records_that_failed_are_no_crash() -> None:
    failed = [record().model_copy(update={"cost": None})]
    assert save(pareto_figure(failed), "png")
    assert save(costs_figure(failed), "png")


def test_one_point_alone_is_a_frontier() -> None:
    figure = pareto_figure([with_accuracy(record(), pq=50.0)], ["total_gflops"])
    assert [label.get_text() for label in labels_of(figure.axes[0])] == ["3,3,3"]


def test_equal_points_are_both_on_the_frontier() -> None:
    one = with_accuracy(record(), pq=50.0)
    figure = pareto_figure([one, renamed(one, schedule="twin")], ["total_gflops"])
    assert [line.get_markerfacecolor() == "white" for line in marks_of(figure.axes[0])["o"]] == [False, False]


def test_names_stay_text_in_the_picture() -> None:
    name = r"<b>$\frac{1}{0}$ & ]]> _x_"
    one = with_accuracy(renamed(record(), schedule=name, backbone=name), pq=50.0)
    for figure in (pareto_figure([one]), costs_figure([one])):
        assert name in " ".join(ElementTree.fromstring(svg_of(figure)).itertext())


@pytest.mark.parametrize(("x", "y"), [(["flops"], "pq"), (["total_gflops"], "PQ")])
def test_an_unknown_metric_is_an_error(x: list[str], y: str) -> None:
    with pytest.raises(BenchError, match="unknown metric"):
        pareto_figure(paper(), x, y)


def test_the_bars_of_the_costs_add_up_to_the_total() -> None:
    figure = costs_figure(paper())
    for axes, backbone in zip(figure.axes[:2], ("resnet50", "swin_t"), strict=True):
        totals: dict[float, float] = {}
        for bar in axes.patches:
            totals[bar.get_y()] = totals.get(bar.get_y(), 0) + bar.get_width()
        expected = [one.cost.gflops["total"] for one in paper() if one.identity.backbone == backbone and one.cost][:9]
        assert [totals[y] for y in sorted(totals)] == pytest.approx(expected, rel=1e-12)


def test_a_bar_names_its_own_saving() -> None:
    """The bars are of the whole model, and so are the savings beside them."""
    svg = svg_of(costs_figure(paper()))
    for words in ("−27.35%", "−12.98%", "re-calibration (≈ 0.00", "token layers over 3 levels", "rules fvcore"):
        assert words in svg
    assert "−51.74%" not in svg  # the encoder's


def test_all_sizes_are_in_the_costs() -> None:
    sizes = ("800x1333", "160x160")
    records = [record(schedule, size=size) for size in sizes for schedule in ("baseline", "3,3,3")]
    figure = costs_figure(records)
    titles = {axes.get_title(loc="left") for axes in figure.axes}
    assert {f"ResNet-50 at {size}" for size in sizes} <= titles
    widths = [axes.get_xlim()[1] for axes in figure.axes[:2]]
    assert max(widths) > 10 * min(widths)  # each panel has its own scale


def test_what_has_no_accuracy_sets_no_range() -> None:
    """A tick beyond the points is left out; where there are no points, ticks have the axis to themselves."""
    points = [with_accuracy(record(one), pq=50.0, provenance="measured") for one in ("baseline", "3,3,3")]
    alone = pareto_figure(points, ["total_gflops"]).axes[0]
    beside = pareto_figure([*points, record("1,1,1"), record("6,3,3")], ["total_gflops"]).axes[0]
    assert beside.get_xlim() == pytest.approx(alone.get_xlim())
    assert len(ticks(beside)) == 1
    assert len(ticks(pareto_figure([record("1,1,1"), record("6,3,3")], ["total_gflops"]).axes[0])) == 2


def ticks(axes: Any) -> list[Any]:
    """The short lines at a panel's foot."""
    return [
        line
        for line in axes.lines
        if len(set(line.get_xdata())) == 1
        and len(line.get_xdata()) == 2
        and line.get_transform() == axes.get_xaxis_transform(which="grid")
    ]


@pytest.mark.parametrize("backbones", [["resnet50"], ["resnet50", "swin_t", "tiny"]])
def test_any_number_of_backbones_has_its_panels(backbones: list[str]) -> None:
    records = [record(schedule, backbone) for backbone in backbones for schedule in ("baseline", "3,3,3")]
    assert save(costs_figure(records), "png")
