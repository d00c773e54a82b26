"""`models list|show`."""

from __future__ import annotations

import pytest

from proscale_bench.config.weights import shipped_weights
from proscale_bench.specs.backbones import BACKBONES
from tests.cli import run


def test_list_has_every_backbone_with_its_parameters() -> None:
    result = run("models", "list")
    lines = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line.strip()}
    assert set(BACKBONES) <= set(lines)
    assert lines["resnet50"] == ["100", "23.45", "43.98", "225.68", "45.37", "162.29"]
    assert lines["swin_l"][0] == "200"


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_show_has_dimensions_and_parameters(backbone: str) -> None:
    result = run("models", "show", backbone)
    assert result.exit_code == 0
    assert "transformer decoder" in result.stdout


def test_show_gives_published_results_with_their_sources() -> None:
    text = run("models", "show", "swin_t").stdout
    assert "53.2" in text
    assert "52.88" in text
    assert "MODEL_ZOO.md" in text
    assert "no published results" in run("models", "show", "tiny").stdout


def test_an_unknown_backbone_has_a_near_miss() -> None:
    result = run("models", "show", "swint")
    assert result.exit_code == 2
    assert "did you mean 'swin_t'?" in result.stderr


def test_the_weights_that_ship_are_listed() -> None:
    shown = run("models", "list").stdout
    rows = [line.split() for line in shown.partition("weights that ship")[2].splitlines()]
    assert ["tiny-3-3-3-trc-none", "3,3,3+trc:none", "0"] in rows
    assert {path.stem for path in shipped_weights().values()} == {row[0] for row in rows if row and row[-1] == "0"}
