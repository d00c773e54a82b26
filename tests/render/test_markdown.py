"""The report's words and tables, from records made by hand."""

from __future__ import annotations

import random
import re

from proscale_bench.render.markdown import report, text
from proscale_bench.render.side_by_side import costs_footer, costs_table
from proscale_bench.render.table import Row, Table, markdown_tables
from proscale_bench.results.record import Failure
from tests.results.records import paper, record, renamed, with_accuracy


def tables(markdown: str) -> list[list[str]]:
    """Rows of every table, as lists of cells."""
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in markdown.splitlines() if line.startswith("|")]


def test_the_headline_is_computed() -> None:
    lines = report(paper()).splitlines()
    assert lines[2] == "**3,3,3 on Swin-T: encoder −51.74%, total −27.35%, token layers −36.36% at coco-first100.**"
    assert lines[3] == "3,3,3 on ResNet-50: encoder −49.97%, total −28.09%, token layers −36.36% at coco-first100."


def test_the_sections_come_in_order() -> None:
    assert [line for line in report(paper()).splitlines() if line.startswith("#")] == [
        "# Cost, latency and accuracy of encoder schedules",
        "## coco-first100",
        "### ResNet-50",
        "### Swin-T",
        "## 800x1333",
        "### ResNet-50",
        "### Swin-T",
        "## Cost of LPE and TRC",
        "## Comparison with the official code",
        "## What is counted",
        "## Origin of the numbers",
    ]


def test_a_row_has_costs_savings_and_the_published_accuracy_with_its_source() -> None:
    markdown = report(paper())
    assert "| 3,3,3 | 59.13 | −51.74% | 52.65 | −36.36% | 168.35 | −27.35% | 172.46 | 48.82 | 52.88 [3] |" in markdown
    assert "3. published: abhishekaich27/proscale-pytorch README.md (COCO val2017; " in markdown
    assert "| 1,1,1 | 24.03 | −80.39% | 17.55 | −78.79% | 133.25 | −42.50% | 137.36 | 44.58 |  |" in markdown


def test_the_official_method_is_met_to_the_last_flop() -> None:
    markdown = report(paper())
    assert "14 configurations, 3 counts each, equal to the last FLOP" in markdown
    assert "| 3,3,3 | Swin-T | 800x1333 | 70,347,110,400 | 0 | 62,639,539,200 | 0 | 214,150,487,776 | 0 |" in markdown


def test_a_difference_from_the_official_method_is_shown() -> None:
    one = record("3,3,3", size="800x1333")
    assert one.cost is not None
    gflops = one.cost.gflops | {"encoder": one.cost.gflops["encoder"] + 1e-9}
    markdown = report([one.model_copy(update={"cost": one.cost.model_copy(update={"gflops": gflops})})])
    assert "1 of them differ" in markdown
    assert "| 75,508,070,400 | +1 |" in markdown


def test_a_papers_total_is_told_apart_from_ours() -> None:
    assert (
        "- Swin-T, baseline: 232 G printed in arXiv 2112.01527, rules published; 235.85 G here, rules fvcore."
        in report(paper())
    )


def test_measured_accuracy_has_its_own_column() -> None:
    records = [
        with_accuracy(record("baseline"), pq=50.0, provenance="published"),
        with_accuracy(record("3,3,3"), pq=49.0, provenance="measured"),
    ]
    header, _, first, second = tables(report(records))[:4]
    assert [cell.strip() for cell in header[-2:]] == ["PQ, published", "PQ, measured"]
    assert [cell.strip() for cell in first[-2:]] == ["50.00 [1]", ""]
    assert [cell.strip() for cell in second[-2:]] == ["", "49.00 [2]"]


def test_the_report_is_a_function_of_the_records() -> None:
    shuffled = list(paper())
    random.Random(1).shuffle(shuffled)
    assert report(shuffled) == report(paper())


def test_every_row_of_a_table_has_as_many_cells() -> None:
    hostile = renamed(record(), schedule="a|b", label="c|d\\|e")
    width = None
    for line in report([*paper(), hostile]).splitlines():
        if not line.startswith("|"):
            width = None
            continue
        cells = len(re.findall(r"(?<!\\)(?:\\\\)*\|", line))
        assert width in (None, cells)
        width = cells


def test_names_stay_text() -> None:
    name = "<script>alert(1)</script> *a* _b_ `c` [d](e) ![f](g) # h & $i$ ~~j~~"
    markdown = report([renamed(record(), label=name)])
    assert "<script>" not in markdown
    assert text(name) in markdown
    assert text("<b>") == "\\<b\\>"


def test_a_failure_is_a_row_and_a_reason() -> None:
    failure = Failure(message="no rule for aten::x", hint=None, exit_code=3)
    failed = record("1,1,1").model_copy(update={"cost": None, "error": failure})
    markdown = report([record("baseline"), failed])
    assert "| 1,1,1 | failed |" in markdown
    assert "- 1,1,1 on resnet50 at 64x64: no rule for aten::x" in markdown


def test_only_failures_are_still_a_report() -> None:
    failure = Failure(message="no", hint=None, exit_code=2)
    failed = record().model_copy(update={"cost": None, "error": failure})
    assert "## Failed" in report([failed])
    assert costs_table([failed]) is None


def test_it_says_how_to_make_it_again() -> None:
    assert "\nproscale-bench sweep paper\n" in report(paper(), ["proscale-bench sweep paper"])
    assert (
        "\nproscale-bench flops --backbone resnet50 --size 64x64 --rules fvcore --convention mac --schedule 3,3,3\n"
        in report([record()])
    )


def test_names_in_a_table_are_no_markup() -> None:
    table = Table("*t*", ("model", "<b>"), (Row("[x](y)", ("@z|",)),))
    assert markdown_tables([table]) == [
        r"### \*t\*",
        "",
        r"| model | \<b\> |",
        "|:--|--:|",
        r"| \[x\](y) | @<!-- -->z\| |",
        "",
    ]


def test_the_figures_axes_are_named() -> None:
    assert "![mask AP against parameters millions: " in report(paper(), x=["params_m"], y="ap")


def test_the_terminals_table_marks_what_is_published() -> None:
    table = costs_table(paper())
    assert table is not None
    assert table.title == "GFLOPs, 1 MAC = 1 FLOP, rules fvcore, coco-first100"
    assert len(table.rows) == 18
    assert table.rows[14].cells == ("swin_t", "59.13", "-51.74%", "-36.36%", "168.35", "-27.35%", "52.88*")
    assert costs_footer(paper())[1:] == [
        "*: published by others, sources in the report",
        "also in the report: 18 configurations at 800x1333",
    ]
    measured = [with_accuracy(record(), pq=50.0)]
    assert costs_table(measured).rows[0].cells[-1] == "50.00"  # type: ignore[union-attr]
    assert len(costs_footer(measured)) == 1
