"""Weights of somebody else's model, to be evaluated: a configuration of `transformers`, and a file of tensors.

The file is read as every checkpoint is, and nothing in it is executed. What the model's outputs mean follows from its
family; how images are given to it from the folder's `preprocessor_config.json`, else from its family too.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proscale_bench.bench.any_model import find_model
from proscale_bench.bench.class_order import category_ids_of, in_order_of
from proscale_bench.bench.loader import faults_of, load, talking_to_stderr
from proscale_bench.bench.weights import MAX_SOURCE, Weights
from proscale_bench.config.choices import PostProcessing
from proscale_bench.config.trained_on import ID2LABEL, trained_on
from proscale_bench.errors import BenchError, did_you_mean
from proscale_bench.files import read_regular_file
from proscale_bench.results.profile import NO_SAMPLING
from proscale_bench.specs.custom import ModelRequest
from proscale_bench.specs.tasks import Task
from proscale_bench.units import Size, printable

if TYPE_CHECKING:
    import torch
    from torch import nn

    from proscale_bench.bench.evaluate import EvaluationRequest
    from proscale_bench.bench.execution import ExecutionSettings
    from proscale_bench.bench.predictors import ChosenPredictor
    from proscale_bench.data.dataset import Category, Id
    from proscale_bench.evaluation.any_predictor import Call, ImageInput, OutputReader, Scores
    from proscale_bench.results.profile import DType
    from proscale_bench.results.record import Cost

PREPROCESSOR = "preprocessor_config.json"
MAX_BYTES = 1 << 20
MASK_TASKS: tuple[Task, ...] = ("panoptic", "instance", "semantic")
SQUARE = (640, 640)  # of the detectors that see every image at one size, where nothing says another
ONE_FORMER_TASKS = ("panoptic", "instance", "semantic")  # the words that its text input is made of


@dataclass(frozen=True)
class OutputFamily:
    """The meaning of a family's outputs in `transformers`, and the images that its models were given.

    Args:
        scores: of classes beside boxes; None: it predicts classes and masks.
        stretched: images are stretched to one square.
        normalised: by ImageNet's mean and deviation.
        multiple: sides are padded to a multiple of it.
    """

    scores: Scores | None = None
    stretched: bool = False
    normalised: bool = True
    multiple: int = 1


_MASKS = OutputFamily(multiple=32)
_SOFTMAX, _SIGMOID = OutputFamily("softmax"), OutputFamily("sigmoid")
_SQUARE = OutputFamily("sigmoid", stretched=True)
_PLAIN_SQUARE = replace(_SQUARE, normalised=False)
FAMILIES: Mapping[str, OutputFamily] = {
    **dict.fromkeys(("mask2former", "maskformer", "oneformer", "eomt", "eomt_dinov3"), _MASKS),
    **dict.fromkeys(("detr", "table-transformer", "yolos"), _SOFTMAX),
    **dict.fromkeys(("conditional_detr", "dab-detr", "deformable_detr"), _SIGMOID),
    **dict.fromkeys(("lw_detr", "rf_detr"), _SQUARE),
    **dict.fromkeys(("rt_detr", "rt_detr_v2", "d_fine", "deimv2"), _PLAIN_SQUARE),
}


@dataclass(frozen=True)
class OtherWeights(Weights):
    """A model of `transformers` with weights of its own.

    Args:
        request: the model as the user named it.
        family: what its outputs mean.
        given: how images become what it is given.
        postprocessing: whose post-processing makes predictions of its outputs.
        folder: where its configuration is.
        config: its configuration.
        told: of its execution, what is not as of a model in torch.
    """

    request: ModelRequest = field(kw_only=True)
    family: OutputFamily = field(kw_only=True)
    given: ImageInput = field(kw_only=True)
    postprocessing: PostProcessing = field(kw_only=True)
    folder: Path = field(kw_only=True)
    config: Any = field(kw_only=True)
    told: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that its outputs can be judged by."""
        return MASK_TASKS if self.family.scores is None else ("boxes",)

    def suited(
        self, request: EvaluationRequest, wanted: Collection[Task] | None, is_resized: bool
    ) -> EvaluationRequest:
        from proscale_bench.bench.evaluate import tasks_on

        if is_resized and self.given.fixed is not None:
            height, width = self.given.fixed
            raise BenchError(f"--resize: {self.spec} takes images of {height}x{width} alone", "leave it out")
        if strange := [task for task in wanted or () if task not in self.tasks]:
            hint = f"it predicts {' and '.join(self.tasks)}"
            raise BenchError(f"--tasks {strange[0]}: {self.spec} has no outputs for it", hint)
        there = [task for task in self.tasks if task in tasks_on(request.dataset, None)]
        if self.tasks == ("boxes",):
            there = list(tasks_on(request.dataset, ("boxes",)))
        tasks = tuple(wanted or there)
        if not tasks:
            raise BenchError(f"{request.dataset.name} has no truth for {' or '.join(self.tasks)}")
        if self.postprocessing == "theirs" and self._type == "oneformer" and "instance" in tasks:
            hint = "leave instance out of --tasks, or use --postprocess ours"
            raise BenchError("OneFormer's own post-processing of instances needs a file that is downloaded", hint)
        return replace(request, tasks=tasks, input=self.given, postprocessing=self.postprocessing)

    def chosen(self, request: EvaluationRequest, dtype: DType) -> ChosenPredictor:
        from proscale_bench.bench.predictors import ChosenPredictor
        from proscale_bench.evaluation.any_predictor import AnyModelPredictor

        dataset, number = request.dataset, int(self.config.num_labels)
        names = trained_on(self.metadata).names
        if self.family.scores is not None:
            things = [category for category in dataset.categories if category.is_thing]
            ids, order = category_ids_of(names, number, things, self.source, request.classes_by)
            reader = self._box_reader(request, ids)
        else:
            if number != len(dataset.categories):
                what = f"{self.source} knows {number} classes, {dataset.name} has {len(dataset.categories)} categories"
                raise BenchError(what, "weights and data must be of the same classes, in the same order")
            order = in_order_of(names, dataset.categories, self.source, request.classes_by)
            ids = tuple(category.id for category in order.categories)
            reader = self._mask_reader(request, order.categories)
        how = (dataset, self.given, request.resize, reader, dtype)
        return ChosenPredictor(AnyModelPredictor(self.model, self._call(request), *how), ids, order)

    def prepare(self, device: torch.device, settings: ExecutionSettings) -> str:
        """Make the model ready as it is: no optimization of this tool is known to be exact for it."""
        self.model.eval().requires_grad_(False).to(device)
        if settings.compiled:
            self.model.compile()  # type: ignore[no-untyped-call,unused-ignore]
        return NO_SAMPLING

    def cost(self, request: EvaluationRequest) -> Cost | None:
        """The cost where all images have one size; a trace of every size of a set would take hours."""
        from proscale_bench.bench.count import cost_of
        from proscale_bench.cost.count import count_model
        from proscale_bench.cost.geometry import batch_of, parse_size
        from proscale_bench.cost.rules import get_rules

        sizes = sizes_of(request)
        if len(sizes) != 1:
            return None
        return cost_of(count_model(self.spec, batch_of(parse_size(*sizes), 1), get_rules("fvcore")))

    @property
    def _type(self) -> str:
        return str(self.config.model_type)

    def _box_reader(self, request: EvaluationRequest, ids: Sequence[Id | None]) -> OutputReader:
        from proscale_bench.evaluation import any_predictor as read

        assert self.family.scores is not None
        if self.postprocessing == "ours":
            return read.OurBoxes(ids, self.family.scores, request.thresholds.instances)
        return read.TheirBoxes(_processor(self.config, self.given).post_process_object_detection, ids)

    def _mask_reader(self, request: EvaluationRequest, known: Sequence[Category]) -> OutputReader:
        import numpy as np

        from proscale_bench.evaluation import any_predictor as read
        from proscale_bench.evaluation.model_predictor import PostProcessor

        thresholds, dataset = request.thresholds, request.dataset
        places = None if tuple(known) == dataset.categories else [dataset.class_of[one.id] for one in known]
        if self.postprocessing == "ours":
            return read.OurMasks(PostProcessor(known, request.tasks, thresholds, places))
        processor = _processor(self.config, self.given)
        stuff = [place for place, category in enumerate(known) if not category.is_thing]
        is_eomt = self._type.startswith("eomt")
        fused: dict[str, Any] = {"stuff_classes": stuff} if is_eomt else {"label_ids_to_fuse": set(stuff)}
        merged = {
            "threshold": thresholds.score,
            "mask_threshold": thresholds.mask,
            "overlap_mask_area_threshold": thresholds.overlap,
        }
        apart: dict[str, Any] = {} if is_eomt else {"return_binary_maps": True}

        def method(task: Task, **given: Any) -> Callable[..., Any] | None:
            name = f"post_process_{task}_segmentation"
            return partial(getattr(processor, name), **given) if task in request.tasks else None

        return read.TheirMasks(
            known,
            semantic=method("semantic"),
            panoptic=method("panoptic", **merged, **fused),
            instances=method("instance", threshold=0.0, **apart),
            places=None if places is None else np.array(places, dtype=np.uint16),
        )

    def _call(self, request: EvaluationRequest) -> Call:
        """The call of the model with what it takes beside images."""
        taken = inspect.signature(self.model.forward).parameters
        more: dict[str, Any] = {}
        if "task_inputs" in taken:
            asked = [task for task in request.tasks if task in ONE_FORMER_TASKS]
            more["task_inputs"] = self._task_tokens(asked[0] if len(asked) == 1 else "panoptic")

        def call(model: nn.Module, pixels: torch.Tensor, there: torch.Tensor) -> Any:
            given: dict[str, Any] = {"pixel_values": pixels}
            if "pixel_mask" in taken:
                given["pixel_mask"] = there
            given |= {name: value.to(pixels.device).expand(len(pixels), -1) for name, value in more.items()}
            with faults_of(str(self.spec)):
                return model(**given)

        return call

    def _task_tokens(self, task: str) -> torch.Tensor:
        """OneFormer's text input, by the tokenizer beside its configuration."""
        names = ("vocab.json", "merges.txt")
        if missing := [name for name in names if not (self.folder / name).is_file()]:
            message = f"{self.folder}: no {missing[0]}: OneFormer is told its task in words"
            raise BenchError(message, "give hf:FOLDER with its tokenizer's vocab.json and merges.txt")
        from transformers import CLIPTokenizer

        with faults_of(str(self.folder)), talking_to_stderr():
            tokenizer = CLIPTokenizer.from_pretrained(str(self.folder), local_files_only=True)
            length = int(self.config.task_seq_len)
            words = tokenizer(f"the task is {task}", padding="max_length", max_length=length, truncation=True)
        import torch

        return torch.tensor([words["input_ids"]])


def read_other_weights(
    request: ModelRequest, path: Path, postprocessing: PostProcessing, asked: EvaluationRequest
) -> OtherWeights:
    """Build a model of `transformers` and fill it with a file's tensors.

    Args:
        asked: the evaluation, whose images say at which size the model is counted.

    Raises:
        BenchError: no configuration of `transformers`, of a family whose outputs nobody knows; a file that is
            unreadable or hostile, or whose tensors are not the model's.
    """
    from proscale_bench.models.checkpoints.checkpoint import digest

    kind, _, rest = request.source.partition(":")
    if kind != "hf":
        message = f"--model {request.source}: its outputs are not known"
        raise BenchError(message, "eval takes hf:CONFIG.json or hf:FOLDER")
    loaded = load(request)
    with talking_to_stderr(), faults_of(str(request)):
        model = loaded.build()
    config: Any = model.config
    family = FAMILIES.get(config.model_type)
    if family is None:
        hint = did_you_mean(config.model_type, list(FAMILIES), f"families: {', '.join(FAMILIES)}")
        raise BenchError(f"--model {request.source}: what {config.model_type} predicts is not known", hint)
    fill(model, path)
    folder = Path(rest) if Path(rest).is_dir() else Path(rest).parent
    given = input_of(family, config, Path(rest), loaded.sides)
    sized = replace(asked, input=given)
    found = find_model(request, max(sizes_of(sized)))
    labels = json.dumps({ID2LABEL: {str(key): name for key, name in config.id2label.items()}})
    return OtherWeights(
        model,  # type: ignore[arg-type] # any module
        found.spec,
        digest(model.state_dict()),
        printable(path.name).replace("\n", " ")[:MAX_SOURCE] or str(path)[:MAX_SOURCE],
        metadata={"config": labels},
        cautions=found.of_flags,
        request=request,
        family=family,
        given=given,
        postprocessing=postprocessing,
        folder=folder,
        config=config,
    )


def fill(model: nn.Module, path: Path) -> None:
    """Fill a model with the tensors of a file, every one of them and no other; what layers share is there once.

    EoMT's official names are read too.

    Raises:
        BenchError: unreadable or hostile; a tensor without a place, missing, or of another shape: the first by name.
    """
    import torch

    from proscale_bench.models.checkpoints.eomt import is_official, of_eomt
    from proscale_bench.models.checkpoints.formats import read_stored

    own = model.state_dict()
    tensors = read_stored(path).tensors
    if is_official(tensors):
        unread = {name: place for name, place in own.items() if name.startswith("criterion.")}
        tensors = of_eomt(tensors) | unread
    hint = "the configuration must be that of the weights, and their names those of this version of transformers"
    for name, tensor in tensors.items():
        if name not in own:
            raise BenchError(printable(f"{path}: {name}: no place in {type(model).__name__}"), hint)
        if tensor.shape != own[name].shape:
            shapes = f"shape {list(tensor.shape)}, expected {list(own[name].shape)}"
            raise BenchError(printable(f"{path}: {name}: {shapes}"), hint)
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise BenchError(printable(f"{path}: {name}: values that are not finite"), "the file is damaged")
    filled = {own[name].data_ptr() for name in tensors if own[name].numel()}
    for name, place in own.items():
        if name not in tensors and place.data_ptr() not in filled and place.numel():
            raise BenchError(printable(f"{path}: {name} is missing"), hint)
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def input_of(family: OutputFamily, config: Any, path: Path, sides: Size | None) -> ImageInput:
    """The way in which images become a model's input: as `preprocessor_config.json` beside it says, else its family.

    Raises:
        BenchError: that file cannot be read.
    """
    from proscale_bench.evaluation.any_predictor import ImageInput

    backbone = getattr(config, "backbone_config", None)
    side = getattr(backbone, "image_size", None) if family.stretched else None
    square = sides or ((side, side) if isinstance(side, int) else SQUARE)
    is_eomt = str(config.model_type).startswith("eomt")
    found = ImageInput(
        fixed=square if family.stretched or is_eomt else None, stretched=family.stretched, multiple=family.multiple
    )
    if not family.normalised:
        found = replace(found, mean=(0.0,) * 3, std=(1.0,) * 3)
    file = path / PREPROCESSOR
    if not file.is_file():
        return found
    try:
        told = json.loads(read_regular_file(file, MAX_BYTES))
        size = told.get("size") or {}
        if isinstance(size, dict) and {"height", "width"} <= size.keys():
            found = replace(found, fixed=(int(size["height"]), int(size["width"])), stretched=family.stretched)
        if told.get("do_normalize") is False:
            return replace(found, mean=(0.0,) * 3, std=(1.0,) * 3)
        if told.get("do_normalize") or "image_mean" in told:
            mean, std = (tuple(map(float, told.get(key, usual))) for key, usual in _usual())
            found = replace(found, mean=mean, std=std)
    except (ValueError, TypeError, AttributeError) as error:
        raise BenchError(f"{file}: {error}", "give transformers' own file, or none") from error
    return found


def _usual() -> tuple[tuple[str, tuple[float, ...]], ...]:
    from proscale_bench.evaluation.any_predictor import ImageInput

    usual = ImageInput()
    return ("image_mean", usual.mean), ("image_std", usual.std)


def _processor(config: Any, given: ImageInput) -> Any:
    """The image processor of a family, made without a download.

    Raises:
        BenchError: transformers has none for it.
    """
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING

    with talking_to_stderr(), faults_of(f"the image processor of {config.model_type}"):
        kind = type(config)
        if kind not in IMAGE_PROCESSOR_MAPPING:
            raise BenchError(f"transformers has no image processor for {config.model_type}", "use --postprocess ours")
        classes = IMAGE_PROCESSOR_MAPPING[kind]
        classes = classes.values() if isinstance(classes, dict) else classes
        chosen: Any = next(one for one in classes if one is not None)
        if config.model_type == "oneformer":  # whose constructor downloads the names of classes
            return chosen.__new__(chosen)
        if str(config.model_type).startswith("eomt") and given.fixed is not None:
            return chosen(size={"shortest_edge": given.fixed[0], "longest_edge": given.fixed[1]})
        return chosen()


def sizes_of(request: EvaluationRequest) -> set[Size]:
    """The sizes at which the model sees the images of an evaluation."""
    given, asked = request.input, request.resize
    assert given is not None
    return {given.padded([given.size_of(image, asked) for image in batch.images]) for batch in request.batches}
