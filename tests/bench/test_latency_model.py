"""Predicted latencies: exact where the machine is a straight line, close where it is nearly one."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from proscale_bench.bench.latency_model import LatencyModel, ProfiledModel, choose, keyed_parts
from proscale_bench.config.catalogue import parse_schedule
from proscale_bench.cost.geometry import parse_size
from proscale_bench.results.statistics import prediction_error
from proscale_bench.specs.encoders.staged import baseline
from proscale_bench.specs.mask2former import Mask2FormerSpec, mask2former
from proscale_bench.specs.terms import Operator, Terms

SIDES = parse_size("320x480").groups[0].sides
# Milliseconds of a G of each operator on an imagined machine.
PER_G = {Operator.CONV: 9.0, Operator.LINEAR: 14.0, Operator.GRID_SAMPLER: 160.0, Operator.LAYER_NORM: 30.0}
SPELLINGS = ("3,3,3", "1,1,1+conv", "4:2,43:1,543:2", "3:1,53:2,543:1+trc:none", "0,4,2+dw", "2,0,1+trc:conv", "9,0,0")


def part_ms(table: Terms) -> float:
    ms = sum(PER_G.get(operator, 20.0) * n * quantity.at(SIDES) for (operator, quantity), n in table.items()) / 1e9
    return 0.1 + ms


def spec(spelling: str) -> Mask2FormerSpec:
    return mask2former(parse_schedule(spelling), "tiny")


def imagined(spelling: str, noise: Callable[[], float] = lambda: 1.0) -> ProfiledModel:
    """A model as that machine would run it: 3 ms between the parts."""
    parts = {name: noise() * part_ms(table) for name, _, table in keyed_parts(spec(spelling))}
    whole = 3.0 + 1.05 * sum(part_ms(table) for _, _, table in keyed_parts(spec(spelling)))
    return ProfiledModel(spec(spelling), noise() * whole, parts)


def test_a_straight_machine_is_predicted_exactly() -> None:
    model = LatencyModel([imagined(one) for one in ("baseline", *SPELLINGS)], SIDES)
    for other in ("5,1,4+conv", "4:3,543:3+dw+trc:none", "543:7+trc:conv", "2,2,2"):
        assert model.knows(spec(other))
        assert model.ms(spec(other)) == pytest.approx(imagined(other).whole_ms, rel=1e-9)
    assert model.slope == pytest.approx(1.05)
    assert model.base_ms == pytest.approx(3.0)


def test_a_part_that_nobody_profiled_takes_as_long_as_its_operators() -> None:
    model = LatencyModel([imagined(one) for one in ("baseline", "3,3,3", "2,1,4")], SIDES)
    other = spec("43:3,543:1")
    assert not model.knows(other)
    assert model.ms(other) == pytest.approx(imagined("43:3,543:1").whole_ms, rel=0.05)


def test_noise_averages_out_and_the_error_says_how_much_is_left() -> None:
    chance = random.Random(0)
    model = LatencyModel([imagined(one, lambda: chance.gauss(1, 0.02)) for one in ("baseline", *SPELLINGS)], SIDES)
    pairs = [
        (model.ms(spec(one)), imagined(one).whole_ms)
        for one in ("5,1,4+conv", "4:3,543:3+dw", "543:7", "2,2,2", "0,0,3", "6,2,1")
    ]
    held_out = prediction_error(pairs)
    assert held_out.median_pct < 3
    assert held_out.rank_correlation is not None
    assert held_out.rank_correlation > 0.9
    assert 0 < model.error.median_pct < 10
    assert model.error.models == 8


def test_what_is_profiled_has_every_kind_of_part() -> None:
    pool = [spec(one) for one in ("0,0,1", "0,0,2", "0,0,3", *SPELLINGS)]
    first = mask2former(baseline(), "tiny")
    chosen = choose([pool], first, 6, SIDES)
    assert chosen[0] == first
    assert len(set(chosen)) == 6
    keys = {key for one in chosen for _, key, _ in keyed_parts(one)}
    assert {key for one in pool for _, key, _ in keyed_parts(one)} <= keys
    assert len(choose([pool], first, 100, SIDES)) == len(pool) + 1


def test_the_error_of_predictions() -> None:
    error = prediction_error([(110.0, 100.0), (99.0, 100.0), (204.0, 200.0)])
    assert error.median_pct == pytest.approx(2.0)
    assert error.rank_correlation == pytest.approx(0.8660254)
    assert prediction_error([(1.0, 2.0)]).rank_correlation is None


def test_where_a_kind_was_profiled_once_another_size_of_it_takes_as_long_for_its_work() -> None:
    """A line through one point would be all call, or all operator."""
    model = LatencyModel([imagined(one) for one in ("baseline", "3,3,3", "pem+width:64")], SIDES)
    small = model.ms(spec("pem+width:32"))
    assert imagined("0,0,0").whole_ms * 0.5 < small < imagined("pem+width:64").whole_ms
    assert small == pytest.approx(imagined("pem+width:32").whole_ms, rel=0.25)


def test_two_of_a_kind_make_a_line_in_their_work() -> None:
    widths = ("pem", "pem+width:256", "pem+width:128", "pem+width:64")
    first = mask2former(baseline(), "tiny")
    chosen = choose([[spec(one) for one in widths]], first, 3, SIDES)
    assert {one.encoder.compact for one in chosen[1:]} == {"pem", "pem+width:256"}, "the widest apart"
    both = LatencyModel([imagined(one) for one in ("baseline", "pem", "pem+width:256")], SIDES)
    for width in widths[2:]:
        assert both.ms(spec(width)) == pytest.approx(imagined(width).whole_ms, rel=0.03)  # by operator it is no line
