"""Views of a run's records, by cases that are easy to get wrong."""

from __future__ import annotations

from typing import Any

import pytest

from proscale_bench.analysis.frame import rows as table_rows
from proscale_bench.analysis.views import SideBySide, main_view, side_by_side, views
from proscale_bench.bench.profile import records as profile_records
from proscale_bench.results.metrics import metric
from proscale_bench.results.published import data_of, published_of
from proscale_bench.results.record import UNKNOWN, Failure, Record
from tests.results.evaluations import EXECUTION, by_an_older_version, evaluated
from tests.results.many import evaluation
from tests.results.records import paper, record, renamed, with_accuracy
from tests.results.test_identity import all_others
from tests.sweeps.profiles import MACHINE, execution, measured, profiled_records, request

SCHEDULES = ("baseline", "1,1,1", "3,3,3")
RECIPE = "e" * 64
FAILURE = Failure(message="out of memory", exit_code=3)


def counted(size: str = "160x160") -> list[Record]:
    return [record(schedule, "tiny", size) for schedule in SCHEDULES]


def timed(size: str = "160x160", **changes: object) -> list[Record]:
    how = execution(**changes)
    found = [measured(schedule, how, backbone="tiny") for schedule in SCHEDULES]
    return list(profile_records(request(*SCHEDULES, backbone="tiny", size=size), found, MACHINE, None))


def judged(pq: float = 40.0, **given: object) -> list[Record]:
    return [evaluated(schedule, pq + n, **given) for n, schedule in enumerate(SCHEDULES)]  # type: ignore[arg-type]


def seeds(*pqs: float) -> list[Record]:
    """A training for each PQ of the baseline."""
    return [
        one for seed, pq in enumerate(pqs) for one in judged(pq, seed=seed, recipe=RECIPE, source=f"{seed}.safetensors")
    ]


def lost(one: Record, **identity: str) -> Record:
    """An evaluation that failed."""
    changes = {"accuracy": None, "cost": None, "error": FAILURE}
    return renamed(one, **identity).model_copy(update=changes)


def told(records: list[Record]) -> list[tuple[str, list[tuple[str, int]]]]:
    """(size, [(schedule, accuracies)]) of every view."""
    return [
        (view.setting.size, [(row.record.identity.schedule, len(row.evaluations)) for row in view.rows])
        for view in views(records)
    ]


def test_every_input_is_a_view_with_what_is_published() -> None:
    first, second = views(paper())
    assert (first.setting.size, second.setting.size) == ("coco-first100", "800x1333")
    assert [len(row.evaluations) for row in first.rows] == [bool(row.record.accuracy) for row in first.rows]
    assert first.data == ["COCO val2017"]


def test_what_was_counted_joins_what_was_timed_at_its_size() -> None:
    timed_records = profiled_records("3,3,3")
    others = [record("3,3,3", size="640x640"), record("2,2,2", size="640x640"), record("1,1,1", size="64x64")]
    (small, rows), (large, joined) = told([*others, *timed_records])
    assert (small, [name for name, _ in rows]) == ("64x64", ["1,1,1"])
    assert (large, [name for name, _ in joined]) == ("640x640", ["baseline", "2,2,2", "3,3,3"])


def test_what_was_counted_otherwise_does_not() -> None:
    one, *others = profiled_records("3,3,3")
    other = record("1,1,1", size="640x640").model_copy(update={"rules": "complete"})
    assert [len(view.rows) for view in views([one, *others, other])] == [1, 2]


def test_the_profile_is_kept_where_a_schedule_was_counted_too() -> None:
    (view,) = views([record("3,3,3", size="640x640"), *profiled_records("3,3,3")])
    assert all(row.record.profile for row in view.rows)


def test_backbones_stay_together() -> None:
    records = [record("1,1,1", backbone, "640x640") for backbone in ("resnet50", "swin_t")]
    more = profiled_records("3,3,3", backbone="swin_t")
    (view,) = views([*records, *profiled_records("3,3,3"), *more])
    assert [row.record.identity.backbone for row in view.rows] == ["resnet50"] * 3 + ["swin_t"] * 3


def test_an_evaluation_joins_the_rows_of_its_schedule_and_backbone() -> None:
    one, other = profiled_records("3,3,3")
    found = evaluation(other, 40.0, 1.0)
    elsewhere = renamed(evaluation(other, 50.0, 1.0), backbone="swin_t", weights="e" * 64)
    first, second = told([one, other, found, elsewhere])
    assert first == ("640x640", [("baseline", 1), ("3,3,3", 2)])  # the published one and the evaluated one
    assert second == ("shapes-val", [("3,3,3", 2), ("3,3,3", 1)])  # nothing else has swin_t


def test_one_published_accuracy_stands_once_and_first() -> None:
    alike = [with_accuracy(record("3,3,3", size=size), "published", pq=51.0) for size in ("64x64", "128x128")]
    found = evaluation(alike[0], 40.0, 1.0)
    for view in views([found, *alike]):
        (row,) = view.rows
        assert [one.accuracy.provenance for one in row.evaluations] == ["published", "measured"]


def test_all_of_val2017_is_what_others_published_on() -> None:
    whole = evaluation(record("3,3,3"), 40.0, 1.0, dataset="val2017").accuracy
    assert whole is not None
    assert whole.evaluated is not None
    assert data_of(whole) == "val2017"
    full = whole.model_copy(update={"evaluated": whole.evaluated.model_copy(update={"images": 5000})})
    assert data_of(full) == "COCO val2017"


def test_data_of_one_name_are_told_apart() -> None:
    (view,) = views([*counted(), *judged(images="a" * 64), *judged(images="b" * 64)])
    assert view.data == ["val (aaaaaaaa)", "val (bbbbbbbb)"]


def test_several_trainings_are_their_mean_in_every_view() -> None:
    found = [*counted(), *counted("64x64"), *timed(), *seeds(40.0, 43.0, 44.5)]
    shown = views(found)
    assert len(shown) == 2
    for view in shown:
        for n, row in enumerate(view.rows):
            (one,) = row.evaluations
            assert one.trainings == 3
            assert one.accuracy.pq == pytest.approx(42.5 + n)
            assert one.accuracy.source == "mean of seeds 0, 1, 2"
        assert len(view.points) == 3
    (table,) = side_by_side(found)
    assert [row.label for row in table.rows] == [f"{name} (mean of seeds 0, 1, 2)" for name in SCHEDULES]
    assert metric(table.rows[0].record, "pq") == pytest.approx(42.5)


def test_trainings_that_were_judged_on_several_machines_are_joined_too() -> None:
    first, second = judged(seed=0, recipe=RECIPE), judged(42.0, seed=1, recipe=RECIPE, source="b")
    elsewhere = [
        one.model_copy(update={"execution": EXECUTION.model_copy(update={"device_name": "another"})}) for one in second
    ]
    (view,) = views([*first, *elsewhere])
    assert [[one.trainings for one in row.evaluations] for row in view.rows] == [[2]] * 3


def test_other_data_and_number_formats_are_other_accuracies() -> None:
    half = [
        one.model_copy(update={"execution": EXECUTION.model_copy(update={"dtype": "bf16"})}) for one in judged(38.0)
    ]
    (view,) = views([*counted(), *judged(), *half])
    assert [one.accuracy.pq for one in view.rows[0].evaluations] == [38.0, 40.0]
    assert {one.data for row in view.rows for one in row.evaluations} == {"val"}


def test_the_same_weights_judged_twice_are_no_two_trainings() -> None:
    (view,) = views([*counted(), *judged(), *judged()])
    assert [[one.trainings for one in row.evaluations] for row in view.rows] == [[1]] * 3


def table_of(records: list[Record]) -> SideBySide:
    (one,) = side_by_side(records)
    return one


def records_of(table: SideBySide) -> list[Record]:
    return [row.record for row in table.rows]


def test_one_row_has_the_sections_of_three_records() -> None:
    costs, times, worths = counted(), timed(), judged()
    table = table_of([*worths, *times, *costs])
    assert [row.identity.schedule for row in records_of(table)] == ["baseline", "1,1,1", "3,3,3"]
    for row, cost, time, worth in zip(records_of(table), costs, times, worths, strict=True):
        assert row.cost == cost.cost
        assert row.profile == time.profile
        assert row.accuracy == worth.accuracy
    assert table.setting.where == "160x160"
    assert table.setting.is_timed


def test_what_nobody_ran_is_no_table() -> None:
    assert side_by_side(counted()) == []


def test_costs_of_another_size_do_not_slip_in() -> None:
    table = table_of([*counted("64x64"), *timed("160x160")])
    assert table.setting.where == "160x160"
    assert [row.cost for row in records_of(table)] == [one.cost for one in timed("160x160")]
    partly = [one for one in counted() if one.identity.schedule != "1,1,1"]
    table = table_of([*partly, *judged()])  # all of one size: the one that all were counted at
    assert [row.cost for row in records_of(table)] == [one.cost for one in judged()]
    elsewhere = judged()[1:2]
    table = table_of([*partly, *timed()[:1], *elsewhere])
    assert [row.identity.schedule for row in records_of(table) if row.cost is None] == ["1,1,1"]


def test_every_way_to_run_is_a_table_of_its_own() -> None:
    found = side_by_side([*counted(), *timed(), *timed(batch_size=2), *judged()])
    assert [table.setting.execution and table.setting.execution.batch_size for table in found] == [1, 2]
    assert all(table.key for table in found)


def test_every_data_set_is_in_a_table() -> None:
    found = side_by_side([*counted(), *timed(), *judged(images="a" * 64), *judged(images="b" * 64)])
    assert [table.key and table.key.digest for table in found] == ["a" * 64, "b" * 64]


def test_an_evaluation_alone_has_its_own_costs() -> None:
    table = table_of(judged())
    assert [row.cost for row in records_of(table)] == [one.cost for one in judged()]
    assert not table.setting.is_timed


def test_published_accuracies_do_not_slip_in_between_measured_ones() -> None:
    alone = with_accuracy(record("2,2,2", "tiny", "160x160"), "published", pq=51.0)
    table = table_of([*counted(), alone, *judged()])
    assert [metric(row, "pq") for row in records_of(table)] == [40.0, 41.0, None, 42.0]
    assert [metric(row, "pq") for row in records_of(table_of([alone, *timed()]))] == [None, None, 51.0, None]


def test_a_failure_is_in_its_row() -> None:
    times = timed()
    times[1] = times[1].model_copy(update={"profile": None, "error": FAILURE})
    records = [*counted(), *times, *judged()[:2], lost(judged()[2])]
    for rows in ([row.record for row in views(records)[0].rows], records_of(table_of(records))):
        assert [row.error and row.error.message for row in rows] == [None, "out of memory", "out of memory"]
        assert [row.profile is None for row in rows] == [False, True, False]
        assert all(row.cost for row in rows)
    assert [row.accuracy is None for row in records_of(table_of(records))] == [False, False, True]


def test_weights_that_nobody_could_read_are_rows_of_their_own() -> None:
    unread = [
        lost(one, backbone=UNKNOWN, schedule=UNKNOWN, label=name)
        for one, name in zip(judged(), ("a.pth", "b.pth"), strict=False)
    ]
    records = [*counted(), *judged(), *unread]
    (view,) = views(records)
    assert [row.record.identity.name for row in view.rows] == [*SCHEDULES, "a.pth", "b.pth"]
    assert [row.identity.name for row in records_of(table_of(records))] == [*SCHEDULES, "a.pth", "b.pth"]


def test_nothing_but_failures_is_shown_all_the_same() -> None:
    for records in ([lost(judged()[0])], [*counted(), lost(judged()[0])]):
        assert any(row.record.error for view in views(records) for row in view.rows)
        assert any(row.error for row in records_of(table_of(records)))


def test_what_opens_is_the_first_view_with_a_point_on_every_axis() -> None:
    found = views([*counted("64x64"), *timed(), *judged()])
    small, large = found
    assert main_view(found, ["total_gflops"], "pq") == small
    assert main_view(found, ["total_gflops", "latency_median_ms"], "pq") == large
    assert main_view(found, ["total_gflops", "energy_j"], "pq") == small  # nothing has both: the first axis counts
    assert main_view(found, ["energy_j"], "pq") == small  # a cost at least
    assert main_view(views([lost(judged()[0])]), ["total_gflops"], "pq") is None


def names(records: list[Record]) -> list[str]:
    """Return the labels of the lines of all tables, each with its table's data."""
    return [
        f"{row.label} on {row.record.identity.backbone} | {table.data}"
        for table in side_by_side(records)
        for row in table.rows
    ]


def test_models_that_differ_in_a_dimension_are_rows_of_their_own() -> None:
    mine = [renamed(one, dimensions={"queries": 20}) for one in [*counted(), *timed(), *judged(30.0)]]
    records = [*counted(), *timed(), *judged(), *mine]
    table = table_of(records)
    assert [row.label for row in table.rows] == [label for name in SCHEDULES for label in (name, f"{name}, 20 queries")]
    assert [metric(row, "pq") for row in records_of(table)] == [40.0, 30.0, 41.0, 31.0, 42.0, 32.0]
    (view,) = views(records)
    assert [row.label for row in view.rows] == [row.label for row in table.rows]
    assert [point.label for point in view.points] == [row.label for row in table.rows]


def test_two_resolutions_are_two_accuracies() -> None:
    records = [*counted(), *judged(resize="800,1333"), *judged(35.0, resize="400,1333")]
    first, second = side_by_side(records)
    assert sorted([first.data, second.data]) == ["val, resize 400", "val, resize 800"]
    (view,) = views(records)
    assert sorted(point.label for point in view.points) == sorted(
        f"{name}, resize {side}" for name in SCHEDULES for side in (400, 800)
    )
    assert sorted(line.label for line in view.lines) == sorted(point.label for point in view.points)


def test_trainings_of_other_recipes_are_not_averaged() -> None:
    others = [
        evaluated(pq=pq, seed=seed, recipe=recipe * 64, source=f"{recipe}{seed}.safetensors")
        for recipe, pq in (("a", 30.0), ("b", 40.0))
        for seed in (0, 1)
    ]
    (view,) = views(others)
    assert [one.trainings for one in view.rows[0].evaluations] == [2, 2]
    assert {one.accuracy.pq for one in view.rows[0].evaluations} == {30.0, 40.0}
    table = table_of(others)
    assert len({row.label for row in table.rows}) == 2


@pytest.mark.parametrize(
    "told",
    [
        [{"seed": None, "recipe": RECIPE}, {"seed": 1, "recipe": RECIPE}],
        [{"seed": 0, "recipe": None}, {"seed": 1, "recipe": None}],
        [{"seed": 1, "recipe": RECIPE}, {"seed": 1, "recipe": RECIPE}],
    ],
)
def test_weights_that_do_not_say_enough_are_rows_of_their_own(told: list[dict[str, Any]]) -> None:
    records = [
        evaluated(pq=pq, source=f"model_{name}.safetensors", **one)
        for name, pq, one in zip("ab", (40.0, 42.0), told, strict=True)
    ]
    table = table_of(records)
    assert [row.label for row in table.rows] == ["3,3,3, model_a.safetensors", "3,3,3, model_b.safetensors"]
    assert [metric(row, "pq") for row in records_of(table)] == [40.0, 42.0]
    assert [point.label for point in views(records)[0].points] == [row.label for row in table.rows]


def test_weights_of_one_name_are_told_apart_by_their_digests() -> None:
    one = evaluated()
    other = renamed(one, weights="f" * 64)
    labels = [row.label for row in table_of([one, other]).rows]
    assert sorted(labels) == ["3,3,3, weights 3,3,3wei", "3,3,3, weights ffffffff"]


def test_what_identifies_a_result_is_a_row_of_its_own() -> None:
    """Each alone beside the first: two lines, under names that differ; in any order the same."""
    first, *others = all_others()
    for other in others:
        machine = other.execution is not None and (
            other.execution.device_name != "a CPU" or other.execution.threads != EXECUTION.threads
        )
        if machine:  # machines of one kind find the same
            continue
        lines = names([first, other])
        assert len(set(lines)) == len(lines) == 2, other
        assert names([other, first]) == lines


def test_a_published_accuracy_stands_beside_the_published_model_alone() -> None:
    published = with_accuracy(record("3,3,3", "tiny"), "published", pq=51.0)
    for change in ({"dimensions": {"queries": 20}}, {"classes": 3}):
        mine = renamed(evaluated(), **change)
        for view in views([published, mine]):
            for row in view.rows:
                assert len(row.evaluations) == 1
    assert published_of(record("3,3,3").identity) is not None
    for identity in ({"dimensions": {"queries": 20}}, {"classes": 3}, {"weights": "f" * 64}, {"model": "Another"}):
        assert published_of(renamed(record("3,3,3"), **identity).identity) is None


def test_an_older_evaluation_is_not_joined_with_a_newer_one() -> None:
    old, new = (evaluated(pq=pq, seed=seed, recipe=RECIPE, source=f"{seed}") for pq, seed in ((40.0, 0), (42.0, 1)))
    (view,) = views([*counted(), by_an_older_version(old), new])
    assert [one.trainings for one in view.rows[2].evaluations] == [1, 1]
    assert sorted(names([by_an_older_version(old), new])) == [
        "3,3,3 on tiny | val",
        "3,3,3 on tiny | val, by an older version",
    ]


def test_an_accuracy_stands_beside_the_cost_at_its_own_resolution() -> None:
    small, large = judged(resize="400,1333"), judged(50.0, resize="800,1333")
    large = [one.model_copy(update={"cost": record(one.identity.schedule, "tiny", "96x96").cost}) for one in large]
    found = views([*small, *large])
    assert sorted(view.setting.where for view in found) == ["val, resize 400", "val, resize 800"]
    told = [(row.record.cost, row.evaluations[0].accuracy.pq) for view in found for row in view.rows]
    assert all(len(row.evaluations) == 1 for view in found for row in view.rows)
    assert [one for one in (*small, *large) if one.accuracy and (one.cost, one.accuracy.pq) not in told] == []


def test_folders_tell_data_of_one_name_apart() -> None:
    def lying_in(one: Record, folder: str) -> Record:
        assert one.accuracy is not None
        assert one.accuracy.evaluated is not None
        how = one.accuracy.evaluated.model_copy(update={"data_folder": folder})
        return one.model_copy(update={"accuracy": one.accuracy.model_copy(update={"evaluated": how})})

    records = [lying_in(evaluated(images="a" * 64), "ade"), lying_in(evaluated(images="b" * 64), "cityscapes")]
    data = {name for view in views(records) for name in view.data}
    assert data == {"val (ade)", "val (cityscapes)"}


def test_weights_whose_gate_chose_stand_each_beside_the_cost_of_its_own_exits() -> None:
    """Two trainings of one recipe, which are averaged elsewhere: their gates take other exits."""
    found = [
        renamed(
            evaluated(f"early-exit+exits:{exits}", 40.0 + seed, seed=seed, recipe=RECIPE, source=f"{seed}.safetensors"),
            schedule="early-exit",
            label="early-exit",
        )
        for seed, exits in enumerate(("9/0/0/0/1", "0/0/0/0/1"))
    ]
    (view,) = views(found)
    assert {(one.record.accuracy.pq, one.record.cost.gflops["total"]) for one in view.points} == {
        (one.accuracy.pq, one.cost.gflops["total"]) for one in found
    }
    assert {(row["pq"], row["total_gflops"], row["gflops_expected_over"]) for row in table_rows(found)} == {
        (40.0, found[0].cost.gflops["total"], "0.9 early-exit:2 + 0.1 early-exit:6"),
        (41.0, found[1].cost.gflops["total"], "1 early-exit:6"),
    }
