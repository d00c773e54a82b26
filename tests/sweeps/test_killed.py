"""A sweep that is killed twenty times ends as one that never was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from proscale_bench.config.catalogue import parse_schedule
from proscale_bench.files import LOCK
from proscale_bench.models.checkpoints.save import save_checkpoint
from tests.built import build_model
from tests.data.made import CATEGORIES, make_dataset

SPEC = """\
schema_version: 1
name: killed
backbones: tiny
sizes: 32x32
weights: [one.safetensors, two.safetensors]
count:
profile: {threads: 1, repeats: 3}
evaluate: {data: coco, resize: none, bootstrap: 20}
"""


def test_killed_twenty_times_and_resumed_it_finds_the_same(tmp_path: Path) -> None:
    make_dataset(tmp_path / "coco", 4)
    for name, schedule in (("one", "baseline"), ("two", "1,1,1")):
        torch.manual_seed(0)
        model = build_model(parse_schedule(schedule), "tiny", len(CATEGORIES))
        save_checkpoint(model, tmp_path / f"{name}.safetensors", {"seed": 0})
    (tmp_path / "killed.yaml").write_text(SPEC)
    done = subprocess.run(
        [sys.executable, "-m", "tests.sweeps.killed", str(tmp_path / "killed.yaml"), str(tmp_path), "0"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["changed"] == 0
    assert len(told["whole"]["records"]) == 2 + 2 + 2
    assert len(told["whole"]["finished"]) == 3
    assert told["whole"]["others"] == [LOCK]
    assert all(killed == told["whole"] for killed in told["killed"])
    assert told["killed"]
