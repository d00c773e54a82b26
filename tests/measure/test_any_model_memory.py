"""The peak of activations on paper is what a pass on the CPU takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from proscale_bench.measure.workspace import workspace_bytes

ROOT = Path(__file__).parents[2]
SIZES = ((224, 224), (320, 320), (384, 512))
CASES = [(name, size, batch) for name in ("resnet50", "swin_t") for size in SIZES for batch in (1, 2)]
CASES += [("vit_b_16", (224, 224), 1)]
PASSIVE = {**os.environ, "OMP_WAIT_POLICY": "passive"}  # threads that wait take nothing from each other
# In a process of its own: what other tests have left behind would be given back while a pass is measured.
MEASURE = """
import json, sys
import torch
from proscale_bench.bench.any_model import find_model, open_spec
from proscale_bench.config.model_request import read_request
from proscale_bench.cost.count import count_model
from proscale_bench.cost.rules import get_rules
from proscale_bench.measure.memory import pass_memory

torch.set_num_threads(2)
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
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=600, env=PASSIVE)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(CASES)
    for case, (expected, measured) in zip(CASES, found, strict=True):
        if measured is None:
            pytest.skip("this system does not tell the peak of a pass")
        assert expected == pytest.approx(measured, rel=0.1), case


@pytest.mark.parametrize(
    ("convolution", "sides", "expected"),
    [  # bytes as PyTorch's own profiler of memory shows them, on two threads and vectors of 512 bits
        (nn.Conv2d(512, 512, 3, 1, 1), (7, 7), 100352 + 9437184),  # copies of input and weights; the output later
        (nn.Conv2d(64, 64, 5, 1, 1, dilation=2), (64, 64), 1048576 + 409600),
        (nn.Conv2d(64, 64, 7, 1, 3, groups=64), (64, 64), 1048576 + 12544),
        (nn.Conv2d(3, 96, 4, 4), (224, 224), 1204224),  # an image is read as it is; the output is copied back
        (nn.Conv2d(20, 24, 3, 1, 1), (64, 64), 524288 + 36864 + 524288 - 393216),  # blocks of 16 channels
        (nn.Conv2d(64, 8, 1), (64, 64), 1048576 + 4096 + 262144 - 131072),
        (nn.Conv2d(64, 64, 3, 1, 1), (7, 7), 112896),  # too small: columns
        (nn.Conv2d(64, 64, 1), (7, 7), 0),
    ],
)
def test_a_convolution_copies_into_blocks(convolution: nn.Conv2d, sides: tuple[int, int], expected: int) -> None:
    given = torch.empty(1, convolution.in_channels, *sides, device="meta")
    convolution = convolution.to("meta")
    result = convolution(given)
    pair = (convolution.stride, convolution.padding, convolution.dilation)
    args = (given, convolution.weight, convolution.bias, *pair, False, (0, 0), convolution.groups)
    assert workspace_bytes(torch.ops.aten.convolution, args, result) == expected
    last = given.to(memory_format=torch.channels_last)
    assert workspace_bytes(torch.ops.aten.relu, (last,), last) == 0
