"""The trace of any model against independent counters: every family of transformers and of torchvision, to the FLOP."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from proscale_bench.bench.any_model import find_model
from proscale_bench.bench.loader import load
from proscale_bench.config.model_request import read_request
from proscale_bench.cost.count import FlopCount, count_model
from proscale_bench.cost.rules import CONVENTIONS, RULES, get_rules
from tests.measure.families import FAMILIES, configuration

torch.set_num_threads(1)
SIZES = {"depth_anything": "56x56", "deformable_detr": "128x128", "swin": "128x128"}
# Those that ask for values run for real, which the first of them pays for by importing what fake tensors need.
TORCHVISION = {
    "deeplabv3_resnet50": "64x64",
    "fcn_resnet50": "64x64",
    "lraspp_mobilenet_v3_large": "96x96",
    "convnext_tiny": "64x64",
    "swin_t": "64x96",
    "swin_v2_t": "64x64",
    "vit_b_16": "224x224",
    "efficientnet_b0": "96x64",
    "regnet_y_400mf": "96x96",
    "densenet121": "64x64",
    "googlenet": "96x96",
    "ssdlite320_mobilenet_v3_large": "96x96",
    "maxvit_t": "224x224",
}


def count(source: str, size: str, *, batch: int = 1, rules: str = "products") -> FlopCount:
    found = find_model(read_request(source), size, batch)
    return count_model(found.spec, found.size, get_rules(rules))


def by_torch(source: str, size: str, *, batch: int = 1) -> tuple[int, int]:
    """Products by torch's own counter, in a real pass on the CPU, and parameters.

    It has no rule for what its fused attention is on a CPU and counts it as 0, so attention runs as products.
    """
    loaded = load(read_request(source))
    model = loaded.build().requires_grad_(False)
    height, width = map(int, size.split("x"))
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.no_grad(), FlopCounterMode(display=False) as counter:
            loaded.inputs(model, (height, width), batch).call(model)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    flops = counter.get_total_flops()
    assert flops % 2 == 0
    return flops // 2, sum(parameter.numel() for parameter in model.parameters())


@pytest.fixture(autouse=True)
def _quiet() -> None:
    warnings.simplefilter("ignore")
    logging.getLogger("transformers").setLevel(logging.ERROR)


@pytest.mark.parametrize("family", FAMILIES)
def test_products_of_transformers_equal_torchs_own_count(family: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(configuration(family)))
    size = SIZES.get(family, "64x64")
    found = count(f"hf:{file}", size)
    products, parameters = by_torch(f"hf:{file}", size)
    assert sum(found.flops.values()) == products > 0
    assert sum(found.spec.parameters().values()) == parameters


@pytest.mark.parametrize("name", TORCHVISION)
def test_products_of_torchvision_equal_torchs_own_count(name: str) -> None:
    size = TORCHVISION[name]
    found = count(f"torchvision:{name}", size)
    products, parameters = by_torch(f"torchvision:{name}", size)
    assert sum(found.flops.values()) == products > 0
    assert sum(found.spec.parameters().values()) == parameters


@pytest.mark.parametrize(
    "source", ["torchvision:resnet50", "torchvision:swin_t", "detr", "rt_detr", "mask2former", "upernet", "dpt"]
)
def test_training_equals_torchs_own_count(source: str, tmp_path: Path) -> None:
    if ":" not in source:
        file = tmp_path / "config.json"
        file.write_text(json.dumps(configuration(source)))
        source = f"hf:{file}"
    request = read_request(source, training=True)
    found = find_model(request, "64x64", 2)
    counted = count_model(found.spec, found.size, get_rules("products"))
    loaded = load(request)
    model = loaded.build().train()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        outputs = loaded.inputs(model, (64, 64), 2).call(model)
        values = [one for one in tree_leaves(outputs) if isinstance(one, torch.Tensor) and one.requires_grad]
        torch.autograd.backward([one.sum() for one in values])
    assert 2 * sum(counted.flops.values()) == counter.get_total_flops()
    assert sum(counted.flops.values()) > counted.flops["backward"] > 0
    assert found.spec.dimensions()["pass"] == "forward and backward"


def test_a_grouped_convolution_trains_for_twice_what_it_costs(tmp_path: Path) -> None:
    """torch's own counter counts the gradient of a grouped weight as many times as there are groups."""
    file = tmp_path / "grouped.py"
    made = "nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=4))"
    file.write_text(f"from torch import nn\n\ndef net():\n    return {made}\n")
    found = find_model(read_request(f"{file}:net", training=True), "8x8")
    counted = count_model(found.spec, found.size, get_rules("products"))
    first, second = 64 * 3 * 8, 36 * 8 * 2 * 9
    assert counted.flops["backward"] == first + 2 * second  # nobody asks for the gradient of the image


def test_a_batch_is_counted_as_a_whole_and_told_by_the_image() -> None:
    one, four = (count("torchvision:fcn_resnet50", "64x64", batch=batch) for batch in (1, 4))
    assert sum(four.flops.values()) == 4 * sum(one.flops.values())
    assert four.gflops == one.gflops
    assert four.input.images == 4


def test_every_rule_set_counts_the_same_trace() -> None:
    found = count("torchvision:vit_b_16", "224x224")
    sums = {name: sum(found.under(rules).flops.values()) for name, rules in RULES.items()}
    table = found.by_operator
    attention = round(1e9 * sum(row.get("fused_attention", 0) for row in table.values()))
    assert attention == 12 * 2 * 197 * 197 * 768  # 12 blocks, both products
    norms = 25 * 5 * 197 * 768
    assert sums["fvcore"] == sums["products"] - attention + norms  # fvcore is blind to fused attention
    assert sums["complete"] >= sums["products"] + norms
    assert {*CONVENTIONS} == {"mac", "flop"}
