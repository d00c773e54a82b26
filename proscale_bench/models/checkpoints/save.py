"""Writing checkpoints: our models as they are, and files of one layout in another.

Files take their place when they are whole. Conversions work on the stored tensors, not through a float32 model, so
types, shapes and bytes survive, and so does what the model has no use for.
"""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from proscale_bench.config.trained_on import TrainedOn, trained_on
from proscale_bench.config.weights import METADATA
from proscale_bench.errors import BenchError, look_up
from proscale_bench.files import replacing, write_atomic
from proscale_bench.models.build import OwnModel
from proscale_bench.models.checkpoints.checkpoint import INDEX, Checkpoint, digest
from proscale_bench.models.checkpoints.detector_layouts import to_official
from proscale_bench.models.checkpoints.hugging_face import config_of
from proscale_bench.models.checkpoints.key_layout import KeyLayout
from proscale_bench.models.checkpoints.layouts import EXTRA, HUGGING_FACE, LAYOUTS, OFFICIAL, OURS
from proscale_bench.results.export import now
from proscale_bench.specs import deformable_detr
from proscale_bench.specs.box_decoder import DetectorHead
from proscale_bench.specs.encoders.early_exit import EarlyExit
from proscale_bench.specs.encoders.staged import Schedule
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.model import EncoderSpec
from proscale_bench.units import printable
from proscale_bench.version import __version__

NOT_TOLD = TrainedOn()
# By the end of a path; a folder is Hugging Face's.
PICKLED = {
    *(torch.float16, torch.float32, torch.float64, torch.bool),
    *(torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64),
}
CONTAINERS = (".safetensors", ".pth", ".pt", ".bin", ".pkl")


@dataclass(frozen=True)
class Converted:
    """The result of a conversion, and what of the file it left out: optimizer states, another layout's own buffers."""

    path: Path
    layout: str
    tensors: int
    left_out: tuple[str, ...]


def save_checkpoint(
    model: OwnModel,
    path: Path,
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = True,
    *,
    seen: TrainedOn = NOT_TOLD,
) -> None:
    """Write a model of ours as safetensors, with its schedule and what else shapes cannot tell in the metadata.

    Args:
        provenance: origin of the weights, as JSON: a recipe, a digest, a baseline.
        seen: the classes and the scale of images that they were trained with.

    Raises:
        BenchError: another end than .safetensors, a path that cannot be written, or an
            encoder that was not built from a spec.
    """
    if path.suffix != ".safetensors":
        raise BenchError(f"{path}: models are saved as .safetensors", "'models convert' writes other formats")
    encoder = model.encoder
    if not hasattr(encoder, "spec"):
        what = f"an encoder of type {type(encoder).__name__} that says not what it was built from"
        raise BenchError(f"{path}: {what}", "build it from a spec: proscale_bench.models.build.build")
    state = model.state_dict()
    metadata = _metadata(
        encoder.spec,
        encoder.head,
        weights=digest(state),
        provenance=dict(provenance or {}),
        **seen.fields(),
    )
    _write(path, dict(state), OURS, metadata, overwrite)


def convert_checkpoint(
    checkpoint: Checkpoint, path: Path, layout_name: str = "official", overwrite: bool = True
) -> Converted:
    """Write a file's tensors under another layout's keys: every value, type and shape as it is stored.

    Args:
        path: its end says which container: `.safetensors`, `.pth`, `.pkl`; a folder for Hugging Face.
        layout_name: `official`, `ours` or `huggingface`.

    Raises:
        BenchError: a file that is not whole; an unknown layout or container; a tensor that the layout has no place
            for or the container no type.
    """
    checkpoint.require_complete()
    layout = look_up(LAYOUTS, layout_name, "layout")
    folder = layout is HUGGING_FACE
    if not folder and path.suffix not in CONTAINERS:
        raise BenchError(f"{path}: '{path.suffix}' is no container", f"known: {', '.join(CONTAINERS)}")
    if folder and path.suffix in CONTAINERS:
        raise BenchError(f"{path}: Hugging Face's layout is a folder", "give the path of a folder")
    tensors, left_out = convert_tensors(checkpoint, layout)
    seen = trained_on(checkpoint.translation.stored.metadata)
    metadata = _metadata(
        checkpoint.inferred.schedule,
        checkpoint.inferred.head,
        weights=checkpoint.digest,
        extra_of=_origin(checkpoint),
        provenance={"file": checkpoint.path.name, "format": checkpoint.translation.stored.format},
        **seen.fields(),
    )
    if folder:
        config = json.dumps(config_of(checkpoint.inferred, seen.names), indent=2) + "\n"
        _write(path / "model.safetensors", tensors, layout, metadata, overwrite)
        write_atomic(path / "config.json", config, overwrite)
    else:
        _write(path, tensors, layout, metadata, overwrite)
    return Converted(path, layout.name, len(tensors), left_out + checkpoint.translation.stored.left_behind)


def convert_tensors(checkpoint: Checkpoint, layout: KeyLayout) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The file's tensors under a layout's keys, and the names of those that it has no place for.

    Raises:
        BenchError: the model has a tensor that the layout does not know.
    """
    translation, schedule = checkpoint.translation, checkpoint.inferred.schedule
    if isinstance(checkpoint.inferred.head, DetectorHead):
        return _detector_tensors(checkpoint, checkpoint.inferred.head, layout)
    knows = layout is OURS or (layout is OFFICIAL and isinstance(schedule, EarlyExit))
    if not isinstance(schedule, Schedule) and not knows:
        raise BenchError(
            f"{checkpoint.path}: layout {layout.name} has no model of schedule {schedule.compact}",
            "--layout ours keeps it as it is",
        )
    if layout is HUGGING_FACE and schedule.encoder != "mask2former":
        raise BenchError(
            f"{checkpoint.path}: Hugging Face has no model of schedule {schedule.compact}", "it has the baseline alone"
        )
    found: dict[str, Tensor] = {}
    for key, tensor in translation.tensors.items():
        theirs = layout.to_theirs(key)
        if not theirs:
            raise BenchError(f"{checkpoint.path}: layout {layout.name} has no place for {key}")
        if key.endswith(INDEX) and layout is not OURS:
            side = isqrt(tensor.numel())
            found[theirs[0]] = tensor.reshape(side, side)
        else:
            found.update(zip(theirs, tensor.chunk(len(theirs)) if tensor.ndim else [tensor], strict=True))
    left_out = []
    same = _origin(checkpoint) == layout.name
    for key in (*translation.keys.unused, *translation.keys.unexpected):
        tensor = translation.stored.tensors[key]
        bare = translation.keys.bare(key)
        bare = bare.removeprefix(EXTRA) if translation.keys.layout is OURS else bare
        if layout is OURS:
            found[EXTRA + bare] = tensor
        elif same or layout.is_unused(bare):
            found[bare] = tensor
        else:
            left_out.append(bare)
    return found, tuple(left_out)


def _detector_tensors(
    checkpoint: Checkpoint, head: DetectorHead, layout: KeyLayout
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The same of a detector; what its file has beside the model is left out."""
    if layout is HUGGING_FACE or (layout is OFFICIAL and checkpoint.inferred.schedule.encoder != "deformable_detr"):
        schedule = checkpoint.inferred.schedule.compact
        raise BenchError(
            f"{checkpoint.path}: layout {layout.name} has no detector of schedule {schedule}",
            "--layout ours keeps it as it is; official is written of the baseline, and huggingface is read alone",
        )
    translation = checkpoint.translation
    tensors = {key: tensor for key, tensor in translation.tensors.items() if key in checkpoint.expected}
    left_out = (*translation.keys.unused, *translation.keys.unexpected)
    return (to_official(tensors, head) if layout is OFFICIAL else tensors), left_out


def _origin(checkpoint: Checkpoint) -> str:
    """The layout that the file's unused tensors are of: a file of ours remembers what it was converted from."""
    translation = checkpoint.translation
    if translation.keys.layout is not OURS:
        return translation.keys.layout.name
    told = json.loads(translation.stored.metadata.get(METADATA, "{}"))
    return str(told.get("extra_of", OURS.name))


def _metadata(encoder: EncoderSpec, head: Head, **fields: Any) -> str:
    """The schedule and what else no shape tells."""
    told = {"version": __version__, "created": now(), "schedule": encoder.compact, "encoder_heads": head.encoder_heads}
    told |= {"encoder_points": head.encoder_points, "decoder_heads": head.decoder_heads}
    if not isinstance(encoder, Schedule):
        told["encoder_ffn"] = head.encoder_ffn
    if isinstance(head, DetectorHead):
        told |= {"model": deformable_detr.name_of(head), "decoder_points": head.decoder_points, "queries": head.queries}
    return json.dumps(told | {key: value for key, value in fields.items() if value is not None})


# --- Containers ---


def _write(path: Path, tensors: Mapping[str, Tensor], layout: KeyLayout, metadata: str, overwrite: bool) -> None:
    # Each in memory of its own: what was joined comes apart as views of one, which safetensors refuses.
    state = OrderedDict(
        (key, tensor.detach().cpu().clone(memory_format=torch.contiguous_format)) for key, tensor in tensors.items()
    )
    _require_readable(path, state)
    with replacing(path, overwrite) as temporary:
        if path.suffix == ".safetensors":
            try:
                save_file(state, temporary, {"format": "pt", METADATA: metadata})
            except SafetensorError as error:
                raise BenchError(f"cannot write {path}: {error}", "check the disk's space") from error
        elif path.suffix == ".pkl":
            arrays = {key: tensor.numpy() for key, tensor in state.items()}
            with temporary.open("wb") as file:
                pickle.dump({"model": arrays, "__author__": "proscale-bench", METADATA: metadata}, file, protocol=4)
        else:
            if layout is OFFICIAL:  # the official code renames the keys of files that do not say version 2
                modules = ("sem_seg_head", "sem_seg_head.predictor")
                state._metadata = OrderedDict((key, {"version": 2}) for key in modules)  # type: ignore[attr-defined]
            torch.save({"model": state, METADATA: metadata}, temporary)


def _require_readable(path: Path, state: Mapping[str, Tensor]) -> None:
    """Refuse to write a type that numpy does not have, or that would be refused in a pickle when it is read."""
    if path.suffix == ".safetensors":
        return
    is_numpy = path.suffix == ".pkl"
    known = PICKLED if is_numpy else {*PICKLED, torch.bfloat16}
    for key, tensor in state.items():
        if tensor.dtype not in known:
            dtype = str(tensor.dtype).removeprefix("torch.")
            why = (
                f"numpy has no {dtype}" if is_numpy and not dtype.startswith("complex") else "weights have no such type"
            )
            where = ".pth or .safetensors" if tensor.dtype is torch.bfloat16 else ".safetensors"
            raise BenchError(f"cannot write {path}: {printable(key)} is {dtype}, and {why}", f"write {where}")
