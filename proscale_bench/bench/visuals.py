"""Pictures of the images that a model does worst on: the truth beside the prediction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

    from proscale_bench.bench.evaluate import EvaluationOutcome
    from proscale_bench.data.dataset import Dataset, Id, ImageEntry
    from proscale_bench.evaluation.results import Prediction
    from proscale_bench.render.overlay import DrawnSegment


def draw_worst(outcome: EvaluationOutcome, folder: Path, number: int) -> list[Path]:
    """Draw the `number` images of the lowest PQ, worst first, as PNGs named by rank and image.

    A model predicts them again: keeping the maps of all images for the sake of a few would take the memory.

    Raises:
        BenchError: an image cannot be read, or the folder cannot be written.
    """
    import io

    from proscale_bench.data.batches import Batch
    from proscale_bench.files import write_atomic

    images = {image.id: image for image in outcome.work.images}
    worst = sorted(outcome.image_pq.items(), key=lambda item: item[1])[:number]  # stable: the data set's order
    paths = []
    for rank, (image_id, pq) in enumerate(worst, start=1):
        image = images[image_id]
        loaded = outcome.predictor.load(image)
        batch = next(batch for batch in outcome.work.batches if image in batch.images)
        alone = Batch(batch.index, (image,), batch.padded_height_px, batch.padded_width_px)
        (prediction,) = outcome.predictor.predict(alone, [loaded])
        stream = io.BytesIO()
        picture(outcome, image, prediction, pq).save(stream, "png")
        paths.append(folder / f"{rank:0{len(str(len(worst)))}}-{Path(image.file_name).stem}.png")
        write_atomic(paths[-1], stream.getvalue())
    return paths


def picture(outcome: EvaluationOutcome, image: ImageEntry, prediction: Prediction, pq: float) -> Image:
    """One image's picture; see `render.overlay`."""
    from proscale_bench.data.pictures import read_image
    from proscale_bench.data.truth import panoptic_truth
    from proscale_bench.evaluation.panoptic import matched_pairs
    from proscale_bench.render.overlay import side_by_side

    dataset = outcome.work.dataset
    assert prediction.panoptic_ids is not None
    true_ids, entry = panoptic_truth(dataset, image)
    segments = entry.segments
    pairs = matched_pairs(true_ids, segments, prediction.panoptic_ids, prediction.segments)
    found, right = {true_id for true_id, _ in pairs}, {predicted_id for _, predicted_id in pairs}
    truth = [(one.id, one.category_id, None if one.is_crowd else one.id in found) for one in segments]
    predicted = [(one.id, one.category_id, one.id in right) for one in prediction.segments]
    return side_by_side(
        read_image(dataset.image_dir / image.file_name),
        true_ids,
        _shown(dataset, truth),
        prediction.panoptic_ids,
        _shown(dataset, predicted),
        f"{image.file_name}: PQ {100 * pq:.1f}; outlined in red: missed, or without its like in the truth",
    )


def _shown(dataset: Dataset, segments: Sequence[tuple[int, Id, bool | None]]) -> list[DrawnSegment]:
    from proscale_bench.render.overlay import DrawnSegment

    names = {category.id: category.name for category in dataset.categories}
    return [
        DrawnSegment(id_, dataset.class_of.get(category_id, 0), names.get(category_id, str(category_id)), matched)
        for id_, category_id, matched in segments
    ]
