"""How fast are PQ and mIoU? Run by hand: python benchmarks/evaluation_maps.py [--rounds N] [--images N]

Synthetic images of 640x480 with about 14.5 wavy segments, in one process. panopticapi and detectron2 are not on the
registry, so each of ours is timed against a stand-in, written from the description of what the reference does
and checked to find the same numbers. The two take turns, round by round; ratios are of medians,
with the interval of a bootstrap over rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle

from proscale_bench.data.dataset import Category, Segment
from proscale_bench.data.panoptic_json import PredictedSegment
from proscale_bench.data.pictures import read_label_map
from proscale_bench.evaluation import panoptic, semantic
from proscale_bench.evaluation.map_files import score_panoptic_files
from proscale_bench.results.statistics import median, median_of_ratios

HEIGHT, WIDTH, SEGMENTS, CLASSES, IGNORED = 480, 640, 14.5, 54, 255
CATEGORIES = tuple(Category(index + 1, f"class {index}", index % 2 == 0) for index in range(CLASSES))
PANOPTICAPI_IPS, DETECTRON2_IPS = 102, 1000 / 16  # of the references themselves, on another day
FLIPS = ((1, 1), (1, -1), (-1, 1), (-1, -1))
Map = NDArray[Any]


@dataclass(frozen=True)
class Example:
    """One image: panoptic maps with their segments, and label maps."""

    true_ids: Map
    true_segments: tuple[Segment, ...]
    predicted_ids: Map
    predicted_segments: tuple[PredictedSegment, ...]
    true_labels: Map
    predicted_labels: Map


def draw(rng: np.random.Generator) -> tuple[Map, Map]:
    """Owners of pixels: regions around random points with wavy borders, -1 where none is near; and the same, moved."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    waves = sum(
        np.sin(x / rng.uniform(8, 60) + rng.uniform(0, 6)) * np.cos(y / rng.uniform(8, 60)) * rng.uniform(2, 14)
        for _ in range(5)
    )
    nearest = np.full((HEIGHT, WIDTH), 260, np.float32)
    owner = np.full((HEIGHT, WIDTH), -1)
    for index in range(max(2, rng.poisson(SEGMENTS))):
        distance = np.hypot(x - rng.uniform(0, WIDTH) + waves, y - rng.uniform(0, HEIGHT) - waves) * rng.uniform(
            0.5, 1.6
        )
        closer = distance < nearest
        nearest[closer], owner[closer] = distance[closer], index
    shift = (0.4 * np.asarray(waves)).astype(int)
    rows = np.clip(np.arange(HEIGHT)[:, None] + shift, 0, HEIGHT - 1)
    columns = np.clip(np.arange(WIDTH) + shift[::-1], 0, WIDTH - 1)
    moved = owner[rows, columns]
    moved[moved == 1] = 0  # two segments that the prediction takes for one
    return owner, moved


def examples(count: int) -> list[Example]:
    rng = np.random.default_rng(0)
    found: list[Example] = []
    while len(found) < count:
        owner, moved = draw(rng)
        size = int(owner.max()) + 1
        ids = np.append(rng.choice(2**24 - 1, size, replace=False) + 1, 0).astype(np.uint32)  # the last is void
        classes = rng.integers(0, CLASSES, size)
        guesses = np.where(rng.random(size) < 0.8, classes, rng.integers(0, CLASSES, size))
        for flip in FLIPS[: count - len(found)]:
            true_owner, guess_owner = owner[:: flip[0], :: flip[1]], moved[:: flip[0], :: flip[1]]
            areas = np.bincount(true_owner[true_owner >= 0], minlength=size).tolist()
            found.append(
                Example(
                    ids[true_owner],
                    tuple(
                        Segment(int(ids[index]), int(classes[index]) + 1, False, area)
                        for index, area in enumerate(areas)
                        if area
                    ),
                    (guess_owner + 1).astype(np.int32),
                    tuple(
                        PredictedSegment(int(index) + 1, int(guesses[index]) + 1)
                        for index in np.unique(guess_owner)
                        if index >= 0
                    ),
                    np.append(classes, IGNORED).astype(np.uint8)[true_owner],
                    np.append(guesses, 0).astype(np.uint8)[guess_owner],
                )
            )
    return found


def write(folder: Path, images: Sequence[Example]) -> None:
    """The images in COCO's formats."""
    for name in ("gt", "pred", "labels"):
        (folder / name).mkdir()
    documents: dict[str, list[Any]] = {"gt": [], "pred": []}
    for index, image in enumerate(images):
        name = f"{index:012}.png"
        Image.fromarray(image.true_labels).save(folder / "labels" / name)
        for key, ids, segments in (
            ("gt", image.true_ids, image.true_segments),
            ("pred", image.predicted_ids, image.predicted_segments),
        ):
            channels = np.stack([ids >> shift & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8)
            Image.fromarray(channels).save(folder / key / name)
            infos = [
                {"id": item.id, "category_id": item.category_id, "iscrowd": 0, "area": getattr(item, "area_px", 0)}
                for item in segments
            ]
            documents[key].append({"image_id": index, "file_name": name, "segments_info": infos})
    categories = [{"id": item.id, "name": item.name, "isthing": int(item.is_thing)} for item in CATEGORIES]
    for key, entries in documents.items():
        (folder / f"{key}.json").write_text(json.dumps({"categories": categories, "annotations": entries}))


def pairs(true_ids: Map, predicted_ids: Map) -> dict[tuple[Any, Any], Any]:
    """Pixels by pair of ids."""
    paired = true_ids.astype(np.uint64) * np.uint64(256**3) + predicted_ids.astype(np.uint64)
    labels, pixels = np.unique(paired, return_counts=True)
    return {(label // 256**3, label % 256**3): count for label, count in zip(labels, pixels, strict=True)}


class PanopticStandIn:
    """The reference's steps: areas by `unique`, pairs by `unique` of both ids in one number, then the rules."""

    def __init__(self) -> None:
        self.totals: dict[int, list[float]] = defaultdict(lambda: [0.0, 0, 0, 0])  # IoU, TP, FP, FN

    def add(self, true_ids: Map, truth: dict[int, Any], predicted_ids: Map, predicted: dict[int, Any]) -> None:
        for label, area in zip(*np.unique(predicted_ids, return_counts=True), strict=True):
            if label:
                predicted[label]["area"] = area
        shared = pairs(true_ids, predicted_ids)
        matched_truth, matched_predictions = set(), set()
        for (true, guess), both in shared.items():
            if true not in truth or guess not in predicted or truth[true]["iscrowd"] == 1:
                continue
            if truth[true]["category_id"] != predicted[guess]["category_id"]:
                continue
            union = predicted[guess]["area"] + truth[true]["area"] - both - shared.get((0, guess), 0)
            if both / union > 0.5:
                self.totals[truth[true]["category_id"]][0] += both / union
                self.totals[truth[true]["category_id"]][1] += 1
                matched_truth.add(true)
                matched_predictions.add(guess)
        crowds = {}
        for true, info in truth.items():
            if info["iscrowd"] == 1:
                crowds[info["category_id"]] = true
            elif true not in matched_truth:
                self.totals[info["category_id"]][3] += 1
        for guess, info in predicted.items():
            forgiven = shared.get((0, guess), 0) + shared.get((crowds.get(info["category_id"]), guess), 0)
            if guess not in matched_predictions and not forgiven / info["area"] > 0.5:
                self.totals[info["category_id"]][2] += 1

    def pq(self) -> float:
        seen = [self.totals[item.id] for item in CATEGORIES if sum(self.totals[item.id][1:])]
        total = 0.0
        for iou, tp, fp, fn in seen:
            total += iou / (tp + 0.5 * fp + 0.5 * fn)
        return float(total / len(seen))


def infos(segments: Sequence[Any]) -> dict[int, dict[str, Any]]:
    return {
        item.id: {"category_id": item.category_id, "iscrowd": 0, "area": getattr(item, "area_px", 0)}
        for item in segments
    }


def their_pq_in_memory(images: Sequence[Example]) -> float:
    evaluator = PanopticStandIn()
    for image in images:
        evaluator.add(image.true_ids, infos(image.true_segments), image.predicted_ids, infos(image.predicted_segments))
    return evaluator.pq()


def their_pq_of_files(folder: Path) -> float:
    truth, predictions = (json.loads((folder / f"{key}.json").read_text())["annotations"] for key in ("gt", "pred"))
    predicted_of = {annotation["image_id"]: annotation for annotation in predictions}
    evaluator = PanopticStandIn()
    for annotation in truth:
        prediction = predicted_of[annotation["image_id"]]
        evaluator.add(
            their_ids(folder / "gt" / annotation["file_name"]),
            {info["id"]: info for info in annotation["segments_info"]},
            their_ids(folder / "pred" / prediction["file_name"]),
            {info["id"]: info for info in prediction["segments_info"]},
        )
    return evaluator.pq()


def their_ids(path: Path) -> Map:
    colors = np.array(Image.open(path), dtype=np.uint32)
    return colors[:, :, 0] + 256 * colors[:, :, 1] + 256 * 256 * colors[:, :, 2]


def our_pq_in_memory(images: Sequence[Example]) -> float | None:
    counts = (
        panoptic.count_image(image.true_ids, image.true_segments, image.predicted_ids, image.predicted_segments)
        for image in images
    )
    return panoptic.panoptic_quality(counts, CATEGORIES).all.pq


def our_pq_of_files(folder: Path) -> float | None:
    return score_panoptic_files(folder / "gt.json", folder / "gt", folder / "pred.json", folder / "pred").quality.all.pq


def their_miou(images: Sequence[Example], folder: Path) -> float:
    """The truth from its PNG, a confusion matrix with one more class, and each image's predicted classes as RLE."""
    confusion = np.zeros((CLASSES + 1, CLASSES + 1), np.int64)
    encoded = []
    for image, path in zip(images, sorted((folder / "labels").iterdir()), strict=True):
        truth = np.array(Image.open(path), dtype=int)
        truth[truth == IGNORED] = CLASSES
        predicted = image.predicted_labels.astype(int)
        confusion += np.bincount(
            (CLASSES + 1) * predicted.reshape(-1) + truth.reshape(-1), minlength=confusion.size
        ).reshape(confusion.shape)
        for label in np.unique(predicted):
            mask = np.array((predicted == label)[:, :, None], order="F", dtype=np.uint8)
            found = rle.encode(mask)[0]
            encoded.append({"category_id": int(label), "segmentation": {**found, "counts": found["counts"].decode()}})
    right = np.diag(confusion)[:-1].astype(float)
    in_truth, in_prediction = (confusion[:-1, :-1].sum(axis=axis).astype(float) for axis in (0, 1))
    seen = in_truth > 0
    iou = right[seen] / (in_truth + in_prediction - right)[seen]
    return float(100 * (iou.sum() / seen.sum()))


def our_miou(images: Sequence[Example], folder: Path) -> float | None:
    counts = (
        semantic.count_image(read_label_map(path), image.predicted_labels, CLASSES)
        for image, path in zip(images, sorted((folder / "labels").iterdir()), strict=True)
    )
    return semantic.semantic_quality(counts, CLASSES).miou


def noise() -> list[tuple[str, Map, Map]]:
    """Maps whose pixels all differ from their neighbours."""
    rng = np.random.default_rng(0)
    few, many = (rng.integers(0, high, (2, HEIGHT, WIDTH)).astype(np.uint32) for high in (15, 2**24))
    return [("noise of 15 ids", *few), ("noise of 2^24 ids", *many)]


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(
    name: str, rounds: int, images: int, ours: Any, theirs: Any, target: float | None, recorded: float | None
) -> None:
    """Check that both find the same, then time them in turns."""
    found, expected = ours(), theirs()
    if found != expected:
        sys.exit(f"{name}: ours finds {found}, the stand-in {expected}")
    our_times, their_times = [], []
    for round_ in range(rounds):
        turns = [(ours, our_times), (theirs, their_times)]
        for run, times in turns if round_ % 2 else reversed(turns):
            times.append(seconds(run))
    ratio = median_of_ratios(their_times, our_times)
    ips, their_ips = images / median(our_times), images / median(their_times)
    line = f"{name:44} {ips:6,.0f} {their_ips:9,.0f}   {ratio.value:5.1f}x [{ratio.low:.1f}, {ratio.high:.1f}]"
    if target is not None:
        line += f"   target {target:.0f}x: {'met' if ratio.value >= target else 'MISSED'}"
    if recorded is not None:
        line += f"   ({ips / recorded:.1f}x the recorded)"
    print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=300)
    options = parser.parse_args()
    images = examples(options.images)
    mean = np.mean([len(image.true_segments) for image in images])
    print(
        f"{len(images)} images of {WIDTH}x{HEIGHT}, {mean:.1f} segments an image, {options.rounds} rounds, one process"
    )
    print("The stand-ins are ours, written from the description of what panopticapi and detectron2 do. Recorded of the")
    print(f"tools themselves: {PANOPTICAPI_IPS} images/s (PQ from PNGs), {DETECTRON2_IPS:.1f} (semantic).")
    print()
    print(f"{'':44} {'images/s':>6} {'stand-in':>7}   ratio")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(folder, images)
        turns = options.rounds, len(images)
        of_files = lambda: their_pq_of_files(folder)  # noqa: E731
        in_memory = lambda: our_pq_in_memory(images)  # noqa: E731
        compare("PQ in memory, against PNGs (it has no other)", *turns, in_memory, of_files, 10, PANOPTICAPI_IPS)
        compare("PQ from PNGs", *turns, lambda: our_pq_of_files(folder), of_files, 3, PANOPTICAPI_IPS)
        compare("PQ in memory, both", *turns, in_memory, lambda: their_pq_in_memory(images), None, None)
        compare(
            "mIoU, truth from PNGs",
            *turns,
            lambda: our_miou(images, folder),
            lambda: their_miou(images, folder),
            5,
            DETECTRON2_IPS,
        )
    for name, *maps in noise():
        ours, theirs = (
            median([seconds(partial(run, *maps)) for _ in range(options.rounds)]) for run in (panoptic.overlaps, pairs)
        )
        print(f"pairs of {name:30} {1000 * ours:6.1f} ms against the stand-in's {1000 * theirs:.1f} ms")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
