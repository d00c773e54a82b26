"""Proof of an export: the file beside torch on the same images, and what becomes of every difference.

A query of Mask2Former attends where its own mask was predicted, so a mask logit within rounding of zero can fall on
either side, and what follows is another number without any error. Such a flip is told apart: up to the layer where the
masks of attention first differ every logit agrees within the tolerance, or torch made to flip gives the same (`flips`).
A detector of two stages takes its best proposals: of two that score alike either may come first, which is told too.
So is rounding: the file lies at most twice as far from the model in float64 as torch's own float32. All else is an
error, and the first part that differs is named.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from proscale_bench.data.batches import resize
from proscale_bench.data.shapes.scene import MAX_SIDE, MIN_SIDE, make_scene
from proscale_bench.export.engines import ExportedModel, Images, OnnxRuntime
from proscale_bench.export.flips import explained_by_flips
from proscale_bench.export.module import ImagesToPredictions
from proscale_bench.models.masked_decoder import AttentionMask
from proscale_bench.models.postprocess import panoptic, resize_masks
from proscale_bench.specs.families import OwnSpec
from proscale_bench.specs.mask2former import Mask2FormerSpec
from proscale_bench.specs.model import leaves
from proscale_bench.units import Size

if TYPE_CHECKING:
    import onnx

TOLERANCE, DYNAMIC_TOLERANCE = 1e-4, 1e-3  # absolute, of logits
NO_TOLERANCE = sys.float_info.max  # of a quantised file; what is no number differs by more
SEED = 7
SCOPES = "pkg.torch.onnx.name_scopes"
OnProved = Callable[[int, int], None]  # images done, images in all


@dataclass(frozen=True)
class Proof:
    """The agreement of an exported file with torch.

    Args:
        tolerance: largest difference of a logit that is taken for rounding; `NO_TOLERANCE` of a quantised file.
        images: number of images, drawn and random.
        largest_difference: of all logits of the other images than the next ones.
        flipped_images: images where a mask of attention differs, every logit before it within the tolerance; of a
            detector those whose queries come in another order.
        rounded_images: images that differ by more than the tolerance, as torch itself does from float64.
        largest_explained_difference: of the logits of those two.
        equal_maps: images whose panoptic maps are equal to the last pixel; None of a detector.
        differs_first: the first part whose output differs by more, of an export that is wrong; None of a right one.
    """

    tolerance: float
    images: int
    largest_difference: float
    flipped_images: int
    rounded_images: int
    largest_explained_difference: float
    equal_maps: int | None
    differs_first: str | None = None

    @property
    def holds(self) -> bool:
        """No difference is an error."""
        return self.differs_first is None

    def row(self) -> dict[str, Any]:
        """The proof as `--export-json` has it."""
        tolerance = None if self.tolerance == NO_TOLERANCE else self.tolerance
        return {**asdict(self), "tolerance": tolerance, "holds": self.holds}


def prove(
    module: ImagesToPredictions,
    spec: OwnSpec,
    exported: ExportedModel,
    graph: onnx.ModelProto | None,
    images: Sequence[Images],
    progress: OnProved = lambda done, total: None,
    *,
    exact: bool = True,
) -> Proof:
    """Run a file beside torch.

    Args:
        module: what was exported.
        graph: the same as ONNX, which tells a flip from an error and names the part that differs; None: any difference
            beyond the tolerance is an error of the whole.
        images: batches that the file takes.
        exact: False of a quantised file, whose differences are measured, and no error.
    """
    tolerance = NO_TOLERANCE if not exact else DYNAMIC_TOLERANCE if exported.size is None else TOLERANCE
    inside = None if graph is None else _Inside(graph, module, spec)
    plain, explained, total = [0.0], [0.0], sum(map(len, images))
    flipped = rounded = equal = done = 0
    differs: str | None = None
    for batch in images:
        progress(done, total)
        with torch.inference_mode():
            ours = module(torch.from_numpy(batch))
        theirs = [torch.from_numpy(np.array(output)) for output in exported.run(batch)]
        apart = [_largest(one - other) for one, other in zip(ours, theirs, strict=True)]
        if max(apart) <= tolerance:
            plain.append(max(apart))
        elif _is_reordered(ours, theirs, tolerance) or (inside is not None and inside.flips(batch, tolerance)):
            explained.append(max(apart))
            flipped += len(batch)
        elif _is_rounding(module, batch, ours, theirs):
            explained.append(max(apart))
            rounded += len(batch)
        elif explained_by_flips(module, torch.from_numpy(batch), theirs, tolerance):
            explained.append(max(apart))
            flipped += len(batch)
        else:
            plain.append(max(apart))
            differs = differs or (inside.first_that_differs(batch, tolerance) if inside else "the predictions")
        size = (batch.shape[-2], batch.shape[-1])
        for index in range(len(batch)) if isinstance(spec, Mask2FormerSpec) else ():
            maps_of = [_map(logits[index], masks[index], size) for logits, masks in (ours, theirs)]
            equal += bool(torch.equal(*maps_of))
        done += len(batch)
    progress(total, total)
    maps = equal if isinstance(spec, Mask2FormerSpec) else None
    return Proof(tolerance, total, max(plain), flipped, rounded, max(explained), maps, differs)


def proof_images(size: Size, batch_size: int, count: int, floating: bool, seed: int = SEED) -> list[Images]:
    """Batches of images to prove an export on: the embedded data's kind drawn at that size, and one of noise.

    Args:
        count: number of drawn images; the last batch is filled up.
    """
    drawn = [_drawn(seed, index, size) for index in range(-(-count // batch_size) * batch_size)]
    noise = np.random.default_rng(seed).integers(0, 256, (batch_size, 3, *size), dtype=np.uint8)
    batches = [np.stack(drawn[start : start + batch_size]) for start in range(0, len(drawn), batch_size)]
    return [batch.astype(np.float32) if floating else batch for batch in (*batches, noise)]


def _drawn(seed: int, index: int, size: Size) -> NDArray[np.uint8]:
    """An image of Shapes, [3, H, W]."""
    sides = (min(max(size[0], MIN_SIDE), MAX_SIDE), min(max(size[1], MIN_SIDE), MAX_SIDE))
    image = make_scene(seed, index, sides).image
    return np.ascontiguousarray((image if sides == size else resize(image, size)).transpose(2, 0, 1))


def _is_rounding(module: ImagesToPredictions, images: Images, ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    """Tell if a file's outputs lie at most twice as far from those in float64 as torch's own do."""
    exact = deepcopy(module).double()
    with torch.inference_mode():
        outputs = exact(torch.from_numpy(images))
    return all(
        _largest(their - output) <= 2 * _largest(our - output)
        for output, our, their in zip(outputs, ours, theirs, strict=True)
    )


def _is_reordered(ours: Sequence[Tensor], theirs: Sequence[Tensor], tolerance: float) -> bool:
    """Tell if a detector's queries, [B, Q, C] and [B, Q, 4], are the same in another order."""
    if ours[-1].ndim != 3 or any(one.shape != other.shape for one, other in zip(ours, theirs, strict=True)):
        return False
    for one, other in zip(torch.cat(list(ours), dim=2), torch.cat(list(theirs), dim=2), strict=True):
        apart, nearest = torch.cdist(one, other, p=float("inf")).min(dim=1)
        if not (float(apart.max()) <= tolerance and len(set(nearest.tolist())) == len(nearest)):
            return False
    return True


def _map(logits: Tensor, masks: Tensor, size: Size) -> Tensor:
    padded = (masks.shape[-2] * 4, masks.shape[-1] * 4)
    return panoptic(logits, resize_masks(masks, padded, size, size), range(logits.shape[-1] - 1)).map


def _largest(difference: Tensor) -> float:
    """The largest absolute value; infinite where one is not a number."""
    largest = float(difference.abs().max())
    return float("inf") if math.isnan(largest) else largest


class _Inside:
    """An ONNX graph that also gives what it computes on the way."""

    def __init__(self, graph: onnx.ModelProto, module: ImagesToPredictions, spec: OwnSpec) -> None:
        self.module = module
        self.parts = {
            path: part.title
            for part in leaves(spec.parts)
            for name in part.modules
            for path in modules_of(module.model, name)
        }
        self.masks = _attention_logits(graph)
        self.outputs = _last_outputs(graph, self.parts)
        self._engine = OnnxRuntime(_with_outputs(graph, [*self.masks, *self.outputs.values()]).SerializeToString())
        self._kept: tuple[Images, dict[str, Tensor], list[Tensor], dict[str, Tensor]] | None = None

    def flips(self, images: Images, tolerance: float) -> bool:
        """Tell if masks of attention differ somewhere, and every logit before, and those themselves, agree."""
        _, ours, theirs = self._run(images)
        for one, name in zip(ours, self.masks, strict=True):
            other = theirs[name].view_as(one)
            if _largest(one - other) > tolerance:
                return False
            if bool(((one < 0) != (other < 0)).any()):
                return True
        return False

    def first_that_differs(self, images: Images, tolerance: float) -> str:
        """The title of the first part whose output differs, in the order in which parts end."""
        ours, _, theirs = self._run(images)
        for name, output in ours.items():  # in the order in which they ended
            found = theirs.get(self.outputs.get(name, ""))
            if found is not None and found.shape == output.shape and _largest(found - output) > tolerance:
                return f"{self.parts[name]} ({name})"
        return "transformer decoder"

    def _run(self, images: Images) -> tuple[dict[str, Tensor], list[Tensor], dict[str, Tensor]]:
        """Our parts and logits of masks, and the graph's tensors by name."""
        if self._kept is None or self._kept[0] is not images:
            theirs = {name: torch.from_numpy(np.array(one)) for name, one in self._engine.run_named(images).items()}
            self._kept = (images, *self._ours(images), theirs)
        return self._kept[1:]

    def _ours(self, images: Images) -> tuple[dict[str, Tensor], list[Tensor]]:
        """The (last) output of every part's modules, and the logits of the masks of attention."""
        parts: dict[str, Tensor] = {}
        masks: list[Tensor] = []
        with ExitStack() as hooks, torch.inference_mode():
            for path in self.parts:

                def keep(module: nn.Module, args: Any, output: Any, path: str = path) -> None:
                    last = list(output.values())[-1] if isinstance(output, dict) else output
                    if isinstance(last, Tensor):
                        parts[path] = last

                hooks.callback(self.module.model.get_submodule(path).register_forward_hook(keep).remove)
            for one in self.module.modules():
                if isinstance(one, AttentionMask):
                    hooks.callback(one.register_forward_pre_hook(lambda _, args: masks.append(args[0])).remove)
            self.module(torch.from_numpy(images))
        return parts, masks


def modules_of(model: nn.Module, name: str) -> list[str]:
    """The paths of a part's module, or of those of a list of modules, which never runs; none where it has no such."""
    module = dict(model.named_modules()).get(name)
    if isinstance(module, nn.ModuleList):
        return [f"{name}.{index}" for index in range(len(module))]
    return [] if module is None else [name]


def _attention_logits(graph: onnx.ModelProto) -> list[str]:
    """The tensors that the masks of attention are made of, in order: a sigmoid's, held against a half."""
    makers = {output: node for node in graph.graph.node for output in node.output}
    found = []
    for node in graph.graph.node:
        maker = makers.get(node.input[0]) if node.op_type == "Less" else None
        if maker is not None and maker.op_type == "Sigmoid":
            found.append(maker.input[0])
    return found


def _last_outputs(graph: onnx.ModelProto, names: Mapping[str, str]) -> dict[str, str]:
    """The tensor that a module's last node makes, by the module's name."""
    found: dict[str, str] = {}
    for node in graph.graph.node:
        told = {one.key: one.value for one in node.metadata_props}.get(SCOPES, "")
        for name in names:
            if f"'model.{name}'" in told or f"'model.{name}." in told:
                found[name] = node.output[0]
    return found


def _with_outputs(graph: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    known = {one.name for one in copy.graph.output}
    for name in dict.fromkeys(names):
        if name not in known:
            copy.graph.output.append(onnx.ValueInfoProto(name=name))
    return copy
