"""Evaluates batch by batch: loads ahead, predicts, holds predictions against the truth, and keeps what was found."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from proscale_bench.data.batches import Batch, load_ahead
from proscale_bench.data.dataset import Dataset, ImageEntry
from proscale_bench.data.truth import labels_of, panoptic_truth, semantic_truth, void_label
from proscale_bench.errors import BenchError
from proscale_bench.evaluation import panoptic, semantic
from proscale_bench.evaluation.journal import Journal, JournalWriter
from proscale_bench.evaluation.results import ImageResult, Prediction
from proscale_bench.evaluation.saved import PredictionWriter
from proscale_bench.models.processes import Processes
from proscale_bench.results.accuracy import Task

LOADERS = max(2, min(8, os.cpu_count() or 2))  # threads that decode and resize
IMAGES_AHEAD = 32  # that wait at most, in whole batches: what bounds the memory


@dataclass(frozen=True)
class Work:
    """Batches of a data set's images to evaluate, and the tasks."""

    dataset: Dataset
    batches: tuple[Batch, ...]
    tasks: frozenset[Task]

    @property
    def images(self) -> tuple[ImageEntry, ...]:
        """The images of all batches in the order of the data set, which is that of every sum."""
        chosen = {image.id for batch in self.batches for image in batch.images}
        return tuple(image for image in self.dataset.images if image.id in chosen)


class Predictor(Protocol):
    """A maker of predictions: a model (`ModelPredictor`), files (`FilePredictor`), or a class of one's own.

    One that sees a single segment of one category in every image:

        class OneSegment:
            def load(self, image):  # the disk's part, run in threads; here the ids of a panoptic map [H, W]
                return np.ones((image.height_px, image.width_px), np.uint32)

            def predict(self, batch, loaded):  # the model's part, run batch by batch
                for image, ids in zip(batch.images, loaded):
                    yield Prediction(image.id, panoptic_ids=ids, segments=(PredictedSegment(1, category_id),))

        evaluate(Work(dataset, form_batches(dataset.images, 1), frozenset({"panoptic"})), OneSegment(), ...)
    """

    def load(self, image: ImageEntry) -> Any:
        """Read what the prediction of an image needs from the disk; called from several threads at once.

        Raises:
            BenchError: a file cannot be read.
        """

    def predict(self, batch: Batch, loaded: Sequence[Any]) -> Iterator[Prediction]:
        """The predictions of a batch, one an image, in the batch's order and at the images' original sizes.

        Args:
            loaded: the results of `load`, in the same order.
        """


@dataclass(frozen=True)
class BatchDone:
    """The progress of this process after a batch.

    Args:
        done: images, those of an earlier run too.
        total: images of this process.
        images_per_second: in this run.
        pq: PQ of the images judged in this run so far, in percent.
        resumed: images of an earlier run.
    """

    done: int
    total: int
    images_per_second: float
    pq: float | None
    resumed: int = 0


def evaluate(
    work: Work,
    predictor: Predictor,
    folder: Path,
    processes: Processes,
    *,
    writer: PredictionWriter | None = None,
    on_batch: Callable[[BatchDone], None] = lambda done: None,
) -> None:
    """Evaluate this process's share of the batches that the journal in `folder` does not hold yet.

    Batches are formed before they are shared out, and a batch is redone as a whole: which process evaluates it, and
    after which interruption, changes no bit of it.

    Raises:
        BenchError: an image or its truth cannot be read, or the disk is full. What is evaluated is kept.
    """
    known = frozenset(Journal(folder).image_ids)
    mine = work.batches[processes.rank :: processes.size]
    todo = [batch for batch in mine if not all(image.id in known for image in batch.images)]
    total = sum(len(batch.images) for batch in mine)
    before = done = total - sum(len(batch.images) for batch in todo)
    running = panoptic.RunningQuality(work.dataset.categories)
    start = time.perf_counter()

    def load(batch: Batch) -> list[tuple[Any, Any, Any]]:
        return [(predictor.load(image), *_truth(work, image)) for image in batch.images]

    ahead = max(2, IMAGES_AHEAD // max((len(batch.images) for batch in todo), default=1))
    with JournalWriter(folder, processes.rank) as journal, closing(load_ahead(todo, load, LOADERS, ahead)) as loading:
        for batch, loaded in zip(todo, loading, strict=True):
            results = []
            predictions = predictor.predict(batch, [one for one, *_ in loaded])
            for image, prediction, (_, true_map, true_labels) in zip(batch.images, predictions, loaded, strict=True):
                results.append(judge(work, image, prediction, true_map, true_labels))
                if writer is not None:
                    writer.write(image, prediction)
            journal.write([result.document() for result in results])
            for result in results:
                if result.panoptic is not None:
                    running.add(result.panoptic)
            done += len(results)
            pq, rate = running.pq, (done - before) / (time.perf_counter() - start)
            on_batch(BatchDone(done, total, rate, None if pq is None else 100 * pq, before))


def judge(work: Work, image: ImageEntry, prediction: Prediction, true_map: Any, true_labels: Any) -> ImageResult:
    """Hold one prediction against the truth.

    Raises:
        BenchError: they do not fit each other: another size, ids that the prediction's list lacks, unknown classes.
    """
    dataset = work.dataset
    counts, labelled = None, None
    try:
        if true_map is not None and prediction.panoptic_ids is not None:
            assert dataset.panoptic is not None
            segments = dataset.panoptic[image.id].segments
            counts = panoptic.count_image(true_map, segments, prediction.panoptic_ids, prediction.segments)
        if true_labels is not None and prediction.labels is not None:
            classes, void = len(dataset.categories), void_label(dataset)
            labelled = semantic.count_image(true_labels, prediction.labels, classes, void)
    except ValueError as error:
        raise BenchError(
            f"image {image.id} ({image.file_name}): {error}",
            "prediction and truth must be of one image; 'proscale-bench data check' looks at the truth",
        ) from error
    found = (prediction.detections, labelled, prediction.best_score, prediction.exit, prediction.same_map)
    return ImageResult(image.id, counts, prediction.segments, *found)


def results_of(work: Work, folder: Path) -> Iterator[ImageResult]:
    """The results in the journals of all processes, in the order of the data set.

    Raises:
        BenchError: an image is missing.
    """
    journal = Journal(folder)
    wanted = [image.id for image in work.images]
    if missing := set(wanted) - set(journal.image_ids):
        raise BenchError(
            f"{folder}: {len(missing)} of {len(wanted)} images have no result, the first: image {min(missing)}",
            "another process of this run did not finish its share, or wrote to another folder; run the command again",
        )
    return map(ImageResult.of_document, journal.read(wanted))


def _truth(work: Work, image: ImageEntry) -> tuple[Any, Any]:
    """The true panoptic map and the true classes of an image, as far as the tasks need them; one PNG serves both."""
    dataset = work.dataset
    ids, entry = panoptic_truth(dataset, image) if "panoptic" in work.tasks else (None, None)
    if "semantic" not in work.tasks:
        return ids, None
    if ids is None or entry is None or dataset.semantic_dir is not None:
        return ids, semantic_truth(dataset, image)
    return ids, labels_of(ids, entry, dataset.class_of, void_label(dataset))
