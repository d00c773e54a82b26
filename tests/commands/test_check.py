"""`proscale-bench check`: exit codes, what is written where, and that no file ends in a traceback."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proscale_bench.results.profile import Caution
from proscale_bench.results.record import Record
from proscale_bench.results.store import write_record
from tests.cli import run
from tests.results.records import record, renamed
from tests.sweeps.profiles import profiled_records

BUDGETS = """\
# what we promised
schema_version: 1
defaults: {backbone: resnet50, size: 64x64}
budgets:
  - schedule: '3,3,3'   # the headline
    encoder_gflops: {max: 60.5}  # loose
    total_gflops:
      max: 100.25
    latency_median_ms: {max: 400.0, size: 640x640, device: a CPU, level: warn}
    pq: {min: 51.4, level: off}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    (tmp_path / "budgets.yaml").write_text(BUDGETS)
    return tmp_path


def test_kept(folder: Path) -> None:
    for one in profiled_records("3,3,3"):
        write_record(folder / "reports/a", one)
    result = run("check")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.endswith("3 of 3 limits kept, 1 off\n")


def test_a_warning_is_no_failure(folder: Path) -> None:
    result = run("check", "budgets.yaml")
    assert result.exit_code == 0
    assert "warning: budgets.yaml:9:5: latency_median_ms" in result.stdout
    (folder / "budgets.yaml").write_text(BUDGETS.replace("level: warn", "level: error"))
    assert run("check").exit_code == 1


@pytest.mark.parametrize("form", ["text", "json", "github", "junit", "sarif"])
def test_exceeded(form: str, folder: Path) -> None:
    (folder / "budgets.yaml").write_text(BUDGETS.replace("60.5", "0.25"))
    result = run("check", "--format", form)
    assert (result.exit_code, result.stderr) == (1, "")
    assert "encoder_gflops" in result.stdout
    assert "at most 0.25 GFLOPs" in result.stdout
    if form == "github":
        assert result.stdout.startswith("::error file=budgets.yaml,line=6,")
    if form == "json":
        row = json.loads(result.stdout)["results"][0]
        assert (row["file"], row["line"], row["expected"], row["status"]) == ("budgets.yaml", 6, 0.25, "exceeded")


def test_the_page_of_the_job(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "summary.md").write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
    assert run("check", "--format", "github").exit_code == 0
    page = (folder / "summary.md").read_text()
    assert page.startswith("before\n### Budgets")
    assert "| ✅ | 3,3,3 on resnet50, 64x64 | encoder_gflops |" in page


def test_records_from_elsewhere(folder: Path) -> None:
    for one in profiled_records("3,3,3"):
        write_record(folder / "elsewhere", one)
    (folder / "budgets.yaml").write_text(BUDGETS.replace("400.0", "1.0").replace("level: warn", "level: error"))
    result = run("check", "--records", "elsewhere")
    assert result.exit_code == 1
    assert "samples" in result.stdout
    assert "elsewhere" in result.stdout


def test_update_changes_numbers_alone(folder: Path) -> None:
    text = BUDGETS.replace("60.5", "0.25").replace("\n", "\r\n")
    (folder / "budgets.yaml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert run("check").exit_code == 1
    result = run("check", "--update")
    assert result.exit_code == 0
    assert "budgets.yaml:6: encoder_gflops: max: 0.25 is now" in result.stderr
    new = (folder / "budgets.yaml").read_bytes().decode()
    found = {one["metric"]: one["found"] for one in json.loads(run("check", "--format", "json").stdout)["results"]}
    for old, metric in (("0.25", "encoder_gflops"), ("100.25", "total_gflops")):
        (line,) = [line for line in new.split("\r\n") if f"{metric}" in line]
        at = new.split("\r\n").index(line) + (metric == "total_gflops")
        number = float(new.split("\r\n")[at].split("max: ")[1].split("}")[0])
        assert 0 <= number - found[metric] < 0.01
        text = text.replace(f"max: {old}", f"max: {number:.2f}", 1)
    assert new == "\ufeff" + text
    assert run("check", "--update").exit_code == 0
    assert (folder / "budgets.yaml").read_bytes().decode() == new


def test_what_is_no_limit_is_not_written(folder: Path) -> None:
    """A latency that no budget may hold, found in a record."""
    (one,) = (each for each in profiled_records("3,3,3") if each.identity.schedule == "3,3,3")
    assert one.profile is not None
    profile = one.profile.model_copy(update={"latency_median_ms": 1e300})
    write_record(folder / "reports/a", one.model_copy(update={"profile": profile}))
    result = run("check", "--update")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "what was found cannot be written: budgets.yaml:9:" in result.stderr
    assert (folder / "budgets.yaml").read_text() == BUDGETS


def add_a_layer(folder: Path) -> None:
    """To a schedule that kept its limit in the record that is there."""
    schedule = (
        (Path(__file__).parents[2] / "schedules/proscale-2-2-2.yaml").read_text().replace("proscale-2-2-2", "mine")
    )
    (folder / "mine.yaml").write_text(schedule.replace("res4], layers: 2", "res4], layers: 3"))
    write_record(folder / "reports/a", renamed(record("2,2,2"), label="mine"))
    text = BUDGETS.replace("'3,3,3'", "mine.yaml").replace("{max: 60.5}", "{max_increase_pct: 1}")
    (folder / "budgets.yaml").write_text(text)


def test_explain(folder: Path) -> None:
    add_a_layer(folder)
    result = run("check", "--explain")
    assert result.exit_code == 1
    assert "since     2,2,2 in reports/a" in result.stdout
    assert "token layer 5 (res5 + res4)" in result.stdout
    row = json.loads(run("check", "--explain", "--format", "json").stdout)["results"][0]
    assert row["explanation"]["changes"][0]["old"] is None


def test_explain_without_a_past(folder: Path) -> None:
    (folder / "budgets.yaml").write_text(BUDGETS.replace("60.5", "0.25"))
    assert "no record of this configuration keeps the limit" in run("check", "--explain").stdout


@pytest.mark.parametrize("form", ["github", "junit", "sarif"])
def test_explain_for_machines(form: str, folder: Path) -> None:
    add_a_layer(folder)
    assert "since" not in run("check", "--format", form).stdout
    result = run("check", "--explain", "--format", form)
    assert result.exit_code == 1
    assert "since     2,2,2 in reports/a" in result.stdout
    assert "token layer 5 (res5 + res4)" in result.stdout


def unstable(one: Record) -> Record:
    assert one.profile is not None
    caution = Caution(kind="drift", message="it got 9.0 % slower", advice="let the machine cool down", unstable=True)
    mild = caution.model_copy(update={"kind": "outliers", "unstable": False})
    return one.model_copy(update={"profile": one.profile.model_copy(update={"warnings": (mild, caution)})})


def test_an_unstable_latency_fails_where_that_is_asked(folder: Path) -> None:
    base, new = profiled_records("3,3,3")
    write_record(folder / "reports/a", base)
    write_record(folder / "reports/a", unstable(new))
    assert run("check").exit_code == 0
    result = run("check", "--fail-unstable")
    assert result.exit_code == 3
    assert result.stdout.endswith("3 of 3 limits kept, 1 off\n")
    said = " ".join(result.stderr.split())
    for words in (
        "warning: budgets.yaml:9:5: latency_median_ms of 3,3,3 on resnet50, 640x640 in reports/a is unstable (drift)",
        "it got 9.0 % slower hint: let the machine cool down",
        "error: 1 of 3 limits stands on latencies that cannot be trusted: drift",
    ):
        assert words in said
    assert "outliers" not in said
    (folder / "budgets.yaml").write_text(BUDGETS.replace("60.5", "0.25"))
    result = run("check", "--fail-unstable", "--format", "json")
    assert result.exit_code == 1  # what is exceeded comes first
    assert "(drift)" in result.stderr
    rows = {row["metric"]: row for row in json.loads(result.stdout)["results"]}
    assert [one["kind"] for one in rows["latency_median_ms"]["unstable"]] == ["drift"]
    assert rows["encoder_gflops"]["unstable"] == []


def test_what_a_limit_is_relative_to_must_be_stable_too(folder: Path) -> None:
    base, new = profiled_records("3,3,3")
    write_record(folder / "reports/a", unstable(base))
    write_record(folder / "reports/a", new)
    assert run("check", "--fail-unstable").exit_code == 0
    relative = "{max_increase_pct: 0, against: baseline, "
    (folder / "budgets.yaml").write_text(
        BUDGETS.replace("latency_median_ms: {max: 400.0, ", f"latency_median_ms: {relative}")
    )
    assert run("check", "--fail-unstable").exit_code == 3


def test_memory_does_not_hang_on_the_clock(folder: Path) -> None:
    for one in profiled_records("3,3,3"):
        write_record(folder / "reports/a", unstable(one))
    text = BUDGETS.replace("latency_median_ms: {max: 400.0", "peak_memory_mib: {max: 4000.0")
    (folder / "budgets.yaml").write_text(text)
    assert run("check", "--fail-unstable").exit_code == 0


def test_a_damaged_record_is_left_out(folder: Path) -> None:
    write_record(folder / "reports/a", record())
    (folder / "reports/a/records" / f"{'0' * 64}.json").write_text("{")
    result = run("check")
    assert result.exit_code == 0
    assert "left out" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("check none.yaml", "none.yaml"),
        ("check .", "a folder"),
        ("check --records none", "no such folder"),
        ("check --records .", "no records"),
        ("check --records budgets.yaml", "not an exported result"),
        ("check --format xml", "xml"),
    ],
)
def test_bad_input(arguments: str, said: str, folder: Path) -> None:
    result = run(*arguments.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_a_run_that_a_limit_names_is_missing(folder: Path) -> None:
    (folder / "budgets.yaml").write_text(BUDGETS.replace("{max: 60.5}", "{max_increase_pct: 1, against: runs/a}"))
    result = run("check")
    assert result.exit_code == 2
    assert "budgets.yaml:6:5: against: runs/a: no such folder" in result.stderr


BLOCKED = ("torch", "torchvision", "fvcore", "pandas", "matplotlib", "numpy", "PIL", "orjson", "safetensors")


def test_two_hundred_budgets_without_torch_or_numpy(folder: Path) -> None:
    """The packages that action.yml installs are enough."""
    backbones = ("resnet50", "swin_t", "swin_l", "tiny")
    budgets = "".join(
        f"  - {{schedule: '{n % 5},{n % 3},{1 + n % 4}', backbone: {backbones[n % 4]}, encoder_gflops: {{max: 999}}}}\n"
        for n in range(200)
    )
    budgets += "  - {schedule: '3,3,3', size: 64x64, encoder_gflops: {max_increase_pct: 0}}\n"  # reads the record
    (folder / "budgets.yaml").write_text("schema_version: 1\ndefaults: {size: coco-val}\nbudgets:\n" + budgets)
    write_record(folder / "reports/a", record())
    code = (
        f"import sys\nfor name in {BLOCKED}: sys.modules[name] = None\n"
        "from proscale_bench.cli import main\nsys.argv = ['x', 'check', '--explain', *sys.argv[1:]]\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("201 of 201 limits kept\n")


PIECES = (
    *BUDGETS.split(),
    *(
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "-",
        "# ",
        "&a",
        "*a",
        "!x",
        "|",
        ">",
        "'",
        '"',
        "%",
        "@",
        "?",
        "---",
        "...",
        "\n",
        "\t",
    ),
    *(
        "null",
        "true",
        "1e9",
        ".inf",
        "-1",
        "0",
        "~",
        "é",
        "\x00",
        "\ud800",
        "min",
        "max_increase_pct",
        "ap",
        "level: error",
    ),
    *("against: baseline", "against: ..", "published: true"),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(st.integers(0, 2**32), st.integers(1, 4), st.sampled_from(["text", "github", "junit", "sarif", "json"]))
def test_no_file_ends_in_a_traceback(folder: Path, seed: int, changes: int, form: str) -> None:
    chance = random.Random(seed)
    words = BUDGETS.split(" ")
    for _ in range(changes):
        at = chance.randrange(len(words))
        words[at : at + chance.randrange(3)] = [chance.choice(PIECES)] * chance.randrange(3)
    (folder / "budgets.yaml").write_bytes(" ".join(words).encode("utf-8", "surrogatepass"))
    result = run("check", "--format", form, *(["--update"] if seed % 2 else []), *(["--explain"] if seed % 3 else []))
    assert result.exit_code in (0, 1, 2)
    assert (result.exit_code == 2) == ("error: " in result.stderr)


def test_a_broken_file_is_annotated_at_its_line(folder: Path) -> None:
    (folder / "budgets.yaml").write_text(BUDGETS.replace("60.5", "x").replace("pq:", "pqq:"))
    result = run("check", "--format", "github")
    assert result.exit_code == 2
    first, second = result.stdout.splitlines()
    assert first.startswith("::error file=budgets.yaml,line=6,col=")
    assert second.startswith("::error file=budgets.yaml,line=10,col=")
    assert "%0Ahint: " in second
    assert run("check", "nope.yaml", "--format", "github").stdout.startswith("::error title=proscale-bench check::nope")


@pytest.mark.parametrize("written", ["budgets.yaml", "./budgets.yaml", "../seg/budgets.yaml", "{folder}/budgets.yaml"])
@pytest.mark.parametrize("workspace", [None, "repository", "above"])
def test_places_are_seen_from_the_repository(
    written: str, workspace: str | None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a sub-folder, whether the workspace is the checkout, holds it, or is unknown."""
    root = folder / "a b"
    seg = root / "packages/seg"
    seg.mkdir(parents=True)
    (root / ".git").mkdir()
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    if workspace:
        monkeypatch.setenv("GITHUB_WORKSPACE", str(root if workspace == "repository" else folder))
    for place in (root, seg):
        (place / "budgets.yaml").write_text(BUDGETS.replace("60.5", "0.25"))
    monkeypatch.chdir(seg)
    for file, expected in (
        (written.format(folder=seg), "packages/seg/budgets.yaml"),
        ("../../budgets.yaml", "budgets.yaml"),
    ):
        assert run("check", file, "--format", "github").stdout.startswith(f"::error file={expected},line=6")
        assert f'"uri": "{expected}"' in run("check", file, "--format", "sarif").stdout


def test_outside_a_repository_the_workspace_is_the_root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "seg").mkdir()
    (folder / "seg/budgets.yaml").write_text(BUDGETS.replace("60.5", "0.25"))
    monkeypatch.chdir(folder / "seg")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(folder))
    assert run("check", "--format", "github").stdout.startswith("::error file=seg/budgets.yaml,line=6")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(folder / "elsewhere"))
    assert run("check", "--format", "github").stdout.startswith("::error file=budgets.yaml,line=6")


@pytest.mark.parametrize("kind", ["folder", "nowhere", "pipe", "full"])
def test_a_summary_that_cannot_be_written_is_a_warning(
    kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(folder / "pipe")
    pages = {"folder": folder, "nowhere": folder / "none/page", "pipe": folder / "pipe", "full": Path("/dev/full")}
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pages[kind]))
    result = run("check", "--format", "github")
    assert result.exit_code == 0
    assert result.stdout.startswith("::warning file=budgets.yaml,line=9")
    assert "warning: cannot write the job's summary" in result.stderr


def test_a_name_of_a_record_begins_no_workflow_command(folder: Path) -> None:
    """A record that the tool did not name, whose path holds what a job on GitHub would obey."""
    forged = "x\n::stop-commands::token\r::error::\x85\u2028::add-mask::"
    text = record().to_json()
    for name in (f"{forged}.json", f"\u202e{forged}.json"):
        (folder / "reports/run/records").mkdir(parents=True, exist_ok=True)
        (folder / "reports/run/records" / name).write_text(text)
    (folder / "b.yaml").write_text("schema_version: 1\nbudgets: [{schedule: '3,3,3', pq: {min: 1}}]\n")
    for form in ("text", "json", "github", "junit", "sarif"):
        for path in (folder / "b.yaml", folder / f"{forged}.yaml"):
            result = run("check", str(path), "--records", "reports/run", "--format", form)
            for line in re.split(r"[\n\r\x85\u2028]", result.stdout + result.stderr):
                assert not line.startswith(("::stop", "::error::", "::add-mask")), result
            assert not set("\u202e\u2028\x85\r") & set(result.stderr)


def test_a_record_of_the_other_convention_is_refused_or_counted_anew(tmp_path: Path) -> None:
    run_folder = tmp_path / "run"
    write_record(run_folder, record("3,3,3"))
    budgets = tmp_path / "budgets.yaml"
    budgets.write_text(
        "schema_version: 1\nbudgets:\n  - schedule: '3,3,3'\n    size: 64x64\n    convention: flop\n"
        f"    total_gflops: {{max_increase_pct: 0, against: {run_folder}}}\n"
    )
    result = run("check", str(budgets))
    assert result.exit_code == 2
    assert f"{budgets}:6:" in result.stderr
    assert "total_gflops counts 1 MAC = 2 FLOPs" in result.stderr
    assert "1 MAC = 1 FLOP" in result.stderr
    assert "--convert" in result.stderr
    assert run("check", str(budgets), "--convert").exit_code == 0
    budgets.write_text(budgets.read_text().replace("total_gflops", "params_m"))
    assert run("check", str(budgets)).exit_code == 0  # of a number of parameters there is one convention
