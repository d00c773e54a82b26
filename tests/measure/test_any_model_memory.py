"""The peak of activations on paper is what a pass on the CPU takes."""

from __future__ import annotations

import sys

import pytest
import torch

from proscale_bench.bench.any_model import find_model, open_spec
from proscale_bench.config.model_request import read_request
from proscale_bench.cost.count import count_model
from proscale_bench.cost.rules import get_rules
from proscale_bench.measure.memory import pass_memory

torch.set_num_threads(1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a pass")
@pytest.mark.parametrize(("size", "batch"), [((320, 320), 1), ((320, 320), 2), ((384, 512), 1), ((480, 640), 1)])
@pytest.mark.parametrize("name", ["resnet50", "swin_t"])
def test_the_peak_of_a_pass(name: str, size: tuple[int, int], batch: int) -> None:
    found = find_model(read_request(f"torchvision:{name}", memory=True), size, batch)
    expected = count_model(found.spec, found.size, get_rules("fvcore")).activation_mib
    loaded = open_spec(found.spec)
    model = loaded.build()
    inputs = loaded.inputs(model, size, batch)

    def run() -> None:
        with torch.inference_mode():
            inputs.call(model)

    run()
    memory = pass_memory(model, run, torch.device("cpu"))
    if memory is None:
        pytest.skip("this system does not tell the peak of a pass")
    assert expected == pytest.approx(memory.allocated_mib - memory.before_mib, rel=0.1)
