"""Weights made ready to predict: the model in torch, or an exported file of it in another engine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from proscale_bench.bench.class_order import category_ids_of, in_order_of
from proscale_bench.bench.other_weights import OtherWeights
from proscale_bench.bench.predictors import ChosenPredictor, predictor_of
from proscale_bench.bench.weights import AnyWeights, Weights
from proscale_bench.config.choices import EngineName, ExportPrecision
from proscale_bench.data.known_classes import names_of
from proscale_bench.errors import BenchError
from proscale_bench.results.profile import DeviceType, DType, Execution

if TYPE_CHECKING:
    import torch

    from proscale_bench.bench.evaluate import EvaluationRequest
    from proscale_bench.bench.exported import ExportedRunner
    from proscale_bench.models.build import OwnModel

OnStage = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ExecutionSettings:
    """The way to run a model.

    Args:
        threads: None: as many as PyTorch likes.
        engine: all but torch run an exported file.
        precision: of the exported file.
        exported: the folder in which that stays; None: nowhere.
        trust: run machine code that lies there already.
    """

    device: DeviceType
    dtype: DType = "fp32"
    compiled: bool = False
    sampling: str = "auto"
    optimizations: bool = True
    threads: int | None = None
    engine: EngineName = "torch"
    precision: ExportPrecision = "fp32"
    exported: Path | None = None
    trust: bool = False


@dataclass(frozen=True)
class ReadyModel:
    """A model ready to predict.

    Args:
        environment: of its record.
        file: SHA-256 of the exported file that runs; None: the model itself does.
    """

    chosen: ChosenPredictor
    execution: Execution
    environment: dict[str, str]
    file: str | None = None


def make_ready(
    request: EvaluationRequest,
    settings: ExecutionSettings,
    weights: AnyWeights,
    stack: ExitStack,
    gpu: str,
    on_stage: OnStage,
) -> ReadyModel:
    """Prepare weights, inside torch's global state.

    Args:
        stack: what it needs is put away with it.
        gpu: name of the GPU, where one is asked for.

    Raises:
        BenchError: no such device, a model of other classes, a model that cannot be exported, or images of a size that
            an exported file does not take.
    """
    import torch

    from proscale_bench.measure.engines import device_of
    from proscale_bench.measure.environment import read_environment
    from proscale_bench.models.running import check_device, device_name

    check_device(settings.device, settings.dtype)
    device = torch.device(gpu if settings.device == "cuda" else "cpu")
    environment = read_environment(device, "not asked").strings()
    execution = Execution(
        device=settings.device,
        device_name=device_name(device),
        dtype=settings.dtype,
        batch_size=request.batch_size,
        mode="compiled" if settings.compiled else "eager",
        sampling=settings.sampling,
        optimizations=settings.optimizations,
        threads=torch.get_num_threads(),
    )
    if isinstance(weights, OtherWeights):
        other = weights.chosen(request, settings.dtype)
        told = {"sampling": weights.prepare(device, settings), "optimizations": False, **weights.told}
        return ReadyModel(other, execution.model_copy(update=told), environment)
    if isinstance(weights, Weights) and settings.engine == "torch":
        how = (request.dataset, request.tasks, request.resize)
        chosen = predictor_of(weights, *how, settings.dtype, request.thresholds, request.classes_by)
        sampling = prepare(weights.model, settings, device)
        return ReadyModel(chosen, execution.model_copy(update={"sampling": sampling}), environment)
    if settings.device != "cpu":
        raise BenchError("exported files are run on the CPU", "use --device cpu")
    runner, reference = _exported(request, settings, weights, stack, on_stage)
    if reference is not None:
        prepare(reference, settings, device)
    chosen = _chosen(request, weights, runner, reference)
    told = {
        "mode": "exported",
        "sampling": runner.sampling,
        "dtype": runner.dtype,
        "optimizations": True,
        "inference_engine": runner.engine,
        "inference_engine_version": runner.engine_version,
        **device_of(runner.engine),
    }
    return ReadyModel(
        chosen,
        execution.model_copy(update=told),
        {**environment, "exported file": f"{runner.name}, SHA-256 {runner.digest}"},
        runner.digest,
    )


def prepare(model: OwnModel, settings: ExecutionSettings, device: torch.device) -> str:
    """Prepare a model in torch, in place; the sampling that it uses."""
    from proscale_bench.models.inference import prepare_for_inference

    return prepare_for_inference(
        model.to(device),
        optimizations=settings.optimizations,
        sampling_name=settings.sampling,
        compiled=settings.compiled,
    )


def _chosen(
    request: EvaluationRequest, weights: AnyWeights, runner: ExportedRunner, reference: OwnModel | None
) -> ChosenPredictor:
    """The predictor of an exported file; masks are held against those of the model in torch."""
    from proscale_bench.evaluation.boxes import BoxPredictor
    from proscale_bench.evaluation.model_predictor import ExportedPredictor
    from proscale_bench.models.mask2former import Mask2Former

    classes: int = weights.spec.head.num_classes  # type: ignore[attr-defined] # only models of ours are exported
    names, dataset = names_of(weights.metadata, classes), request.dataset
    if "boxes" in weights.spec.tasks:
        things = [category for category in dataset.categories if category.is_thing]
        ids, order = category_ids_of(names, classes, things, weights.source, request.classes_by)
        return ChosenPredictor(BoxPredictor(runner.detect, dataset, ids, request.resize), ids, order)
    order = in_order_of(names, dataset.categories, weights.source, request.classes_by)
    held_against = reference if isinstance(reference, Mask2Former) else None
    how = (request.tasks, request.resize, request.thresholds)
    masks = ExportedPredictor(runner, held_against, classes, dataset, *how, order.categories)
    return ChosenPredictor(masks, tuple(category.id for category in order.categories), order)


def _exported(
    request: EvaluationRequest, settings: ExecutionSettings, weights: AnyWeights, stack: ExitStack, on_stage: OnStage
) -> tuple[ExportedRunner, OwnModel | None]:
    """The runner of the exported file, and the model in torch to hold it against."""
    from proscale_bench.bench.exported import of_file, of_weights

    sizes = request.sizes
    if not isinstance(weights, Weights):
        return of_file(weights.file, sizes), weights.reference
    return of_weights(weights, settings, sizes, stack, on_stage), weights.model
