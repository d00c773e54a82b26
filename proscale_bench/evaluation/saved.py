"""Predictions as files that other tools score: COCO's panoptic JSON with PNGs, COCO results, class maps."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proscale_bench.data.dataset import ImageEntry
from proscale_bench.data.pictures import id_colors
from proscale_bench.data.truth import png_name
from proscale_bench.errors import BenchError
from proscale_bench.evaluation.results import ImageResult, Prediction
from proscale_bench.files import read_regular_file, replacing, write_atomic
from proscale_bench.results.accuracy import Task

PANOPTIC_JSON, PANOPTIC_DIR = "panoptic.json", "panoptic"
INSTANCES_JSON, SEMANTIC_DIR = "instances.json", "semantic"
UNFINISHED = ".unfinished"  # says which evaluation began to write here
MAX_MARK_BYTES = 1 << 10
NAMES = (PANOPTIC_JSON, PANOPTIC_DIR, INSTANCES_JSON, SEMANTIC_DIR)


class PredictionWriter:
    """Writes each image's maps as they come, and the JSON documents at the end."""

    def __init__(self, folder: Path, force: bool = False) -> None:
        self.folder = folder
        self._force = force

    def begin(self, key: str, images: Sequence[ImageEntry]) -> None:
        """Mark the folder as this evaluation's, which may have begun before.

        Raises:
            BenchError: another evaluation began in it, it cannot be written, or two images would share a PNG.
        """
        name, times = Counter(map(png_name, images)).most_common(1)[0]
        if times > 1:
            raise BenchError(
                f"{times} images would be saved as {name}: their names differ in the ending alone",
                "leave --save-predictions out, or rename the images and their entries",
            )
        mark = self.folder / UNFINISHED
        try:
            begun = read_regular_file(mark, MAX_MARK_BYTES).decode() if mark.exists() else key
        except (BenchError, UnicodeDecodeError):
            begun = ""
        if begun != key and not self._force:
            raise BenchError(
                f"{self.folder} holds the beginning of another evaluation's predictions",
                "choose another folder, or overwrite with --force",
            )
        write_atomic(mark, key)

    def write(self, image: ImageEntry, prediction: Prediction) -> None:
        """The PNGs of one image."""
        if prediction.panoptic_ids is not None:
            write_atomic(self.folder / PANOPTIC_DIR / png_name(image), _png(id_colors(prediction.panoptic_ids)))
        if prediction.labels is not None:
            labels = prediction.labels
            narrow = labels.astype(np.uint8 if not labels.size or labels.max() < 256 else np.uint16)
            write_atomic(self.folder / SEMANTIC_DIR / png_name(image), _png(narrow))

    def finish(self, images: Iterable[ImageEntry], results: Iterable[ImageResult], tasks: Collection[Task]) -> None:
        """The documents, once every image is there."""
        annotations = []
        with list_of_json(self.folder / INSTANCES_JSON if {"instance", "boxes"} & set(tasks) else None) as append:
            for image, result in zip(images, results, strict=True):
                segments = [{"id": segment.id, "category_id": segment.category_id} for segment in result.segments]
                annotations.append({"image_id": image.id, "file_name": png_name(image), "segments_info": segments})
                for detection in result.detections or ():
                    append(detection)
        if "panoptic" in tasks:
            write_atomic(self.folder / PANOPTIC_JSON, json.dumps({"annotations": annotations}) + "\n")

    def done(self) -> None:
        """Take the mark away, once nothing of the evaluation is left to be kept."""
        (self.folder / UNFINISHED).unlink(missing_ok=True)


@contextmanager
def list_of_json(path: Path | None) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A JSON list that is written as it grows: half a million detections need not be held. None: no list."""
    if path is None:
        yield lambda item: None
        return
    with replacing(path) as temporary, temporary.open("w", encoding="ascii") as file:
        separator = "[\n"

        def append(item: Mapping[str, Any]) -> None:
            nonlocal separator
            file.write(separator + json.dumps(item))
            separator = ",\n"

        yield append
        file.write("\n]\n" if separator != "[\n" else "[]\n")


def refuse_saved(folder: Path, force: bool) -> None:
    """Predictions of another run are not overwritten; those of one that was interrupted are gone on with.

    Raises:
        BenchError: the folder holds a finished run's, or somebody else's, or is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise BenchError(f"{folder}: not a folder", "give --save-predictions a folder")
    there = [name for name in NAMES if (folder / name).exists()]
    if there and not force and not (folder / UNFINISHED).exists():
        raise BenchError(f"{folder / there[0]} exists", "choose another folder, or overwrite with --force")


def _png(pixels: NDArray[Any]) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png", compress_level=1)
    return stream.getvalue()
