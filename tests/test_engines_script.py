"""The benchmark of engines tried on a model of seconds: every step is kept, and the next time is done before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "engines.py"


@pytest.mark.slow
def test_a_dry_run_measures_engines_in_turns_and_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    out = tmp_path / "run"
    flags = (sys.executable, str(SCRIPT), "--dry-run", "--out", str(out))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    first = subprocess.run(flags, capture_output=True, text=True, env=environment, check=False, timeout=900)
    assert first.returncode == 0, first.stdout + first.stderr
    steps = {path.stem: json.loads(path.read_text())["status"] for path in (out / "steps").glob("*.json")}
    assert steps == dict.fromkeys(("export-onnxruntime", "turns", "memory-torch", "memory-onnxruntime"), "done")
    rows = (out / "engines.md").read_text().splitlines()[2:]
    assert [row.split("|")[1].split()[0].strip(",") for row in rows] == ["torch", "onnxruntime"]
    assert all(int(row.split("|")[7]) > 50 for row in rows)
    assert (out / "index.html").is_file()
    again = subprocess.run(flags, capture_output=True, text=True, env=environment, check=False, timeout=900)
    assert again.stdout.count("done before") == len(steps)
