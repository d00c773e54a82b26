"""Profiles as tables, sentences, Markdown and a figure, from records made by hand."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from proscale_bench.bench.profile import records
from proscale_bench.bench.sessions import merged
from proscale_bench.render.bars import latency_figure
from proscale_bench.render.columns import show_saving
from proscale_bench.render.figure import pareto_figure
from proscale_bench.render.markdown import report
from proscale_bench.render.profile import failures, footer, headlines, markdown, speedups, tables
from proscale_bench.render.style import save
from proscale_bench.results.profile import CountedSaving, RealisedSaving
from proscale_bench.results.record import Record
from tests.results.records import record
from tests.sweeps.profiles import CEILINGS, MACHINE, execution, measured, out_of_memory, profiled_records, request

TABLE = """\
### resnet50 at 640x640, batch 1

|  | median ms |  | p95 ms | images/s | MiB | FLOPs | executed | time |
|:--|--:|--:|--:|--:|--:|--:|--:|--:|
| **baseline** | **149.5** | **±0.2%** | **150.0** | **6.69** | **100** |  |  |  |
| 3,3,3 | 124.9 | ±0.2% | 125.3 | 8.01 | 100 | -27.86% | -29.41% | -16.5% |

### 3,3,3, batch 1, each stage by itself

|  | baseline ms | 3,3,3 ms | FLOPs | executed | time |
|:--|--:|--:|--:|--:|--:|
| normalise and pad | 1.00 | 1.00 |  |  | n.s. |
| backbone | 40.00 | 40.00 | 0.00% | 0.00% | n.s. |
| **encoder (pixel decoder)** | **83.50** | **58.88** | **-49.97%** | **-49.97%** | **-29.5%** |
| &nbsp;&nbsp;&nbsp;&nbsp;projection | 2.00 | 2.00 | 0.00% | 0.00% | n.s. |
| &nbsp;&nbsp;&nbsp;&nbsp;re-calibration | – | 1.00 |  |  |  |
| &nbsp;&nbsp;&nbsp;&nbsp;token layers | 60.00 | 39.38 | -36.36% | -36.36% | -34.4% |
| &nbsp;&nbsp;&nbsp;&nbsp;&nbsp;&nbsp;&nbsp;&nbsp;res5 | – | 3 × 0.625 |  |  |  |
| &nbsp;&nbsp;&nbsp;&nbsp;&nbsp;&nbsp;&nbsp;&nbsp;res5 + res4 | – | 3 × 2.50 |  |  |  |
| &nbsp;&nbsp;&nbsp;&nbsp;&nbsp;&nbsp;&nbsp;&nbsp;res5 + res4 + res3 | 6 × 10.00 | 3 × 10.00 |  |  |  |
| &nbsp;&nbsp;&nbsp;&nbsp;FPN upsampling | 1.00 | 1.00 | 0.00% | 0.00% | n.s. |
| &nbsp;&nbsp;&nbsp;&nbsp;pixel embedding | 20.00 | 15.00 | -81.53% | -81.53% | -25.0% |
| &nbsp;&nbsp;&nbsp;&nbsp;between them | 0.500 | 0.500 |  |  |  |
| transformer decoder | 25.00 | 25.00 | 0.00% | 0.00% | n.s. |
| **total** | **149.5** | **124.9** | **-27.86%** | **-29.41%** | **-16.5%** |
| post-processing | 5.00 | 5.00 | 0.00% | 0.00% | n.s. |
| **total with post-processing** | **154.5** | **129.9** | **-26.38%** | **-27.77%** | **-15.9%** |
"""


def with_executed(one: Record, pct: float) -> Record:
    """Return the record as if a rewrite had saved some of what is counted."""
    assert one.profile is not None
    saving = CountedSaving(counted=28.0, executed=pct)
    return one.model_copy(update={"profile": one.profile.model_copy(update={"counted_saving_pct": saving})})


def test_several_sessions_are_counted() -> None:
    asked = request("3,3,3")
    found = [list(records(asked, [measured(spec) for spec in asked.in_turns], MACHINE, None)) for _ in range(3)]
    assert "36 rounds in turns with the baseline in 3 sessions, after warm-up" in footer(merged(found))[0]
    assert "12 rounds in turns with the baseline, after warm-up" in footer(found[0])[0]


def test_the_tables_are_these() -> None:
    assert markdown(profiled_records("3,3,3")).startswith(TABLE)


def test_the_headline_says_what_the_counted_saving_is_worth() -> None:
    base, new = profiled_records("3,3,3")
    (line,) = headlines([base, new])
    assert re.fullmatch(
        r"3,3,3: -27\.86% FLOPs \(-29\.41% as executed\), -16\.5% time \[-18\.9, -14\.0\]; "
        r"encoder: -49\.97% FLOPs, -29\.5% time \[.+\]\.",
        line,
    )
    assert "-28.00% FLOPs (-25.00% as executed), -16.5% time" in headlines([base, with_executed(new, 25.0)])[0]


def test_what_is_not_significant_has_no_number_to_quote() -> None:
    saving = RealisedSaving(value=1.2, interval=(-0.5, 3.0), significant=False)
    assert show_saving(saving) == "n.s."
    same = [measured("baseline"), measured("baseline:6+trc:linear")]
    base, new = profiled_records("baseline:6+trc:linear", found=same)
    line = headlines(profiled_records("3,3,3", found=few()))[0]
    assert "-16.5% time [-18.9, -14.0], from too few samples" in line  # clear of zero: a number, and what it lacks
    assert show_saving(saving.model_copy(update={"interval": (0.5, 3.0)})) == "-1.2%?"
    assert new.profile is not None
    quiet = new.profile.model_copy(update={"realised_saving_pct": saving})
    assert "time not significant [-3.0, +0.5]" in headlines([base, new.model_copy(update={"profile": quiet})])[0]


def test_the_last_line_says_how_many_times_as_fast() -> None:
    (line,) = speedups(profiled_records("3,3,3"))
    assert re.fullmatch(r"3,3,3, batch 1 ran 1\.20x \[1\.\d\d, 1\.\d\d\] as fast as baseline", line)
    (line,) = speedups(profiled_records("3,3,3", found=few()))
    assert line.endswith(" as fast as baseline: too few samples")


def few() -> list[object]:
    return [measured("baseline", rounds=3), measured("3,3,3", rounds=3)]


def test_executed_and_energy_have_columns_only_where_there_is_something_to_say() -> None:
    how = execution(optimizations=False)
    base, new = profiled_records("3,3,3", found=[measured("baseline", how), measured("3,3,3", how)])
    plain = next(iter(tables([base, new])))
    assert new.profile is not None
    more = with_executed(new, 25.0)
    more = more.model_copy(update={"profile": more.profile.model_copy(update={"energy_j": 1.5})})  # type: ignore[union-attr]
    full = next(iter(tables([base, more])))
    assert set(full.header) - set(plain.header) == {"executed", "J/image"}
    assert full.rows[1].cells == ("124.9", "±0.2%", "125.3", "8.01", "100", "1.5", "-28.00%", "-25.00%", "-16.5%")
    assert {len(row.cells) for row in full.rows} == {len(full.header) - 1}


def test_a_failure_is_a_row_and_a_reason() -> None:
    records = profiled_records("3,3,3", found=[measured("baseline"), out_of_memory("3,3,3")])
    assert next(iter(tables(records))).rows[1].cells[0] == "failed"
    assert failures(records) == ["3,3,3, batch 1: out of memory at batch size 1"]
    assert "out of memory" in markdown(records)
    assert "out of memory" in report(records)


def test_only_failures_are_still_a_table() -> None:
    records = profiled_records("3,3,3", found=[out_of_memory("baseline"), out_of_memory("3,3,3")])
    assert [row.cells[0] for row in next(iter(tables(records))).rows] == ["failed", "failed"]
    assert footer(records) == headlines(records) == []
    assert save(latency_figure(records), "svg")


def test_batch_sizes_are_told_apart() -> None:
    records = profiled_records("3,3,3")
    for batch in (2, 4):
        how = execution(batch_size=batch)
        records += profiled_records("3,3,3", found=[measured("baseline", how), measured("3,3,3", how)])
    titles = [table.title for table in tables(records)]
    assert [title for title in titles if "resnet50" in title] == [f"resnet50 at 640x640, batch {n}" for n in (1, 2, 4)]
    assert [line.partition(":")[0] for line in headlines(records)] == [f"3,3,3 at batch {n}" for n in (1, 2, 4)]


def test_a_baseline_alone_shows_shares() -> None:
    _, stages = tables(profiled_records("baseline"))
    assert stages.header == ("", "baseline ms", "share")
    assert (
        dict(zip([row.label for row in stages.rows], [row.cells[1] for row in stages.rows], strict=True))["backbone"]
        == "27%"
    )


def test_stages_stand_against_the_device_where_its_ceilings_are_known() -> None:
    *_, roof = tables(profiled_records("3,3,3", ceilings=CEILINGS))
    assert roof.title == "3,3,3, batch 1, against the device: 500 GFLOP/s, 20 GB/s"
    cells = {row.label: row.cells for row in roof.rows}
    assert cells["backbone"][1].endswith("%")
    assert "normalise and pad" not in cells  # no rule counts it
    assert "--ceilings" in footer(profiled_records("3,3,3"))[-1]
    assert "--ceilings" not in footer(profiled_records("3,3,3", ceilings=CEILINGS))[-1]


def test_the_tables_fit_into_a_narrow_terminal() -> None:
    from io import StringIO

    from rich.console import Console

    from proscale_bench.render.table import rich_table

    console = Console(file=StringIO(), width=80)
    for table in tables(profiled_records("3,3,3", "3,3,3+conv+trc:none", ceilings=CEILINGS)):
        console.print(rich_table(table, break_labels=True))
    assert "…" not in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_report_says_how_it_ran_and_how_to_do_it_again() -> None:
    said = report(profiled_records("3,3,3"))
    assert "## Measured: 640x640, a CPU, fp32, batch 1, eager, embedding\\_bag sampling, 4 threads" in said
    assert "![GFLOPs beside milliseconds, by part](latency.svg)" in said
    assert (
        "\nproscale-bench profile --backbone resnet50 --size 640x640 --schedule baseline --schedule 3,3,3 "
        "--batch-size 1 --device cpu --dtype fp32 --sampling embedding_bag --threads 4\n" in said
    )
    assert "proscale-bench flops" not in said
    both = report([*profiled_records("3,3,3"), record("3,3,3", size="640x640")])
    assert "proscale-bench flops" in both
    assert "Measured" not in report([record()])


@pytest.mark.parametrize("ceilings", [None, CEILINGS])
def test_the_figure_has_the_same_bytes_and_says_what_it_shows(ceilings: object) -> None:
    records = profiled_records("3,3,3", "1,1,1", ceilings=ceilings)  # type: ignore[arg-type]
    figure = latency_figure(records)
    assert save(figure, "svg") == save(latency_figure(list(reversed(records))), "svg")
    assert save(figure, "png") == save(latency_figure(records), "png")
    text = " ".join(ElementTree.fromstring(save(figure, "svg").decode()).itertext())
    for words in ("ResNet-50 at 640x640", "a CPU, fp32, batch 1", "milliseconds of one image", "−27.86%", "−16.5%"):
        assert words in text
    assert ("Against the device" in text) is (ceilings is not None)
    assert "mathdefault" not in text


def test_the_bars_add_up_to_the_whole() -> None:
    records = profiled_records("3,3,3")
    realised = latency_figure(records).axes[1]
    lengths: dict[float, float] = {}
    for bar in realised.patches:
        lengths[bar.get_y()] = lengths.get(bar.get_y(), 0) + bar.get_width()
    expected = [one.profile.latency_median_ms - 1.0 for one in records if one.profile]  # but for normalising
    assert [lengths[y] for y in sorted(lengths)] == pytest.approx(expected, rel=1e-3)


def test_no_profile_is_no_crash() -> None:
    assert "nothing was profiled" in save(latency_figure([record()]), "svg").decode()


def test_latency_is_an_axis_with_its_device_and_intervals() -> None:
    figure = pareto_figure(profiled_records("3,3,3"), ["latency_median_ms"], "pq")
    label = " ".join(figure.axes[0].get_xlabel().split())
    assert label == "latency, median, ms (640x640, a CPU, fp32, batch 1, eager, embedding_bag sampling, 4 threads)"
    assert sum(len(line.get_xdata()) == 2 for line in figure.axes[0].lines) >= 2
    assert "energy of an image" in save(pareto_figure(profiled_records("3,3,3"), ["energy_j"]), "svg").decode()
