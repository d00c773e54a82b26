"""Evaluations as tables: what stands where, and what is left out."""

from __future__ import annotations

import csv
import io

from proscale_bench.render.compare import flat
from proscale_bench.render.evaluation import (
    EvaluatedModel,
    accuracy_table,
    class_table,
    difference_table,
    footer,
    rows,
)
from proscale_bench.render.markdown import report
from proscale_bench.results.export import to_csv
from proscale_bench.results.record import Record
from tests.results.evaluations import evaluated


def of(*records: Record) -> list[EvaluatedModel]:
    return [EvaluatedModel(record.accuracy, record) for record in records if record.accuracy]


def cells(label: str, *records: Record) -> tuple[str, ...]:
    return next(row.cells for row in accuracy_table(of(*records)).rows if row.label == label)


def test_a_column_a_model_with_its_interval() -> None:
    table = accuracy_table(of(evaluated("baseline", 41.0), evaluated("3,3,3", 40.0)))
    assert table.header == ("", "baseline", "95 %", "3,3,3", "95 %")
    assert table.title == "val, 256 images, in percent"
    assert cells("PQ", evaluated("baseline", 41.0), evaluated("3,3,3", 40.0)) == (
        "41.00",
        "40.0–42.0",
        "40.00",
        "39.0–41.0",
    )


def test_without_draws_there_are_no_intervals() -> None:
    assert accuracy_table(of(evaluated(resamples=0))).header == ("", "3,3,3")
    assert not any("intervals" in line for line in footer(of(evaluated(resamples=0))))


def test_only_what_was_asked_for_is_shown() -> None:
    labels = [row.label for row in accuracy_table(of(evaluated(tasks=("semantic",)))).rows]
    assert labels[0] == "mIoU"
    assert "PQ" not in labels
    assert "encoder GFLOPs" in labels


def test_what_nothing_is_known_of_is_left_out() -> None:
    assert "small, under 32² px" not in [row.label for row in accuracy_table(of(evaluated())).rows]


def test_the_saving_stands_under_the_cost() -> None:
    rows = accuracy_table(of(evaluated("baseline"), evaluated("3,3,3"))).rows
    labels = [row.label for row in rows]
    under = rows[labels.index("encoder GFLOPs") + 1]
    assert under.label == "against the baseline"
    assert under.cells[0] == ""
    assert under.cells[2].startswith("-")


def test_two_weights_of_one_schedule_are_told_apart() -> None:
    table = accuracy_table(of(evaluated(source="a.pth"), evaluated(source="b.pth")))
    assert table.header == ("", "3,3,3, a.pth", "95 %", "3,3,3, b.pth", "95 %")


def test_a_class_that_was_not_there_has_dashes() -> None:
    table = class_table(of(evaluated())[0])
    assert table.rows[0].cells[:5] == ("thing", "50.00", "–", "–", "1,200")
    assert set(table.rows[1].cells[1:]) == {"–"}


def test_a_report_has_a_section_of_its_own() -> None:
    words = report([evaluated("baseline"), evaluated("3,3,3")])
    assert "## Accuracy on val" in words
    assert "| **PQ** |" in words
    assert "40.00" in words


def test_a_difference_is_said_with_whether_it_is_chance() -> None:
    table = difference_table(
        of(
            evaluated("3,3,3", 38.0),
            evaluated("baseline", 40.0),
            evaluated("2,2,2", 40.1, shift=71),
            evaluated("1,1,1", 39.0, resamples=0),
            evaluated("6,3,3", 39.0, images="b" * 64),
        )
    )
    assert (table.title, table.header[:2]) == ("against baseline, in points", ("", "PQ"))
    assert {row.label.partition(",")[0]: row.cells[0] for row in table.rows} == {
        "3": "-2.00",
        "2": "+0.10 n.s.",
        "1": "-1.00 ?",
        "6": "-1.00 other data",
    }
    said = "\n".join(footer(of(evaluated("baseline", 40.0), evaluated("2,2,2", 40.1, shift=71))))
    assert "differences: draw by draw, with 95 %; n.s.: not significant; ?: from too few samples" in said
    assert difference_table(of(evaluated("baseline"))).rows == ()
    lines = "\n".join(report([evaluated("baseline", 40.0), evaluated("3,3,3", 38.0)]).splitlines())
    assert "Against baseline, in points:" in lines
    assert "| 3,3,3 | -2.00 |" in lines


def test_json_and_csv_say_what_the_table_says() -> None:
    asked = of(
        evaluated("3,3,3", 38.0),
        evaluated("baseline", 40.0),
        evaluated("2,2,2", 40.1, shift=71),
        evaluated("1,1,1", 39.0, resamples=0),
        evaluated("6,3,3", 39.0, images="b" * 64),
    )
    found = {row["schedule"]: row for row in rows(asked)}
    verdicts = {name: row["changes"]["pq"]["verdict"] for name, row in found.items() if row["against"]}
    assert verdicts == {
        "3,3,3": "significant",
        "2,2,2": "not significant",
        "1,1,1": "too few samples",
        "6,3,3": "other data",
    }
    assert (found["baseline"]["against"], found["baseline"]["changes"]) == (None, {})
    assert found["3,3,3"]["against"]["schedule"] == "baseline"
    told = found["3,3,3"]["changes"]["pq"]
    assert (told["old"], told["new"], told["unit"], told["significant"]) == (40.0, 38.0, "points", True)
    low, high = told["interval"]
    assert low <= told["difference"] <= high < 0
    shown = next(csv.DictReader(io.StringIO(to_csv(list(map(flat, rows(asked[:2])))))))
    assert shown["changes.pq.verdict"] == "significant"
    assert (float(shown["changes.pq.interval_low"]), float(shown["changes.pq.interval_high"])) == (low, high)
    files = EvaluatedModel(asked[0].accuracy)  # of unknown origin
    assert (rows([files, asked[1]])[0]["against"], rows([files, asked[1]])[0]["changes"]) == (None, {})
