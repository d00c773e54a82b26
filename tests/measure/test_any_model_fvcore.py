"""Under the rules `fvcore` any model counts what fvcore counts, which is nothing of fused attention."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from proscale_bench.bench.any_model import find_model
from proscale_bench.bench.loader import load
from proscale_bench.config.model_request import read_request
from proscale_bench.cost.count import count_model
from proscale_bench.cost.rules import get_rules
from tests.measure.families import configuration

torch.set_num_threads(1)
FAMILIES = ("segformer", "detr")
TORCHVISION = ("vit_b_16", "deeplabv3_resnet50", "swin_t")
# fvcore's tracer drops what no output needs, as the masks of every layer but the last are where no loss is asked for.
DROPPED = ("mask2former",)


class _Tensors(nn.Module):
    """A model as fvcore takes it: arguments by place, and a list of tensors."""

    def __init__(self, model: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *given: Any) -> list[Tensor]:
        found = self.model(**dict(zip(self.names, given, strict=True))) if self.names else self.model(*given)
        return [one for one in tree_leaves(found) if isinstance(one, Tensor)]


def both(source: str, size: str) -> tuple[int, int]:
    """Our count and fvcore's, under its rules."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

        logging.getLogger("fvcore").setLevel(logging.ERROR)
        request = read_request(source)
        found = find_model(request, size)
        loaded = load(request)
        model = loaded.build()
        height, width = map(int, size.split("x"))
        inputs = loaded.inputs(model, (height, width), 1)
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            given = inputs.args or tuple(inputs.kwargs.values())
            analysis = FlopCountAnalysis(_Tensors(model, list(inputs.kwargs)).eval(), given)
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
            theirs = int(analysis.total())
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
    return sum(count_model(found.spec, found.size, get_rules("fvcore")).flops.values()), theirs


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision(name: str) -> None:
    ours, theirs = both(f"torchvision:{name}", "224x224" if name == "vit_b_16" else "64x64")
    assert ours == theirs


@pytest.mark.parametrize("family", [*FAMILIES, *DROPPED])
def test_transformers(family: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(configuration(family)))
    ours, theirs = both(f"hf:{file}", "64x64")
    if family in DROPPED:
        assert 0 < ours - theirs < 0.01 * ours
    else:
        assert ours == theirs
