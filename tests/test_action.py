"""The action, the hook and the example workflow: valid as their readers see it, and their steps are run."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from check_jsonschema import main as check_jsonschema
from click.testing import CliRunner

from proscale_bench.results.profile import Caution
from proscale_bench.results.store import write_record
from tests.cli import run
from tests.sweeps.profiles import profiled_records

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
(HOOK,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
PAGE = (ROOT / "docs/ci.md").read_text()
BLOCKS = re.findall(r"```yaml\n# (\S+)\n(.+?)```", PAGE, re.DOTALL)
WORKFLOW = dict(BLOCKS)[".github/workflows/budgets.yml"]
POSTING = dict(BLOCKS)[".github/workflows/budgets-comment.yml"]
PYTHON = """#!/bin/bash
if [ "$1 $2" = "-m pip" ]; then printf '%s\\n' "$*" >> "$PIP_LOG"; else exec "$REAL_PYTHON" "$@"; fi
"""
TOOL = """#!/bin/bash
exec "$REAL_PYTHON" -m proscale_bench "$@"
"""
GH = """#!/bin/bash
printf '%s\\n' "$*" >> calls
case "$*" in
  "run download"*) mkdir comment && cp budgets.md comment/ ;;
  *"-X GET"*) cat pull ;;
  *--paginate*) cat ours ;;
esac
"""
BUDGETS = (
    "schema_version: 1\ndefaults: {size: 64x64}\nbudgets:\n  - schedule: '3,3,3'\n    encoder_gflops: {max: MAX}\n"
)


def run_action(folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run the steps in turn as the runner does, until one fails. `pip` is written down instead of run."""
    tools = folder / "tools"
    tools.mkdir()
    for name, text in (("python", PYTHON), ("proscale-bench", TOOL)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    values = {name: inputs.get(name, spec.get("default", "")) for name, spec in ACTION["inputs"].items()}
    outside = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "REAL_PYTHON": sys.executable,
        "PIP_LOG": str(folder / "pip.log"),
        "GITHUB_ACTION_PATH": str(ROOT),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
    }
    for step in ACTION["runs"]["steps"]:
        env = {
            key: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda m: values[m[1]], text)
            for key, text in step.get("env", {}).items()
        }
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(
            command, cwd=folder, env=outside | env, capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode:
            break
    return done


def test_the_action_passes_what_is_kept(tmp_path: Path) -> None:
    (tmp_path / "budgets.yaml").write_text(BUDGETS.replace("MAX", "100"))
    done = run_action(tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "1 of 1 limit kept" in (tmp_path / "summary.md").read_text()


def test_the_action_annotates_what_is_not(tmp_path: Path) -> None:
    path = tmp_path / "my $(budgets).yaml"
    path.write_text(BUDGETS.replace("MAX", "0.1"))
    done = run_action(tmp_path, budgets=path.name, sarif="out.sarif")
    assert done.returncode == 1
    assert done.stdout.startswith("::error file=my $(budgets).yaml,line=5,")
    assert '"level": "error"' in (tmp_path / "out.sarif").read_text()
    assert "❌" in (tmp_path / "summary.md").read_text()


def test_the_action_hands_on_records_and_their_errors(tmp_path: Path) -> None:
    (tmp_path / "budgets.yaml").write_text(BUDGETS.replace("{max: MAX}", "{max_increase_pct: 1}"))
    done = run_action(tmp_path, records=f"{ROOT}/reports/cpu\n{ROOT}/reports/none\n")
    assert done.returncode == 2
    assert "reports/none" in done.stderr


def test_the_action_hands_on_flags(tmp_path: Path) -> None:
    (tmp_path / "budgets.yaml").write_text(BUDGETS.replace("MAX", "0.1"))
    done = run_action(tmp_path, flags="--update --fail-unstable")
    assert done.returncode == 0, done.stderr
    assert "{max: 0.1}" not in (tmp_path / "budgets.yaml").read_text()


@pytest.mark.parametrize("flags", ["--explain --fail-unstable", "--explain\n--fail-unstable\n", "\n --fail-unstable"])
def test_every_line_of_flags_counts_with_sarif_and_without(flags: str, tmp_path: Path) -> None:
    """An unstable latency that keeps its limit: exit 3, with annotations, summary and warnings."""
    budgets = BUDGETS.replace("MAX", "100") + "    total_gflops: {max: 0.1, level: warn}\n"
    budgets += "    latency_median_ms: {max: 400.0, size: 640x640, device: a CPU}\n"
    for sarif in ("", "new/budgets.sarif"):
        folder = tmp_path / (sarif or "plain").replace("/", "-")
        folder.mkdir()
        (folder / "budgets.yaml").write_text(budgets)
        for one in profiled_records("3,3,3"):
            assert one.profile is not None
            drifts = Caution(kind="drift", message="it got slower", advice="wait", unstable=True)
            unstable = one.profile.model_copy(update={"warnings": (drifts,)})
            write_record(folder / "reports/a", one.model_copy(update={"profile": unstable}))
        done = run_action(folder, flags=flags, sarif=sarif)
        assert done.returncode == 3, done.stderr
        assert "warning: budgets.yaml:7:5: latency_median_ms" in done.stderr
        assert "::warning file=budgets.yaml,line=6,col=5,title=total_gflops::" in done.stdout
        assert "::warning title=proscale-bench check::1 of 3 limits stands on" in done.stdout
        assert "2 of 3 limits kept" in (folder / "summary.md").read_text()
        assert not sarif or json.loads((folder / sarif).read_text())["runs"][0]["results"][0]["level"] == "warning"


def test_the_action_leaves_no_sarif_of_what_it_could_not_check(tmp_path: Path) -> None:
    (tmp_path / "budgets.yaml").write_text(BUDGETS.replace("MAX", "x"))
    (tmp_path / "out.sarif").write_text("of the last job")
    done = run_action(tmp_path, sarif="out.sarif")
    assert done.returncode == 2
    assert done.stdout.startswith("::error file=budgets.yaml,line=5,col=22,title=proscale-bench check::max: 'x'")
    assert not (tmp_path / "out.sarif").exists()


def test_the_action_needs_a_sarif_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "budgets.yaml").write_text(BUDGETS.replace("MAX", "100"))
    done = run_action(tmp_path, sarif="./budgets.yaml")
    assert (done.returncode, "not a file to write to" in done.stderr) == (2, True)
    assert (tmp_path / "budgets.yaml").exists()


def test_the_action_installs_what_the_project_asks_for(tmp_path: Path) -> None:
    (tmp_path / "budgets.yaml").write_text(BUDGETS.replace("MAX", "100"))
    run_action(tmp_path)
    needed, itself = (tmp_path / "pip.log").read_text().splitlines()
    wanted = [word for word in needed.split() if ">=" in word]
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert len(wanted) == 4
    assert set(wanted) <= set(dependencies)
    assert itself.split()[-2:] == ["--no-deps", str(ROOT)]


def run_hook(folder: Path, *files: str, installed: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the hook as pre-commit does: in the root of the repository, with the files that triggered it."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "proscale-bench").write_text(TOOL)
    (tools / "proscale-bench").chmod(0o755 if installed else 0o644)
    environment = {"PATH": f"{tools}:/usr/bin:/bin", "PYTHONPATH": str(ROOT), "REAL_PYTHON": sys.executable}
    command = [*shlex.split(HOOK["entry"]), *HOOK.get("args", []), *files]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_hook_checks_the_files_that_triggered_it(tmp_path: Path) -> None:
    (tmp_path / "packages/seg/schedules").mkdir(parents=True)
    (tmp_path / "budgets.yaml").write_text(BUDGETS.replace("MAX", "100"))
    (tmp_path / "packages/seg/budgets.yaml").write_text(BUDGETS.replace("MAX", "0.1"))
    (tmp_path / "other.yaml").write_text(BUDGETS.replace("MAX", "0.1"))
    mine = "packages/seg/schedules/mine.yaml"
    (tmp_path / mine).write_text((ROOT / "schedules/proscale-3-3-3.yaml").read_text())
    (tmp_path / "broken.yaml").write_text("schema_version: 1\nstages: 3\n")
    assert run_hook(tmp_path, "budgets.yaml").returncode == 0
    for files in (["packages/seg/budgets.yaml"], ["budgets.yaml", "packages/seg/budgets.yaml"], [mine]):
        done = run_hook(tmp_path, *files)
        assert done.returncode == 1, done.stderr
        assert "error: packages/seg/budgets.yaml:5:5: encoder_gflops" in done.stdout
    assert "broken.yaml:2:1: stages" in run_hook(tmp_path, "broken.yaml").stderr
    (tmp_path / "budgets.yaml").unlink()
    (tmp_path / "packages/seg/budgets.yaml").unlink()
    assert "no budget file is above it" in run_hook(tmp_path, mine).stderr


def test_the_hook_installs_nothing_and_says_what_it_needs(tmp_path: Path) -> None:
    assert HOOK["language"] == "system"
    assert HOOK.get("pass_filenames", True)
    assert "proscale-bench" in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    done = run_hook(tmp_path, "budgets.yaml", installed=False)
    assert done.returncode == 2
    assert "proscale-bench is not installed: see docs/ci.md" in done.stdout
    for path in ("budgets.yaml", "a/budgets.yml", "schedules/mine.yaml", "a/schedules/mine.yml"):
        assert re.search(HOOK["files"], path)
    assert not re.search(HOOK["files"], "src/model.py")


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ("github-actions", (ROOT / "action.yml").read_text()),
        ("github-workflows", WORKFLOW),
        ("github-workflows", POSTING),
    ],
)
def test_github_would_accept_it(schema: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "file.yml"
    path.write_text(text)
    result = CliRunner().invoke(check_jsonschema, ["--builtin-schema", f"vendor.{schema}", str(path)])
    assert result.exit_code == 0, result.output


def test_the_workflow_gives_the_action_inputs_that_it_has() -> None:
    steps: list[dict[str, Any]] = yaml.safe_load(WORKFLOW)["jobs"]["check"]["steps"]
    (step,) = [step for step in steps if "proscale-bench" in step.get("uses", "")]
    assert set(step["with"]) <= set(ACTION["inputs"])


def test_the_action_comments_on_what_changed_against_the_base(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/budgets.yaml").write_text(BUDGETS.replace("3,3,3", "mine.yaml").replace("MAX", "0.1"))
    (tmp_path / "budgets.yaml").write_text(BUDGETS.replace("3,3,3", "mine.yaml").replace("MAX", "0.1"))
    schedule = (ROOT / "schedules/proscale-2-2-2.yaml").read_text()
    (tmp_path / "base/mine.yaml").write_text(schedule)
    (tmp_path / "mine.yaml").write_text(schedule.replace("layers: 2", "layers: 3"))
    done = run_action(tmp_path, comment="out/budgets.md", base="base")
    assert done.returncode == 1
    text = (tmp_path / "out/budgets.md").read_text()
    assert text.startswith("<!-- proscale-bench check budgets.yaml -->\n\n### ❌ Budgets: 0 of 1 limit kept, 1 failed")
    assert re.search(r"\| encoder_gflops \| 0.208 \| 0.288 \| \+\d\d.\d\d % \| worse \|", text)


def test_a_base_that_cannot_be_checked_leaves_a_comment_without_it(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "budgets.yaml").write_text(BUDGETS.replace("MAX", "100"))
    done = run_action(tmp_path, comment="budgets.md", base="base")
    assert done.returncode == 0, done.stderr
    assert "base" not in (tmp_path / "budgets.md").read_text()


@pytest.mark.parametrize(
    ("first", "pull", "ours", "last", "code"),
    [
        (None, "7", "", "api --silent -X POST repos/o/r/issues/7/comments -F body=@comment/budgets.md", 0),
        (None, "7", "12\n13\n", "api --silent -X PATCH repos/o/r/issues/comments/12 -F body=@comment/budgets.md", 0),
        (None, "", "12\n", "api -X GET repos/o/r/pulls", 0),  # closed since
        ("hello", "7", "", "run download 1", 1),  # no comment of ours
    ],
)
def test_a_comment_is_posted_once_and_then_replaced(
    first: str | None, pull: str, ours: str, last: str, code: int, tmp_path: Path
) -> None:
    """The script of the second workflow, with a `gh` that writes down what it is asked."""
    (step,) = yaml.safe_load(POSTING)["jobs"]["comment"]["steps"]
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/gh").write_text(GH)
    (tmp_path / "tools/gh").chmod(0o755)
    (tmp_path / "budgets.yaml").write_text(BUDGETS.replace("MAX", "0.1"))
    subprocess.run(
        [sys.executable, "-m", "proscale_bench", "--quiet", "check", "--comment", "budgets.md"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    text = (tmp_path / "budgets.md").read_text()
    assert text.splitlines()[0] == step["env"]["MARKER"]
    (tmp_path / "budgets.md").write_text(text if first is None else text.replace(step["env"]["MARKER"], first))
    (tmp_path / "pull").write_text(pull)
    (tmp_path / "ours").write_text(ours)
    given = {
        "PATH": f"{tmp_path}/tools:{os.environ['PATH']}",
        "GH_REPO": "o/r",
        "RUN": "1",
        "HEAD": "me:$(x)",
        "SHA": "a",
    }
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=given | {"MARKER": step["env"]["MARKER"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[-1].startswith(last)
    assert not any("${{" in line for line in step["run"].splitlines())  # what a fork names is never part of a script


def test_the_project_keeps_its_own_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = run("check", "budgets.yaml")
    assert result.exit_code == 0, result.stdout
    assert "budgets:" in (ROOT / "Makefile").read_text().split("check:")[1]


def test_the_page_shows_what_the_tool_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of docs/ci.md, from its sweep to its update."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "schedules").mkdir()
    schedule = (ROOT / "schedules/proscale-2-2-2.yaml").read_text().replace("name: proscale-2-2-2", "name: mine")
    schedule = schedule.replace("pixel_embedding: maxpool", "pixel_embedding: conv")
    (tmp_path / "schedules/mine.yaml").write_text(schedule)
    spec = (
        "schema_version: 1\nname: accepted\nbackbones: swin_t\nschedules: schedules/mine.yaml\nsizes: coco-first100\n"
    )
    (tmp_path / "sweep.yaml").write_text(spec)
    assert run("sweep", "sweep.yaml").exit_code == 0
    (tmp_path / "budgets.yaml").write_text("# budgets.yaml\n" + dict(BLOCKS)["budgets.yaml"])
    (tmp_path / "base.json").write_text(run("check", "--format", "json").stdout)
    (tmp_path / "schedules/mine.yaml").write_text(schedule.replace("res4], layers: 2", "res4], layers: 3"))
    explained, updated, _ = re.findall(r"```console\n\$ proscale-bench (?:.+?)\n(.+?)```", PAGE, re.DOTALL)
    day = re.compile(r"\d{4}-\d\d-\d\d")
    assert day.sub("DAY", run("check", "--explain").stdout) == day.sub("DAY", explained)
    assert run("check", "--comment", "budgets.md", "--base", "base.json").exit_code == 1
    _, comment = (tmp_path / "budgets.md").read_text().split("-->\n\n")
    assert comment in "".join(line[1:].removeprefix(" ") for line in PAGE.splitlines(keepends=True) if line[:1] == ">")
    assert run("check", "--update").stderr == updated
