"""A model in an evaluation: the tasks and the scale that fit it, and its predictor of masks or of boxes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from proscale_bench.bench.class_order import ClassOrder, category_ids_of, in_order_of
from proscale_bench.bench.other_weights import OtherWeights
from proscale_bench.bench.weights import AnyWeights, Weights
from proscale_bench.config.choices import OFFICIAL_THRESHOLDS, ClassesBy, PostprocessingThresholds
from proscale_bench.config.trained_on import trained_on
from proscale_bench.cost.count import as_given
from proscale_bench.cost.geometry import InputSize, SizeGroup, resized_size, size_of_images
from proscale_bench.data.dataset import Dataset, Id
from proscale_bench.data.known_classes import names_of
from proscale_bench.errors import BenchError
from proscale_bench.results.accuracy import Task
from proscale_bench.results.profile import DType
from proscale_bench.specs.custom import CustomSpec
from proscale_bench.specs.model import ModelSpec

if TYPE_CHECKING:
    from proscale_bench.bench.evaluate import EvaluationRequest
    from proscale_bench.evaluation.runner import Predictor

DETECTOR: tuple[Task, ...] = ("boxes",)


def judged_by(
    spec: ModelSpec, there: tuple[Task, ...], wanted: Collection[Task] | None, source: str
) -> tuple[Task, ...]:
    """Choose the tasks that a model is judged by: what it predicts, of what there is truth for.

    Args:
        there: the tasks that the data have truth for, or those that are wanted of them.
        wanted: the tasks that were asked for; None: whatever fits.
        source: the weights, for messages.

    Raises:
        BenchError: a task that was asked for and that the model does not predict, or none that fits.
    """
    can = spec.tasks | {"boxes"} if "instance" in spec.tasks else spec.tasks  # boxes around masks
    predicted = ", ".join(sorted(spec.tasks)) or "nothing that is evaluated"
    for task in wanted or ():
        if task not in can:
            raise BenchError(f"{source}: a {spec.family} predicts {predicted}, and no {task}", f"--tasks {predicted}")
    has_boxes = "boxes" in spec.tasks and not {"instance", "boxes"}.isdisjoint(there)  # instances have boxes too
    chosen = DETECTOR if has_boxes else tuple(task for task in there if task in can)
    if not chosen:
        raise BenchError(
            f"{source}: a {spec.family} predicts {predicted}, and what there is or was asked for is {', '.join(there)}",
            "boxes are those of annotations/instances_SPLIT.json",
        )
    return chosen


def suited(
    request: EvaluationRequest, weights: AnyWeights, wanted: Collection[Task] | None, *, rescaled: bool
) -> EvaluationRequest:
    """The request as one asks it of weights: the tasks that their model predicts, and the scale that they say.

    Args:
        wanted: the tasks that were asked for; None: whatever fits.
        rescaled: False keeps the request's scale.

    Raises:
        BenchError: see `judged_by`.
    """
    if isinstance(weights, OtherWeights):
        return weights.suited(request, wanted, not rescaled)
    tasks = judged_by(weights.spec, request.tasks, wanted, weights.source)
    asked = request if tasks == request.tasks else replace(request, tasks=tasks)
    return at_scale_of(asked, weights) if rescaled else asked


def at_scale_of(request: EvaluationRequest, weights: AnyWeights) -> EvaluationRequest:
    """The request at the scale at which weights were trained, where their file says it and the data are resized."""
    resize = trained_on(weights.metadata).resize
    return request if resize is None or not request.dataset.resizes else replace(request, resize=resize)


def size_for(request: EvaluationRequest, spec: ModelSpec) -> InputSize:
    """The sizes of a request's images as a model gets them; some pad none.

    Raises:
        BenchError: images are too small for it.
    """
    if spec.pads or isinstance(spec, CustomSpec):
        return request.size
    images = [image for batch in request.batches for image in batch.images]
    given = [(image.height_px, image.width_px) for image in images]
    if request.resize is not None:
        given = [resized_size(height, width, *request.resize) for height, width in given]
    groups = (SizeGroup(*sides, one.height_px, one.width_px) for sides, one in zip(given, images, strict=True))
    return as_given(spec, size_of_images(request.name, groups))


@dataclass(frozen=True)
class ChosenPredictor:
    """A predictor, the data set's ids of its model's classes, None for a class that the data do not have, and how these
    were matched."""

    predictor: Predictor
    class_ids: tuple[Id | None, ...]
    order: ClassOrder


def predictor_of(
    weights: Weights,
    dataset: Dataset,
    tasks: Collection[Task],
    resize: tuple[int, int] | None,
    dtype: DType = "fp32",
    thresholds: PostprocessingThresholds = OFFICIAL_THRESHOLDS,
    classes_by: ClassesBy = "name",
) -> ChosenPredictor:
    """The predictor of weights. Loads torch.

    Raises:
        BenchError: the model has other classes than the data set.
    """
    from proscale_bench.evaluation.boxes import BoxPredictor
    from proscale_bench.evaluation.detector import detector_of
    from proscale_bench.evaluation.model_predictor import ModelPredictor

    names = names_of(weights.metadata, weights.spec.classes)
    if "boxes" in weights.spec.tasks:
        things = [category for category in dataset.categories if category.is_thing]
        classes = weights.spec.classes or len(things)
        ids, order = category_ids_of(names, classes, things, weights.source, classes_by)
        detector = detector_of(weights.model, dtype, thresholds.instances)
        return ChosenPredictor(BoxPredictor(detector, dataset, ids, resize), ids, order)
    order = in_order_of(names, dataset.categories, weights.source, classes_by)
    masks = ModelPredictor(weights.segmenter, dataset, tasks, resize, dtype, thresholds, order.categories)
    return ChosenPredictor(masks, tuple(category.id for category in order.categories), order)
