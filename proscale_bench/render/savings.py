"""The figure of GFLOPs saved against time saved, of the encoder and the whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from proscale_bench.analysis.labels import row_names
from proscale_bench.analysis.settings import Setting, grouped, profiled
from proscale_bench.render import style
from proscale_bench.render.label_placement import Name, draw_names
from proscale_bench.render.legend import draw_above
from proscale_bench.results.profile import CountedSaving, RealisedSaving
from proscale_bench.results.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROOM = 6.0  # percentage points around what is shown


class SavingPoint(NamedTuple):
    """The saving of one model in a part, in percent of the baseline's: counted, and on the clock."""

    name: str
    backbone: str
    counted: float
    realised: RealisedSaving


def has_savings(records: Sequence[Record]) -> bool:
    """True where anything was timed beside its baseline."""
    return _main(records) is not None


def savings_figure(records: Sequence[Record]) -> Figure:
    """Two panels a backbone, encoder and total. On the dashed line a saved FLOP is saved time; below it, it is less."""
    from matplotlib.figure import Figure

    setting = _main(records)
    rows = profiled(records)[setting] if setting else []
    by_backbone = grouped(rows, lambda record: record.identity.backbone)
    with style.style():
        figure = Figure(figsize=(style.WIDTH_INCHES, 0.5 + 3.25 * max(len(by_backbone), 1)), layout="constrained")
        drawn = []
        panels = figure.subplots(max(len(by_backbone), 1), 2, squeeze=False)
        for (left, right), (backbone, group) in zip(panels, by_backbone.items(), strict=False):
            drawn += [(axes, _panel(axes, title, group)) for axes, title in ((left, "encoder"), (right, "total"))]
            left.set_ylabel("time saved against the baseline, %")
            if len(by_backbone) > 1:
                left.set_title(style.backbone_name(backbone), loc="left", fontsize=9.5)
        if setting and setting.execution:
            figure.supxlabel(f"{setting.where}, {setting.execution.words}", fontsize=8.5)
        _legend(figure, rows)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # the places found below must stay
        for axes, savings in drawn:
            _label(axes, savings)
    return figure


def _main(records: Sequence[Record]) -> Setting | None:
    """The first setting in which something was timed beside its baseline."""
    for setting, rows in profiled(records).items():
        if any(_saving(record, "total") for record in rows):
            return setting
    return None


def _saving(record: Record, part: str, name: str = "") -> SavingPoint | None:
    profile = record.profile
    of = profile if part == "total" or profile is None else profile.stages.get(part)
    counted: CountedSaving | None = of.counted_saving_pct if of else None
    realised: RealisedSaving | None = of.realised_saving_pct if of else None
    if counted is None or counted.counted is None or realised is None:
        return None
    return SavingPoint(name, record.identity.backbone, counted.counted, realised)


def _panel(axes: Axes, part: str, records: Sequence[Record]) -> list[SavingPoint]:
    names = row_names(records)
    savings = [saving for record in records if (saving := _saving(record, part, names[record.digest]))]
    for saving in savings:
        color = style.backbone_color(saving.backbone)
        axes.plot([saving.counted] * 2, saving.realised.interval, color=color, linewidth=1.2, zorder=3)
        face = color if saving.realised.significant else "white"
        style.draw_point(axes, saving.counted, saving.realised.value, color, face)
    low, high = _limits(savings)
    axes.plot([low, high], [low, high], color=style.FAINT, linewidth=1.0, linestyle=(0, (4, 3)), zorder=2)
    axes.axhline(0, color=style.FAINT, linewidth=0.7, zorder=1)
    axes.set_xlim(min([0.0, *(saving.counted for saving in savings)]) - ROOM, high)
    axes.set_ylim(low, high)
    axes.set_xlabel(f"{part} GFLOPs saved against the baseline, %")
    return savings


def _limits(savings: Sequence[SavingPoint]) -> tuple[float, float]:
    """The limits of both axes, so that the dashed line is the diagonal."""
    values = [0.0, *(one.counted for one in savings), *(one.realised.value for one in savings)]
    ends = [end for one in savings for end in one.realised.interval]
    return min([*values, *ends]) - ROOM, max([*values, *ends]) + ROOM


def _label(axes: Axes, savings: Sequence[SavingPoint]) -> None:
    points = [(saving.counted, saving.realised.value) for saving in savings]
    names = [
        Name(saving.name, point, style.INK, style.backbone_color(saving.backbone))
        for saving, point in zip(savings, points, strict=True)
    ]
    bars = [[(saving.counted, end) for end in saving.realised.interval] for saving in savings]
    low, high = axes.get_ylim()
    draw_names(axes, names, points, [*bars, [(low, low), (high, high)]])


def _legend(figure: Figure, records: Sequence[Record]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="none", marker="s", color=style.backbone_color(name), label=style.backbone_name(name))
        for name in dict.fromkeys(record.identity.backbone for record in records)
    ]
    handles += [
        Line2D([], [], linestyle="none", marker="o", color=style.INK, label="median and 95 % interval"),
        Line2D([], [], linestyle="none", marker="o", color=style.INK, markerfacecolor="white", label="not significant"),
        Line2D([], [], color=style.FAINT, linestyle=(0, (4, 3)), label="a saved FLOP is saved time"),
    ]
    draw_above(figure, handles, 4, 0.45, handlelength=2.2)  # long enough for dashes
