"""LaTeX tables: numbers as everywhere else, and names that are no commands."""

from __future__ import annotations

import re

from proscale_bench.render.latex import escape, latex
from tests.results.many import BACKBONES, HOSTILE, evaluation, many
from tests.results.records import paper, record, renamed, with_accuracy
from tests.sweep.profiles import measured, out_of_memory, profiled_records


def rows(document: str) -> list[list[str]]:
    return [line.removesuffix(r" \\").split(" & ") for line in document.splitlines() if " & " in line]


def test_the_papers_numbers() -> None:
    document = latex(paper())
    assert r"3,3,3 & 59.13 & $-$51.74\% & 168.35 & $-$27.35\% & 48.82 & 52.88$^*$ &  &  \\" in document.splitlines()
    assert "rules fvcore, coco-first100; percentages against the baseline. Accuracy on COCO val2017." in document
    assert document.count(r"\begin{tabular}") == document.count(r"\end{tabular}") == 2


def test_every_row_has_as_many_cells_as_the_table_has_columns() -> None:
    records = profiled_records(
        "3,3,3", "1,1,1", found=[measured("baseline"), measured("3,3,3"), out_of_memory("1,1,1")]
    )
    for document in (latex(paper()), latex(records)):
        for table in document.split(r"\begin{table}")[1:]:
            (columns,) = re.findall(r"\\begin\{tabular\}\{(\w+)\}", table)
            assert {len(cells) for cells in rows(table)} == {len(columns)}
    assert ["1,1,1", "failed"] in [cells[:2] for cells in rows(latex(records))]


def test_latency_and_accuracy_have_their_intervals() -> None:
    (one, other) = profiled_records("3,3,3")
    document = latex([one, other, evaluation(other, 40.0, 1.25)])
    (new,) = [cells for cells in rows(document) if cells[0] == "3,3,3"]
    assert "124.9 $\\pm$ 0.2\\%" in new
    assert "$-$16.5\\%" in new


def test_accuracies_on_other_data_are_not_mixed_in() -> None:
    one = with_accuracy(record("3,3,3"), "published", pq=51.0)
    document = latex([one, with_accuracy(record("1,1,1"), "published", pq=50.0), evaluation(one, 40.0, 1.0)])
    assert "51.00$^*$" in document
    assert "40.00" not in document


def test_what_would_not_fit_a_page_is_a_table_a_backbone() -> None:
    assert latex(many()).count(r"\begin{table}") == len(BACKBONES)


def test_the_records_order_does_not_matter() -> None:
    assert latex(paper()) == latex(tuple(reversed(paper())))


def test_names_are_no_commands() -> None:
    assert escape(r"\input{x} 50% $a_b^c$ #~&") == (
        r"\textbackslash{}input\{x\} 50\% \$a\_b\textasciicircum{}c\$ \#\textasciitilde{}\&"
    )
    document = latex([renamed(record("3,3,3"), backbone=r"\input{secret}" + HOSTILE[:60])])
    assert r"\input{secret}" not in document
    assert "<" not in document
