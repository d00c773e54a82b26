"""The sentences of a search."""

from __future__ import annotations

import pytest

from proscale_bench.analysis.search import SearchLimits, SearchRequest, search
from proscale_bench.cost.geometry import parse_size
from proscale_bench.cost.rules import get_rules
from proscale_bench.render.search import prediction, realised
from proscale_bench.results.profile import RealisedSaving
from proscale_bench.results.statistics import PredictionError
from proscale_bench.specs.encoders.staged import baseline
from proscale_bench.specs.mask2former import mask2former


@pytest.mark.parametrize(
    ("value", "interval", "significant", "said"),
    [
        (20.0, (18.0, 22.0), True, "Yes: 80.00 ms"),
        (-5.0, (-6.0, -4.0), True, "No: 80.00 ms"),
        (1.0, (-2.0, 3.0), False, "Not by more than chance: 80.00 ms"),
        (20.0, (18.0, 22.0), False, "Yes, by few rounds, and --max-seconds takes more: 80.00 ms"),
    ],
)
def test_whether_it_is_faster_here(value: float, interval: tuple[float, float], significant: bool, said: str) -> None:
    spec = mask2former(baseline(), "tiny")
    request = SearchRequest(
        spec, parse_size("64x64"), get_rules("fvcore"), SearchLimits(latency_ms=100), ("early-exit",)
    )
    row = search(request, latency_ms=lambda encoder: 80.0).pick
    saving = RealisedSaving(value=value, interval=interval, significant=significant)
    (line,) = realised(row, saving, 100.0)
    assert line.startswith(f"Is it faster here? {said} against the baseline's 100.0, measured in turns, {value:.1f} %")


def test_a_prediction_says_how_far_it_is_off_and_whether_the_machine_was_busy() -> None:
    quiet = prediction(PredictionError(1.2, 4.5, 0.98, 12), "a CPU", 3.0)
    assert "off by 1.2 % (median), 4.5 % (95th percentile), rank correlation 0.980" in quiet[0]
    assert quiet[1:] == ["a CPU"]
    assert "other programs used 55 %" in prediction(PredictionError(1.2, 4.5, None, 2), "a CPU", 55.0)[-1]
