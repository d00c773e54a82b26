"""What a training is gone on with: weights, their average, the optimiser's moments and where it stood, in one file.

A safetensors file, replaced whole: a training killed at any moment has its last one or the one before, and reading it
executes nothing. Nothing else is needed to resume, because batches and chance follow from (seed, iteration).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from proscale_bench.errors import BenchError
from proscale_bench.files import replacing
from proscale_bench.training.average import WeightAverage

FILE = "training.safetensors"
FORMAT = "proscale-bench training 1"
MOMENTS = ("exp_avg", "exp_avg_sq", "step")  # of AdamW


@dataclass(frozen=True)
class Standing:
    """Where a training stands, and which one it is.

    Args:
        iteration: how many are done.
        seconds: spent on them.
        updates: of the average.
        scale: of the losses in fp16: `GradScaler.state_dict()`.
        identity: what the training is made of: one that is gone on with must be of the same.
    """

    iteration: int
    seconds: float
    updates: int
    scale: dict[str, Any]
    identity: dict[str, Any]


def save_training(
    run: Path, standing: Standing, model: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage | None
) -> None:
    """Keep all that is needed to go on.

    Raises:
        BenchError: the folder cannot be written; what was there before still is.
    """
    tensors = {f"model.{name}": parameter.detach() for name, parameter in model.named_parameters()}
    for name, parameter in model.named_parameters():
        for moment, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{moment}.{name}"] = value
    if average is not None:
        tensors |= {f"average.{name}": value for name, value in average.parameters.items()}
    metadata = {"format": FORMAT, "standing": json.dumps(asdict(standing))}
    try:
        with replacing(run / FILE) as temporary:
            save_file({key: value.cpu().contiguous() for key, value in tensors.items()}, temporary, metadata)
    except SafetensorError as error:
        raise BenchError(
            f"cannot write {run / FILE}: {error}", "make room on the disk; the same command goes on"
        ) from error


def load_training(
    run: Path,
    identity: Mapping[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: WeightAverage | None,
) -> Standing | None:
    """Put back what `save_training` kept; None where there is nothing yet.

    Raises:
        BenchError: the file is damaged, or of another training.
    """
    path = run / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise BenchError(f"{path}: not a training of this version", "choose another folder with --out")
            standing = Standing(**json.loads(metadata["standing"]))
            _refuse_another(path, standing.identity, identity)
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise BenchError(f"{path}: cannot be read: {error}", "remove it to start over") from error
    _put_back(path, tensors, model, optimizer, average)
    if average is not None:
        average.updates = standing.updates
    return standing


def _refuse_another(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """
    Raises:
        BenchError: the first thing that differs.
    """
    for key, value in wanted.items():
        if found.get(key) != value:
            raise BenchError(
                f"{path}: another training: {key} is {found.get(key)}, not {value}",
                "choose another folder with --out, or start over with --no-resume --force",
            )


def _put_back(
    path: Path,
    tensors: Mapping[str, Tensor],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: WeightAverage | None,
) -> None:
    """
    Raises:
        BenchError: a tensor is missing or of another shape.
    """

    def take(key: str, like: Tensor) -> Tensor:
        value = tensors.get(key)
        if value is None or (value.shape != like.shape and value.ndim):
            raise BenchError(f"{path}: {key} is missing or of another shape", "remove it to start over")
        return value

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(take(f"model.{name}", parameter))
            if f"optimizer.step.{name}" in tensors:  # a parameter that never had a gradient has no moments
                optimizer.state[parameter] = {
                    moment: take(f"optimizer.{moment}.{name}", parameter).to(parameter.device) for moment in MOMENTS
                }
            if average is not None:
                average.parameters[name].copy_(take(f"average.{name}", parameter))
