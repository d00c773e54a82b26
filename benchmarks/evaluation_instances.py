"""How fast is AP, and how much memory does it take? Run by hand: python benchmarks/evaluation_instances.py [--rounds N]

Against pycocotools on 41 images (`SHARED`, which do not ship), repeated under new ids with some 70 detections each:
from files, reading and checking included, and in memory. What is compared takes turns in one run; ratios of medians.
Then from files of 300 images like COCO's, of 80 categories and 100 detections each.
Peak memory is that of a fresh process that scores 5,000 images of 640 x 480 with 100 detections each, masks and boxes.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from proscale_bench.data.dataset import Category, ImageEntry
from proscale_bench.evaluation.average_precision import reference_scores
from proscale_bench.evaluation.bootstrap import average_precisions, resample_weights
from proscale_bench.evaluation.instance import InstanceScorer, detections_of
from proscale_bench.evaluation.instance_files import evaluate_instances, read_ground_truth
from proscale_bench.results.statistics import interval_of

SHARED = Path(__file__).parents[2] / "shared" / "eval" / "instances"
IMAGES, REPEATS = 615, 15  # 15 times 41 images
COCO_IMAGES, COCO_DETECTIONS, COCO_CATEGORIES = 5000, 100, 80
HEIGHT_PX, WIDTH_PX = 480, 640


def report(what: str, found: float, target: str, met: bool) -> None:
    print(f"{what:66} {found:>12,.2f}   {target:22} {'met' if met else 'MISSED'}")


def interleaved(rounds: int, candidates: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median seconds of candidates that take turns."""
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            samples[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in samples.items()}


def repeated() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The golden set under new ids, each image's detections six times with other scores."""
    truth, results = (json.loads((SHARED / name).read_text()) for name in ("gt.json", "dets.json"))
    many: dict[str, Any] = {"images": [], "annotations": [], "categories": truth["categories"]}
    found: list[dict[str, Any]] = []
    for turn in range(REPEATS):
        shift = 100_000 * turn
        many["images"] += [{**image, "id": image["id"] + shift} for image in truth["images"]]
        for annotation in truth["annotations"]:
            new = {"id": len(many["annotations"]) + 1, "image_id": annotation["image_id"] + shift}
            many["annotations"].append({**annotation, **new})
        for part in range(6):
            found += [
                {**result, "image_id": result["image_id"] + shift, "score": round(result["score"] / (1 + part), 6)}
                for result in results
            ]
    return many, found


def pycocotools(gt: Path, results: Path, iou_type: str) -> list[float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(gt))
        evaluation = COCOeval(truth, truth.loadRes(str(results)), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats: list[float] = evaluation.stats.tolist()
    return stats


def hotcoco(gt: Path, results: Path, iou_type: str) -> None:
    """hotcoco's whole evaluation, for comparison: it knows neither our warnings nor our table of matches."""
    import hotcoco as engine

    truth = engine.COCO(str(gt))
    evaluation = engine.COCOeval(truth, truth.load_res(str(results)), iou_type)
    evaluation.evaluate()
    evaluation.accumulate()


def speed(rounds: int, folder: Path) -> None:
    truth, found = repeated()
    gt, results = folder / "gt.json", folder / "results.json"
    gt.write_text(json.dumps(truth))
    results.write_text(json.dumps(found))
    print(f"{len(truth['images'])} images, {len(truth['annotations']):,} annotations, {len(found):,} detections")
    for iou_type in ("segm", "bbox"):
        from_files(rounds, gt, results, iou_type)
        in_memory(rounds, gt, found, iou_type)


def from_files(rounds: int, gt: Path, results: Path, iou_type: Any) -> None:
    assert list(evaluate_instances(gt, results, iou_type).stats) == pycocotools(gt, results, iou_type)
    times = interleaved(
        rounds,
        {
            "ours": lambda: evaluate_instances(gt, results, iou_type),
            "hotcoco": lambda: hotcoco(gt, results, iou_type),
            "pycocotools": lambda: pycocotools(gt, results, iou_type),
        },
    )
    print(f"  {iou_type} from files:", *(f"{name} {seconds:.3f} s" for name, seconds in times.items()))
    ratio = times["pycocotools"] / times["ours"]
    report(f"AP {iou_type} from files: pycocotools / ours", ratio, "at least 10", ratio >= 10)


def in_memory(rounds: int, gt: Path, found: list[dict[str, Any]], iou_type: Any) -> None:
    """Records that are there already; pycocotools writes into its own, which are copied outside the clock."""
    truth = read_ground_truth(gt)
    annotations = truth.by_image()
    detections: dict[int, list[dict[str, Any]]] = {id_: [] for id_ in annotations}
    for one in found:
        detections[one["image_id"]].append(one)
    images = [ImageEntry(one["id"], "", one["height"], one["width"]) for one in truth.images.items]
    categories = [Category(id_, "", True) for id_ in truth.category_ids.tolist()]
    copies = [(copy.deepcopy(truth.document), copy.deepcopy(found)) for _ in range(rounds)]

    def ours() -> None:
        scorer = InstanceScorer(categories, (iou_type,))
        for image in images:
            scorer.add(image, annotations[image.id], detections[image.id])
        scorer.scores()

    times = interleaved(rounds, {"ours": ours, "pycocotools": lambda: reference_scores(*copies.pop(), iou_type)})
    print(f"  {iou_type} in memory:", *(f"{name} {seconds:.3f} s" for name, seconds in times.items()))
    ratio = times["pycocotools"] / times["ours"]
    report(f"AP {iou_type} in memory, image by image: pycocotools / ours", ratio, "at least 10", ratio >= 10)


def coco_like() -> Iterator[tuple[ImageEntry, list[dict[str, Any]], list[dict[str, Any]]]]:
    """Images with 7 truths and 100 detections, ellipses with wavy edges; only one image's records at a time."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:HEIGHT_PX, :WIDTH_PX].astype(np.float32)
    shapes, boxes = [], []
    for _ in range(300):
        sides = rng.uniform(5, 120, 2)
        y, x = rng.uniform(0, HEIGHT_PX), rng.uniform(0, WIDTH_PX)
        mask = ((rows - y) / sides[0]) ** 2 + ((columns - x) / sides[1]) ** 2 + 0.1 * np.sin(columns / 5) < 1
        down, across = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(down):
            shapes.append(mask)
            boxes.append([across[0], down[0], across[-1] + 1, down[-1] + 1])
    pool = detections_of(0, np.zeros(len(shapes)), np.zeros(len(shapes)), np.array(shapes), np.array(boxes, np.float32))
    areas = [int(mask.sum()) for mask in shapes]
    for id_ in range(COCO_IMAGES):
        chosen = rng.choice(len(pool), COCO_DETECTIONS, replace=False).tolist()
        labels = rng.integers(1, COCO_CATEGORIES + 1, COCO_DETECTIONS).tolist()
        scores = rng.random(COCO_DETECTIONS).tolist()
        truths = [
            {
                **{key: pool[shape][key] for key in ("segmentation", "bbox")},
                "id": 1000 * id_ + place + 1,
                "category_id": labels[place],
                "iscrowd": int(rng.random() < 0.02),
                "area": areas[shape],
            }
            for place, shape in enumerate(chosen[:7])
        ]
        yield (
            ImageEntry(id_, "", HEIGHT_PX, WIDTH_PX),
            truths,
            [
                {**pool[shape], "image_id": id_, "category_id": label, "score": score}
                for shape, label, score in zip(chosen, labels, scores, strict=True)
            ],
        )


def coco_files(rounds: int, folder: Path) -> None:
    """From files again, of as many categories as COCO has."""
    truth: dict[str, Any] = {"images": [], "annotations": []}
    truth["categories"] = [{"id": id_, "name": str(id_)} for id_ in range(1, COCO_CATEGORIES + 1)]
    found: list[dict[str, Any]] = []
    for image, truths, detections in itertools.islice(coco_like(), 300):
        truth["images"].append({"id": image.id, "height": image.height_px, "width": image.width_px})
        truth["annotations"] += [{**one, "image_id": image.id} for one in truths]
        found += [{key: value for key, value in one.items() if key != "bbox"} for one in detections]
    gt, results = folder / "coco_gt.json", folder / "coco_results.json"
    gt.write_text(json.dumps(truth))
    results.write_text(json.dumps(found))
    print(f"{len(truth['images'])} images, {len(truth['annotations']):,} annotations, {len(found):,} detections")
    for iou_type in ("segm", "bbox"):
        from_files(rounds, gt, results, iou_type)


def whole_coco() -> None:
    """Runs in a process of its own: prints seconds and the peak of its memory."""
    scorer = InstanceScorer([Category(id_, "", True) for id_ in range(1, COCO_CATEGORIES + 1)])
    adding = 0.0
    for image, truths, detections in coco_like():
        start = time.perf_counter()
        scorer.add(image, truths, detections)
        adding += time.perf_counter() - start
    start = time.perf_counter()
    ap = scorer.scores()["segm"].ap
    scoring = time.perf_counter() - start
    scored_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    weights = resample_weights(COCO_IMAGES)
    replicates = average_precisions(scorer.matches("segm"), len(scorer.category_ids), weights)
    resampling = time.perf_counter() - start
    print(
        json.dumps(
            {
                "adding_s": adding,
                "scoring_s": scoring,
                "scored_mib": scored_mib,
                "bootstrap_s": resampling,
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "interval": interval_of(replicates.tolist(), ap, COCO_IMAGES),
            }
        )
    )


def memory() -> None:
    command = [sys.executable, __file__, "--whole-coco"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print("  5,000 images, 500,000 detections, masks and boxes:", found)
    report("peak memory of scoring 5,000 images, MiB", found["scored_mib"], "below 1,000", found["scored_mib"] < 1000)
    report("1,000 resamples of their AP, s", found["bootstrap_s"], "about a minute", found["bootstrap_s"] < 60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--whole-coco", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.whole_coco:
        whole_coco()
        return
    with tempfile.TemporaryDirectory() as folder:
        speed(arguments.rounds, Path(folder))
        coco_files(arguments.rounds, Path(folder))
    memory()


if __name__ == "__main__":
    main()
