"""The data of a training: the recipe that fits a folder, the split to learn from, and validation on another split."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proscale_bench.bench.evaluate import EvaluationRequest
from proscale_bench.config.choices import OFFICIAL_THRESHOLDS, PostprocessingThresholds
from proscale_bench.config.recipe import DetectionRecipe, Recipe, ShapesData
from proscale_bench.data.coco import open_dataset
from proscale_bench.data.dataset import Category, Dataset
from proscale_bench.data.embedded import embedded_validation
from proscale_bench.data.layout import count_images, training_split, validation_split
from proscale_bench.errors import BenchError
from proscale_bench.results.accuracy import Task
from proscale_bench.results.training import ValidationScores

if TYPE_CHECKING:
    from proscale_bench.evaluation.runner import BatchDone
    from proscale_bench.models.mask2former import Mask2Former
    from proscale_bench.training.validation import OnValidation

MOST_SMALL_IMAGES = 20_000  # up to which data are small
METRICS = ("pq", "sq", "rq", "pq_things", "pq_stuff", "ap", "ap_bbox")


@dataclass
class SplitValidator:
    """Validates on a split of a folder laid out as COCO; a `training.validation.Validator`.

    Args:
        coco: the folder; None for the embedded data.
        split: the name of its split.
        images: number of images, the first ones; None for all.
        resize: (short side, longest side) in pixels that images are resized to, as they are in training; None: not.
        thresholds: thresholds of the panoptic merge.
        boxes: True for a detector, whose classes are the data's things.
    """

    coco: Path | None
    split: str
    images: int | None
    resize: tuple[int, int] | None
    thresholds: PostprocessingThresholds = OFFICIAL_THRESHOLDS
    boxes: bool = False
    _dataset: Dataset | None = field(default=None, init=False)

    def open(self, classes: Sequence[Category]) -> str:
        folder = embedded_validation() if self.coco is None else self.coco
        dataset = open_dataset(folder, self.split)
        if not dataset.images:
            raise BenchError(f"{folder}: {self.split} has no images", "choose another with --val-split")
        if self.boxes and dataset.instances is None:
            raise BenchError(f"{folder}: {self.split} has no boxes", f"instances_{self.split}.json is needed")
        theirs_listed = [one for one in dataset.categories if one.is_thing or not self.boxes]
        ours, theirs = ({(one.id, one.name) for one in listed} for listed in (classes, theirs_listed))
        if ours != theirs:
            _, name = min(ours ^ theirs)
            raise BenchError(
                f"{folder}: {self.split} has other categories than the split to learn from, the first: {name}",
                "choose another split with --val-split, or leave validation out with --validate-every 0",
            )
        self._dataset = replace(dataset, categories=tuple(classes))  # in the order of the model's classes
        return dataset.digest

    def scores(self, model: Mask2Former, on_image: OnValidation) -> ValidationScores:
        from proscale_bench.evaluation.boxes import BoxPredictor
        from proscale_bench.evaluation.detector import detector_of
        from proscale_bench.evaluation.model_predictor import ModelPredictor
        from proscale_bench.evaluation.runner import Predictor, Work, evaluate
        from proscale_bench.evaluation.summary import summarise
        from proscale_bench.models.inference import prepare_for_inference
        from proscale_bench.models.processes import Processes

        assert self._dataset is not None, "open() comes first"
        task: Task = "boxes" if self.boxes else "panoptic" if self._dataset.panoptic is not None else "instance"
        request = EvaluationRequest(self._dataset, (task,), self.resize, self.images, resamples=0)
        prepare_for_inference(model)
        predictor: Predictor
        if self.boxes:
            ids = [category.id for category in self._dataset.categories]
            predictor = BoxPredictor(detector_of(model), self._dataset, ids, self.resize)
        else:
            predictor = ModelPredictor(model, self._dataset, request.tasks, self.resize, thresholds=self.thresholds)
        work = Work(self._dataset, request.batches, frozenset(request.tasks))

        def show(batch: BatchDone) -> None:
            on_image(batch.done, batch.total)

        with tempfile.TemporaryDirectory(prefix="proscale-bench-") as folder:
            evaluate(work, predictor, Path(folder), Processes(), on_batch=show)
            found: dict[str, Any] = summarise(work, Path(folder), 0, 0).metrics_pct
        return ValidationScores(
            split=self.split, images=len(work.images), **{name: found.get(name) for name in METRICS}
        )


def validator_of(recipe: Recipe, coco: Path | None) -> SplitValidator | None:
    """The validator that a recipe asks for; None where it asks for none, or the folder has no other split.

    Args:
        recipe: with the split that it learns from, as `on_folder` gives it.

    Raises:
        BenchError: an unknown split, or a choice of splits.
    """
    settings, data = recipe.validation, recipe.data
    if settings is None:
        return None
    boxes = isinstance(recipe, DetectionRecipe)
    if coco is None or isinstance(data, ShapesData) or data.split is None:
        return SplitValidator(None, "val", settings.images, None, settings.thresholds, boxes)
    split = validation_split(coco, data.split, settings.split)
    crop = recipe.augmentation.crop
    resize = min(crop), max(crop)
    return None if split is None else SplitValidator(coco, split, settings.images, resize, settings.thresholds, boxes)


def on_folder(recipe: Recipe, coco: Path | None) -> Recipe:
    """A recipe with the split of the folder that it learns from, where it leaves that open.

    Raises:
        BenchError: a recipe on a folder's data without the folder, or the other way round; no such split, or a choice.
    """
    recipe.require_folder(coco)
    if coco is None or isinstance(recipe.data, ShapesData):
        return recipe
    data = recipe.data.model_copy(update={"split": training_split(coco, recipe.data.split)})
    return recipe.model_copy(update={"data": data})


def fitting_recipe(
    coco: Path | None, split: str | None, *, starts: bool, backbone: str | None, detects: bool = False
) -> str:
    """The name of the shipped recipe that fits data and start: COCO's published ones are too long for small data.

    Args:
        coco: the folder; None for the embedded data.
        starts: True if a checkpoint of a whole model is named.
        backbone: the backbone that is named, or whose weights are; None for neither.
        detects: True if the model is a detector.

    Raises:
        BenchError: see `training_split`.
    """
    if detects:
        return "shapes-detection" if coco is None else "coco-detection-50ep"
    if coco is None:
        return "shapes"
    if count_images(coco, training_split(coco, split)) > MOST_SMALL_IMAGES:
        return "coco-finetune" if starts else "coco-50ep"
    return "own-finetune" if starts or backbone not in (None, "tiny") else "own-tiny"
