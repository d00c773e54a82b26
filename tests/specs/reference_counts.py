"""Reference counts of encoders: fvcore's numbers for the official modules, which formulas must equal with `==`.

Records are read from the file that PROSCALE_REFERENCE_COUNTS names, or from the one that ships.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from proscale_bench.cost.rules import get_rules
from proscale_bench.specs.terms import Operator, Sides, Terms

SHIPPED = Path(__file__).parents[1] / "fixtures" / "golden" / "encoders" / "reference_counts.json"


def records(encoder: str) -> list[Any]:
    """All records of an encoder as parameters of a test; at least one.

    A record has `backbone`, `height_px`, `width_px`, `arguments`, `total`, `params_total`, and `by_operator`,
    `by_module`, `params`, `unsupported`.
    """
    found = json.loads(Path(os.environ.get("PROSCALE_REFERENCE_COUNTS", SHIPPED)).read_text())["records"]
    mine = [record for record in found if record["encoder"] == encoder]
    assert mine, f"no record of {encoder}"
    return [
        pytest.param(one, id=f"{one['height_px']}x{one['width_px']}-{'-'.join(map(str, one['arguments'].values()))}")
        for one in mine
    ]


def count(tables: Iterable[Terms], record: dict[str, Any], rules: str = "fvcore") -> Counter[Operator]:
    """FLOPs by operator of some parts at a record's size, 1 MAC = 1; operators that count as nothing are left out."""
    sides = Sides(record["height_px"], record["width_px"], record["height_px"], record["width_px"])
    flops: Counter[Operator] = Counter()
    for table in tables:
        for (operator, quantity), amount in table.items():
            flops[operator] += amount * quantity.at(sides) * get_rules(rules).factor(operator, "mac")
    return +flops
