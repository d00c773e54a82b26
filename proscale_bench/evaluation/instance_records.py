"""Annotations and results as columns: checked all at once, and a fault named with its place.

Nothing here trusts a record: what reaches the C code of pycocotools or hotcoco was found whole before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proscale_bench.data.dataset import Id
from proscale_bench.data.documents import identifier, is_number, kind_of, whole_number
from proscale_bench.data.instances_json import has_id, is_crowd_number
from proscale_bench.errors import BenchError
from proscale_bench.evaluation.average_precision import Floats, Integers, IouType
from proscale_bench.evaluation.ids import Ids, id_column
from proscale_bench.evaluation.instance_matching import Detections, MasksOrBoxes, Truths
from proscale_bench.evaluation.run_lengths import areas

FARTHEST_PX = 1e5  # COCO's largest object has this side; the C code draws every pixel of a line to a point
NO_MASK_HINT = "boxes can be scored without masks: --tasks boxes"
RECORD_HINT = "see https://cocodataset.org/#format-data and #format-results"


class Records:
    """A list of objects, read column by column.

    Args:
        place: name of the list in errors: `gt.json: annotations`.
        items: the objects.
        index: their places in the list of that name.
    """

    def __init__(self, place: str, items: Sequence[Any], index: Sequence[int] | None = None) -> None:
        self.place = place
        self.items = items
        self.index = range(len(items)) if index is None else index
        if set(map(type, items)) <= {dict}:
            return
        for position, item in enumerate(items):
            if not isinstance(item, Mapping):
                raise self.error(position, f"expected an object, found {kind_of(item)}")

    def __len__(self) -> int:
        return len(self.items)

    def error(self, position: int, problem: str, hint: str | None = None) -> BenchError:
        """A problem of one object, to be raised."""
        return BenchError(f"{self.place}[{self.index[position]}]: {problem}", hint)

    def take(self, chosen: NDArray[np.bool_]) -> Records:
        """Some of the objects, which keep their places."""
        if chosen.all():
            return self
        positions = np.flatnonzero(chosen).tolist()
        return Records(self.place, [self.items[one] for one in positions], [self.index[one] for one in positions])

    def has(self, key: str) -> NDArray[np.bool_]:
        return np.fromiter((key in item for item in self.items), bool, len(self))

    def integers(self, key: str) -> Integers:
        """Whole numbers below 2^63; floats that are whole count too."""
        return self._column(key, {int}, np.int64, whole_number, "a whole number")

    def ids(self, key: str) -> Ids:
        """Whole numbers below 2^63, or text."""
        values = self.values(key)
        if set(map(type, values)) <= {int}:
            with suppress(OverflowError):
                return np.array(values, np.int64)
        found: list[Id] = []
        for position, value in enumerate(values):
            id_ = identifier(value)
            if id_ is None:
                raise self.error(position, f"'{key}': expected a whole number or text, found {kind_of(value)}")
            found.append(id_)
        return id_column(found)

    def numbers(self, key: str) -> Floats:
        """Any numbers, NaN and infinity included."""
        return self._column(key, {int, float}, np.float64, _number, "a number")

    def crowds(self) -> Floats:
        """The value of `iscrowd`, 0 where it is missing: not 0 is ignored, and a crowd where it is 1 or more."""
        values = [item.get("iscrowd", 0) for item in self.items]
        if not set(map(type, values)) <= {int, bool} or not set(values) <= {0, 1}:
            for position, value in enumerate(values):
                if not is_crowd_number(value):
                    raise self.error(position, f"'iscrowd': expected 0 or 1, found {kind_of(value)}")
        return np.array(values, float)

    def boxes(self, key: str = "bbox") -> Floats:
        """(x, y, width, height) in pixels, [N, 4]."""
        values = self.values(key)
        found = None
        if all(type(box) is list and len(box) == 4 for box in values) and (
            set(map(type, chain.from_iterable(values))) <= {int, float}
        ):
            with suppress(OverflowError):  # an integer beyond all floats
                found = np.array(values, float).reshape(-1, 4)
        if found is None:
            found = np.array([_four(value) for value in values]).reshape(-1, 4)
        wrong = np.flatnonzero(~(np.abs(found) <= FARTHEST_PX).all(axis=1) | (found[:, 2:] < 0).any(axis=1))
        if len(wrong):
            raise self.error(
                int(wrong[0]),
                f"'{key}': expected four numbers, x, y, width and height in pixels, found {_said(values[wrong[0]])}",
                "width and height are not negative" if (found[wrong[0], 2:] < 0).any() else RECORD_HINT,
            )
        return found

    def unique(self, key: str = "id") -> Ids:
        """Ids, none of them twice."""
        ids = self.ids(key)
        if ids.dtype != object and len(np.unique(ids)) == len(ids):
            return ids
        firsts: dict[Any, int] = {}
        for position, id_ in enumerate(ids.tolist()):
            first = firsts.setdefault(id_, position)
            if first != position:
                raise self.error(position, f"'{key}': {id_} is also that of [{self.index[first]}]")
        return ids

    def masks(self, sizes: Integers, *, drawn: bool) -> tuple[list[dict[str, Any]], Integers]:
        """The segmentations as run lengths, and their areas in pixels.

        Args:
            sizes: [N, 2], (height, width) of each object's image.
            drawn: polygons and uncompressed counts are taken too, as the reference does in the truth.
        """
        runs, expected = self.values("segmentation"), sizes.tolist()
        if not _plain(runs, expected):
            runs = [self._runs(position, *one, drawn) for position, one in enumerate(zip(runs, expected, strict=True))]
        pixels = areas(runs, sizes.prod(axis=1))
        if (pixels < 0).any():
            position = int(np.flatnonzero(pixels < 0)[0])
            raise self._corrupt(position, sizes[position].tolist())
        return runs, pixels

    def _runs(self, position: int, found: Any, size: list[int], drawn: bool) -> dict[str, Any]:
        if isinstance(found, list) and drawn:
            return self._drawn(position, found, size)
        if not isinstance(found, Mapping) or "counts" not in found or "size" not in found:
            kinds = "polygons or run lengths" if drawn else "run lengths, {'size': [height, width], 'counts': '...'}"
            raise self.error(position, f"'segmentation': expected {kinds}, found {kind_of(found)}", RECORD_HINT)
        own = found["size"]
        if not isinstance(own, (list, tuple)) or list(own) != size:
            said = " x ".join(kind_of(side) for side in own) if isinstance(own, (list, tuple)) else kind_of(own)
            raise self.error(
                position,
                f"'segmentation': its size is {said[:80]}, its image's {size[0]} x {size[1]} (height x width)",
                "a mask has its image's original size",
            )
        counts = found["counts"]
        if isinstance(counts, (str, bytes)):
            return {"size": size, "counts": counts}
        if not drawn or not isinstance(counts, list):
            expected = "text or a list" if drawn else "text"
            raise self.error(position, f"'segmentation': expected counts as {expected}, found {kind_of(counts)}")
        from hotcoco import mask

        counts = [whole_number(run) for run in counts]  # 5.0 becomes 5
        if any(run is None or run < 0 for run in counts) or sum(counts) != size[0] * size[1]:
            raise self._corrupt(position, size)
        return mask.frPyObjects({"size": size, "counts": counts}, *size)

    def _corrupt(self, position: int, size: list[int]) -> BenchError:
        return self.error(
            position,
            f"'segmentation': the counts are corrupt: they do not cover {size[0]} x {size[1]} pixels",
            "the mask was encoded for another size, or its text was damaged: encode it again",
        )

    def _drawn(self, position: int, polygons: list[Any], size: list[int]) -> dict[str, Any]:
        """A mask of polygons, each as x, y, x, y ..."""
        from hotcoco import mask

        polygons = [polygon for polygon in polygons if polygon != []]
        if not polygons:
            raise self.error(position, "'segmentation': no polygon", NO_MASK_HINT)
        for polygon in polygons:
            if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
                found = f"{len(polygon)} numbers" if isinstance(polygon, list) else kind_of(polygon)
                raise self.error(
                    position, f"'segmentation': a polygon is an even count of at least 6 numbers, found {found}"
                )
            if any(_number(value) is None or not abs(value) <= FARTHEST_PX for value in polygon):
                raise self.error(position, f"'segmentation': a corner is no number up to {FARTHEST_PX:,.0f}")
        return mask.merge(mask.frPyObjects(polygons, *size))

    def values(self, key: str) -> list[Any]:
        """The values of a key, unchecked."""
        try:
            return [item[key] for item in self.items]
        except KeyError:
            missing = next(position for position, item in enumerate(self.items) if key not in item)
            raise self.error(missing, f"'{key}' is missing", RECORD_HINT) from None

    def _column(
        self, key: str, plain: set[type], kind: type, read: Callable[[Any], Any], expected: str
    ) -> NDArray[Any]:
        """The values of a key, read at once where all are of plain types, else one by one."""
        values = self.values(key)
        if set(map(type, values)) <= plain:
            try:
                return np.array(values, kind)
            except OverflowError:
                pass
        found = [read(value) for value in values]
        for position, value in enumerate(found):
            if value is None:
                raise self.error(position, f"'{key}': expected {expected}, found {kind_of(values[position])}")
        return np.array(found, kind)


def _plain(runs: list[Any], sizes: list[list[int]]) -> bool:
    """True if every one is run lengths of its size with counts as text."""
    try:
        return (
            set(map(type, runs)) <= {dict}
            and [one["size"] for one in runs] == sizes
            and set(map(type, chain.from_iterable(one["size"] for one in runs))) <= {int}
            and {type(one["counts"]) for one in runs} <= {str}
        )
    except KeyError:
        return False


def _number(value: Any) -> float | None:
    try:
        return float(value) if is_number(value) else None
    except OverflowError:
        return None


def _four(box: Any) -> list[float]:
    """A box's numbers; NaN where it has none."""
    numbers = [_number(side) for side in box] if isinstance(box, (list, tuple, np.ndarray)) else []
    return [math.nan if side is None else side for side in numbers] if len(numbers) == 4 else [math.nan] * 4


def _said(value: Any) -> str:
    return f"[{', '.join(map(kind_of, value))}]"[:80] if isinstance(value, (list, tuple)) else kind_of(value)


def truth_columns(records: Records, image: Integers, category: Integers, sizes: Integers, iou_type: IouType) -> Truths:
    """Annotations for the matching, every field that the reference reads.

    Args:
        image, category: places of their ids.
        sizes: [N, 2], (height, width) of each one's image; of no account for boxes.
    """
    shapes = records.masks(sizes, drawn=True)[0] if iou_type == "segm" else records.boxes()
    crowds, ids = records.crowds(), records.ids("id")
    named = ids != 0 if ids.dtype != object else np.fromiter(map(has_id, ids.tolist()), bool, len(ids))
    return Truths(image, category, records.numbers("area"), np.trunc(crowds) != 0, crowds != 0, named, shapes)


def detection_columns(
    records: Records, image: Integers, category: Integers, sizes: Integers, iou_type: IouType, *, boxed: bool
) -> Detections:
    """Results for the matching, as pycocotools' `loadRes` understands them.

    Args:
        boxed: the results have boxes: theirs is the area, of masks too, and a result without a mask is a rectangle.
            Otherwise they have masks, theirs is the area, and boxes are made from them where there is none.
    """
    shapes: MasksOrBoxes
    score = records.numbers("score")
    if boxed:
        boxes = records.boxes()
        area = boxes[:, 2] * boxes[:, 3]
        shapes = boxes if iou_type == "bbox" else _masks_or_rectangles(records, boxes, sizes)
    else:
        shapes, pixels = records.masks(sizes, drawn=False)
        area = pixels.astype(float)
        if iou_type == "bbox":
            shapes = _boxes_of(records, shapes)
    return Detections(image, category, score, area, shapes)


def _masks_or_rectangles(records: Records, boxes: Floats, sizes: Integers) -> list[dict[str, Any]]:
    from hotcoco import mask

    masked = records.has("segmentation")
    masks = iter(records.take(masked).masks(sizes[masked], drawn=True)[0])
    shapes = []
    for has_mask, (x, y, width, height), size in zip(masked, boxes.tolist(), sizes.tolist(), strict=True):
        right, bottom = x + width, y + height
        corners = [x, y, x, bottom, right, bottom, right, y]
        shapes.append(next(masks) if has_mask else mask.frPyObjects([corners], *size)[0])
    return shapes


def _boxes_of(records: Records, masks: list[dict[str, Any]]) -> Floats:
    """Each result's own box, or that of its mask."""
    from hotcoco import mask

    boxes: Floats = np.asarray(mask.to_bbox(masks), float).reshape(-1, 4)
    own = np.array([bool(item.get("bbox")) for item in records.items], bool)
    if own.any():
        boxes[own] = records.take(own).boxes()
    return boxes
