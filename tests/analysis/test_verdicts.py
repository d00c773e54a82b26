"""Verdicts told in advance: on single trainings as `compare` has them, on means of several as statistics have them."""

from __future__ import annotations

import numpy as np
import pytest

from proscale_bench.analysis.evaluations import Evaluation, evaluations_of
from proscale_bench.analysis.verdicts import (
    MOST,
    UNTOLD,
    VERDICTS,
    between_evaluations,
    between_rows,
    verdict_on,
)
from proscale_bench.analysis.views import views
from proscale_bench.evaluation.bootstrap import resample_weights
from proscale_bench.results.metrics import METRICS
from proscale_bench.results.record import Record
from tests.results.evaluations import evaluated
from tests.results.records import renamed
from tests.sweeps.profiles import profiled_in_sessions


def mean(*worths: float, schedule: str = "3,3,3", shift: int = 0, images: str = "a" * 64) -> Evaluation:
    """The mean of trainings of such PQ."""
    records = [
        evaluated(schedule, pq, source=f"{seed}.pth", seed=seed, recipe="r", shift=shift, images=images)
        for seed, pq in enumerate(worths)
    ]
    (found,) = evaluations_of(records)[next(iter(evaluations_of(records)))]
    assert found.trainings == len(worths)
    return found


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        (mean(40.0, 40.2, 39.9), mean(42.0, 42.1, 41.8, schedule="2,2,2"), "significant"),
        (mean(40.0, 44.0, 36.0), mean(42.0, 46.0, 38.0, schedule="2,2,2"), "not significant"),  # trainings differ more
        (mean(40.0, 40.2, 39.9), mean(40.4, 40.6, 40.5, schedule="2,2,2", shift=71), "not significant"),  # images do
        (mean(40.0), mean(42.0, 42.1, 41.8, schedule="2,2,2"), "significant"),
        (mean(40.0), mean(42.0, 44.0, 40.0, schedule="2,2,2"), "not significant"),  # as far off as the others are
        (mean(40.0, 40.1), mean(50.0, 50.1, images="b" * 64), "other data"),
        (mean(40.0), mean(42.0, schedule="2,2,2"), "significant"),
    ],
)
def test_means_differ_by_more_than_images_and_trainings_do(old: Evaluation, new: Evaluation, verdict: str) -> None:
    assert verdict_on(METRICS["pq"], old, new) == verdict
    assert verdict_on(METRICS["pq"], new, old) == verdict


def test_trainings_without_draws_are_too_few_samples() -> None:
    bare = [evaluated("2,2,2", 50.0 + seed, source=f"{seed}", seed=seed, recipe="r", resamples=0) for seed in (0, 1)]
    (found,) = evaluations_of(bare)[next(iter(evaluations_of(bare)))]
    assert verdict_on(METRICS["pq"], mean(40.0, 40.1), found) == "too few samples"
    assert verdict_on(METRICS["energy_j"], mean(40.0, 40.1), mean(41.0, 41.1)) is None


def test_alike_models_are_seldom_called_different() -> None:
    """A simulated A/A: images and the luck of three trainings a side; 5 % would be called different at the most."""
    generator, worlds, called = np.random.default_rng(0), 150, 0
    draws = resample_weights(64, 200) / 64
    for _ in range(worlds):
        images, sides = generator.normal(40, 8, 64), []
        for schedule in ("3,3,3", "2,2,2"):
            records: list[Record] = []
            for seed, luck in enumerate(generator.normal(0, 0.5, 3)):
                own = images + luck + generator.normal(0, 2, 64)
                one = evaluated(schedule, float(own.mean()), source=f"{seed}", seed=seed, recipe="r")
                assert one.accuracy is not None
                assert one.evaluated is not None
                how = one.evaluated.model_copy(update={"replicates": {"pq": (draws @ own).tolist()}, "images": 64})
                records.append(one.model_copy(update={"accuracy": one.accuracy.model_copy(update={"evaluated": how})}))
            (found,) = evaluations_of(records)[next(iter(evaluations_of(records)))]
            sides.append(found)
        called += verdict_on(METRICS["pq"], sides[0], sides[1]) == "significant"
    assert called <= 0.06 * worlds


def test_of_many_models_nothing_is_told() -> None:
    few = [mean(40.0 + place) for place in range(3)]
    assert set(between_evaluations(few)["pq"][0]) <= set("0123")
    assert between_evaluations(few[:1]) == {}
    assert between_evaluations(few[:1] * (MOST + 1)) == {}


def test_a_page_shows_no_verdict_on_another_difference_than_its_own() -> None:
    """Of two runs a time is told net of their baselines, and a page has the two numbers alone."""
    (base, slow), (_, fast) = profiled_in_sessions(1.0, 1.01, 0.99), profiled_in_sessions(0.8, 0.81, 0.79, by=1.05)
    (view,) = views([base, slow, renamed(fast, schedule="2,2,2", label="2,2,2")])
    told = between_rows(view)
    places = {row.record.identity.schedule: place for place, row in enumerate(view.rows)}
    baseline, old, new = (places[name] for name in (base.identity.schedule, "3,3,3", "2,2,2"))
    assert told["latency_median_ms"][old][new] == told["throughput_ips"][new][old] == UNTOLD
    assert told["latency_median_ms"][baseline][old] == str(VERDICTS.index("significant"))
    assert told["latency_saving_pct"][old][new] == str(VERDICTS.index("significant"))
