"""LaTeX tables: numbers as everywhere else, and names that are no commands."""

from __future__ import annotations

import re

from proscale_bench.render.latex import _cell, escape, latex
from proscale_bench.results.record import UNKNOWN, Failure
from tests.analysis.test_views import counted, seeds
from tests.results.many import BACKBONES, HOSTILE, evaluation, many, with_interval
from tests.results.records import paper, record, renamed, with_accuracy, without_accuracy
from tests.sweeps.profiles import measured, out_of_memory, profiled_records, with_energy


def rows(document: str) -> list[list[str]]:
    return [line.removesuffix(r" \\").split(" & ") for line in document.splitlines() if " & " in line]


def test_the_papers_numbers() -> None:
    document = latex(paper())
    assert r"3,3,3 & 59.13 & $-$51.74\% & 168.35 & $-$27.35\% & 48.82 & 52.88$^*$ &  &  \\" in document.splitlines()
    assert "rules fvcore, coco-first100; percentages against the baseline. Accuracy on COCO val2017." in document
    assert document.count(r"\begin{tabular}") == document.count(r"\end{tabular}") == 2
    assert document.count("{") == document.count("}")


def test_every_row_has_as_many_cells_as_the_table_has_columns() -> None:
    records = profiled_records(
        "3,3,3", "1,1,1", found=[measured("baseline"), measured("3,3,3"), out_of_memory("1,1,1")]
    )
    for document in (latex(paper()), latex(records)):
        for table in document.split(r"\begin{table*}")[1:]:
            (columns,) = re.findall(r"\\begin\{tabular\}\{(\w+)\}", table)
            assert {len(cells) for cells in rows(table)} == {len(columns)}


def cells_of(document: str, schedule: str) -> dict[str, str]:
    """By the table's heads; those of the percentages have none."""
    head, *others = rows(document)
    (found,) = [cells for cells in others if cells[0] == schedule]
    return dict(zip(head, found, strict=True))


def test_a_failure_stands_where_it_failed() -> None:
    found = [measured("baseline"), measured("3,3,3"), out_of_memory("1,1,1")]
    records = [without_accuracy(one) for one in profiled_records("3,3,3", "1,1,1", found=found)]
    slow = cells_of(latex(records), "1,1,1")
    assert (slow["encoder G"], slow["ms"]) == ("12.86", "failed")
    error = Failure(message="cut off", exit_code=2)
    broken = evaluation(records[0], 40.0, 1.0).model_copy(update={"accuracy": None, "error": error})
    document = latex([records[0], records[1], evaluation(records[1], 41.0, 1.0), broken])
    assert cells_of(document, "baseline")[r"PQ \%"] == "failed"
    assert cells_of(document, "3,3,3")[r"PQ \%"] == r"41.00 $\pm$ 1.0"
    unread = renamed(broken, backbone=UNKNOWN, schedule=UNKNOWN, label="a.pth").model_copy(update={"cost": None})
    assert cells_of(latex([records[0], unread]), "a.pth")["encoder G"] == "failed"


def test_several_trainings_are_one_row_that_says_so() -> None:
    document = latex([*counted(), *seeds(40.0, 43.0, 44.5)])
    assert cells_of(document, "baseline (mean of seeds 0, 1, 2)")[r"PQ \%"] == r"42.50 $\pm$ 5.8"
    assert "Mean of seeds: of these trainings, with the 95 \\% interval of the mean" in document
    assert "ean of" not in latex([*counted(), *seeds(40.0)])


def test_energy_is_a_column_where_it_is_known() -> None:
    records = [with_energy(one, 2.5) for one in profiled_records("3,3,3")]
    assert cells_of(latex(records), "3,3,3")["J/image"] == "2.5"
    assert "J/image" not in latex(profiled_records("3,3,3"))


def test_latency_and_accuracy_have_their_intervals() -> None:
    (one, other) = profiled_records("3,3,3")
    document = latex([one, other, evaluation(other, 40.0, 1.25)])
    (new,) = [cells for cells in rows(document) if cells[0] == "3,3,3"]
    assert "124.9 $\\pm$ 0.2\\%" in new
    assert "$-$16.5\\%" in new


def test_an_interval_that_is_longer_on_one_side_has_both_sides() -> None:
    one, other = map(without_accuracy, profiled_records("3,3,3"))
    skewed = with_interval(evaluation(other, 60.5, 1.0), 47.4, 81.5)
    assert other.profile is not None
    middle = other.profile.latency_median_ms
    timing = {"latency_interval_ms": (0.977 * middle, 1.065 * middle)}
    slow = other.model_copy(update={"profile": other.profile.model_copy(update=timing)})
    found = cells_of(latex([one, slow, skewed]), "3,3,3")
    assert found[r"PQ \%"] == "$60.5^{+21.0}_{-13.1}$"
    assert _cell("1,490.7 +1.0% -1.5%") == r"$1{,}490.7^{+1.0\%}_{-1.5\%}$"  # a comma in a formula would have a space
    assert found["ms"] == r"$124.9^{+6.5\%}_{-2.3\%}$"


def test_accuracies_on_other_data_are_not_mixed_in() -> None:
    one = with_accuracy(record("3,3,3"), "published", pq=51.0)
    document = latex([one, with_accuracy(record("1,1,1"), "published", pq=50.0), evaluation(one, 40.0, 1.0)])
    assert "51.00$^*$" in document
    assert "40.00" not in document


def test_what_would_not_fit_a_page_is_a_table_a_backbone() -> None:
    assert latex(many()).count(r"\begin{table*}") == len(BACKBONES)


def test_the_records_order_does_not_matter() -> None:
    assert latex(paper()) == latex(tuple(reversed(paper())))


def test_names_are_no_commands() -> None:
    assert escape(r"\input{x} 50% $a_b^c$ #~&") == (
        r"\textbackslash{}input\{x\} 50\% \$a\_b\textasciicircum{}c\$ \#\textasciitilde{}\&"
    )
    document = latex([renamed(record("3,3,3"), backbone=r"\input{secret}" + HOSTILE[:60])])
    assert r"\input{secret}" not in document
    assert "<" not in document


def test_the_caption_explains_what_the_table_has() -> None:
    lost = profiled_records("3,3,3", found=[out_of_memory("baseline"), out_of_memory("3,3,3")])
    assert "Latency" not in latex(lost)
    assert "Latency: median with its 95 \\% interval" in latex(profiled_records("3,3,3"))
