"""Golden cases: small models of the official code with weights, inputs, stage tensors and results."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from proscale_bench.models.checkpoints.infer import NoBackbone
from proscale_bench.models.checkpoints.load import load_checkpoint, open_checkpoint
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.models.masked_decoder import Predictions
from proscale_bench.models.position import sine_position
from proscale_bench.specs.backbones import ResNet, Swin
from proscale_bench.specs.encoders.staged import PREFIXES, Schedule, Stage, parse_compact
from proscale_bench.specs.masked_decoder import Head

PROJECT = Path(__file__).parents[2]
SHARED = PROJECT.parent / "shared"
FIXTURES = PROJECT / "tests" / "fixtures" / "models"
LEVELS = ("res2", "res3", "res4", "res5")
TOLERANCE = 1e-4  # absolute
HEAD = "sem_seg_head."


@dataclass(frozen=True)
class Case:
    """A golden case and our model with its weights."""

    info: dict[str, Any]
    model: Mask2Former
    tensors: dict[str, Tensor]

    def features(self, run: str) -> dict[str, Tensor]:
        """The backbone's features that the official run had."""
        prefix = "in" if f"{run}.in.res2" in self.tensors else "backbone"
        return {level: self.tensors[f"{run}.{prefix}.{level}"] for level in LEVELS}


def shared(path: str) -> Path:
    """A golden set that ships, else of the folder beside the project; skips the test where it is in neither."""
    shipped = PROJECT / "tests" / "fixtures" / "golden" / path
    if shipped.exists():
        return shipped
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"the golden set {path} does not ship: see tests/fixtures/README.md")
    return found


def load_case(folder: Path, scratch: Path) -> Case:
    """Read a case's weights with our loader, and hold what it found against the case's configuration.

    Args:
        scratch: where a file may be written: case f has the weights of case g's head, under its own names.
    """
    info = json.loads((folder / "case.json").read_text())
    weights = folder / "state_dict.safetensors"
    if info["case"].startswith("f_head"):
        whole = load_file(shared("golden/small/g_r50tiny_m2f/state_dict.safetensors"))
        head = {key.removeprefix(HEAD): tensor for key, tensor in whole.items() if key.startswith(HEAD)}
        weights = scratch / "head.safetensors"
        save_file(head, weights)
    schedule = schedule_of(info)
    checkpoint = open_checkpoint(weights, schedule)
    backbone, head = dimensions_of(info)
    assert checkpoint.inferred.schedule == schedule
    assert checkpoint.inferred.head == head
    assert checkpoint.inferred.backbone in (backbone, NoBackbone(backbone.channels))
    return Case(info, load_checkpoint(weights, schedule), load_file(folder / "io.safetensors"))


def schedule_of(info: dict[str, Any]) -> Schedule:
    model = info["config"]["MODEL"]
    if model["SEM_SEG_HEAD"]["PIXEL_DECODER_NAME"] != "PROSCALE":
        return parse_compact(f"baseline:{model['SEM_SEG_HEAD']['TRANSFORMER_ENC_LAYERS']}")
    options = model["PROSCALE"]
    return Schedule(
        tuple(Stage(*stage) for stage in zip(PREFIXES, options["PROSCALE_NUM_LAYERS"], strict=True)),
        recalibration={None: "none", False: "linear", True: "conv"}[options["IS_EXCITE_CONV"]],
        recalibration_temperature=options["EXCITE_TEMP"],
        pixel_embedding=options["MASK_OUTPUT_OPS"],
        residual=options["RESIDUAL"],
    )


def dimensions_of(info: dict[str, Any]) -> tuple[ResNet | Swin, Head]:
    model = info["config"]["MODEL"]
    backbone: ResNet | Swin
    if "swin" in info["case"]:
        swin = model["SWIN"]
        depths, heads = tuple(swin["DEPTHS"]), tuple(swin["NUM_HEADS"])
        backbone = Swin(swin["EMBED_DIM"], depths, heads, swin["WINDOW_SIZE"])
    else:
        resnet = model["RESNETS"]
        width = resnet["WIDTH_PER_GROUP"]
        expansion = resnet["RES2_OUT_CHANNELS"] // width
        backbone = ResNet((3, 4, 6, 3), resnet["STEM_OUT_CHANNELS"], width, expansion)
    masks, head = model["MASK_FORMER"], model["SEM_SEG_HEAD"]
    return (
        backbone,
        Head(
            width=masks["HIDDEN_DIM"],
            encoder_heads=masks["NHEADS"],
            encoder_points=head["DEFORMABLE_TRANSFORMER_ENCODER_N_POINTS"],
            decoder_heads=masks["NHEADS"],
            decoder_ffn=masks["DIM_FEEDFORWARD"],
            decoder_layers=masks["DEC_LAYERS"] - 1,  # the official number counts the learned queries
            queries=masks["NUM_OBJECT_QUERIES"],
            num_classes=head["NUM_CLASSES"],
        ),
    )


@torch.no_grad()
def stage_tensors(model: Mask2Former, features: dict[str, Tensor]) -> dict[str, Tensor]:
    """Run the head and gather what the official runs recorded, under the same names."""
    found: dict[str, Tensor] = {}
    gated = iter(("res5", "res4"))
    hooks = []

    def record(module: torch.nn.Module, name: str) -> None:
        hooks.append(module.register_forward_hook(lambda _module, _inputs, output: found.update({name: output})))

    for index, projection in enumerate(model.encoder.projections):
        record(projection, f"pd.input_proj_out.{index}")
    for index, layer in enumerate(model.encoder.layers):
        record(layer, f"pd.enc_layer_out.{index}")
    if model.encoder.recalibration is not None:
        hooks.append(
            model.encoder.recalibration.register_forward_hook(
                lambda _module, _inputs, output: found.update({f"pd.trc_out.{next(gated)}": output})
            )
        )
    hooks.append(
        model.encoder.register_forward_hook(
            lambda _module, _inputs, output: found.update(
                {f"pd.multi_scale_features.{index}": level for index, level in enumerate(output.pyramid)},
                **{"pd.mask_features": output.mask_features},
            )
        )
    )
    predictions = model.head(features, auxiliary=True)
    for hook in hooks:
        hook.remove()

    found["pd.transformer_encoder_features"] = found["pd.multi_scale_features.0"]
    found["pd.memory"] = found[f"pd.enc_layer_out.{len(model.encoder.layers) - 1}"]
    sizes = [tuple(found[f"pd.input_proj_out.{index}"].shape[-2:]) for index in range(3)]
    lengths = [height * width for height, width in sizes]
    found["pd.spatial_shapes"] = torch.tensor(sizes)
    found["pd.level_start_index"] = torch.tensor([0, lengths[0], lengths[0] + lengths[1]])
    width = found["pd.mask_features"].shape[1]
    for index, size in enumerate(sizes):
        position = sine_position(size, width, torch.device("cpu")).T.reshape(1, width, *size)
        found[f"pd.pos.{index}"] = position.expand(len(features["res2"]), -1, -1, -1)
    return found | predicted(predictions)


def predicted(predictions: Predictions) -> dict[str, Tensor]:
    found = {"pred_logits": predictions.pred_logits, "pred_masks": predictions.pred_masks}
    for index, auxiliary in enumerate(predictions.auxiliary):
        found[f"aux{index}.pred_logits"], found[f"aux{index}.pred_masks"] = auxiliary
    return found


def expected_tensors(case: Case, run: str, *sections: str) -> dict[str, Tensor]:
    """The golden tensors of a run whose names, without the run, start with one of the sections."""
    names = (name.partition(".")[2] for name in case.tensors if name.startswith(f"{run}."))
    return {name: case.tensors[f"{run}.{name}"] for name in names if name.startswith(sections)}


def largest_deviation(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> tuple[float, str]:
    """Over all expected tensors, with the name of the worst."""
    worst = (0.0, "")
    for name, tensor in expected.items():
        assert actual[name].shape == tensor.shape, name
        worst = max(worst, ((actual[name] - tensor).abs().max().item(), name))
    return worst


def by_score(scores: Tensor, classes: Tensor) -> Tensor:
    """The order of descending scores; equal scores (empty masks have 0) come by class."""
    return torch.from_numpy(np.lexsort((classes.numpy(), -scores.numpy())))
