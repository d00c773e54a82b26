"""Costs, times and accuracies of one model are one row; several trainings are one row too."""

from __future__ import annotations

import statistics

import pytest

from proscale_bench.analysis.joined import joined, mean_accuracy
from proscale_bench.results.accuracy import Accuracy
from proscale_bench.results.metrics import metric
from proscale_bench.results.record import UNKNOWN, Failure, Record
from proscale_bench.sweep.profile_record import records as profile_records
from tests.results.evaluations import evaluated
from tests.results.records import record, renamed
from tests.sweep.profiles import MACHINE, execution, measured, request

SCHEDULES = ("baseline", "1,1,1", "3,3,3")


def counted(size: str = "160x160") -> list[Record]:
    return [record(schedule, "tiny", size) for schedule in SCHEDULES]


def timed(size: str = "160x160", **changes: object) -> list[Record]:
    how = execution(**changes)
    found = [measured(schedule, how) for schedule in SCHEDULES]
    return list(profile_records(request(*SCHEDULES, backbone="tiny", size=size), found, MACHINE, None))


def judged(pq: float = 40.0, **given: object) -> list[Record]:
    return [evaluated(schedule, pq + n, **given) for n, schedule in enumerate(SCHEDULES)]  # type: ignore[arg-type]


def test_one_row_has_the_sections_of_three_records() -> None:
    costs, times, worths = counted(), timed(), judged()
    (join,) = joined([*worths, *times, *costs])
    assert [row.identity.schedule for row in join.rows] == ["baseline", "1,1,1", "3,3,3"]
    for row, cost, time, worth in zip(join.rows, costs, times, worths, strict=True):
        assert row.cost == cost.cost
        assert row.profile == time.profile
        assert row.accuracy == worth.accuracy
    assert join.counted is not None
    assert join.counted.where == "160x160"
    assert join.is_measured


def test_what_nobody_ran_is_no_join() -> None:
    assert joined(counted()) == []


def test_costs_of_another_size_do_not_slip_in() -> None:
    (join,) = joined([*counted("64x64"), *timed("160x160")])
    assert join.counted == join.timed
    assert [row.cost for row in join.rows] == [one.cost for one in timed("160x160")]
    partly = [one for one in counted() if one.identity.schedule != "1,1,1"]
    (join,) = joined([*partly, *judged()])
    assert [row.identity.schedule for row in join.rows if row.cost is None] == ["1,1,1"]


def test_every_way_to_run_is_a_join_of_its_own() -> None:
    joins = joined([*counted(), *timed(), *timed(batch_size=2), *judged()])
    assert [join.timed and join.timed.execution and join.timed.execution.batch_size for join in joins] == [1, 2]
    assert all(join.judged for join in joins)


def test_an_evaluation_alone_has_its_own_costs() -> None:
    (join,) = joined(judged())
    assert [row.cost for row in join.rows] == [one.cost for one in judged()]
    assert join.timed is None


def test_a_failure_is_in_its_row() -> None:
    times = timed()
    failure = Failure(message="out of memory", exit_code=3)
    times[1] = times[1].model_copy(update={"profile": None, "error": failure})
    lost = judged()[2]
    lost = lost.model_copy(update={"accuracy": None, "error": failure, "execution": None})
    (join,) = joined([*counted(), *times, *judged()[:2], lost])
    assert [row.error and row.error.message for row in join.rows] == [None, "out of memory", "out of memory"]
    assert [row.profile is None for row in join.rows] == [False, True, False]
    assert [row.accuracy is None for row in join.rows] == [False, False, True]


def test_weights_that_nobody_could_read_are_rows_of_their_own() -> None:
    lost = [
        renamed(one, backbone=UNKNOWN, schedule=UNKNOWN, label=name).model_copy(
            update={"accuracy": None, "cost": None, "error": Failure(message="cut off", exit_code=2)}
        )
        for one, name in zip(judged(), ("a.pth", "b.pth"), strict=False)
    ]
    (join,) = joined([*counted(), *judged(), *lost])
    assert [row.identity.name for row in join.rows] == [*SCHEDULES, "a.pth", "b.pth"]


def test_several_trainings_are_their_mean() -> None:
    records = [
        *counted(),
        *(
            one
            for seed, pq in enumerate((40.0, 43.0, 44.5))
            for one in judged(pq, seed=seed, source=f"{seed}.safetensors")
        ),
    ]
    (join,) = joined(records)
    assert len(join.rows) == 3
    assert set(join.seeds.values()) == {3}
    assert metric(join.rows[0], "pq") == pytest.approx(42.5)
    assert join.rows[0].accuracy is not None
    assert join.rows[0].accuracy.source == "mean of 3 trainings"


def of(one: Record) -> Accuracy:
    assert one.accuracy is not None
    return one.accuracy


def test_the_interval_of_a_mean_is_of_trainings_and_of_images() -> None:
    far = [of(evaluated(pq=value)) for value in (30.0, 40.0, 50.0)]
    mean = mean_accuracy(far)
    assert mean is not None
    assert mean.evaluated is not None
    low, high = mean.evaluated.intervals["pq"]
    off = 4.303 * statistics.stdev((30.0, 40.0, 50.0)) / 3**0.5  # Student's t, 97.5 %, two degrees of freedom
    assert (low, high) == pytest.approx((40 - off, 40 + off))
    alike = [of(evaluated(pq=40.0)) for _ in range(2)]  # the trainings agree: what is left are the images
    mean = mean_accuracy(alike)
    assert mean is not None
    assert mean.evaluated is not None
    low, high = mean.evaluated.intervals["pq"]
    assert (low, high) == pytest.approx((39.0, 41.0), abs=0.1)


def test_what_one_training_lacks_has_no_mean() -> None:
    accuracies = [of(evaluated()), of(evaluated()).model_copy(update={"ap": None})]
    mean = mean_accuracy(accuracies)
    assert mean is not None
    assert mean.ap is None
    assert mean.pq == 40.0
    assert mean_accuracy([]) is None
    assert mean_accuracy(accuracies[:1]) is accuracies[0]
