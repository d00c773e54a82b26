"""The comment of a pull request: what it says, what it folds, and that nothing in a name is markup."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from proscale_bench.analysis.base import hold_beside, read_base
from proscale_bench.analysis.budgets import Checker, Finding
from proscale_bench.config.budget import read_budgets
from proscale_bench.errors import BenchError
from proscale_bench.render.check import markdown, row
from proscale_bench.render.comment import MOST_BYTES, comment, marker
from proscale_bench.results.export import envelope, to_json

BUDGETS = """\
schema_version: 1
defaults: {size: 64x64}
budgets:
  - schedule: mine.yaml
    encoder_gflops: {max: 0.25, min: 0.1}
    total_gflops: {max: 100}
    params_m: {max: 1, level: warn}
"""
SCHEDULE = (Path(__file__).parents[2] / "schedules/proscale-2-2-2.yaml").read_text()
LARGER = SCHEDULE.replace("res4], layers: 2", "res4], layers: 5").replace("res5], layers: 2", "res5], layers: 6")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(budgets: str = BUDGETS, schedule: str = SCHEDULE) -> list[Finding]:
    Path("mine.yaml").write_text(schedule)
    Path("budgets.yaml").write_text(budgets)
    return Checker(lambda: [], lambda path: []).check(read_budgets(Path("budgets.yaml")))


def against(base: list[Finding], head: list[Finding]) -> str:
    """The comment on a head, beside the base as its JSON has it."""
    Path("base.json").write_text(to_json(envelope([row(one) for one in base])))
    return comment(["budgets.yaml"], head, 0, {}, hold_beside(head, read_base(Path("base.json"))))


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]


def test_base_against_head(folder: Path) -> None:
    """A schedule was edited: its file is still one, so its numbers stand beside each other, the largest change first.

    A metric of two limits is one number.
    """
    text = against(found(), found(schedule=LARGER))
    assert text.startswith(
        "<!-- proscale-bench check budgets.yaml -->\n\n### ❌ Budgets: 2 of 4 limits kept, 1 failed, 1 warnings\n\n"
    )
    broken, rest = text.split("**Against the base: 3 of 3 numbers changed**")
    changed, kept = rest.split("<details><summary>2 limits kept</summary>")
    assert [(line[0], line[2]) for line in cells(broken)[1:]] == [("❌", "encoder_gflops"), ("⚠️", "params_m")]
    assert [(line[1], line[5]) for line in cells(changed)[1:]] == [
        ("encoder_gflops", "worse"),
        ("params_m", "worse"),
        ("total_gflops", "worse"),
    ]
    assert re.fullmatch(r"\+\d+\.\d\d %", cells(changed)[1][4])
    assert [line[0] for line in cells(kept)[1:]] == ["✅", "✅"]
    assert text.endswith("\n\n</details>\n")


def test_nothing_changed(folder: Path) -> None:
    text = against(found(), found())
    assert "**Against the base: 0 of 3 numbers changed**\n" in text
    assert "| head |" not in text
    assert "### ⚠️ Budgets" in text


def test_without_a_base_there_is_no_word_of_it(folder: Path) -> None:
    assert "base" not in comment(["budgets.yaml"], found(), 0, {}, None)


def test_a_change_that_does_not_count(folder: Path) -> None:
    budgets = BUDGETS.replace("size: 64x64", "size: 64x64, min_change: 5")
    text = against(found(budgets), found(budgets, LARGER))
    assert "**Against the base: 2 of 3 numbers changed**; 1 more by less than `min_change`\n" in text


def test_what_is_new_and_what_is_gone(folder: Path) -> None:
    other = found(BUDGETS.replace("    total_gflops: {max: 100}\n", "") + "    token_layers_gflops: {max: 9}\n")
    text = against(found(), other)
    assert "<summary>1 number new</summary>\n\n| configuration | metric |\n|:--|:--|\n| mine.yaml on resnet50" in text
    assert "token_layers_gflops |" in text
    assert "<summary>1 number gone</summary>" in text


def test_what_was_measured_is_not_judged(folder: Path) -> None:
    text = "schema_version: 1\nbudgets:\n  - schedule: '3,3,3'\n    pq: {min: 50, published: true}\n"
    head = found(text)
    base = [replace(one, found=50.0) for one in head]
    assert "| pq | 50.00 | 51.44 | +1.44 points | measured anew |" in against(base, head)


def test_what_rounds_alike_is_told_apart(folder: Path) -> None:
    head = found()
    base = [replace(one, found=one.found * (1 + 1e-9)) for one in head if one.found]
    line = next(line for line in cells(against(base, head)) if line[1] == "params_m")
    assert line[2] != line[3]
    assert float(line[4].split()[0]) < 0


@pytest.mark.parametrize("number", [40, 600])
def test_a_long_comment_is_folded_and_never_too_long(number: int, folder: Path) -> None:
    lines = [
        f"  - schedule: '{1 + index % 9},{index // 9 % 9},{index // 81}'\n    params_m: {{max: 100}}\n"
        for index in range(number)
    ]
    head = found("schema_version: 1\ndefaults: {size: 64x64}\nbudgets:\n" + "".join(lines))
    base = [replace(one, found=1.0 + index) for index, one in enumerate(head)]
    text = against(base, head)
    assert f"<details><summary>{number} changes</summary>" in text
    assert len(text.encode()) <= MOST_BYTES
    assert text.count("<details>") == text.count("</details>") == 2
    assert ("more: see the job's log" in text) == (number == 600)


EVIL = [
    "<img src=x onerror=alert(1)>",
    "@octocat",
    "[x](https://e.org)",
    "www.e.org",
    "a|b",
    "`code`",
    "--> <b>",
    "</details>",
]


@pytest.mark.parametrize("name", EVIL)
def test_nothing_in_a_name_is_markup(name: str, folder: Path) -> None:
    budgets = BUDGETS + f"    latency_median_ms: {{max: 1, size: 64x64, device: {json.dumps(name)}}}\n"
    budgets = budgets.replace("mine.yaml", json.dumps(f"{name.replace('/', '')}.yaml"))
    Path(f"{name.replace('/', '')}.yaml").write_text(SCHEDULE)
    head = found(budgets)
    for text in (against(head[:1], head), markdown(head)):
        shown = text.replace(marker(["budgets.yaml"]), "").replace("<!-- -->", "\0")
        for kind in (r"<(?!/?(details|summary)>)", r"@(?!\0)", r"\[", r":(?!\0)//", r"www(?!\0)\.", "`(?!min)"):
            assert not re.search(rf"(?<!\\){kind}", shown), (kind, shown)
        assert shown.count("<details>") == shown.count("</details>")
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")}
        assert widths <= {3, 6, 7}


@pytest.mark.parametrize("name", ["a -->.yaml", "a--.yaml", "\udcff.yaml", "ü b.yaml"])
def test_a_marker_is_one_comment(name: str) -> None:
    assert re.fullmatch(r"<!-- proscale-bench check (?:(?!--)[!-~])+ -->", marker([name]))
    assert marker(["a", "b"]) == "<!-- proscale-bench check a b -->"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"results": [{"metric": "pq"}]}', "[" * 100_000, '{"results": [{"found": NaN}]}', "\x00"],
)
def test_a_base_that_is_none(text: str, folder: Path) -> None:
    Path("base.json").write_text(text)
    with pytest.raises(BenchError, match=r"base\.json: not what this version's 'check --format json' writes"):
        read_base(Path("base.json"))
