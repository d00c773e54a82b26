"""Numbers that others published or counted: shipped with the tool, each with its source (see data/README.md)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from proscale_bench.results.accuracy import Accuracy
from proscale_bench.results.record import COCO_CLASSES, Identity, Input, Reference, ReferenceGflops
from proscale_bench.results.registry import PublishedRow, shipped_registry
from proscale_bench.units import GIGA, MEGA

DATASET = "COCO val2017"
COCO_IMAGES = 5000  # of val2017
PAPER_SIZE = "coco-first100"  # what the papers average their GFLOPs over
PAPER_RULES = "published"
OFFICIAL_SOURCE = "Mask2Former 9b0651c and PRO-SCALE 2e9cf4c under fvcore 0.1.5.post20221221"
OFFICIAL_PARTS = (
    *("encoder_projection", "encoder_recalibration", "encoder_token_layers", "pixel_embedding", "encoder"),
    *("fpn_upsampling", "transformer_decoder", "total", "postprocessing", "total_with_postprocessing"),
)


def accuracy_of(row: PublishedRow) -> Accuracy:
    """The accuracies of a row, as a record keeps them."""
    return Accuracy(
        dataset=row.dataset,
        pq=row.pq,
        ap=row.ap,
        ap_bbox=row.ap_bbox,
        miou=row.miou,
        provenance="published",
        source=row.source,
        note=", ".join(filter(None, (f"{row.pretraining} backbone" if row.pretraining else "", row.note))),
    )


def reference_of(row: PublishedRow) -> Reference | None:
    """The paper's own total of a released model, where it prints one."""
    if row.gflops is None:
        return None
    return Reference(
        kind="paper",
        what="total with post-processing as printed, mean over the first 100 images",
        source=row.cost_source,
        convention="mac",
        rules=PAPER_RULES,
        gflops=ReferenceGflops(total_with_postprocessing=row.gflops),
        params_m=row.params_m,
    )


@dataclass(frozen=True)
class OfficialCount:
    """Integer FLOPs of one image by part, found by the official code and method; our rules `fvcore`, 1 MAC = 1."""

    backbone: str
    schedule: str  # canonical compact
    height_px: int
    width_px: int
    output_height_px: int
    output_width_px: int
    flops: dict[str, int]
    params_encoder: int
    params_total: int

    def reference(self) -> Reference:
        return Reference(
            kind="official_code",
            what="the official code, counted by the official method",
            source=OFFICIAL_SOURCE,
            convention="mac",
            rules="fvcore",
            gflops=ReferenceGflops(**{part: flops / GIGA for part, flops in self.flops.items()}),
            params_m=self.params_total / MEGA,
        )


def published_results(backbone: str | None = None) -> tuple[PublishedRow, ...]:
    """Every released model that this tool builds, or those of one backbone: the baseline first, ImageNet-1k before 21k.

    Their accuracies are panoptic ones on COCO val2017; other rows of the registry name no schedule.
    """
    return tuple(row for row in shipped_registry() if row.schedule and backbone in (None, row.backbone))


def published_result(backbone: str, schedule: str) -> PublishedRow | None:
    """The published result of a configuration, or None. Where there are several it is the first, as listed above.

    Args:
        backbone: such as `swin_t`.
        schedule: canonical compact.
    """
    return next((result for result in published_results(backbone) if result.schedule == schedule), None)


def published_of(identity: Identity) -> PublishedRow | None:
    """The published result of a model; None where it is not the published one to the last dimension, or has weights."""
    known = identity.weights is None and _is_as_published(identity)
    return published_result(identity.backbone, identity.schedule) if known else None


def references_of(identity: Identity, given: Input) -> tuple[Reference, ...]:
    """Costs that others found of a model at this very input; none where it is not the model that they had."""
    if not _is_as_published(identity):
        return ()
    backbone, schedule = identity.backbone, identity.schedule
    found: list[Reference] = []
    result = published_result(backbone, schedule)
    if given.size == PAPER_SIZE and result and (printed := reference_of(result)):
        found.append(printed)
    sides = (given.height_px, given.width_px, given.output_height_px, given.output_width_px)
    found += [
        count.reference()
        for count in official_counts()
        if (count.backbone, count.schedule) == (backbone, schedule)
        and (count.height_px, count.width_px, count.output_height_px, count.output_width_px) == sides
    ]
    return tuple(found)


def _is_as_published(identity: Identity) -> bool:
    """COCO's classes, and every dimension as the backbone's name stands for."""
    usual = identity.classes == COCO_CLASSES or (identity.classes is None and identity.weights is None)
    return usual and identity.dimensions is None and identity.model == Identity.model_fields["model"].default


def data_of(accuracy: Accuracy) -> str:
    """The data that an accuracy is of. All of `val2017` is what others published results on."""
    how = accuracy.evaluated
    is_coco = how is not None and how.images == COCO_IMAGES and DATASET.endswith(f" {accuracy.dataset}")
    return DATASET if is_coco else accuracy.dataset


@cache
def official_counts() -> tuple[OfficialCount, ...]:
    """Every shipped count of the official code."""
    sides = ("height_px", "width_px", "output_height_px", "output_width_px", "params_encoder", "params_total")
    return tuple(
        OfficialCount(
            backbone=row["backbone"],
            schedule=row["schedule"],
            flops={"backbone": int(row["backbone_flops"])} | {part: int(row[part]) for part in OFFICIAL_PARTS},
            **{key: int(row[key]) for key in sides},
        )
        for row in _rows("official_flops.csv")
    )


def _rows(name: str) -> Iterator[dict[str, str]]:
    text = resources.files(__package__).joinpath(f"data/{name}").read_text("utf-8")
    return iter(csv.DictReader(text.splitlines()))
