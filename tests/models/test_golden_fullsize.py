"""Full-size models with weights from a recipe agree with the official code, from the image to the masks."""

from __future__ import annotations

import json
import math
import zlib

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from proscale_bench.models.checkpoints.load import model_of, open_checkpoint
from proscale_bench.models.mask2former import Mask2Former

from .golden import shared

RELATIVE = 1e-4  # of a tensor's largest value, where nothing is thresholded yet
ABSOLUTE = 1e-3  # of predictions, for 99.9 % of the elements: one flipped attention bit moves a few
MODELS = {"r50_ps333": ("resnet50", "3,3,3"), "swint_m2f": ("swin_t", "baseline")}
RUNS = ("even", "odd")


def recipe(key: str, shape: list[int]) -> Tensor:
    """A weight of the golden models, from its official name."""
    draws = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(math.prod(shape))
    z = draws.astype(np.float32).reshape(shape)
    if key.endswith("running_var"):
        z = 1 + 0.5 * np.tanh(z)
    elif key.endswith("relative_position_bias_table"):
        z = 0.1 * z
    elif any(part in key for part in ("level_embed", "query_feat", "query_embed")):
        pass
    elif z.ndim == 1:
        z = 1 + 0.1 * z if key.endswith("weight") else 0.05 * z
    else:
        z = z / np.float32(math.sqrt(math.prod(shape[1:])))
    return torch.from_numpy(z.astype(np.float32))


@pytest.fixture(scope="module", params=MODELS)
def golden(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict, dict[str, Tensor], Mask2Former]:
    """A case's description, its tensors, and the model that our loader makes of an official file of its weights."""
    folder = shared("golden/fullsize")
    info = json.loads((folder / f"{request.param}.json").read_text())
    computed = {
        key: recipe(key, shape)
        for key, shape in info["state_keys"].items()
        if not key.endswith("relative_position_index") and not key.startswith("criterion.")
    }
    weights = tmp_path_factory.mktemp("fullsize") / "weights.pth"
    torch.save({"model": computed}, weights)
    checkpoint = open_checkpoint(weights)
    backbone, schedule = MODELS[request.param]
    assert (checkpoint.inspect().backbone_name, checkpoint.inferred.schedule.compact) == (backbone, schedule)
    model = model_of(checkpoint)
    weights.unlink()
    return info, load_file(folder / f"{request.param}.safetensors"), model


@pytest.mark.parametrize("run", RUNS)
@torch.no_grad()
def test_full_size_models_agree(golden: tuple[dict, dict[str, Tensor], Mask2Former], run: str) -> None:
    info, tensors, model = golden
    given = info["runs"][run]
    size = (3, given["height"], given["width"])
    image = np.random.RandomState(given["image_seed"]).randint(0, 256, size).astype(np.float32)

    features = model.backbone(model.prepare(torch.from_numpy(image)[None]))
    encoded = model.encoder(features)
    predictions = model.decoder(encoded)
    found = {f"backbone.{level}": tensor for level, tensor in features.items()}
    found |= {f"multi_scale.{index}": level for index, level in enumerate(encoded.pyramid)}
    found |= {"mask_features": encoded.mask_features}
    found |= {"pred_logits": predictions.pred_logits, "pred_masks": predictions.pred_masks}
    assert set(found) == set(given["tensors"])

    for name, actual in found.items():
        whole = given["tensors"][name]
        assert list(actual.shape) == whole["shape"]
        expected = tensors[f"{run}.{name}"]
        step = {"backbone": max(1, actual.shape[1] // 8), "pred_logits": 1, "pred_masks": 10}
        stored = actual[:, :: step.get(name.partition(".")[0], 16)]
        error = (stored - expected).abs()
        if name.startswith("pred_"):
            assert (error <= ABSOLUTE).float().mean() >= 0.999, name
        else:
            assert error.max() <= RELATIVE * expected.abs().max(), name
        assert actual.double().mean().item() == pytest.approx(whole["mean"], abs=1e-4 * whole["std"]), name
        assert actual.double().std().item() == pytest.approx(whole["std"], rel=1e-3), name
        assert actual.double().abs().sum().item() == pytest.approx(whole["abs_sum"], rel=1e-3), name
