"""What a run's records are joined to, by cases that are easy to get wrong."""

from __future__ import annotations

from proscale_bench.analysis.views import data_of, views
from proscale_bench.results.record import Record
from tests.results.evaluations import evaluated
from tests.results.many import evaluation
from tests.results.records import paper, record, renamed, with_accuracy
from tests.sweep.profiles import profiled_records


def told(records: list[Record]) -> list[tuple[str, list[tuple[str, int]]]]:
    """(size, [(schedule, accuracies)]) of every view."""
    return [
        (view.setting.size, [(row.record.identity.schedule, len(row.worths)) for row in view.rows])
        for view in views(records)
    ]


def test_every_input_is_a_view_with_what_is_published() -> None:
    first, second = views(paper())
    assert (first.setting.size, second.setting.size) == ("coco-first100", "800x1333")
    assert [len(row.worths) for row in first.rows] == [bool(row.record.accuracy) for row in first.rows]
    assert first.data == ["COCO val2017"]


def test_what_was_counted_joins_what_was_timed_at_its_size() -> None:
    timed = profiled_records("3,3,3")
    counted = [record("3,3,3", size="640x640"), record("2,2,2", size="640x640"), record("1,1,1", size="64x64")]
    (small, rows), (large, others) = told([*counted, *timed])
    assert (small, [name for name, _ in rows]) == ("64x64", ["1,1,1"])
    assert (large, [name for name, _ in others]) == ("640x640", ["baseline", "3,3,3", "2,2,2"])


def test_the_profile_is_kept_where_a_schedule_was_counted_too() -> None:
    (view,) = views([record("3,3,3", size="640x640"), *profiled_records("3,3,3")])
    assert all(row.record.profile for row in view.rows)


def test_an_evaluation_joins_the_rows_of_its_schedule_and_backbone() -> None:
    one, other = profiled_records("3,3,3")
    found = evaluation(other, 40.0, 1.0)
    elsewhere = renamed(evaluation(other, 50.0, 1.0), backbone="swin_t", weights="e" * 64)
    first, second = told([one, other, found, elsewhere])
    assert first == ("640x640", [("baseline", 1), ("3,3,3", 2)])  # the published one and the evaluated one
    assert second == ("shapes-val", [("3,3,3", 2), ("3,3,3", 1)])  # nothing else has swin_t


def test_evaluations_alone_are_a_view_and_two_weights_two_accuracies() -> None:
    assert told([evaluated("3,3,3", source="a"), evaluated("3,3,3", source="b"), evaluated("baseline")]) == [
        ("val", [("baseline", 1), ("3,3,3", 2)])
    ]


def test_one_published_accuracy_stands_once_and_first() -> None:
    counted = [with_accuracy(record("3,3,3", size=size), "published", pq=51.0) for size in ("64x64", "128x128")]
    found = evaluation(counted[0], 40.0, 1.0)
    for view in views([found, *counted]):
        (row,) = view.rows
        assert [one.is_evaluated for one in row.worths] == [False, True]


def test_all_of_val2017_is_what_others_published_on() -> None:
    whole = evaluation(record("3,3,3"), 40.0, 1.0, dataset="val2017").accuracy
    assert whole is not None
    assert whole.evaluated is not None
    assert data_of(whole) == "val2017"
    full = whole.model_copy(update={"evaluated": whole.evaluated.model_copy(update={"images": 5000})})
    assert data_of(full) == "COCO val2017"
