"""`make gpu` tried on a CPU: steps without a GPU say so, the others run once, and the report is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


def call(out: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, str(SCRIPT), "--out", str(out), *flags]
    return subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False, timeout=300)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_dry_run_keeps_what_every_step_found_and_goes_on(tmp_path: Path) -> None:
    first = call(tmp_path / "run", "--dry-run")
    assert first.returncode == 0, first.stdout + first.stderr
    steps = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "run" / "steps").glob("*.json")}
    assert {steps[name]["status"] for name in ("kernels", "tiny-fp32-eager")} == {"done"}
    passed_over = [name for name, step in steps.items() if step["status"] == "no GPU"]
    assert len(passed_over) == len(steps) - 2 == 25
    assert any("grid_sample: relative difference" in line for line in steps["kernels"]["said"])
    assert (tmp_path / "run" / "index.html").is_file()
    again = call(tmp_path / "run", "--dry-run", "--minutes", "1")
    assert again.stdout.count("done before") == 2
