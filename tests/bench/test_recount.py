"""Published numbers counted again: each within its tolerance of what is printed, and the page says what is counted."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import as_file
from pathlib import Path

import pytest

from proscale_bench.bench.recount import recount
from proscale_bench.render.recounts import SHARE_WITHOUT_CAUSE, reasons, table
from proscale_bench.results.recounts import OURS, Recount, Recounted, configuration, recounts
from tests.cli import run

PAGE = Path(__file__).parents[2] / "docs" / "published.md"
BY_ID = {one.id: one for one in recounts()}
COUNTED = [one for one in recounts() if one.model]
CLOSED = [one for one in COUNTED if one.model == OURS]
FAST = ("eomt-vit-s-640", "eomt-vit-l-640", "rt-detr-r18", "deformable-detr-r50-850")  # seconds each
slow = pytest.mark.slow


@cache
def counted(id: str) -> Recounted:  # noqa: A002
    return recount(BY_ID[id])


@cache
def page_rows() -> list[list[str]]:
    """The cells of the table of docs/published.md, row by row."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def check(one: Recount) -> None:
    """It is near what is printed, or a cause is named; and the page has it."""
    found = counted(one.id)
    assert found.difference_pct is not None
    assert abs(found.difference_pct) <= SHARE_WITHOUT_CAUSE or one.why
    index = [other.id for other in recounts()].index(one.id)
    (row,) = table([found]).rows
    assert [row.label, *row.cells[:-1]] == page_rows()[index][:-1]


@pytest.mark.parametrize("one", CLOSED, ids=lambda one: one.id)
def test_models_of_this_tool(one: Recount) -> None:
    check(one)


@pytest.mark.parametrize("id", FAST)
def test_some_models_of_transformers(id: str) -> None:  # noqa: A002
    pytest.importorskip("transformers")
    check(BY_ID[id])


@slow
@pytest.mark.parametrize("one", [one for one in COUNTED if one not in CLOSED], ids=lambda one: one.id)
def test_every_model_of_transformers(one: Recount) -> None:
    pytest.importorskip("transformers")
    check(one)


@pytest.mark.parametrize(
    ("id", "digits"),
    [
        *((f"eco-m2f-swin-t-exit-{number}-cityscapes", 3) for number in range(2, 7)),
        *((f"mask2former-{name}", 0) for name in ("r50", "r101", "swin-t", "swin-s", "swin-b", "swin-l-21k")),
        ("pro-scale-swin-t-c1", 0),
        ("pro-scale-swin-t-c3", 2),
    ],
)
def test_what_is_met_to_the_last_printed_digit(id: str, digits: int) -> None:  # noqa: A002
    found = counted(id)
    assert found.gflops is not None
    assert round(found.gflops, digits) == found.recount.published


@pytest.mark.parametrize(
    ("pattern", "number", "within_pct"),
    [
        (r"eomt-vit-[sbl]-640", 3, 0.5),
        (r"deformable-detr-r50(-two-stage)?-850", 2, 0.5),
        (r"rt-detr-r(18|34|50|101)", 4, 1.0),
        (r"detr-r50", 1, 1.0),
        (r"pem-r50-cityscapes-panoptic", 1, 1.0),
    ],
)
def test_the_page_meets_what_the_field_quotes(pattern: str, number: int, within_pct: float) -> None:
    rows = [row for one, row in zip(recounts(), page_rows(), strict=True) if re.fullmatch(pattern, one.id)]
    assert len(rows) == number
    for row in rows:
        assert abs(float(row[6].rstrip("%"))) <= within_pct


def test_the_page_names_a_cause_for_every_difference_above_one_percent() -> None:
    sentences = re.findall(r"^(\d+)\. ", PAGE.read_text(), re.MULTILINE)
    for row in page_rows():
        if row[6] == "–" or abs(float(row[6].rstrip("%"))) > SHARE_WITHOUT_CAUSE:
            assert row[-1].strip("[]\\") in sentences, row


def test_the_command_shows_and_exports_them() -> None:
    result = run("models", "recount", "--family", "PRO-SCALE", "--export-json", "-")
    assert result.exit_code == 0
    first, second, third = json.loads(result.stdout)["results"]
    assert (first["id"], first["published_gflops"]) == ("pro-scale-swin-t-c1", 132.0)
    assert (second["recounted_gflops"], second["counted"]) == (None, None)
    assert "review" in second["why"]
    assert round(third["recounted_gflops"], 2) == 55.14
    shown = run("models", "recount", "--family", "pro-scale", "--brief").stdout
    assert "2 of 2 published numbers" in shown
    assert "[1] sampling is a CUDA operator" in shown
    text = run("models", "recount", "--family", "PRO-SCALE", "--export-markdown", "-").stdout
    assert "| PRO-SCALE ablation C3, LPE \\(encoder\\)" in text or "| PRO-SCALE ablation C3, LPE (encoder)" in text


def test_families_without_numbers_and_unknown_ones_are_refused() -> None:
    for family, message in (("PMT", "no number of FLOPs is published"), ("Emot", "unknown family 'emot'")):
        result = run("models", "recount", "--family", family)
        assert result.exit_code == 2
        assert message in result.stderr


def test_without_transformers_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run("models", "recount", "--family", "EoMT")
    assert result.exit_code == 2
    assert 'python -m pip install "proscale-bench[hf]"' in result.stderr


def test_reasons_stand_once() -> None:
    found = [Recounted(one) for one in recounts() if not one.model]
    assert len(reasons(found)) == len({one.recount.why for one in found})


def test_traps_are_named_where_a_model_is_counted() -> None:
    pytest.importorskip("transformers")
    from proscale_bench.bench.hugging_face import load_configuration

    with as_file(configuration("eomt-small-640")) as file:
        assert "attn_mask_probs=0" in " ".join(load_configuration(file, {}).notes)
        assert "attn_mask_probs=0" not in " ".join(load_configuration(file, {"attn_mask_probs": 0}).notes)
    with as_file(configuration("rt-detr-r18")) as file:
        assert "count 2 FLOPs a multiply-accumulate" in " ".join(load_configuration(file, {}).notes)


def test_masks_are_off_where_nothing_has_values() -> None:
    """The buffer that the model asks keeps its value on the meta device, so nothing needs to be run for real."""
    pytest.importorskip("transformers")
    from proscale_bench.bench.any_model import find_model
    from proscale_bench.config.model_request import read_request

    with as_file(configuration("eomt-small-640")) as file:
        found = find_model(read_request(f"hf:{file}", ["attn_mask_probs=0"]), "640x640", 1)
        assert found.spec.engine == "trace-meta"
