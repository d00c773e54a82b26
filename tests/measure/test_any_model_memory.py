"""The peak of activations on paper is what a pass on the CPU takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CASES = [
    (name, size, batch)
    for name in ("resnet50", "swin_t")
    for size, batch in (((320, 320), 1), ((320, 320), 2), ((384, 512), 1), ((480, 640), 1))
]
# In a process of its own: what other tests have left behind would be given back while a pass is measured.
MEASURE = """
import json, sys
import torch
from proscale_bench.bench.any_model import find_model, open_spec
from proscale_bench.config.model_request import read_request
from proscale_bench.cost.count import count_model
from proscale_bench.cost.rules import get_rules
from proscale_bench.measure.memory import pass_memory

torch.set_num_threads(1)
for name, size, batch in json.loads(sys.argv[1]):
    found = find_model(read_request(f"torchvision:{name}", memory=True), tuple(size), batch)
    expected = count_model(found.spec, found.size, get_rules("fvcore")).activation_mib
    loaded = open_spec(found.spec)
    model = loaded.build()
    inputs = loaded.inputs(model, tuple(size), batch)

    def run():
        with torch.inference_mode():
            inputs.call(model)

    run()
    memory = pass_memory(model, run, torch.device("cpu"))
    print(json.dumps([expected, None if memory is None else memory.allocated_mib - memory.before_mib]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a pass")
def test_the_peak_of_a_pass() -> None:
    command = [sys.executable, "-c", MEASURE, json.dumps(CASES)]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(CASES)
    for case, (expected, measured) in zip(CASES, found, strict=True):
        if measured is None:
            pytest.skip("this system does not tell the peak of a pass")
        assert expected == pytest.approx(measured, rel=0.1), case
