"""A budget file with other numbers: each is exchanged where it stands, and nothing else changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

import yaml

from proscale_bench.config.yaml_file import Loader, Loc

MOST_DECIMALS = 20  # a float has no more to tell
CONTEXT = Context(prec=400)  # digits: the largest float has 309


@dataclass(frozen=True)
class Rewritten:
    """A number that was exchanged, and the key that it stands at."""

    key: Loc
    line: int
    old: str
    new: str


def rewrite(text: str, found: Mapping[Loc, float]) -> tuple[str, list[Rewritten]]:
    """Exchange the numbers at the keys given for what was found, rounded so that the limit is kept.

    A number keeps as many decimals as it has: `63.5` becomes `63.5` for 63.47, and `63` becomes `64`.

    Args:
        text: a budget file that `read_budgets` accepts.
        found: value by key; the last part of a key is `max` or `min`.
    """
    root = yaml.compose(text, Loader=Loader)
    assert root is not None
    done, pieces = [], []
    for key, value in found.items():
        node = _at(root, key)
        written = node.value
        new = _rounded(value, written, up=key[-1] == "max")
        if Decimal(new) != Decimal(written):
            end = node.end_mark.index
            pieces.append((end - len(written), end, new))
            done.append(Rewritten(key, node.start_mark.line + 1, written, new))
    for start, end, new in sorted(pieces, reverse=True):
        text = text[:start] + new + text[end:]
    return text, done


def _at(node: yaml.Node, key: Loc) -> yaml.ScalarNode:
    for part in key:
        if isinstance(part, int):
            node = node.value[part]
        else:
            node = next(value for name, value in node.value if name.value == part)
    assert isinstance(node, yaml.ScalarNode)
    return node


def _rounded(value: float, written: str, up: bool) -> str:
    exponent = Decimal(written).as_tuple().exponent
    assert isinstance(exponent, int)
    unit = Decimal(1).scaleb(max(min(exponent, 0), -MOST_DECIMALS))
    return f"{Decimal(repr(value)).quantize(unit, ROUND_CEILING if up else ROUND_FLOOR, CONTEXT):f}"
