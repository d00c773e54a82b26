"""Every count of 1,890 configurations is what it was before a model was one value: to the byte of its JSON."""

from __future__ import annotations

import hashlib
import json
from itertools import product

from proscale_bench.bench.specs import count_flops
from proscale_bench.config.catalogue import catalogue_names, parse_schedule
from proscale_bench.cost.rules import CONVENTIONS
from proscale_bench.specs.backbones import BACKBONES

SIZES = ("coco-first100", "coco-val", "800x1333", "640x640", "33x2001")
SCHEDULES = [name for name in catalogue_names() if not getattr(parse_schedule(name), "is_ours", True)]  # of the papers
RULES = ("fvcore", "published", "complete")
# Written down with the formulas of version 0.1.0 (commit ccca308).
ROWS = "c6e5264e468a14736bcf25df76ce0b82853dd8f4b864fe9a0785207dd81c1b1f"
ROWS_BY_OPERATOR = "e5c0a7b7e6d824866d0a6a2e24831c516f51c5ed1874e4cc09336303628400b9"


def test_the_integers_of_1890_configurations() -> None:
    """Rows with what is executed, left out and counted as parameters; then those with every operator, keys sorted."""
    rows, by_operator, number = hashlib.sha256(), hashlib.sha256(), 0
    for size, backbone, schedule, rules, convention in product(SIZES, BACKBONES, SCHEDULES, RULES, CONVENTIONS):
        count = count_flops(schedule, backbone, size, None, rules, convention)
        row, operators = count.row(with_executed=True), count.by_operator
        rows.update(json.dumps({"row": row, "b": 0}).encode() + b"\n")
        by_operator.update(json.dumps({"row": row, "by_operator": operators}, sort_keys=True).encode() + b"\n")
        number += 1
    assert number == 1890
    assert rows.hexdigest() == ROWS
    assert by_operator.hexdigest() == ROWS_BY_OPERATOR
