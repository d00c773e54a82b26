"""Findings about a data set on disk: what is there, and everything that is missing or broken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Kind:
    """A kind of problem. An error stops an evaluation at its image; with a warning it goes on.

    Args:
        name: in JSON, such as `missing-image`.
        severity: of every finding of this kind.
        title: for a reader, in the singular.
        meaning: for an evaluation, and what to do.
    """

    name: str
    severity: Severity
    title: str
    meaning: str


def _kinds(severity: Severity, *rows: tuple[str, str, str]) -> dict[str, Kind]:
    return {name: Kind(name, severity, title, meaning) for name, title, meaning in rows}


COPY_AGAIN = "eval stops there: copy or unpack the file again"
MEND_JSON = "eval does not start: mend the annotations"

KINDS: dict[str, Kind] = {
    **_kinds(
        "error",
        ("unreadable-annotations", "annotation file cannot be read", "eval does not start: mend it or copy it again"),
        ("missing-folder", "folder is missing", "eval does not start: unpack the archive, or link the folder"),
        ("no-images", "no image is listed", "nothing to evaluate: is it the right file?"),
        ("no-categories", "no category is listed", "nothing to evaluate: is it the right file?"),
        ("duplicate-category", "category listed twice", MEND_JSON),
        ("duplicate-image", "image listed twice", MEND_JSON),
        ("duplicate-annotation", "image with two panoptic annotations", MEND_JSON),
        ("duplicate-segment", "segment id used twice in an image", MEND_JSON),
        ("duplicate-instance", "instance id used twice", MEND_JSON),
        ("unknown-category", "category that is not listed", MEND_JSON),
        ("unknown-image", "annotation of an image that is not listed", MEND_JSON),
        ("no-annotation", "image without a panoptic annotation", MEND_JSON),
        ("category-clash", "category called differently by the two files", "eval does not start: take a matching pair"),
        ("images-differ", "image that the two files list differently", "eval does not start: take a matching pair"),
        ("bad-segment", "segment that cannot be one", MEND_JSON),
        ("bad-instance", "instance that cannot be read", MEND_JSON),
        ("missing-image", "image file is missing", COPY_AGAIN),
        (
            "unreadable-image",
            "image cannot be read",
            "eval stops there: copy or unpack the file again, or save it with 8 bits a channel",
        ),
        ("image-size", "image of another size than listed", "eval stops there: the annotations are of another image"),
        ("missing-map", "panoptic PNG is missing", COPY_AGAIN),
        ("unreadable-map", "panoptic PNG cannot be read", COPY_AGAIN),
        ("map-size", "panoptic PNG of another size than its image", "eval stops there: it is of another image"),
        ("missing-labels", "semantic PNG is missing", "eval of semantic stops there: make it, or remove the folder"),
        ("unreadable-labels", "semantic PNG cannot be read", "eval of semantic stops there: make it again"),
        ("labels-size", "semantic PNG of another size than its image", "eval of semantic stops there: make it again"),
        (
            "unknown-label",
            "semantic PNG with unknown classes",
            "eval of semantic stops there: labels are class indices",
        ),
    ),
    **_kinds(
        "warning",
        ("categories-differ", "thing without instances' category", "its AP is not evaluated, its PQ is"),
        ("no-mask", "instances without a mask", "box AP alone is evaluated, as with --tasks boxes"),
        (
            "category-name",
            "category name that is empty, over 200 characters or not printable",
            "no number depends on it",
        ),
        ("shared-file", "file that two images share", "eval counts it twice"),
        ("unlisted-id", "id in a panoptic PNG that no segment has", "its pixels are no truth and not void either"),
        ("segment-without-pixels", "segment without pixels", "it counts as missed, whatever is predicted"),
        ("segment-area", "segment of another area than listed", "PQ takes the listed area, as panopticapi does"),
        ("instance-zero", "instance with the id 0", "AP takes it as never found, as pycocotools does: give it another"),
        ("instance-box", "instance whose box is not around its mask", "box AP takes the box as it is listed"),
        (
            "instance-area",
            "instance of half or twice its mask's area",
            "small, medium or large AP takes the listed area",
        ),
        ("unlisted-file", "file that nobody lists", "eval leaves it out"),
        ("unreadable-folder", "folder that cannot be listed", "whether unlisted files lie there is not known"),
    ),
}


@dataclass(frozen=True)
class DataFinding:
    """A problem: its kind (of `KINDS`), the file as seen from the data set's folder, and what is wrong."""

    kind: str
    file: str
    message: str
    image_id: int | str | None = None

    @property
    def severity(self) -> Severity:
        return KINDS[self.kind].severity

    def row(self) -> dict[str, Any]:
        return {
            "severity": self.severity,
            **{key: getattr(self, key) for key in ("kind", "file", "image_id", "message")},
        }

    def __str__(self) -> str:
        image = "" if self.image_id is None else f" (image {self.image_id})"
        return f"{self.file}{image}: {self.message}"


@dataclass(frozen=True)
class DataCheck:
    """A data set, described.

    Args:
        folder, split: what was looked at.
        quick: no pixel was decoded, headers alone were read.
        images, image_dir: how many are listed, and where they lie; None where that folder is missing.
        things, stuff: how many categories.
        maps, map_dir, segments: of the panoptic truth; None where there is none.
        instances, crowds, images_with_instances: None where there are none.
        semantic_dir: of PNGs of class indices; None where they are made from the panoptic maps.
        tasks: what can be evaluated once the errors are gone.
        findings: in the order they were found: annotations first, then image by image.
    """

    folder: str
    split: str
    quick: bool
    images: int
    image_dir: str | None
    things: int
    stuff: int
    maps: int | None
    map_dir: str | None
    segments: int | None
    instances: int | None
    crowds: int | None
    images_with_instances: int | None
    semantic_dir: str | None
    tasks: tuple[str, ...]
    findings: tuple[DataFinding, ...]

    @property
    def errors(self) -> int:
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def warnings(self) -> int:
        return len(self.findings) - self.errors

    def by_kind(self) -> list[tuple[Kind, list[DataFinding]]]:
        """The findings by kind, errors first, in the order of `KINDS`."""
        found: dict[str, list[DataFinding]] = {}
        for finding in self.findings:
            found.setdefault(finding.kind, []).append(finding)
        return [(kind, found[name]) for name, kind in KINDS.items() if name in found]

    def row(self) -> dict[str, Any]:
        """The row of `data check --export-json`."""
        panoptic = {"maps": self.maps, "segments": self.segments, "dir": self.map_dir}
        instances = {"instances": self.instances, "crowds": self.crowds, "images": self.images_with_instances}
        return {
            **{name: getattr(self, name) for name in ("folder", "split", "quick")},
            "usable": self.errors == 0,
            "tasks": list(self.tasks),
            "images": {"listed": self.images, "dir": self.image_dir},
            "categories": {"things": self.things, "stuff": self.stuff},
            "panoptic": None if self.maps is None else panoptic,
            "instances": None if self.instances is None else instances,
            "semantic": {"dir": self.semantic_dir},
            "errors": self.errors,
            "warnings": self.warnings,
            "findings": [finding.row() for finding in self.findings],
        }


def first_error(findings: Iterable[DataFinding]) -> tuple[DataFinding | None, int]:
    """The first error among findings, and how many there are."""
    errors = [finding for finding in findings if finding.severity == "error"]
    return (errors[0] if errors else None), len(errors)
