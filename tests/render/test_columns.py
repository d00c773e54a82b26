"""Columns and names of rows: the same in every document."""

from __future__ import annotations

import pytest

from proscale_bench.render.bars import costs_figure, latency_figure
from proscale_bench.render.columns import (
    ENCODER,
    ENERGY,
    Column,
    accuracy,
    cells,
    interval,
    known,
    latency,
    latency_precision,
    saved,
    time_saved,
)
from proscale_bench.render.markdown import report
from proscale_bench.render.profile import headlines
from proscale_bench.render.profile import tables as profile_tables
from proscale_bench.render.provenance import commands
from proscale_bench.render.savings import savings_figure
from proscale_bench.render.side_by_side import costs_table
from proscale_bench.results.record import Failure, Record
from tests.results.many import evaluation, with_interval
from tests.results.records import record, with_accuracy, without_accuracy
from tests.sweeps.profiles import profiled_records


def swin(schedule: str) -> Record:
    return record(schedule, "swin_t", "coco-first100")


def with_queries(one: Record, queries: int) -> Record:
    identity = one.identity.model_copy(update={"dimensions": {"queries": queries}})
    return one.model_copy(update={"identity": identity})


def test_a_cell_is_empty_where_nothing_is_known() -> None:
    bare = swin("3,3,3").model_copy(update={"cost": None, "accuracy": None})
    columns = [ENCODER, ENERGY, Column("", saved("encoder")), Column("", accuracy("pq", 2))]
    assert cells(columns, [bare], []) == ("", "", "", "")
    assert [cell(bare) for cell in (latency, latency_precision, time_saved)] == ["", "", ""]


def test_the_baseline_saves_nothing_against_itself() -> None:
    assert saved("encoder")(swin("baseline")) == ""
    assert saved("encoder")(swin("3,3,3")) == "-51.74%"
    assert saved("encoder", 1)(swin("3,3,3")) == "-51.7%"
    assert saved("a part of another family")(swin("3,3,3")) == ""


def test_accuracies_of_one_row_share_a_cell() -> None:
    published = with_accuracy(swin("3,3,3"), "published", pq=51.0)
    measured = evaluation(swin("3,3,3"), 40.0, 1.25)
    column = Column("PQ", accuracy("pq", 2, with_interval=True), "accuracy")
    assert cells([ENCODER, column], [published, measured]) == ("59.13", "51.00* / 40.00 ± 1.2")


@pytest.mark.parametrize(
    ("low", "high", "shown", "sides"),
    [
        (59.25, 61.75, "±1.2", "60.50 ± 1.2"),
        (59.26, 61.74, "±1.2", "60.50 ± 1.2"),
        (59.24, 61.84, "±1.3", "60.50 ± 1.3"),
        (59.26, 61.76, "[59.3, 61.8]", "60.5 +1.3 -1.2"),
        (47.4, 81.5, "[47.4, 81.5]", "60.5 +21.0 -13.1"),
        (60.6, 62.0, "[60.6, 62.0]", "60.5 +1.5 +0.1"),  # replicates need not lie around what they are of
    ],
)
def test_an_interval_is_never_its_wider_half(low: float, high: float, shown: str, sides: str) -> None:
    one = with_interval(evaluation(swin("3,3,3"), 60.5, 1.0), low, high)
    assert interval("pq")(one) == shown
    assert accuracy("pq", 2, with_interval=True)(one) == sides


def test_a_latency_that_is_less_sure_on_one_side_has_its_interval_in_ms() -> None:
    one = profiled_records("3,3,3")[1]
    assert one.profile is not None
    timing = {"latency_median_ms": 100.0, "latency_interval_ms": (97.7, 106.5)}
    found = one.model_copy(update={"profile": one.profile.model_copy(update=timing)})
    assert latency_precision(found) == "[97.70, 106.5]"
    even = {"latency_median_ms": 100.0, "latency_interval_ms": (97.7, 102.3)}
    assert latency_precision(one.model_copy(update={"profile": one.profile.model_copy(update=even)})) == "±2.3%"
    none = {"latency_median_ms": 0.0, "latency_interval_ms": (0.0, 0.0)}
    assert latency_precision(one.model_copy(update={"profile": one.profile.model_copy(update=none)})) == "±0.0%"


def test_a_failure_stands_once_in_each_section_that_should_be_there() -> None:
    error = Failure(message="out of memory", exit_code=2)
    lost = without_accuracy(swin("3,3,3")).model_copy(update={"error": error})
    columns = [ENCODER, Column("ms", latency, "profile"), ENERGY, Column("PQ", accuracy("pq"), "accuracy")]
    assert cells(columns, [lost], ["cost", "profile"]) == ("59.13", "failed", "", "")
    assert cells(columns, [lost], ["cost"]) == ("59.13", "", "", "")


def test_columns_without_values_are_left_out() -> None:
    columns = [ENCODER, Column("ms", latency, "profile")]
    rows = [cells(columns, [swin(schedule)]) for schedule in ("baseline", "3,3,3")]
    assert known(columns, rows) == (("encoder",), [("122.52",), ("59.13",)])


def test_models_that_would_look_alike_have_one_name_everywhere() -> None:
    records = [*profiled_records("3,3,3"), *(with_queries(one, 20) for one in profiled_records("3,3,3")[1:])]
    names = ["3,3,3", "3,3,3, 20 queries"]
    summary = next(iter(profile_tables(records)))
    assert [row.label for row in summary.rows] == ["baseline", *names]
    assert [line.partition(":")[0] for line in headlines(records)] == names
    ticks = [label.get_text() for label in latency_figure(records).axes[0].get_yticklabels()]
    assert ticks == ["baseline", *names]
    labels = {text.get_text() for axes in savings_figure(records).axes for text in axes.texts}
    assert set(names) <= labels
    counted = [swin("3,3,3"), with_queries(swin("3,3,3"), 20)]
    table = costs_table(counted)
    assert table is not None
    assert [row.label for row in table.rows] == names
    assert [label.get_text() for label in costs_figure(counted).axes[0].get_yticklabels()] == names
    assert "| 3,3,3, 20 queries | 59.13 |" in report(counted)


def test_commands_name_the_dimensions_of_a_model() -> None:
    official, own = swin("3,3,3"), with_queries(swin("3,3,3"), 20)
    assert commands([official, own]) == [
        f"proscale-bench flops --backbone swin_t {words}--size coco-first100 --rules fvcore --convention mac "
        "--schedule 3,3,3"
        for words in ("", "--queries 20 ")
    ]
    deep = official.identity.model_copy(update={"dimensions": {"decoder_layers": 3}})
    (remark,) = commands([official.model_copy(update={"identity": deep})])
    assert remark.startswith("# at coco-first100 models of dimensions that no flags name: ")


def test_stages_stand_beside_the_baseline_of_the_same_model() -> None:
    named, own = profiled_records("3,3,3"), [with_queries(one, 20) for one in profiled_records("3,3,3")]
    _, first, second = profile_tables([*named, *own])
    assert (first.header[1:3], second.header[1:3]) == (
        ("baseline ms", "3,3,3 ms"),
        ("baseline ms", "3,3,3, 20 queries ms"),
    )
    _, alone, other = profile_tables([*named, own[1]])
    assert [one.header[1] for one in (alone, other)] == ["baseline ms", "3,3,3, 20 queries ms"]
