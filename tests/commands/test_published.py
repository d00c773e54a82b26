"""`models published`: every number with size, convention and source, and never two conventions as if they were one."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path

import pytest

from proscale_bench.render.published import converted, tables
from proscale_bench.render.table import rich_table
from proscale_bench.results.registry import shipped_registry, shipped_text
from tests.cli import run


def test_a_family_is_shown_with_its_sources() -> None:
    shown = run("models", "published", "--family", "eomt").stdout
    assert "arXiv 2503.19108, tables 3 and 4" in shown
    assert "H100, network, batch 1, torch.compile" in shown
    line = next(line for line in shown.splitlines() if "ViT-S DINOv2" in line and " 68 " in line)
    assert line.split() == ["EoMT", "ViT-S", "DINOv2", "640x640", "44.7", "68", "1", "24", "330", "[2]"]
    assert "cannot be compared" not in shown


def test_two_conventions_are_told_apart_and_converted_when_asked() -> None:
    families = ("--family", "RT-DETR", "--family", "DETR")
    assert "cannot be compared: --convention mac" in run("models", "published", *families).stdout
    shown = run("models", "published", *families, "--convention", "mac").stdout
    assert "cannot be compared" not in shown
    assert "≈68 " in shown  # R50's 136
    assert " 86 " in shown


@pytest.mark.parametrize(
    ("gflops", "worth", "to", "expected"),
    [
        (136.0, "flop", "mac", (68.0, True)),
        (86.0, "mac", "flop", (172.0, True)),
        (86.0, "mac", "mac", (86.0, False)),
        (86.0, "mac", None, (86.0, False)),
        (11.2, "unknown", "mac", (11.2, False)),
        (None, None, "mac", (None, False)),
    ],
)
def test_converting(gflops: float, worth: str, to: str, expected: tuple[float, bool]) -> None:
    assert converted(gflops, worth, to) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [80, 140])
def test_tables_fit_a_terminal_and_keep_what_makes_rows_comparable(width: int) -> None:
    from rich.console import Console

    console = Console(width=width)
    for table in tables(shipped_registry()):
        fitted = table.fitted(width)
        assert console.measure(rich_table(fitted)).maximum <= width, table.title
        kept = {"model", "backbone", "size", "GFLOPs", "MAC", "from"} & set(table.header)
        assert kept <= set(fitted.header), table.title


def test_exports() -> None:
    rows = json.loads(run("models", "published", "-f", "PEM", "--export-json", "-").stdout)["results"]
    assert rows[0]["id"] == "pem-r50-cityscapes-panoptic"
    assert (rows[0]["gflops"], rows[0]["convention"], rows[0]["schedule"]) == (237.0, "mac", None)
    assert "converted" not in rows[0]
    rows = json.loads(run("models", "published", "-f", "RT-DETR", "--convention", "mac", "--export-json", "-").stdout)
    first = rows["results"][0]
    assert (first["gflops"], first["convention"]) == (60.0, "flop")  # as printed
    assert first["converted"] == {"convention": "mac", "gflops": 30.0, "encoder_gflops": None}
    text = run("models", "published", "-f", "PEM", "--export-csv", "-").stdout
    assert [row["gflops"] for row in csv.DictReader(StringIO(text))][:2] == ["237.0", "47.0"]
    text = run("models", "published", "-f", "PEM", "--export-markdown", "-").stdout
    assert "## Cityscapes val, panoptic" in text
    assert "| PEM | R50 | 1024x2048 | 61.1 | 237 | 1 |" in text


def test_what_is_unknown_is_refused() -> None:
    for flags, message in (
        (("--family", "eomtt"), "unknown family 'eomtt'"),
        (("--task", "detection"), "unknown task 'detection'"),
        (("--convention", "macs"), "unknown convention 'macs'"),
        (("--family", "EoMT", "--task", "boxes"), "no published result of the task 'boxes'"),
    ):
        result = run("models", "published", *flags)
        assert result.exit_code == 2
        assert message in result.stderr


def test_a_users_own_rows(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    header, first, *_ = shipped_text().splitlines()
    path.write_text(f"{header}\n{first}\n")
    assert "Mask2Former" in run("models", "published", "--registry", str(path)).stdout
    path.write_text(f"{header}\n{first.replace(',mac,', ',macs,')}\n")
    result = run("models", "published", "--registry", str(path))
    assert result.exit_code == 2
    assert f"{path}:2: convention: 'macs' is none of mac, flop, unknown" in result.stderr
