"""Evaluating with a predictor of one's own: two methods are all that it needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from proscale_bench.data.batches import Batch, form_batches
from proscale_bench.data.coco import open_dataset
from proscale_bench.data.dataset import Dataset, ImageEntry
from proscale_bench.data.panoptic_json import PredictedSegment
from proscale_bench.data.pictures import IdMap
from proscale_bench.data.truth import panoptic_truth
from proscale_bench.evaluation.results import Prediction
from proscale_bench.evaluation.runner import BatchDone, Work, evaluate
from proscale_bench.evaluation.summary import summarise
from proscale_bench.models.processes import Processes
from tests.data.made import make_dataset


class Oracle:
    """Predicts the truth."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def load(self, image: ImageEntry) -> IdMap:
        return panoptic_truth(self.dataset, image)[0]

    def predict(self, batch: Batch, loaded: Sequence[IdMap]) -> Iterator[Prediction]:
        assert self.dataset.panoptic is not None
        for image, ids in zip(batch.images, loaded, strict=True):
            truth = self.dataset.panoptic[image.id].segments
            segments = tuple(PredictedSegment(segment.id, segment.category_id) for segment in truth)
            yield Prediction(image.id, panoptic_ids=ids, segments=segments)


def test_an_oracle_of_ones_own_is_always_right(tmp_path: Path) -> None:
    dataset = open_dataset(make_dataset(tmp_path / "coco", 5).root)
    work = Work(dataset, form_batches(dataset.images, 2), frozenset({"panoptic"}))
    told: list[BatchDone] = []
    evaluate(work, Oracle(dataset), tmp_path / "journal", Processes(), on_batch=told.append)
    assert (told[-1].done, told[-1].total, told[-1].pq) == (5, 5, 100.0)
    summary = summarise(work, tmp_path / "journal", 0, 0)
    assert (summary.metrics_pct["pq"], summary.metrics_pct["sq"], summary.metrics_pct["rq"]) == (100.0, 100.0, 100.0)
