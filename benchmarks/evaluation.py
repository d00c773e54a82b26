"""The time that evaluating adds to inference, and the memory that scoring 5,000 images takes. Run by hand.

    python benchmarks/evaluation.py                # the tiny model on the embedded data: inference alone, and evaluated
    python benchmarks/evaluation.py --memory       # 5,000 images' worth of records, scored in a process of its own

Inference is the forward pass and post-processing of all three tasks, from images in memory; evaluation reads and
decodes images and truth, and judges and keeps every prediction. Both run in turns; medians are printed, and the range
of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

MIB = 1 << 20
IMAGES, DETECTIONS, SEGMENTS = 5_000, 100, 11  # COCO val2017's, and Mask2Former's
HEIGHT, WIDTH = 480, 640


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--score", metavar="DIR", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.score:
        score(Path(asked.score))
    elif asked.memory:
        memory()
    else:
        overhead(asked.rounds, asked.images)


def overhead(rounds: int, images: int) -> None:
    import torch

    from proscale_bench.bench.evaluate import EvaluationRequest
    from proscale_bench.bench.weights import random_weights
    from proscale_bench.data.coco import open_dataset
    from proscale_bench.data.embedded import embedded_validation
    from proscale_bench.evaluation.model_predictor import ModelPredictor
    from proscale_bench.evaluation.runner import Work, evaluate
    from proscale_bench.models.inference import prepare_for_inference
    from proscale_bench.models.processes import Processes
    from proscale_bench.specs.encoders.staged import parse_compact

    dataset = open_dataset(embedded_validation())
    tasks = ("panoptic", "instance", "semantic")
    request = EvaluationRequest(dataset, tasks, None, limit=images)
    model = random_weights(parse_compact("3,3,3"), "tiny", len(dataset.categories), 0).model
    with torch.no_grad():
        model.decoder.class_head.weight.mul_(30)  # sure of itself: there are segments to judge
    prepare_for_inference(model)
    predictor = ModelPredictor(model, dataset, tasks, None)
    work = Work(dataset, request.batches, frozenset(tasks))
    loaded = [[predictor.load(image) for image in batch.images] for batch in work.batches]

    def infer() -> int:
        return sum(
            len(prediction.segments)
            for batch, pictures in zip(work.batches, loaded, strict=True)
            for prediction in predictor.predict(batch, pictures)
        )

    def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            evaluate(work, predictor, Path(folder), Processes())

    segments = infer()
    whole()
    times: dict[str, list[float]] = {"inference": [], "evaluation": []}
    for _ in range(rounds):
        for name, run in (("inference", infer), ("evaluation", whole)):
            start = time.perf_counter()
            run()
            times[name].append(1000 * (time.perf_counter() - start) / images)
    ratios = sorted(new / old for old, new in zip(times["inference"], times["evaluation"], strict=True))
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{images} images of the embedded data, {segments} segments predicted, {rounds} rounds")
    for name, found in times.items():
        print(f"{name:12} {statistics.median(found):7.1f} ms an image")
    added = [100 * (ratio - 1) for ratio in (statistics.median(ratios), ratios[0], ratios[-1])]
    print(f"evaluation adds {added[0]:+.1f} % (rounds: {added[1]:+.1f} to {added[2]:+.1f} %); the target is 15 %")


def memory() -> None:
    """Write a journal as 5,000 images of COCO would leave it, and score it in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        write_records(Path(folder))
        print(
            f"records of {IMAGES:,} images with {DETECTIONS} detections: {size_of(Path(folder)):,.0f} MiB on disk",
            end=", ",
        )
        print(f"made in {time.perf_counter() - start:.0f} s")
        subprocess.run([sys.executable, __file__, "--score", folder], check=True)


def score(folder: Path) -> None:
    from proscale_bench.data.batches import form_batches
    from proscale_bench.data.coco import open_dataset
    from proscale_bench.evaluation.runner import Work
    from proscale_bench.evaluation.summary import summarise

    before = peak_mib()
    dataset = open_dataset(folder / "coco")
    work = Work(dataset, form_batches(dataset.images, 1), frozenset(("panoptic", "instance", "semantic")))
    opened = peak_mib()
    for resamples in (0, 1000):
        start = time.perf_counter()
        summary = summarise(work, folder / "journal", resamples, 0)
        seconds = time.perf_counter() - start
        print(f"scored with {resamples:,} draws in {seconds:.1f} s, peak {peak_mib():,.0f} MiB", end="; ")
        print(f"{before:,.0f} MiB after imports, {opened:,.0f} MiB with the data set open", end="; ")
        print(f"PQ {summary.metrics_pct['pq']:.2f}, AP {summary.metrics_pct['ap']:.2f}")


def write_records(folder: Path) -> None:
    """Truth and predictions of one image of noise-free blobs, over and over under other ids and scores."""
    from proscale_bench.data.panoptic_json import PredictedSegment
    from proscale_bench.evaluation.instance import detections_of
    from proscale_bench.evaluation.journal import JournalWriter
    from proscale_bench.evaluation.panoptic import PanopticCounts
    from proscale_bench.evaluation.results import ImageResult
    from proscale_bench.evaluation.semantic import SemanticCounts

    random = np.random.default_rng(0)
    masks = blobs(random, DETECTIONS)
    boxes = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] for ys, xs in map(np.nonzero, masks)], float)
    categories = [{"id": index + 1, "name": f"c{index}", "isthing": int(index < 80)} for index in range(133)]
    images, annotations, instances = [], [], []
    coco = folder / "coco"
    for part in ("annotations", "val", "panoptic_val"):
        (coco / part).mkdir(parents=True)
    with JournalWriter(folder / "journal", 0) as journal:
        for image_id in range(1, IMAGES + 1):
            things = random.integers(1, 81, DETECTIONS)
            detections = detections_of(image_id, random.random(DETECTIONS), things, masks, boxes)
            found = [int(one) for one in random.integers(1, 134, SEGMENTS)]
            result = ImageResult(
                image_id,
                PanopticCounts(
                    tuple((one, 0.5 + random.random() / 2) for one in found[:6]), tuple(found[6:8]), tuple(found[8:])
                ),
                tuple(PredictedSegment(index + 1, one) for index, one in enumerate(found)),
                tuple(detections),
                SemanticCounts(
                    tuple(range(SEGMENTS)), *(tuple(random.integers(1, 9999, SEGMENTS).tolist()) for _ in range(3))
                ),
            )
            journal.write([result.document()])
            name = f"{image_id:012}"
            images.append({"id": image_id, "file_name": f"{name}.jpg", "height": HEIGHT, "width": WIDTH})
            segments = [
                {"id": index + 1, "category_id": one, "iscrowd": 0, "area": 100, "bbox": [0, 0, 1, 1]}
                for index, one in enumerate(found)
            ]
            annotations.append({"image_id": image_id, "file_name": f"{name}.png", "segments_info": segments})
            for one in detections[:7]:
                number = len(instances) + 1
                area = int(masks[(number - 1) % 7].sum())
                instances.append(
                    {
                        "id": number,
                        **{key: one[key] for key in ("image_id", "category_id", "segmentation", "bbox")},
                        "area": area,
                        "iscrowd": 0,
                    }
                )
    panoptic = {"images": images, "annotations": annotations, "categories": categories}
    (coco / "annotations/panoptic_val.json").write_text(json.dumps(panoptic))
    things = {"images": images, "annotations": instances, "categories": categories[:80]}
    (coco / "annotations/instances_val.json").write_text(json.dumps(things))


def blobs(random: np.random.Generator, number: int) -> np.ndarray:
    """Ellipses with ragged borders, [number, HEIGHT, WIDTH]."""
    ys, xs = np.mgrid[:HEIGHT, :WIDTH]
    masks = []
    for _ in range(number):
        y, x = random.integers(HEIGHT), random.integers(WIDTH)
        tall, wide = random.integers(8, 120, 2)
        ragged = 1 + 0.2 * np.sin(xs / 7 + random.random() * 6) * np.sin(ys / 5)
        masks.append(((ys - y) / tall) ** 2 + ((xs - x) / wide) ** 2 < ragged)
    return np.array(masks)


def size_of(folder: Path) -> float:
    return sum(path.stat().st_size for path in (folder / "journal").rglob("*") if path.is_file()) / MIB


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
