"""The pages are true: the README shows what the tool prints, the architecture page has a room for every file."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from proscale_bench.bench.specs import count_flops
from proscale_bench.config.weights import shipped_weights
from proscale_bench.render.style import PNG_DPI
from proscale_bench.results.published import published_result
from tests.cli import COMMANDS, run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_terminal_output_is_real() -> None:
    blocks = re.findall(r"```console\n\$ proscale-bench (.+?)\n(.+?)```", README, re.DOTALL)
    assert [arguments.split()[0] for arguments, _ in blocks] == ["schedules", "flops"]
    for arguments, shown in blocks:
        printed = [line.rstrip() for line in run(*arguments.split()).stdout.splitlines()]
        shown_lines = shown.rstrip().splitlines()
        assert printed[: len(shown_lines)] == shown_lines


def test_the_published_accuracies_are_the_tables() -> None:
    """The schedules' losses on COCO, in words and in numbers."""
    for backbone, lost in (("swin_t", "0.3"), ("resnet50", "0.5")):
        results = [published_result(backbone, schedule) for schedule in ("baseline", "3,3,3")]
        before, after = (one.pq for one in results if one and one.pq is not None)
        assert f"{before:.2f} to {after:.2f}" in README
        assert f"{before - after:.1f}" == lost
        assert f"{lost} points" in README or f"{lost} with" in README


def test_the_picture_is_readable_where_a_repository_page_shows_it() -> None:
    """A page shows it at most 830 pixels wide; the smallest letters of a figure are of 8.2 points."""
    from PIL import Image

    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README.partition("## ")[0])
    assert len(pictures) == 1
    with Image.open(ROOT / pictures[0]) as image:
        assert 8.2 / 72 * PNG_DPI * min(1, 830 / image.width) >= 11


def test_the_headline_is_computed() -> None:
    saved = count_flops("3,3,3", "swin_t").reduction_pct
    for value in (saved["encoder"], saved["total"], saved["encoder_token_layers"]):
        assert f"{value:.2f} %" in README


def test_the_published_totals_are_computed() -> None:
    backbones = ("resnet50", "resnet101", "swin_t", "swin_s", "swin_b", "swin_l")
    totals = [
        round(count_flops("baseline", name, rules="published").gflops["total_with_postprocessing"])
        for name in backbones
    ]
    assert "{}, {}, {}, {}, {} and {} G".format(*totals) in " ".join(README.split())


def test_the_architecture_page_shows_every_room_and_no_other() -> None:
    house = (ROOT / "ARCHITECTURE.md").read_text().partition("## Two wings")[2].split("```")[1]
    shown = re.findall(r"^ *(\w+)/ ", house, re.MULTILINE)
    there = [path.parent.name for path in (ROOT / "proscale_bench").rglob("__init__.py")]
    assert sorted(shown) == sorted(name for name in there if name != "proscale_bench")


def test_the_command_page_names_every_command_and_flag() -> None:
    page = (ROOT / "CLI.md").read_text()
    for command in COMMANDS:
        assert f"`{command}" in page
        for flag in re.findall(r"--[a-z-]+", run(*command.split(), "--help").stdout):
            assert flag in page or flag in ("--help", "--verify-all"), f"{command} {flag}"


PAGES = [
    *("README.md", "ARCHITECTURE.md", "CLI.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")),
]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("https://"):
            assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("line", re.findall(r"^proscale-bench (?:flops|schedules|models) [^\n]+", README, re.MULTILINE))
def test_every_command_of_the_readme_is_accepted(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-schedule.yaml").write_text((ROOT / "schedules" / "proscale-3-3-3.yaml").read_text())
    shutil.copy(next(iter(shipped_weights().values())), tmp_path / "mine.pth")  # formats are told by content
    words = line.partition("#")[0].split()[1:]
    words = [{"800x1333": "64x96"}.get(word, word) for word in words]  # verified at a size that takes no time
    monkeypatch.setenv("PROSCALE_BENCH_CACHE", str(tmp_path))
    quick = ["-b", "tiny"] if "--verify" in words else []
    quick += ["--size", "64x96", "--max-seconds", "0.1"] if "--latency" in words else []
    result = run(*words, *quick)
    assert result.exit_code == 0, result.stderr
