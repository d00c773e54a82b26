"""Units, and how numbers and words are shown to a person. Files and JSON keep full precision."""

from __future__ import annotations

import re

GIGA = 10**9
MIB = 1 << 20
MEGA = 10**6

COMMAND = re.compile(r"^(\s*)(:)(?=:)|#(?=#(?:vso)?\[)")  # of CI, in a log
Size = tuple[int, int]  # (height, width) in pixels, or of a feature map


def reduction_pct(new: float, old: float) -> float | None:
    """The reduction from `old` to `new`, in percent of `old`; None where `old` is nothing."""
    return 100.0 * (old - new) / old if old else None


def show_gflops(gflops: float) -> str:
    """Two decimals above 1 G; below, as many as three significant digits need: `126.86`, `0.0647`."""
    return f"{gflops:,.2f}" if abs(gflops) >= 1 or gflops == 0 else f"{gflops:#.3g}"


def show_reduction(pct: float | None) -> str:
    """A saving carries a minus sign, as in the papers: `-51.74%`."""
    return "" if pct is None else f"{-pct:+.2f}%" if round(pct, 2) else "0.00%"


def show_mac(convention: str) -> str:
    """The worth of a multiply-accumulate, by the convention's name."""
    return "1 MAC = 1 FLOP" if convention == "mac" else "1 MAC = 2 FLOPs"


def show_ms(ms: float) -> str:
    """Milliseconds to a place that a clock can tell: `1,234.5`, `12.34`, `0.123`."""
    return f"{ms:,.1f}" if ms >= 100 else f"{ms:.2f}" if ms >= 1 or ms == 0 else f"{ms:#.3g}"


def show_change(pct: float) -> str:
    """A measured saving to a tenth of a percent, with a minus sign where something got less: `-22.4%`."""
    return f"{-pct:+.1f}%" if round(pct, 1) else "0.0%"


def show_difference(difference: float) -> str:
    """A difference to two decimals, with its sign; what rounds to nothing and is something keeps a digit: `+0.003`."""
    return f"{difference:+.2f}" if round(difference, 2) or not difference else f"{difference:+.1g}"


def show_share(pct: float) -> str:
    """A share of a bound to two significant digits, without an exponent: `0.012 %`, `5.8 %`, `1,200 %`."""
    return f"{pct:,.0f} %" if abs(pct) >= 99.5 else f"{pct:.2g} %"


def show_tokens(tokens: int) -> str:
    return f"{tokens:,}"


def printable(text: str) -> str:
    """A name that a user, a file or data gave, as a person is shown it: in one line, and nothing that a reader obeys.

    Control characters (of C0 and C1), line and paragraph separators, marks that turn the direction of writing, and all
    else that leaves no mark of its own become escapes, so that no name drives a terminal or begins a line of a log.
    What CI takes for a command stands as text: `::` that begins a line (GitHub), `##[` and `##vso[` anywhere (GitHub,
    Azure Pipelines).
    """
    if not text.isprintable():
        text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    if ":" in text or "#" in text:
        text = COMMAND.sub(lambda found: f"{found[1] or ''}\\x{ord(found[2] or found[0]):x}", text)
    return text


def printable_lines(text: str) -> str:
    """Text of the tool's own, of several lines, each as in `printable`."""
    return "\n".join(map(printable, text.split("\n")))


def show_duration(seconds: float) -> str:
    """A duration in two units at most: `8 s`, `4 min 10 s`, `52 min`, `3 h 5 min`, `2 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return _units(whole, 60, "min", "s")
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 1440:
        return _units(minutes, 60, "h", "min")
    return _units(round(minutes / 60), 24, "d", "h")


def _units(amount: int, many: int, large: str, small: str) -> str:
    whole, rest = divmod(amount, many)
    return f"{whole} {large} {rest} {small}" if rest else f"{whole} {large}"
