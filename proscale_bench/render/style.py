"""The look of every figure, and how it is saved: the same figure gives the same bytes."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FigureFormat = Literal["svg", "png", "pdf"]
WIDTH_INCHES = 7.0  # of a text block; at half of it the labels still read
PNG_DPI = 200
HALO = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.4}  # lifts a label off the grid
INK, FAINT = "#222222", "#8a8a8a"

# Of every legend above panels; `render/legend.py` finds its columns.
LEGEND: dict[str, Any] = {
    "fontsize": 8.2,
    "handlelength": 1.0,
    "handletextpad": 0.4,
    "columnspacing": 2.0,
    "borderaxespad": 0.2,
    "labelcolor": INK,
}

# Okabe and Ito's palette: told apart by readers with any colour vision.
COLORS = {
    "resnet50": "#0072B2",
    "resnet101": "#56B4E9",
    "swin_t": "#D55E00",
    "swin_s": "#E69F00",
    "swin_b": "#009E73",
    "swin_l": "#CC79A7",
    "tiny": "#000000",
}
# On dark paper (the page alone; figures are printed): the same hues, brighter.
DARK_COLORS = {
    "resnet50": "#4aa8e8",
    "resnet101": "#9fd8f7",
    "swin_t": "#ff8a3d",
    "swin_s": "#f2bd4b",
    "swin_b": "#2fc99a",
    "swin_l": "#e79fc6",
    "tiny": "#f0f2f4",
    "other": "#9aa3ad",
}
BACKBONE_NAMES = {
    "resnet50": "ResNet-50",
    "resnet101": "ResNet-101",
    "swin_t": "Swin-T",
    "swin_s": "Swin-S",
    "swin_b": "Swin-B",
    "swin_l": "Swin-L",
    "tiny": "tiny Swin",
}
STYLE = {
    # The first comes with matplotlib; the second is for SVG viewers that do not have it.
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 9.5,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "text.color": INK,
    "text.hinting": "no_hinting",
    "text.parse_math": False,  # a name may hold a dollar sign
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "proscale-bench",
    "pdf.fonttype": 42,  # text stays text, in the font that is drawn
}


def backbone_name(backbone: str) -> str:
    return BACKBONE_NAMES.get(backbone, backbone)


def backbone_color(backbone: str) -> str:
    return COLORS.get(backbone, FAINT)


def unbroken(words: str) -> str:
    """Words in which no line ends between a number and its noun."""
    return re.sub(
        r"\b(batch) (?=\d)|(?<=\d) (?=threads?\b)", lambda found: f"{found[1] or ''}\N{NO-BREAK SPACE}", words
    )


def draw_point(axes: Axes, x: float, y: float, color: str, face: str, marker: str = "o") -> None:
    """Draw the mark of a configuration; `face` is its inside."""
    edge: dict[str, Any] = {"markersize": 7, "markeredgewidth": 1.4, "markeredgecolor": color}
    axes.plot([x], [y], marker, **edge, markerfacecolor=face, zorder=4)


def load_matplotlib() -> None:
    """Import matplotlib with the settings that it ships, and no backend of pyplot's: we draw without it.

    A notebook names a backend in $MPLBACKEND for all that it starts, and the first `matplotlibrc` to be read is that of
    the working folder, whatever it holds; matplotlib fails to be imported where either says what it does not know.
    """
    spec = find_spec("matplotlib")
    if spec is None or not spec.origin:
        raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
    here = os.open(".", os.O_RDONLY)  # also a folder that has been removed
    try:
        os.chdir(Path(spec.origin).parent / "mpl-data")  # with the `matplotlibrc` of the defaults
        with _without("MPLBACKEND"):
            import matplotlib.figure
            import matplotlib.style  # noqa: F401
    finally:
        os.fchdir(here)
        os.close(here)


@contextmanager
def style() -> Iterator[None]:
    """A context with matplotlib's defaults and ours, whatever the user's own settings are."""
    import matplotlib.style

    with matplotlib.style.context(["default", STYLE]):
        yield


@contextmanager
def _without(variable: str) -> Iterator[None]:
    """Inside, a variable of the environment is not set."""
    value = os.environ.pop(variable, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[variable] = value


def save(figure: Figure, kind: FigureFormat) -> bytes:
    """The bytes of a figure, without dates: the same figure gives the same bytes."""
    data = io.BytesIO()
    metadata: dict[str, Any] = {
        "svg": {"Date": None, "Creator": None},
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }[kind]
    with style(), _without("SOURCE_DATE_EPOCH"):  # matplotlib reads it as a date, although none is written
        figure.savefig(data, format=kind, dpi=PNG_DPI, metadata=metadata)
    return data.getvalue()
