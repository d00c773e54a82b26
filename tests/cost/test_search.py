"""The batch of a search equals the closed form of each encoder, and the frontier is a brute search's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from proscale_bench.cost.count import count_model
from proscale_bench.cost.geometry import parse_size
from proscale_bench.cost.rules import RULES, get_rules
from proscale_bench.cost.search import (
    PARAMETERS_AT,
    STRIDES,
    WORK_AT,
    Candidates,
    Tally,
    count_candidates,
    frontier_of,
    points_of,
    stride_of,
)
from proscale_bench.specs.candidates import FAMILIES
from proscale_bench.specs.encoders import staged
from proscale_bench.specs.encoders.staged import parse_compact
from proscale_bench.specs.grid import Grid, single
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.specs.model import EncoderSpec
from proscale_bench.specs.terms import Einsum, One, OutputPixels, Squared, Terms, Tokens

BASELINE = staged.baseline()


def counted(family: str, backbone: str, size: str, rules: str, layers: int) -> Candidates:
    spec = mask2former(BASELINE, backbone)
    tally = Tally(lambda encoder: replace(spec, encoder=encoder), parse_size(size), get_rules(rules))
    grids = list(FAMILIES[family](layers))
    if len(grids) > 1000:
        grids = random.Random(1).sample(grids, 200)
    return count_candidates([(family, grid) for grid in grids], tally, BASELINE)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("backbone", "size", "rules"),
    [("resnet50", "800x1333", "fvcore"), ("tiny", "97x131", "complete"), ("swin_t", "coco-first100", "published")],
)
def test_the_batch_is_the_closed_form_of_each(family: str, backbone: str, size: str, rules: str) -> None:
    found = counted(family, backbone, size, rules, layers=7)
    number = len(found.counts)
    for index in random.Random(0).sample(range(number), min(60, number)):
        spec = mask2former(found.encoder(index), backbone)
        count = count_model(spec, parse_size(size), RULES[rules])
        total, encoder = count.part_flops["total"], count.part_flops["encoder"]
        assert [int(one) for one in found.counts[index, :3]] == [total, encoder, spec.parameters()["encoder"]]
        assert found.family(index) == family


def test_every_schedule_up_to_a_number_of_layers_is_there_once() -> None:
    grids = list(FAMILIES["staged"](4))
    encoders = [grid.make(*point.tolist()) for grid in grids for point in points_of(grid)]
    assert len(set(encoders)) == len(encoders)
    options = [
        f"+{embedding}+trc:{gate}" for embedding, gate in product(("conv", "maxpool", "dw"), ("none", "linear", "conv"))
    ]
    for layers in product(range(5), repeat=3):
        for option in options:
            assert (parse_compact(",".join(map(str, layers)) + option) in encoders) == (sum(layers) <= 4)
    assert all(parse_compact(spelling) not in encoders for spelling in ("1,1,1,1", "2:1"))
    for spelling in ("4:2,543:2", "3:1,53:1,543:1", "43:4", "baseline:3"):
        assert parse_compact(spelling) in encoders


def test_more_levels_are_those_with_res6_or_res2() -> None:
    grids = list(FAMILIES["more-levels"](2))
    few = [grid for grid in grids if grid.places <= 2]
    encoders = [grid.make(*point.tolist()) for grid in few for point in points_of(grid)]
    assert len(set(encoders)) == len(encoders)
    assert parse_compact("0,0,1,1") in encoders
    assert parse_compact("2:2") in encoders
    assert parse_compact("0,0,2") not in encoders
    assert max(grid.places for grid in grids) == 5


@dataclass(frozen=True)
class Crooked:
    """An encoder whose cost is no straight line in its layers."""

    layers: int
    bent: int = 0

    def row(self) -> list[int]:
        return [10 + 3 * self.layers + self.bent * self.layers**2]


@pytest.mark.parametrize("bent", [0, 1])
def test_what_is_no_straight_line_is_counted_one_by_one(bent: int) -> None:
    from proscale_bench.cost.search import over_grids

    calls = 0

    def row(encoder: Any) -> list[int]:
        nonlocal calls
        calls += 1
        return encoder.row()  # type: ignore[no-any-return]

    grid = Grid(lambda a, b: Crooked(a + b, bent), 2, 12)  # type: ignore[arg-type, return-value]
    found = over_grids([grid, single(Crooked(5))], row)  # type: ignore[arg-type]
    assert found[:-1, 0].tolist() == [Crooked(int(sum(point)), bent).row()[0] for point in points_of(grid)]
    assert found[-1, 0] == 25
    assert calls < 10 if not bent else calls > len(points_of(grid))


def test_the_baseline_has_all_of_its_own_capacity() -> None:
    found = counted("staged", "resnet50", "800x1333", "fvcore", layers=6)
    index = next(index for index in range(len(found.counts)) if found.encoder(index) == BASELINE)
    assert found.capacity[index] == pytest.approx(1)
    assert found.ratios[index].tolist() == [1] * 5


def test_the_work_of_a_level_is_its_products() -> None:
    """A layer over res5 alone: projections of 256 by 256, offsets and weights, FFN, norms, samples, weighted sums."""
    found = counted("staged", "resnet50", "640x640", "fvcore", layers=3)
    by_name = {found.encoder(index).compact: found.counts[index].tolist() for index in range(len(found.counts))}
    two, one = by_name["2,0,0"], by_name["1,0,0"]
    layer = 2 * 256**2 + 3 * 256 * 8 * 4 + 2 * 256 * 1024 + 10 * 256 + 4 * 256 * 4 + 256 * 4
    assert two[WORK_AT] - one[WORK_AT] == 400 * layer
    assert two[WORK_AT + 1 :] == one[WORK_AT + 1 :]
    assert two[PARAMETERS_AT] > one[PARAMETERS_AT]


def test_strides_are_read_off_quantities() -> None:
    assert [stride_of(one) for one in (Tokens(8), Squared(Tokens(32)), Einsum(3, Tokens(4)))] == [8, 32, 4]
    assert [stride_of(one) for one in (Tokens(64), Tokens(1))] == [STRIDES[0], STRIDES[-1]]
    assert [stride_of(one) for one in (One(), OutputPixels())] == [None, None]


def brute(cost: list[float], capacity: list[float], allowed: list[bool]) -> set[tuple[float, float]]:
    points = [one for one, ok in zip(zip(cost, capacity, strict=True), allowed, strict=True) if ok]
    return {(c, k) for c, k in points if not any(a <= c and b >= k and (a, b) != (c, k) for a, b in points)}


@pytest.mark.parametrize("seed", range(20))
def test_the_frontier_is_that_of_a_brute_search(seed: int) -> None:
    chance = random.Random(seed)
    number = chance.randrange(1, 60)
    cost = [float(chance.randrange(12)) for _ in range(number)]
    capacity = [float(chance.randrange(12)) for _ in range(number)]
    allowed = [chance.random() < 0.7 for _ in range(number)]
    found = frontier_of(np.array(cost), np.array(capacity), np.array(allowed))
    assert [cost[index] for index in found] == sorted(cost[index] for index in found)
    assert {(cost[index], capacity[index]) for index in found} == brute(cost, capacity, allowed)
    assert len(found) == len({(cost[index], capacity[index]) for index in found})


def test_a_family_of_another_package_is_searched_alike() -> None:
    """Nothing but an encoder's terms, parts and parameters is asked."""

    @dataclass(frozen=True)
    class Doubled:
        inner: EncoderSpec

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        def terms(self, *given: Any) -> dict[str, Terms]:
            return {
                part: Terms({key: 2 * n for key, n in one.items()}) for part, one in self.inner.terms(*given).items()
            }

    def doubled() -> Iterator[Grid]:
        yield Grid(lambda a: Doubled(parse_compact(f"0,0,{a}")), 1, 5)  # type: ignore[arg-type, return-value]

    spec = mask2former(BASELINE, "tiny")
    tally = Tally(lambda encoder: replace(spec, encoder=encoder), parse_size("64x64"), get_rules("fvcore"))
    found = count_candidates([("doubled", grid) for grid in doubled()], tally, BASELINE)
    for index in range(5):
        once = tally.row(parse_compact(f"0,0,{index + 1}"))
        assert found.counts[index, 1] == 2 * once[1]
