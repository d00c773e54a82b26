"""The YAML form of a training recipe: what is read, how it is varied, how weights change. See `recipes/*.yaml`.

Defaults are those of Mask2Former on COCO. Iterations are steps of the optimiser.
Sources: Cheng et al. 2022, sections 3 and 4.1, and its published configurations.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from proscale_bench.config import choices
from proscale_bench.config.weights import shipped_weights
from proscale_bench.config.yaml_file import Document, SchemaVersion, StrictModel, parse_yaml, read_text
from proscale_bench.errors import BenchError
from proscale_bench.specs.backbones import BackboneName
from proscale_bench.units import printable

MAX_ITERATIONS = 100_000_000
MAX_BATCH = 65_536
MAX_SEED = (1 << 32) - 1
MAX_CROP_PX = 8192
NAMES_MODEL = re.compile(r"^model\s*:", re.MULTILINE)  # as a detector's recipe does
PUBLISHED_SCALES = ((1024, 1024), (0.1, 2.0))  # crop and scales of Mask2Former on COCO, evaluated at 800 and 1333
# What two runs of one training may differ in: words, how often it is kept and validated, and where files of weights
# lie, which have digests of their own.
OUTSIDE_DIGEST = frozenset(
    {"schema_version", "name", "description", "checkpoint_every", "validation", "start", "backbone_weights"}
)


def _as_pair(value: Any) -> Any:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError("expected two numbers in brackets, as [0.1, 2.0]")
    return tuple(value)


def _as_tuple(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise ValueError("expected a list, as [5400, 5700]")
    return tuple(value)


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Iterations = Annotated[int, Field(ge=1, le=MAX_ITERATIONS)]
Scale = Annotated[float, Field(ge=0.01, le=100)]
Side = Annotated[int, Field(ge=32, le=MAX_CROP_PX)]
SplitName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class ShapesData(StrictModel):
    """Images of the embedded data set, made of a seed that is not the validation split's."""

    source: Literal["shapes"]
    images: Annotated[int, Field(ge=1, le=1_000_000)]
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 1


class CocoData(StrictModel):
    """A split of a folder laid out as COCO; the command line says which folder.

    Args:
        split: name of the split; null for `train2017`, `train`, or the only split of the folder.
    """

    source: Literal["coco"]
    split: SplitName | None = "train2017"


class ValidationSettings(StrictModel):
    """Evaluations during a training, of which the best weights are kept; they change nothing that is learnt.

    Args:
        every: number of iterations between two; there is one after the last iteration too.
        split: name of the split; null for `val2017`, `val`, or the only other split of the folder.
        images: number of images, the first of the split; null for all.
        score_threshold, overlap_threshold, mask_threshold: of the panoptic merge, as of `eval`.
    """

    every: Iterations
    split: SplitName | None = None
    images: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    score_threshold: Share = choices.OFFICIAL_THRESHOLDS.score
    overlap_threshold: Share = choices.OFFICIAL_THRESHOLDS.overlap
    mask_threshold: Share = choices.OFFICIAL_THRESHOLDS.mask

    @property
    def thresholds(self) -> choices.PostprocessingThresholds:
        return choices.PostprocessingThresholds(self.score_threshold, self.mask_threshold, self.overlap_threshold)


class Augmentation(StrictModel):
    """The variation of an image: resized to fit the crop's size times a scale, then cropped or padded to that size.

    Args:
        resize: least and most scale; large-scale jitter is 0.1 to 2.0.
        crop: height and width in pixels, which every image then has.
        flip, vertical_flip: left to right, top to bottom, one time in two.
        color: brightness, contrast, saturation and hue vary.
    """

    resize: Annotated[tuple[Scale, Scale], BeforeValidator(_as_pair)] = (1.0, 1.0)
    crop: Annotated[tuple[Side, Side], BeforeValidator(_as_pair)]
    flip: bool = True
    vertical_flip: bool = False
    color: bool = False


class DetrAugmentation(StrictModel):
    """The variation of an image as detectors are trained: resized to one of several short sides, half of the images
    after they were resized to another and a part of them was cut out. Images keep sizes of their own.

    Source: Carion et al. 2020, section 4 and appendix A.4.

    Args:
        short_sides: lengths of the shorter side in pixels, one of which is drawn.
        longest_side: length that the longer side does not exceed.
        crop_short_sides: lengths of the shorter side, one of which is drawn before a part is cut out.
        crop_sides: least and greatest height and width of that part.
    """

    short_sides: Annotated[tuple[Side, ...], Field(min_length=1, max_length=100), BeforeValidator(_as_tuple)]
    longest_side: Side
    crop_short_sides: Annotated[tuple[Side, ...], Field(min_length=1, max_length=100), BeforeValidator(_as_tuple)]
    crop_sides: Annotated[tuple[Side, Side], BeforeValidator(_as_pair)]
    flip: bool = True

    @property
    def crop(self) -> tuple[int, int]:
        """Height and width of the largest images in landscape."""
        return max(self.short_sides), self.longest_side


class OptimizerSettings(StrictModel):
    """AdamW, and clipping by the norm of all gradients together; null for none.

    Args:
        backbone_multiplier: of the learning rate, for the backbone.
    """

    learning_rate: Positive = 1e-4
    weight_decay: NotNegative = 0.05
    backbone_multiplier: NotNegative = 0.1
    clip_norm: Positive | None = 0.01


class DetectorOptimizerSettings(OptimizerSettings):
    """AdamW as Deformable DETR is trained: every parameter decays, norms and embeddings too.

    Args:
        sampling_multiplier: of the learning rate, for what gives reference points and sampling offsets.
    """

    learning_rate: Positive = 2e-4
    weight_decay: NotNegative = 1e-4
    sampling_multiplier: NotNegative = 0.1
    clip_norm: Positive | None = 0.1


class _Warmup(StrictModel):
    """The learning rate rises linearly from `warmup_factor` of itself within so many iterations."""

    warmup_iterations: Annotated[int, Field(ge=0, le=MAX_ITERATIONS)] = 0
    warmup_factor: Annotated[float, Field(gt=0, le=1)] = 1.0


class StepSchedule(_Warmup):
    """The learning rate is multiplied by `factor` at each milestone, an iteration."""

    kind: Literal["step"]
    milestones: Annotated[tuple[Iterations, ...], Field(max_length=100), BeforeValidator(_as_tuple)]
    factor: Annotated[float, Field(gt=0, le=1)] = 0.1


class PolynomialSchedule(_Warmup):
    """The learning rate falls as (1 - iteration / iterations) to a power."""

    kind: Literal["polynomial"]
    power: Positive = 0.9


class TrapezoidSchedule(_Warmup):
    """The learning rate stays up, then falls linearly to zero within the last `cooldown_iterations`.

    Hägele et al. 2024, "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations": as good as a rate
    that falls from the start, and what is learnt late is not cut short.
    """

    kind: Literal["trapezoid"]
    cooldown_iterations: Iterations


class LossSettings(StrictModel):
    """Weights of the losses, and where the masks' are taken.

    Args:
        no_object_weight: of the class "no object".
        points: of each mask.
        oversampling: so many times as many points are drawn at first.
        importance: the share of points that are the most uncertain of those; the others are drawn anew.
    """

    class_weight: NotNegative = 2.0
    mask_weight: NotNegative = 5.0
    dice_weight: NotNegative = 5.0
    no_object_weight: NotNegative = 0.1
    points: Annotated[int, Field(ge=1, le=10_000_000)] = 12_544
    oversampling: Annotated[float, Field(ge=1, le=100)] = 3.0
    importance: Share = 0.75


class BoxLossSettings(StrictModel):
    """Weights of a detector's losses, and what decides which query is matched to which object.

    Args:
        class_weight, box_weight, giou_weight: of the focal loss of classes, of the L1 distance of boxes and of their
            generalised IoU.
        class_cost, box_cost, giou_cost: of the same in matching.
        focal_alpha: share of the focal loss that objects have against all else.
    """

    class_weight: NotNegative = 2.0
    box_weight: NotNegative = 5.0
    giou_weight: NotNegative = 2.0
    class_cost: NotNegative = 2.0
    box_cost: NotNegative = 5.0
    giou_cost: NotNegative = 2.0
    focal_alpha: Share = 0.25


class Recipe(StrictModel):
    """A training, all but the schedule of the encoder, the seed and the machine.

    Args:
        backbone: where the command line names none.
        batch_size: images of one iteration, over all processes and accumulations.
        accumulate: passes forward and backward of each iteration.
        drop_path: the rate of the last block of a Swin; ResNets have none.
        ema: how much of the average stays at each iteration; null for no average.
        checkpoint_every: iterations.
        validation: null for no evaluations during the training.
        start: a baseline's checkpoint to start from, as seen from the recipe's folder, or weights that ship by name.
        backbone_weights: the backbone's weights from ImageNet, under torchvision's names.
    """

    schema_version: SchemaVersion
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    description: Annotated[str, Field(max_length=400)] = ""
    data: Annotated[ShapesData | CocoData, Field(discriminator="source")]
    backbone: BackboneName
    iterations: Iterations
    batch_size: Annotated[int, Field(ge=1, le=MAX_BATCH)]
    accumulate: Annotated[int, Field(ge=1, le=MAX_BATCH)] = 1
    augmentation: Augmentation
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: Annotated[StepSchedule | PolynomialSchedule | TrapezoidSchedule, Field(discriminator="kind")]
    loss: LossSettings = LossSettings()
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    precision: choices.Precision = "fp32"
    checkpoint_every: Iterations = 5_000
    validation: ValidationSettings | None = None
    start: Annotated[str, Field(min_length=1)] | None = None
    backbone_weights: Annotated[str, Field(min_length=1)] | None = None

    def require_folder(self, folder: Path | None) -> None:
        """Check that a folder is named where the data are a folder's, and none where they are embedded.

        Raises:
            BenchError: it is not so.
        """
        if isinstance(self.data, ShapesData):
            if folder is not None:
                raise BenchError(
                    f"the recipe {self.name} trains on the embedded data, not on {folder}",
                    "leave --coco out, or give a recipe whose data have 'source: coco'",
                )
        elif folder is None:
            split = self.data.split or "a split"
            raise BenchError(
                f"the recipe {self.name} trains on {split} of a folder as COCO's", "name it with --coco DIR"
            )

    @property
    def evaluation_resize(self) -> tuple[int, int] | None:
        """(Short side, longest side) in pixels that images are resized to for an evaluation at the scale of training.

        None: as every evaluation does by default: the embedded data as they are, others as Mask2Former's, whose own
        training shows images at many scales.
        """
        augmentation = self.augmentation
        if isinstance(self.data, ShapesData) or (augmentation.crop, augmentation.resize) == PUBLISHED_SCALES:
            return None
        short, longest = sorted(augmentation.crop)
        return short, longest

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides what is learnt, defaults included: see `OUTSIDE_DIGEST`."""
        fields = self.model_dump(mode="json", exclude=set(OUTSIDE_DIGEST))
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def _kind_of_augmentation(value: Any) -> str:
    return (
        "detr"
        if isinstance(value, DetrAugmentation) or (isinstance(value, dict) and "short_sides" in value)
        else "jitter"
    )


class DetectionRecipe(Recipe):
    """A detector's recipe, which has the key `model`; the data's things are learnt by their boxes.

    Args:
        model: family of the detector; whether it refines boxes or has two stages is said beside the schedule.
        dropout: rate at which activations of the transformer's layers are dropped.
    """

    model: Literal["deformable-detr"]
    augmentation: Annotated[  # type: ignore[assignment]
        Annotated[Augmentation, Tag("jitter")] | Annotated[DetrAugmentation, Tag("detr")],
        Discriminator(_kind_of_augmentation),
    ]
    optimizer: DetectorOptimizerSettings = DetectorOptimizerSettings()
    loss: BoxLossSettings = BoxLossSettings()  # type: ignore[assignment]
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1

    @property
    def evaluation_resize(self) -> tuple[int, int] | None:
        """See `Recipe.evaluation_resize`; after many scales, as every evaluation does by default."""
        return None if isinstance(self.augmentation, DetrAugmentation) else super().evaluation_resize


def read_recipe(path: Path) -> Recipe:
    """Read a recipe; files that it names are then seen from where the caller is.

    Raises:
        BenchError: each problem at its `file:line:column`.
    """
    text = read_text(path)
    kind: type[Recipe] = DetectionRecipe if NAMES_MODEL.search(text) else Recipe
    document = parse_yaml(text, str(path), kind)
    _check_together(document)
    files: dict[str, str] = {}
    for key in ("start", "backbone_weights"):
        if name := getattr(document.value, key):
            if key == "start" and name in (ours := shipped_weights()):
                files[key] = str(ours[name])
                continue
            try:
                files[key] = str(path.parent / Path(name).expanduser())
            except RuntimeError as error:  # no home of ~somebody
                message = f"{key}: {printable(name)}: {printable(str(error))}"
                raise document.error((key,), message, "write the path out") from error
    return document.value.model_copy(update=files)


def _check_together(document: Document[Recipe]) -> None:
    """Check what fields ask of each other; the first that does not fit the others is the error."""
    recipe = document.value
    key = "crop_sides" if isinstance(recipe.augmentation, DetrAugmentation) else "resize"
    low, high = getattr(recipe.augmentation, key)
    if low > high:
        message = f"{key}: {low} is more than {high}"
        raise document.error(("augmentation", key), message, f"the least first: [{high}, {low}]")
    if recipe.batch_size % recipe.accumulate:
        message = f"accumulate: {recipe.batch_size} images in {recipe.accumulate} equal parts"
        raise document.error(("accumulate",), message, "batch_size is a multiple of accumulate")
    ends = f"and training ends after {recipe.iterations}"
    if isinstance(recipe.schedule, StepSchedule):
        last = 0
        for index, milestone in enumerate(recipe.schedule.milestones):
            place, message = ("schedule", "milestones", index), f"milestones: {milestone}"
            if milestone <= last:
                raise document.error(place, f"{message} after {last}", "each is later than the one before")
            if milestone >= recipe.iterations:
                hint = "a milestone is an iteration before the end"
                raise document.error(place, f"{message}, {ends} iterations", hint)
            last = milestone
    elif isinstance(recipe.schedule, TrapezoidSchedule):
        cooldown = recipe.schedule.cooldown_iterations
        if cooldown + recipe.schedule.warmup_iterations > recipe.iterations:
            message = f"cooldown_iterations: {cooldown}, after a warm-up of {recipe.schedule.warmup_iterations}, {ends}"
            hint = "warm-up and cool-down fit into the training"
            raise document.error(("schedule", "cooldown_iterations"), message, hint)
    if recipe.schedule.warmup_iterations >= recipe.iterations:
        message = f"warmup_iterations: {recipe.schedule.warmup_iterations}, {ends}"
        raise document.error(("schedule", "warmup_iterations"), message, "the warm-up ends before training does")
    if recipe.start is not None and recipe.backbone_weights is not None:
        message = "backbone_weights: 'start' has the backbone's weights already"
        raise document.error(("backbone_weights",), message, "keep one of them")
