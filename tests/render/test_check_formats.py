"""The formats of `check`: escaped as GitHub reads it, valid as JUnit XML and SARIF."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import xmlschema

from proscale_bench.analysis.budgets import Checker, Finding
from proscale_bench.config.budget import read_budgets
from proscale_bench.render import check, check_formats

SCHEMAS = Path(__file__).parents[1] / "fixtures/schemas"
BUDGETS = """\
schema_version: 1
defaults: {size: 64x64}
budgets:
  - schedule: '3,3,3'
    encoder_gflops: {max: 0.1}
    total_gflops: {max: 100}
    params_m: {max: 1, level: warn}
    latency_median_ms: {max: 40, device: "a <b> & 100 % \\u2713"}
"""


@pytest.fixture
def findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    monkeypatch.chdir(tmp_path)
    path = Path("a, b:100% ✓.yaml")
    path.write_text(BUDGETS)
    exceeded, *others = Checker(lambda: [], lambda path: []).check(read_budgets(path))
    return [replace(exceeded, samples=(1.0, 2.5)), *others]


def test_text(findings: list[Finding]) -> None:
    lines = check.lines(findings)
    assert lines[0] == "3,3,3 on resnet50, 64x64"
    assert [line.split()[0] for line in lines[1:]] == ["EXCEEDED", "ok", "warning", "UNKNOWN"]
    details = check.details(findings[0])
    assert details[0] == "error: a, b:100% ✓.yaml:5:5: encoder_gflops of 3,3,3 on resnet50, 64x64"
    assert [line.split()[0] for line in details[1:]] == ["expected", "found", "excess", "samples", "edit"]
    assert details[4] == "  samples   1 2.5"
    assert check.summary(findings, 2) == "1 of 4 limits kept, 2 failed, 1 warnings, 2 off"


def test_numbers_that_round_alike_are_told_apart(findings: list[Finding]) -> None:
    close = replace(findings[0], expected=63.47, found=63.4700001)
    assert check.numbers(close) == ("63.4700001", "63.47")


def test_github(findings: list[Finding]) -> None:
    error, warning, unknown = check_formats.github(findings).splitlines()
    assert error.startswith(
        "::error file=a%2C b%3A100%25 ✓.yaml,line=5,col=5,title=encoder_gflops::encoder_gflops of 3,3,3"
    )
    assert "%0A  samples   1 2.5%0A" in error
    assert warning.startswith("::warning ")
    assert "100 %25 ✓" in unknown


def test_github_escapes() -> None:
    assert check_formats.escape_data("100%\r\na::b,c") == "100%25%0D%0Aa::b,c"
    assert check_formats.escape_property("a:b,c%\n") == "a%3Ab%2Cc%25%0A"


def test_markdown_puts_first_what_is_not_kept(findings: list[Finding]) -> None:
    rows = check.markdown(findings).splitlines()[2:]
    assert [row[2] for row in rows] == ["❌", "❌", "⚠", "✅"]


def test_junit_is_valid(findings: list[Finding]) -> None:
    text = check_formats.junit(findings)
    schema = xmlschema.XMLSchema(str(SCHEMAS / "junit-10.xsd"))
    schema.validate(text)
    suite = schema.to_dict(text)["testsuite"][0]
    assert (suite["@tests"], suite["@failures"]) == ("4", "2")
    assert suite["testcase"][0]["failure"][0]["@type"] == "exceeded"
    assert "samples   1 2.5" in suite["testcase"][0]["failure"][0]["$"]


@pytest.mark.parametrize("which", [slice(None), slice(1, 2)])
def test_sarif_is_valid(findings: list[Finding], which: slice) -> None:
    document = json.loads(check_formats.sarif(findings[which]))
    schema = json.loads((SCHEMAS / "sarif-2.1.0.json").read_text())
    jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker()).validate(document)
    results = document["runs"][0]["results"]
    assert [result["level"] for result in results] == (["error", "warning", "error"] if which == slice(None) else [])
    for result in results:
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "a%2C%20b%3A100%25%20%E2%9C%93.yaml"
        assert document["runs"][0]["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


def test_json(findings: list[Finding]) -> None:
    row = json.loads(json.dumps(check.row(findings[0])))
    assert row["status"] == "exceeded"
    assert row["excess"] == pytest.approx(row["found"] - row["expected"])
    assert (row["line"], row["samples"], row["device"]) == (5, [1.0, 2.5], None)
