"""The action, the hook and the example workflow: valid as their readers see it, and their steps are run."""

from __future__ import annotations

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

from tests.cli import run

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
PYTHON = """#!/bin/bash
if [ "$1 $2" = "-m pip" ]; then printf '%s\\n' "$*" >> "$PIP_LOG"; else exec "$REAL_PYTHON" "$@"; fi
"""
TOOL = """#!/bin/bash
exec "$REAL_PYTHON" -m proscale_bench "$@"
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


def test_the_action_installs_what_the_project_asks_for(tmp_path: Path) -> None:
    (tmp_path / "budgets.yaml").write_text(BUDGETS.replace("MAX", "100"))
    run_action(tmp_path)
    needed, itself = (tmp_path / "pip.log").read_text().splitlines()
    wanted = [word for word in needed.split() if ">=" in word]
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert len(wanted) == 4
    assert set(wanted) <= set(dependencies)
    assert itself.split()[-2:] == ["--no-deps", str(ROOT)]


def test_the_hook_runs_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tool, *arguments = shlex.split(HOOK["entry"])
    assert tool in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for most, code in (("100", 0), ("0.1", 1)):
        (tmp_path / "budgets.yaml").write_text(BUDGETS.replace("MAX", most))
        assert run(*arguments, *HOOK.get("args", [])).exit_code == code
    assert HOOK["pass_filenames"] is False
    for path in ("budgets.yaml", "a/budgets.yml", "schedules/mine.yaml", "a/schedules/mine.yml"):
        assert re.search(HOOK["files"], path)
    assert not re.search(HOOK["files"], "src/model.py")


@pytest.mark.parametrize(
    ("schema", "text"),
    [("github-actions", (ROOT / "action.yml").read_text()), ("github-workflows", WORKFLOW)],
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
    (tmp_path / "schedules/mine.yaml").write_text(schedule.replace("res4], layers: 2", "res4], layers: 3"))
    explained, updated, _ = re.findall(r"```console\n\$ proscale-bench (?:.+?)\n(.+?)```", PAGE, re.DOTALL)
    day = re.compile(r"\d{4}-\d\d-\d\d")
    assert day.sub("DAY", run("check", "--explain").stdout) == day.sub("DAY", explained)
    assert run("check", "--update").stderr == updated
