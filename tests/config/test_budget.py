"""Budget files: what they mean, and that every problem is shown at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from proscale_bench.config.budget import BUDGET_METRICS, read_budgets
from proscale_bench.config.budget_update import rewrite
from proscale_bench.config.limit import Limit
from proscale_bench.errors import BenchError
from proscale_bench.results.metrics import METRICS

GOOD = """\
schema_version: 1
defaults: {backbone: resnet50, size: coco-first100, rules: fvcore}
budgets:
  - schedule: proscale-3-3-3
    encoder_gflops: {max: 63.5, min: 1}
    total_gflops: {max: 162.5}
    latency_median_ms: {max: 40.0, device: NVIDIA H200, level: warn}
  - schedule: '2,2,2'
    backbone: swin_t
    level: warn
    encoder_gflops: {max_increase_pct: 1}
    pq:
      min: 51.4
      level: error
      published: true
"""


def limits(tmp_path: Path, text: str) -> list[Limit]:
    path = tmp_path / "budgets.yaml"
    path.write_text(text)
    return read_budgets(path)


def test_a_limit_for_every_metric() -> None:
    assert list(METRICS) == list(BUDGET_METRICS)


def test_what_a_file_means(tmp_path: Path) -> None:
    high, low, _, latency, relative, pq = limits(tmp_path, GOOD)
    assert [(one.metric, one.bound, one.value, one.line, one.column) for one in (high, low)] == [
        ("encoder_gflops", "max", 63.5, 5, 5),
        ("encoder_gflops", "min", 1.0, 5, 5),
    ]
    assert (high.schedule.compact, high.backbone, high.level, high.device) == ("3,3,3", "resnet50", "error", None)
    assert (latency.device, latency.level) == ("NVIDIA H200", "warn")
    assert (relative.backbone, relative.level, relative.against) == ("swin_t", "warn", "record")
    assert (pq.level, pq.published, pq.line, pq.against) == ("error", True, 12, None)


def test_the_nearest_scope_counts(tmp_path: Path) -> None:
    text = GOOD.replace("size: coco-first100", "size: coco-first100, device: a CPU, level: off")
    text = text.replace("total_gflops: {max: 162.5}", "total_gflops: {max: 162.5, size: 64x64}")
    high, _, total, latency, relative, _ = limits(tmp_path, text)
    assert (high.device, high.level, high.size) == ("a CPU", "off", "coco-first100")
    assert (total.size, latency.device, relative.level) == ("64x64", "NVIDIA H200", "warn")


def test_schedules_and_runs_are_seen_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text((Path(__file__).parents[2] / "schedules/proscale-2-2-2.yaml").read_text())
    text = GOOD.replace("'2,2,2'", "mine.yaml").replace("max_increase_pct: 1", "max_increase_pct: 1, against: runs/a")
    relative = limits(tmp_path, text)[4]
    assert relative.schedule.compact == "2,2,2"
    assert relative.against == str(tmp_path / "runs/a")


@pytest.mark.parametrize(
    ("old", "new", "place", "said", "hint"),
    [
        ("encoder_gflops: {max: 63.5", "encoder_gflop: {max: 63.5", ":5:5", "encoder_gflop: unknown key", "'encoder_g"),
        ("proscale-3-3-3", "proscale-3-3-4", ":4:5", "unknown schedule", "did you mean"),
        ("proscale-3-3-3", "'3,3'", ":4:5", "three numbers", None),
        ("proscale-3-3-3", "none.yaml", ":4:5", "No such file", None),
        ("proscale-3-3-3", "3_3_3", ":4:15", "YAML reads 3_3_3", "quotes"),
        ("resnet50", "resnet5O", ":2:12", "'resnet5O' is not", "'resnet50'"),
        ("{max: 162.5}", "{max: .nan}", ":6:20", "finite", None),
        ("{max: 162.5}", "{max: -1}", ":6:20", "greater than or equal to 0", None),
        ("{max: 162.5}", "{max: '162'}", ":6:20", "'162' is text", None),
        ("{max: 162.5}", "{max: 9" + "9" * 400 + "}", ":6:20", "9", None),
        ("{max: 162.5}", "{maximum: 1}", ":6:5", "at least one of max, min", None),
        ("{max: 162.5}", "162.5", ":6:5", "written {max: 1.0}", None),
        ("{max: 162.5}", "{max: 1, min: 2}", ":6:5", "min 2.0 is above max 1.0", None),
        ("{max: 162.5}", "{max: 1, device: x}", ":6:28", "device: unknown key", None),
        ("{max: 162.5}", "{max: 1, against: baseline}", ":6:5", "'against' goes with", None),
        ("{max: 162.5}", "{max: 1, level: fatal}", ":6:28", "'fatal' is not", None),
        ("device: NVIDIA H200, ", "", ":7:5", "no device", "name it"),
        ("min: 51.4", "max_increase_pct: 2", ":12:5", "a percentage of what?", "baseline"),
        ('device: NVIDIA H200', 'device: "a\\x07b"', ":7:36", "control characters", None),
        (GOOD[GOOD.index("    encoder_gflops: {max_inc") :], "", ":8:5", "no limit on 2,2,2", "encoder_gflops"),
        ("rules: fvcore", "rules: thop", ":2:53", "'thop' is not", None),
        (GOOD, "schema_version: 1\nbudgets: []\n", ":2:1", "at least 1 item", None),
        (GOOD, "schema_version: 1\n", ":1:1", "budgets: required key", None),
    ],
)  # fmt: skip
def test_a_problem_is_shown_at_its_place(
    tmp_path: Path, old: str, new: str, place: str, said: str, hint: str | None
) -> None:
    assert old in GOOD
    with pytest.raises(BenchError) as caught:
        limits(tmp_path, GOOD.replace(old, new, 1))
    assert caught.value.exit_code == 2
    assert f"budgets.yaml{place}" in caught.value.message, caught.value.message
    assert said in caught.value.message
    assert hint is None or hint in (caught.value.hint or ""), caught.value.hint


def test_what_reads_a_file_rewrites_it() -> None:
    """One of PyYAML's two parsers refuses this tab."""
    text, _ = rewrite("a:\n  {max:\t60.0,\tx: é}", {("a", "max"): 63.471})
    assert text == "a:\n  {max:\t63.5,\tx: é}"


def test_numbers_are_exchanged_in_place() -> None:
    text = "# top\r\nbudgets:\r\n- a: {min: +51.40, max: 6}   # why ✓\r\n  b:\r\n    max: 6.35e+1 # end\r\n"
    key = ("budgets", 0)
    found = {(*key, "a", "min"): 51.409, (*key, "a", "max"): 5.2, (*key, "b", "max"): 61.0001}
    new, done = rewrite(text, found)
    assert new == text.replace("6.35e+1", "61.1")  # the others are what they were, as rounded
    assert [(one.line, one.old, one.new) for one in done] == [(5, "6.35e+1", "61.1")]


@pytest.mark.parametrize(
    ("written", "bound", "value", "new"),
    [
        ("60", "max", 63.471, "64"),
        ("60.0", "max", 63.471, "63.5"),
        ("60.00", "min", 63.479, "63.47"),
        ("1", "max", 0.2, "1"),
        ("0." + "0" * 50 + "1", "max", 0.25, "0.25" + "0" * 18),
        ("1.0e-320", "min", 1e300, "1" + "0" * 300 + "." + "0" * 20),
    ],
)
def test_a_number_is_rounded_so_that_the_limit_is_kept(written: str, bound: str, value: float, new: str) -> None:
    text, _ = rewrite(f"a: {{{bound}: {written}}}", {("a", bound): value})
    assert text == f"a: {{{bound}: {new}}}"
