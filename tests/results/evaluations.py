"""Evaluations for tests: records with accuracies and replicates that a test chooses."""

from __future__ import annotations

from proscale_bench.results.accuracy import Accuracy, ClassAccuracy, Evaluated, Task
from proscale_bench.results.profile import Execution
from proscale_bench.results.record import COCO_CLASSES, EvaluationProtocol, Record

from .records import record

ALL_TASKS: tuple[Task, ...] = ("panoptic", "instance", "semantic")
DRAWS = 200
EXECUTION = Execution(
    device="cpu",
    device_name="a CPU",
    dtype="fp32",
    batch_size=1,
    mode="eager",
    sampling="embedding_bag",
    optimizations=True,
    threads=4,
)
THRESHOLDS = {"score": 0.8, "overlap": 0.8, "mask": 0.5}
NAMES = ("pq", "sq", "rq", "pq_things", "pq_stuff", "ap", "ap50", "ap_bbox", "miou", "fwiou")


def draws(middle: float, spread: float = 2.0, shift: int = 0) -> tuple[float, ...]:
    """Replicates around a value; of one `shift` they rise and fall together."""
    return tuple(middle + spread * (((index + shift) * 37 % DRAWS) / DRAWS - 0.5) for index in range(DRAWS))


def evaluated(
    schedule: str = "3,3,3",
    pq: float = 40.0,
    *,
    source: str = "weights.safetensors",
    images: str = "a" * 64,
    tasks: tuple[Task, ...] = ALL_TASKS,
    shift: int = 0,
    resamples: int = DRAWS,
    seed: int | None = None,
    recipe: str | None = None,
    resize: str = "none",
) -> Record:
    one = record(schedule, "tiny")
    metrics = {name: pq + index for index, name in enumerate(NAMES)}
    replicates = {name: draws(value, shift=shift) for name, value in metrics.items()} if resamples else {}
    how = Evaluated(
        tasks=tasks,
        images=256,
        dataset_digest=images,
        images_digest=images,
        resize=resize,
        engine="hotcoco 1.3.0",
        processes=1,
        seconds=12.5,
        resamples=resamples,
        training_seed=seed,
        training_recipe=recipe,
        training_start="fresh" if recipe else None,
        intervals={name: (min(values), max(values)) for name, values in replicates.items()},
        replicates=replicates,
        classes=(
            ClassAccuracy(name="circle", is_thing=True, pq=50.0, true_positives=1200, ap=31.0, iou=80.0),
            ClassAccuracy(name="sky", is_thing=False, pq=None, iou=None),
        ),
    )
    accuracy = Accuracy(dataset="val", provenance="measured", source=source, evaluated=how, **metrics)
    given = one.input.model_copy(
        update={**dict.fromkeys(set(type(one.input).model_fields) - {"size", "images", "dataset"}), "size": "val"}
    )
    given = given.model_copy(update={"images": 256, "dataset": images})
    weights = f"{schedule}{source}".ljust(64, "0")[:64]
    identity = one.identity.model_copy(update={"weights": weights, "classes": COCO_CLASSES})
    protocol = EvaluationProtocol(
        dataset="val", annotations=images, split="val", images=256, tasks=tasks, resize=resize, thresholds=THRESHOLDS
    )
    parts = {"accuracy": accuracy, "input": given, "identity": identity, "evaluation": protocol}
    return one.model_copy(update={**parts, "execution": EXECUTION})


def by_an_older_version(one: Record) -> Record:
    """The record of an evaluation as version 0.1 wrote it: without its protocol."""
    return one.model_copy(update={"evaluation": None})
