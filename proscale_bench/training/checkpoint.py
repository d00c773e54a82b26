"""The file that a training goes on from: weights, their average, the optimiser's moments and how far it was.

A safetensors file, replaced whole: a training killed at any moment has its last one or the one before, and reading it
executes nothing. Nothing else is needed to resume, because batches and chance follow from (seed, iteration).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from proscale_bench.errors import BenchError
from proscale_bench.files import replacing
from proscale_bench.results.section import Amount, Section, written_as
from proscale_bench.results.training import Place, TrainingSession, TrainingStep
from proscale_bench.training.batch_norms import running_statistics
from proscale_bench.training.folder import START_OVER, STATE
from proscale_bench.training.optimizer import WeightAverage

FORMAT = "proscale-bench training 2"
MOMENTS = ("exp_avg", "exp_avg_sq", "step")  # of AdamW
MISSING = "nothing"


class TrainingState(Section):
    """The state of a training: how far it is, and which one it is.

    Args:
        iteration: number of iterations done.
        seconds: time spent on them.
        updates: number of updates of the average.
        scale: scale of the losses in fp16, `GradScaler.state_dict()`.
        identity: everything that the training follows from: one that goes on must have the same.
        unlogged: the last iterations, which no line of the log tells of yet.
        sessions: stretches without a pause, and what they ran on.
    """

    iteration: Place
    seconds: Amount
    updates: Place
    scale: dict[str, int | float]
    identity: dict[str, Any]
    unlogged: tuple[TrainingStep, ...] = ()
    sessions: Annotated[tuple[TrainingSession, ...], written_as("sittings", "sessions")] = ()


def save_training(
    run: Path, state: TrainingState, model: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage | None
) -> None:
    """Keep all that is needed to go on.

    Raises:
        BenchError: the folder cannot be written; what was there before still is.
    """
    learnt = {**dict(model.named_parameters()), **running_statistics(model)}
    tensors = {f"model.{name}": tensor.detach() for name, tensor in learnt.items()}
    for name, parameter in model.named_parameters():
        for moment, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{moment}.{name}"] = value
    if average is not None:
        tensors |= {f"average.{name}": value for name, value in average.tensors.items()}
    metadata = {"format": FORMAT, "standing": state.model_dump_json()}
    try:
        with replacing(run / STATE) as temporary:
            save_file({key: value.cpu().contiguous() for key, value in tensors.items()}, temporary, metadata)
    except SafetensorError as error:
        raise BenchError(
            f"cannot write {run / STATE}: {error}", "make room on the disk; the same command goes on"
        ) from error


def read_state(run: Path, identity: Mapping[str, Any]) -> TrainingState | None:
    """The state of the folder's training; None where there is none.

    Args:
        identity: everything that it must follow from, as far as that is known yet.

    Raises:
        BenchError: the file is damaged, or of another training.
    """
    path = run / STATE
    if not path.exists():
        return None
    if not path.is_file():  # opening a pipe would wait for a writer
        raise _damaged(path, "not a regular file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise BenchError(f"{path}: not a training of this version", "choose another folder with --out")
        state = TrainingState.model_validate_json(metadata["standing"])
    except ValidationError as error:
        first = error.errors()[0]
        raise _damaged(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (SafetensorError, OSError, KeyError) as error:
        raise _damaged(path, error) from error
    _refuse_another(path, state.identity, identity)
    return state


def restore(
    run: Path, state: TrainingState, model: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage | None
) -> None:
    """Put back what `save_training` kept, all of it or, on error, nothing.

    Raises:
        BenchError: the file is damaged.
    """
    path = run / STATE
    try:
        with safe_open(path, framework="pt") as file:
            tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error

    def take(key: str, like: Tensor) -> Tensor:
        value = tensors.get(key)
        if value is None or value.shape != like.shape or value.dtype != like.dtype:
            raise _damaged(path, f"{key} is missing, or of another shape or type")
        return value

    step = torch.zeros(())
    found: list[tuple[Tensor, Tensor]] = []
    moments: dict[Tensor, dict[str, Tensor]] = {}
    for name, parameter in model.named_parameters():
        found.append((parameter, take(f"model.{name}", parameter)))
        if f"optimizer.step.{name}" in tensors:  # a parameter that never had a gradient has no moments
            moments[parameter] = {
                moment: take(f"optimizer.{moment}.{name}", step if moment == "step" else parameter).to(parameter.device)
                for moment in MOMENTS
            }
    found += [(buffer, take(f"model.{name}", buffer)) for name, buffer in running_statistics(model).items()]
    if average is not None:
        found += [(tensor, take(f"average.{name}", tensor)) for name, tensor in average.tensors.items()]
    with torch.no_grad():
        for ours, theirs in found:
            ours.copy_(theirs)
    optimizer.state.update(moments)
    if average is not None:
        average.updates = state.updates


def _damaged(path: Path, what: object) -> BenchError:
    return BenchError(f"{path}: cannot be read: {what}", "start over with --no-resume --force")


def _refuse_another(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise an error of the first thing that differs."""
    theirs = dict(_flat({key: found.get(key) for key in wanted}))
    ours = dict(_flat(wanted))
    for key in (*ours, *theirs):
        if any(other.startswith(f"{key}.") for other in (*ours, *theirs)):
            continue  # nothing on one side, settings on the other: those are named
        if theirs.get(key, MISSING) != ours.get(key, MISSING):
            raise BenchError(
                f"{path}: another training: {key} is {theirs.get(key, MISSING)}, not {ours.get(key, MISSING)}",
                START_OVER,
            )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves by their path, as `recipe.optimizer.learning_rate`."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
