"""Names of rows: a dimension in which models differ is never left out, and one that all have is the table's."""

from __future__ import annotations

from proscale_bench.analysis.labels import labels, row_names, shared_model
from proscale_bench.analysis.settings import by_setting
from proscale_bench.render.profile import summary_table
from tests.results.records import record, renamed


def test_every_dimension_in_which_models_differ_is_named() -> None:
    narrow, few = {"width": 128}, {"width": 128, "queries": 20}
    rows = [record("3,3,3"), *(renamed(record("3,3,3"), dimensions=one) for one in (narrow, few))]
    assert labels(rows) == ["3,3,3", "3,3,3, width 128", "3,3,3, 20 queries, width 128"]
    assert shared_model(rows) == {}


def test_schedules_with_names_of_their_own_still_say_what_model_they_are_of() -> None:
    rows = [record("3,3,3"), renamed(record("1,1,1"), dimensions={"width": 128})]
    assert labels(rows) == ["3,3,3", "1,1,1, width 128"]


def test_what_all_models_have_is_the_titles() -> None:
    rows = [renamed(record(schedule), dimensions={"width": 128}) for schedule in ("baseline", "3,3,3")]
    assert list(row_names(rows).values()) == ["baseline", "3,3,3"]
    ((setting, shown),) = by_setting(rows).items()
    assert summary_table(setting, "resnet50", shown, row_names(rows)).title.startswith("resnet50, width 128 at ")


def test_no_records_share_nothing() -> None:
    assert shared_model([]) == {}
