"""Holding a file's tensors against the model that they describe: shapes, schedule, types, values."""

from __future__ import annotations

import torch
from torch import Tensor

from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.checkpoint import Checkpoint
from proscale_bench.models.checkpoints.translate import INDEX

WEIGHT_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
SCHEDULED = ("encoder.recalibration.", "encoder.layers.", "encoder.pixel_embedding.")  # what a schedule decides
MAX_DERIVED_BYTES = 256 * 2**20  # indices that a file leaves out: Swin-L's take 4 MiB


def check_shapes(checkpoint: Checkpoint) -> None:
    """Every tensor has the model's shape, and a schedule that was told decides no other tensors than there are."""
    translation, schedule = checkpoint.translation, checkpoint.inferred.schedule
    shapes = translation.shapes
    told = {"given": f"schedule {schedule}", "metadata": f"its own metadata, schedule {schedule}"}
    told_by = told.get(checkpoint.schedule_from)

    def contradiction(key: str, what: str) -> BenchError:
        return BenchError(
            f"{checkpoint.path}: contradicts {told_by}: {translation.spelt(key)} {what}",
            "leave the schedule out, and it is read off the file",
        )

    for key, expected in checkpoint.expected.items():
        decided = told_by is not None and key.startswith(SCHEDULED)
        needed = tuple(expected.shape)
        if key not in shapes:
            if decided:
                raise contradiction(key, f"is missing, where it needs {list(needed)}")
        elif shapes[key] != needed:
            if decided:
                raise contradiction(key, f"is {list(shapes[key])}, where it needs {list(needed)}")
            raise BenchError(
                f"{checkpoint.path}: {translation.spelt(key)}: shape {list(shapes[key])}, expected {list(needed)}",
                "the other tensors say so; the file is damaged, or of a model that we do not know",
            )
    stray = stray_of_schedule(checkpoint)
    if stray and told_by:
        raise contradiction(stray, "has no place in it")
    derived = [expected for key, expected in checkpoint.expected.items() if key not in shapes and key.endswith(INDEX)]
    if sum(index.numel() * index.element_size() for index in derived) > MAX_DERIVED_BYTES:
        raise BenchError(f"{checkpoint.path}: {len(derived)} windows too large for what is in the file")


def stray_of_schedule(checkpoint: Checkpoint) -> str | None:
    """A tensor where the schedule decides which there are, and that has no place in it; None where there is none."""
    shapes = checkpoint.translation.shapes
    return next((key for key in shapes if key not in checkpoint.expected and key.startswith(SCHEDULED)), None)


def check_values(checkpoint: Checkpoint) -> None:
    """Weights are floating and finite, also as float32; Swin's indices are those that follow from the window."""
    translation = checkpoint.translation
    indices: dict[int, Tensor] = {}
    for key, expected in checkpoint.expected.items():
        tensor = translation.tensors.get(key)
        if tensor is None:
            continue
        where = f"{checkpoint.path}: {translation.spelt(key)}"
        if key.endswith(INDEX):
            known = indices.setdefault(len(expected), _relative_position_index(len(expected)))
            if not torch.equal(tensor.to(known.dtype), known):
                raise BenchError(f"{where}: not the indices of its window", "the file is damaged")
        elif tensor.dtype not in WEIGHT_TYPES:
            raise BenchError(f"{where}: {tensor.dtype} is no type of weights", "save it in floating point")
        elif strange := _count_not_finite(tensor):
            raise BenchError(
                f"{where}: {strange:,} of {tensor.numel():,} values are not finite",
                "training diverged, or the bytes are damaged or in the other order",
            )


def _count_not_finite(tensor: Tensor) -> int:
    """The number of values that float32 cannot hold."""
    extremes = torch.stack(torch.aminmax(tensor.reshape(-1)))  # in one pass; not a number where any value is not
    if extremes.float().isfinite().all():
        return 0
    return int((~tensor.float().isfinite()).sum())


def _relative_position_index(entries: int) -> Tensor:
    """The row of the bias table for each pair of a window's places: [window ** 4], as official files have it."""
    window = round(entries**0.25)
    rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    places = torch.stack((rows, columns)).flatten(1)  # [2, window ** 2]
    apart = places[:, :, None] - places[:, None] + window - 1  # [2, window ** 2, window ** 2]: rows, columns
    return torch.flatten(apart[0] * (2 * window - 1) + apart[1])
