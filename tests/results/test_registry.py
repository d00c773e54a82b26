"""The registry: strict, every row with its source, and every fault of a row at its place."""

from __future__ import annotations

import csv
from dataclasses import asdict
from io import StringIO
from pathlib import Path

import pytest

from proscale_bench.errors import BenchError
from proscale_bench.results.published import published_results
from proscale_bench.results.registry import (
    COLUMNS,
    FILE,
    convention_note,
    families,
    of_families,
    parse_registry,
    read_registry,
    shipped_registry,
    shipped_text,
)

ROW = {
    **dict.fromkeys(COLUMNS, ""),
    **{"id": "pem-r50", "family": "PEM", "model": "PEM", "backbone": "resnet50", "dataset": "Cityscapes val"},
    **{"task": "panoptic", "pq": "61.1", "gflops": "237", "convention": "mac", "counted": "with post-processing"},
    **{"size": "1024x2048", "fps": "13.8", "device": "V100", "scope": "network", "source": "a/PEM README.md"},
}


def text_of(*changes: dict[str, str]) -> str:
    """A registry of one row for each of some changes to `ROW`."""
    buffer = StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({**ROW, **change} for change in changes)
    return buffer.getvalue()


def problems_of(*changes: dict[str, str]) -> list[str]:
    with pytest.raises(BenchError) as caught:
        parse_registry(text_of(*changes), "mine.csv")
    assert caught.value.exit_code == 2
    return list(caught.value.lines)


def test_what_ships_keeps_to_the_format() -> None:
    rows = parse_registry(shipped_text(), FILE)
    assert rows == shipped_registry()
    assert len(rows) >= 120
    assert len(families(rows)) >= 20


def test_every_shipped_row_says_something_and_where_it_stands() -> None:
    for row in shipped_registry():
        numbers = (row.pq, row.ap, row.ap_bbox, row.miou, row.gflops, row.encoder_gflops, row.fps)
        assert any(number is not None for number in numbers), row.id
        assert row.source.partition(" ")[2], row.id
        assert row.gflops is None or row.convention is not None


@pytest.mark.parametrize(
    ("id", "gflops", "convention", "size"),
    [
        ("eomt-vit-s-640", 68, "mac", "640x640"),
        ("eomt-vit-b-640", 216, "mac", "640x640"),
        ("eomt-vit-l-640", 669, "mac", "640x640"),
        ("deformable-detr-r50-850", 172.9, "mac", "850x1040"),
        ("deformable-detr-r50-two-stage-850", 177.3, "mac", "850x1040"),
        ("rt-detr-r18", 60, "flop", "640x640"),
        ("rt-detr-r101", 259, "flop", "640x640"),
        ("detr-r50", 86, "mac", "coco-first100"),
        ("pem-r50-cityscapes-panoptic", 237, "mac", "1024x2048"),
        ("eco-m2f-swin-t-exit-2-cityscapes", 411.981, "mac", "1024x2048"),
        ("lw-detr-tiny", 11.2, "unknown", None),
    ],
)
def test_rows_that_the_field_quotes(id: str, gflops: float, convention: str, size: str | None) -> None:  # noqa: A002
    (row,) = (row for row in shipped_registry() if row.id == id)
    assert (row.gflops, row.convention, row.size) == (gflops, convention, size)


def test_released_models_of_this_tool_are_rows_too() -> None:
    joined = published_results()
    assert len(joined) == 9
    assert {(row.dataset, row.task) for row in joined} == {("COCO val2017", "panoptic")}


def test_a_row_reads_as_it_is_written() -> None:
    (row,) = parse_registry(text_of({}), "mine.csv")
    shown = {name: "" if value is None else f"{value:g}" if name in ("pq", "gflops", "fps") else value
             for name, value in asdict(row).items()}  # fmt: skip
    assert shown == ROW


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"gflops": "237G"}, "mine.csv:2: gflops: '237G' is not a number"),
        ({"gflops": "nan"}, "mine.csv:2: gflops: 'nan' is not above 0"),
        ({"pq": "0"}, "mine.csv:2: pq: '0' is not above 0"),
        ({"pq": "611"}, "mine.csv:2: pq: '611' is above 100 %"),
        ({"convention": "macs"}, "mine.csv:2: convention: 'macs' is none of mac, flop, unknown"),
        ({"convention": ""}, "mine.csv:2: convention: empty beside a number of GFLOPs"),
        ({"gflops": "", "counted": ""}, "mine.csv:2: convention: no GFLOPs that it is of"),
        ({"rules": "calflops"}, "mine.csv:2: rules: 'calflops' is none of fvcore, published, products, complete"),
        ({"task": "detection"}, "mine.csv:2: task: 'detection' is none of panoptic, instance, semantic, boxes"),
        ({"size": "1024*2048"}, "mine.csv:2: size: '1024*2048' is neither HxW, SHORT,LONG, coco-first100 nor coco-val"),
        ({"device": ""}, "mine.csv:2: device: empty beside images a second"),
        ({"fps": ""}, "mine.csv:2: device: no images a second"),
        ({"source": ""}, "mine.csv:2: source: empty"),
        ({"source": "README.md"}, "mine.csv:2: source: 'README.md' names no place in it"),
        ({"id": "PEM R50"}, "mine.csv:2: id: 'PEM R50' is not of small letters"),
        ({"model": " PEM"}, "mine.csv:2: model: spaces around ' PEM'"),
        ({"schedule": "3_3_3"}, "mine.csv:2: schedule: "),
        ({"schedule": "3,3,3+trc:linear"}, "mine.csv:2: schedule: '3,3,3+trc:linear' is spelled '3,3,3'"),
    ],
)
def test_every_fault_is_at_its_place(change: dict[str, str], problem: str) -> None:
    assert any(line.startswith(problem) for line in problems_of(change)), problems_of(change)


def test_all_faults_are_told_at_once() -> None:
    lines = problems_of({"pq": "x"}, {"id": "other", "miou": "y"})
    assert [line.partition(": ")[0] for line in lines] == ["mine.csv:2", "mine.csv:3"]


def test_no_two_rows_have_one_name() -> None:
    assert problems_of({}, {}) == ["mine.csv:3: id: 'pem-r50' is that of line 2"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "mine.csv:1: missing columns: id, family"),
        (text_of({}).replace("convention", "conventoin", 1), "unknown column 'conventoin', did you mean 'convention'?"),
        (text_of({}).replace("pq,ap,", "ap,pq,", 1), "the columns stand in another order"),
        (text_of({}).replace("pq,ap,", "pq,pq,", 1), "column 'pq' stands twice"),
        (text_of({}) + "one,two\n", f"mine.csv:3: 2 cells, not {len(COLUMNS)}"),
        (text_of({}) + '"open\n', "mine.csv:3: "),
    ],
)
def test_what_is_no_registry_is_told_so(text: str, problem: str) -> None:
    with pytest.raises(BenchError) as caught:
        parse_registry(text, "mine.csv")
    assert problem in caught.value.message


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BenchError, match="not UTF-8"):
        read_registry(path)
    path.write_text("\ufeff" + text_of({}), "utf-8")  # as spreadsheets write it
    assert len(read_registry(path)) == 1


def test_families_are_found_whatever_their_case() -> None:
    rows = shipped_registry()
    assert {row.family for row in of_families(rows, ["eomt", "RT-DETR"])} == {"EoMT", "RT-DETR"}
    assert of_families(rows, []) == rows
    with pytest.raises(BenchError, match="unknown family 'eomtt'") as caught:
        of_families(rows, ["EoMTT"])
    assert caught.value.hint == "did you mean 'eomt'?"


def test_families_whose_numbers_are_not_of_one_flop_a_product_say_so() -> None:
    assert "RT-DETR count 2 FLOPs a multiply-accumulate, as --convention flop does" in (
        convention_note("rt_detr") or ""
    )
    assert "LW-DETR do not say" in (convention_note("lw_detr") or "")
    for kind in ("eomt", "deformable_detr", "mask2former", "segformer"):
        assert convention_note(kind) is None
