"""A model taken apart: each stage as a call that can be repeated by itself, on the inputs that it has in the model.

One pass records what each stage is given. So the same calls serve eager and compiled models and CUDA graphs, stages can
be timed without a clock inside the model, and the sum of the stages against the whole says how far that is honest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from proscale_bench.measure.latency import Subject, TimedStage
from proscale_bench.measure.timers import Call
from proscale_bench.models.build import OwnModel
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.models.postprocess import resize_masks, semantic
from proscale_bench.specs.encoders.parts import PIXEL_EMBEDDING
from proscale_bench.specs.model import POSTPROCESSING, ModelSpec, leaves
from proscale_bench.units import Size

PREPARE = "prepare"
WARM_UP_CALLS = 3  # before a capture, as PyTorch asks for

Around = Callable[[], AbstractContextManager[object]]  # what every call runs in: autocast


@dataclass(frozen=True)
class Recorded:
    """One call of a module, as the model made it."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any

    def __call__(self) -> object:
        return self.module(*self.args, **self.kwargs)

    @property
    def min_bytes(self) -> int:
        """Inputs, weights and outputs, once each."""
        return bytes_of(self.args, self.kwargs, self.output, [*self.module.parameters(), *self.module.buffers()])


def take_apart(
    model: OwnModel, spec: ModelSpec, images: Tensor, output_size: Size, around: Around, *, graphs: bool = False
) -> Subject:
    """A model as a subject for `run_rounds`, whole and by stages in forward order.

    Args:
        model: in eval mode, prepared for inference; compiled or not.
        spec: of the model. Stages have the names of its parts; the subject is called by its variant.
        images: [B, 3, H, W], on the model's device.
        output_size: (height, width) of post-processing.
        around: the context that every call runs in.
        graphs: capture every call in a CUDA graph; one that cannot be captured stays as it is and says why.
    """
    with torch.inference_mode(), around():
        recorded, predictions = _record(model, spec, images)

    def inside(call: Call) -> Call:
        def run() -> object:
            with torch.inference_mode(), around():
                return call()

        return run

    def postprocess() -> None:
        size = (images.shape[-2], images.shape[-1])
        height, width = predictions.pred_masks.shape[-2:]
        for logits, masks in zip(predictions.pred_logits, predictions.pred_masks, strict=True):
            semantic(logits, resize_masks(masks, (4 * height, 4 * width), size, output_size))

    stages = [TimedStage(PREPARE, inside(lambda: model.prepare(images)), 2 * bytes_of(images))]
    for stage, calls in recorded.items():
        if stage == PIXEL_EMBEDDING.name and (between := _between_parts(model, spec, recorded)):
            stages.append(replace(between, call=inside(between.call)))
        stages.append(TimedStage(stage, inside(partial(_run_all, calls)), sum(call.min_bytes for call in calls)))
    if isinstance(model, Mask2Former):
        batch, _, classes = predictions.pred_logits[..., :-1].shape
        output_bytes = batch * classes * output_size[0] * output_size[1] * predictions.pred_masks.element_size()
        stages.append(TimedStage(POSTPROCESSING, inside(postprocess), bytes_of(predictions) + output_bytes))
    whole = TimedStage("total", inside(lambda: model(images)))
    if graphs:
        pool = torch.cuda.graph_pool_handle()  # replays never overlap and nobody reads their results: one is enough
        whole, *stages = (captured(stage, pool) for stage in (whole, *stages))
    return Subject(spec.variant, whole, tuple(stages))


def _record(model: OwnModel, spec: ModelSpec, images: Tensor) -> tuple[dict[str, list[Recorded]], Any]:
    """Every stage's calls in one pass, stages in the order in which they begin; and the predictions."""
    recorded: dict[str, list[Recorded]] = {}
    hooks: list[Any] = []
    for stage, module in _modules_of_stages(model, spec):

        def begin(module: nn.Module, args: Any, stage: str = stage) -> None:
            recorded.setdefault(stage, [])

        def end(module: nn.Module, args: Any, kwargs: Any, output: Any, stage: str = stage) -> None:
            recorded[stage].append(Recorded(module, args, kwargs, output))

        hooks.append(module.register_forward_pre_hook(begin))
        hooks.append(module.register_forward_hook(end, with_kwargs=True))
    try:
        # Hooks inside compiled code would split it up, and stay compiled in.
        with torch.compiler.set_stance("force_eager"):
            predictions = model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return recorded, predictions


def _run_all(calls: list[Recorded]) -> None:
    for call in calls:
        call()


def _modules_of_stages(model: nn.Module, spec: ModelSpec) -> Iterator[tuple[str, nn.Module]]:
    """Each module that is a stage or one of a stage's, with the name of the part; a part that contains others comes
    before one that is what is left of the same module. A list of modules never runs: those in it do."""
    stages = {name: part.name for part in reversed(spec.parts) for name in part.modules}
    for name, module in model.named_modules():
        if name in stages:
            children = module.children() if isinstance(module, nn.ModuleList) else (module,)
            yield from ((stages[name], child) for child in children)


def _between_parts(model: OwnModel, spec: ModelSpec, recorded: dict[str, list[Recorded]]) -> TimedStage | None:
    """The work of the encoder outside its modules, as a stage; None for an encoder that does not tell."""
    left = next((part.name for part in leaves(spec.parts) if "encoder" in part.modules), None)
    if left is None or "encoder" not in recorded or not isinstance(model, Mask2Former):
        return None
    output = recorded["encoder"][0].output
    if (call := model.encoder.between_parts(output)) is None:
        return None
    return TimedStage(left, call, bytes_of(output.pyramid[-1]) + bytes_of(output.mask_features))


def bytes_of(*values: Any) -> int:
    """The bytes of all tensors in some values, each memory once."""
    tensors = {tensor.data_ptr(): tensor for value in values for tensor in _tensors(value)}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name))


def captured(stage: TimedStage, pool: Any) -> TimedStage:
    """The stage as a CUDA graph's replay, or as it is, with the reason why it cannot be one."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call,unused-ignore]
    stream.wait_stream(torch.cuda.current_stream())
    try:
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_CALLS):
                stage.call()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            output = stage.call()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        torch.cuda.synchronize()
        return replace(stage, note=f"not captured in a CUDA graph: {str(error).splitlines()[0][:200]}")

    def replay(kept: object = (stage.call, output)) -> None:  # the graph reads and writes memory that these own
        graph.replay()

    return replace(stage, call=replay)
