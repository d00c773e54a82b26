"""Trains the gate of an early exit: PQ of every image at every exit, then the gate that chooses the best of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proscale_bench.bench.class_order import in_order_of
from proscale_bench.config.trained_on import trained_on
from proscale_bench.data.known_classes import names_of
from proscale_bench.errors import BenchError

if TYPE_CHECKING:
    from proscale_bench.bench.evaluate import EvaluationRequest
    from proscale_bench.bench.execution import ExecutionSettings
    from proscale_bench.bench.weights import Weights
    from proscale_bench.evaluation.runner import BatchDone

OnBatch = Callable[[str, "BatchDone"], None]  # which exit, and how far its images are


@dataclass(frozen=True)
class GateTraining:
    """The outcome of a gate's training, with a number for each exit in order.

    Args:
        exits: what the exits are called.
        images: number of images.
        pq: mean PQ of single images, in percent.
        best: how many images each exit was the best for.
        taken: how many images the trained gate lets take each exit.
    """

    exits: tuple[str, ...]
    images: int
    pq: tuple[float, ...]
    best: tuple[int, ...]
    taken: tuple[int, ...]


def train_gate(
    weights: Weights,
    request: EvaluationRequest,
    settings: ExecutionSettings,
    beta: float,
    path: Path,
    *,
    overwrite: bool = False,
    on_batch: OnBatch = lambda exit_, done: None,
) -> GateTraining:
    """Train the gate of a parent on a data set, and write the parent with it.

    Args:
        request: the images, with the panoptic task alone.
        beta: worth of a layer: by how much PQ, from 0 to 1, it must be better.
        path: the file to write, .safetensors.

    Raises:
        BenchError: the model has no gate that chooses, other classes than the data, data that cannot be read, or a
            path that cannot be written.
    """
    import torch

    from proscale_bench.evaluation.model_predictor import ModelPredictor
    from proscale_bench.evaluation.runner import Work, evaluate
    from proscale_bench.evaluation.summary import summarise
    from proscale_bench.models.checkpoints.save import save_checkpoint
    from proscale_bench.models.inference import prepare_for_inference
    from proscale_bench.models.processes import Processes
    from proscale_bench.models.running import check_device, global_state
    from proscale_bench.training.gate import best_exits, fit_gate

    exits = weights.spec.exits
    if not exits:
        hint = "give a parent, trained with 'train --schedule early-exit'"
        raise BenchError(f"{weights.source}: {weights.spec.variant} has no gate that chooses", hint)
    check_device(settings.device, settings.dtype)
    dataset, seen = request.dataset, trained_on(weights.metadata)
    known = in_order_of(names_of(weights.metadata, weights.spec.classes), dataset.categories, weights.source).categories
    work = Work(dataset, request.batches, frozenset(request.tasks))
    features: dict[Any, Any] = {}
    quality = []
    with global_state(settings.dtype, settings.threads):
        model: Any = deepcopy(weights.model).to(settings.device)
        prepare_for_inference(
            model,
            optimizations=settings.optimizations,
            sampling_name=settings.sampling,
            compiled=settings.compiled,
        )
        predictor = ModelPredictor(
            model, dataset, request.tasks, request.resize, settings.dtype, request.thresholds, known
        )
        given: list[Any] = []
        hook = model.encoder.gate.register_forward_pre_hook(lambda gate, inputs: given.append(inputs[0].float().cpu()))
        for exit_ in exits:
            model.encoder.exit = len(exit_.layers)
            show = partial(on_batch, exit_.variant)
            with tempfile.TemporaryDirectory(prefix="proscale-bench-") as folder:
                evaluate(work, predictor, Path(folder), Processes(), on_batch=show)
                quality.append(summarise(work, Path(folder), 0, 0).image_pq)
            if not features:
                hook.remove()
                ids = [image.id for batch in work.batches for image in batch.images]
                features = dict(zip(ids, torch.cat(given), strict=True))
    table = torch.tensor([[by_image[one] for by_image in quality] for one in features], dtype=torch.float64)
    inputs = torch.stack(list(features.values()))
    best = best_exits(table, beta)
    gate: Any = weights.model.encoder.gate
    fit_gate(gate, inputs, best)
    with torch.no_grad():
        taken = gate(inputs).argmax(dim=1)
    gate_told = {"beta": beta, "images": len(inputs), "data": dataset.digest, "parent": weights.digest}
    save_checkpoint(weights.model, path, {"file": weights.source, "gate": gate_told}, overwrite, seen=seen)
    counts = [tuple(torch.bincount(one, minlength=len(exits)).tolist()) for one in (best, taken)]
    pq = tuple((100 * table.mean(dim=0)).tolist())
    return GateTraining(tuple(one.variant for one in exits), len(inputs), pq, *counts)
