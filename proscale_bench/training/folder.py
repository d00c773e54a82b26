"""The folder of a training.

training.safetensors    all that is needed to go on
log.jsonl               a line every few iterations
tensorboard/            the same, if asked for
training.json           at the end: what it was
model.safetensors       at the end: the weights, the average's where there is one
best.safetensors        those of the best validation so far, where there are validations
not-finite-*.npz        where it broke down: the batch
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from proscale_bench.errors import BenchError
from proscale_bench.files import replacing
from proscale_bench.training.box_samples import BoxSample
from proscale_bench.training.samples import LabelledImage

STATE, LOG, BOARD = "training.safetensors", "log.jsonl", "tensorboard"
RECORD, WEIGHTS, BEST = "training.json", "model.safetensors", "best.safetensors"
NOT_FINITE = "not-finite"
START_OVER = "choose another folder with --out, or start over with --no-resume --force"


def is_begun(run: Path) -> bool:
    """True if the folder holds something that starting over would remove, and that took time to make."""
    return any((run / name).exists() for name in (STATE, RECORD, WEIGHTS, BEST))


def is_finished(run: Path) -> bool:
    """True if everything is there that a training leaves at its end."""
    return (run / RECORD).is_file() and (run / WEIGHTS).is_file()


def remove_training(run: Path) -> None:
    """Remove all that a training wrote.

    Raises:
        BenchError: it cannot be removed.
    """
    try:
        for name in (STATE, LOG, RECORD, WEIGHTS, BEST):
            (run / name).unlink(missing_ok=True)
        for path in run.glob(f"{NOT_FINITE}-*.npz"):
            path.unlink()
        if (run / BOARD).is_dir():
            shutil.rmtree(run / BOARD)
    except OSError as error:
        raise BenchError(f"cannot remove {error.filename}: {error.strerror}", "choose another folder") from error


def remove_leftovers(run: Path) -> None:
    """Remove the files that a killed training was writing."""
    for name in (STATE, LOG, RECORD, WEIGHTS, BEST):
        for path in run.glob(f".{name}.*"):
            path.unlink(missing_ok=True)


def save_batch(run: Path, iteration: int, rank: int, samples: Sequence[LabelledImage], names: Sequence[str]) -> Path:
    """Write `not-finite-ITERATION-RANK.npz`, which loads without pickles.

    It holds `images` [B, H, W, 3], padded with zeros to the largest, `names` [B], and of all segments `labels` [N],
    `masks` [N, H, W] and `image` [N], the place in the batch; of objects `boxes` [N, 4] in the place of masks.

    Raises:
        BenchError: it cannot be written.
    """
    path = run / f"{NOT_FINITE}-{iteration}-{rank}.npz"
    kind = "boxes" if isinstance(samples[0], BoxSample) else "masks"
    height, width = (max(sample.image.shape[axis] for sample in samples) for axis in (0, 1))
    images = np.zeros((len(samples), height, width, 3), np.uint8)
    for image, sample in zip(images, samples, strict=True):
        image[: sample.image.shape[0], : sample.image.shape[1]] = sample.image
    targets: dict[str, Any] = {kind: np.concatenate([getattr(sample, kind) for sample in samples])}
    image_of = [place for place, sample in enumerate(samples) for _ in sample.labels]
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            images=images,
            names=np.array(names, np.str_),
            labels=np.concatenate([sample.labels for sample in samples]),
            image=np.array(image_of, np.int64),
            **targets,
        )
    return path
