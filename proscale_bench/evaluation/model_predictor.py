"""Predictions that a model makes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from proscale_bench.data.batches import Batch
from proscale_bench.data.dataset import Dataset, ImageEntry
from proscale_bench.data.pictures import read_image
from proscale_bench.data.transforms import resize, resized_size
from proscale_bench.data.truth import require_size
from proscale_bench.errors import BenchError
from proscale_bench.evaluation.predictor import Predictor
from proscale_bench.evaluation.results import Prediction
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.results.accuracy import Task
from proscale_bench.results.profile import DType


class ModelSource:
    """Reads and resizes images in threads, and predicts a batch at a time.

    Args:
        model: prepared for inference, on its device.
        resize: (short side, longest side), or None: images are given as they are.

    Raises:
        BenchError: the model has other classes than the data set.
    """

    def __init__(
        self,
        model: Mask2Former,
        dataset: Dataset,
        tasks: Collection[Task],
        resize: tuple[int, int] | None,
        dtype: DType = "fp32",
    ) -> None:
        classes = model.decoder.class_head.out_features - 1
        if classes != len(dataset.categories):
            raise BenchError(
                f"the weights know {classes} classes, {dataset.name} has {len(dataset.categories)} categories",
                "weights and data must be of the same classes, in the same order",
            )
        self._dataset = dataset
        self._resize = resize
        self._predictor = Predictor(model, dataset.categories, tasks, dtype)

    def load(self, image: ImageEntry) -> NDArray[np.uint8]:
        """An image as the model gets it, [h, w, 3].

        Raises:
            BenchError: unreadable, or not of the size that the annotations say.
        """
        path = self._dataset.image_dir / image.file_name
        pixels = read_image(path)
        require_size(path, image, pixels.shape)
        if self._resize is not None:
            pixels = resize(pixels, resized_size(image.height_px, image.width_px, *self._resize))
        return np.array(pixels)  # PyTorch wants memory that it may write to

    def predict(self, batch: Batch, loaded: Sequence[NDArray[np.uint8]]) -> Iterator[Prediction]:
        """The predictions of a batch, one by one: masks at the original size are large."""
        answer = self._predictor.answer(loaded)
        for index, (image, pixels) in enumerate(zip(batch.images, loaded, strict=True)):
            height, width, _ = pixels.shape
            yield self._predictor.prediction(
                answer, index, image.id, (height, width), (image.height_px, image.width_px)
            )
