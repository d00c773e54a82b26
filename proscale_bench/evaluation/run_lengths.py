"""COCO's run lengths: whether a mask's are whole, before any C code sees them, and the fastest exact encoder.

Runs of zeros and ones alternate, column by column, zeros first. A string holds them as differences to the last run but
one, five bits a character (pycocotools, `maskApi.c`, `rleToString`). pycocotools never returns from runs that end too
early, and reads past the end of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proscale_bench.evaluation.average_precision import Integers

CHUNK_BYTES = 1 << 16  # a chunk's numbers stay in the processor's cache
ZERO, MORE, SIGN, PAYLOAD, BITS = ord("0"), 0x20, 0x10, 0x1F, 5
LONGEST = 7  # characters of one number: pycocotools keeps 32 bits


def areas(masks: Sequence[dict[str, Any]]) -> Integers:
    """The pixels of masks, [N]; -1 for one whose counts are corrupt, or do not cover its size exactly.

    Args:
        masks: `size` (height, width) and `counts` as text or bytes; nothing about the counts is taken for granted.
    """
    from hotcoco import mask

    try:
        found = np.asarray(mask.area(list(masks)), np.int64)
    except (ValueError, TypeError, OverflowError):  # it does not say which
        found = np.array([_area(one) for one in masks], np.int64)
    counts = [one["counts"] for one in masks]
    pixels = covered([one if isinstance(one, bytes) else one.encode("utf-8", "replace") for one in counts])
    whole = np.array([height * width for height, width in (one["size"] for one in masks)], np.int64)
    found[pixels != whole] = -1
    return found


def covered(strings: Sequence[bytes]) -> Integers:
    """How many pixels the runs of each string cover, zeros and ones; -1 where a character or a number is none."""
    pixels = np.empty(len(strings), np.int64)
    first, size = 0, 0
    for end, string in enumerate(strings, 1):
        size += len(string)
        if size >= CHUNK_BYTES or end == len(strings):
            pixels[first:end] = _covered(strings[first:end])
            first, size = end, 0
    return pixels


def encode_masks(masks: NDArray[np.bool_], boxes: NDArray[np.floating[Any]]) -> list[dict[str, Any]]:
    """Run lengths of masks [N, H, W], counts as text, as pycocotools encodes them.

    Args:
        boxes: [N, 4], (x0, y0, x1, y1) around each mask, x1 and y1 just outside it. Only what is inside is turned on
            its side, which is most of the cost; a mask that reaches further is encoded whole.
    """
    from hotcoco import mask

    if not len(masks):
        return []
    sideways = np.zeros(masks.shape[:0:-1], np.uint8)  # [W, H]: COCO goes column by column
    encoded = []
    for pixels, (x0, y0, x1, y1) in zip(masks, np.asarray(boxes).astype(int).clip(0).tolist(), strict=True):
        inside = pixels[y0:y1, x0:x1]
        if np.count_nonzero(inside) != np.count_nonzero(pixels):
            inside, x0, y0, x1, y1 = pixels, 0, 0, pixels.shape[1], pixels.shape[0]  # noqa: PLW2901
        sideways[x0:x1, y0:y1] = inside.T
        runs = mask.encode(sideways.T)
        sideways[x0:x1, y0:y1] = 0
        encoded.append({"size": [int(side) for side in runs["size"]], "counts": runs["counts"].decode("ascii")})
    return encoded


def _area(one: dict[str, Any]) -> int:
    from hotcoco import mask

    try:
        return int(mask.area(one))
    except (ValueError, TypeError, OverflowError):
        return -1


def _covered(strings: Sequence[bytes]) -> Integers:
    """`covered` of one chunk, all characters at once."""
    lengths = np.array([len(string) for string in strings])
    characters = np.frombuffer(b"".join(strings), np.uint8)
    firsts = np.cumsum(lengths) - lengths
    corrupt = np.zeros(len(strings), bool)
    outside = np.flatnonzero((characters < ZERO) | (characters >= ZERO + 2 * MORE))
    corrupt[np.searchsorted(firsts, outside, side="right") - 1] = True
    # A string's last character ends its last number, whatever it says, so that no fault reaches the next string.
    ends = characters < ZERO + MORE
    lasts = (firsts + lengths - 1)[lengths > 0]
    corrupt[np.flatnonzero(lengths)[~ends[lasts]]] = True
    ends[lasts] = True

    finish = np.flatnonzero(ends)
    start = np.empty_like(finish)
    start[:1], start[1:] = 0, finish[:-1] + 1
    width = finish - start + 1
    payload = (characters - np.uint8(ZERO)) & PAYLOAD
    numbers = payload[start].astype(np.int64)
    for place in range(1, min(int(width.max(initial=0)), LONGEST)):
        longer = np.flatnonzero(width > place)
        numbers[longer] |= payload[start[longer] + place].astype(np.int64) << BITS * place
    negative = np.flatnonzero(payload[finish] & SIGN)
    numbers[negative] -= 1 << BITS * np.minimum(width[negative], LONGEST)

    # Each number is in its own run, and from the second on in every other run to the string's end.
    count = np.diff(np.searchsorted(start, np.append(firsts, len(characters))))
    place = np.arange(len(numbers)) - np.repeat(np.cumsum(count) - count, count)
    uses = (np.repeat(count, count) - place + 1) // 2
    uses[place == 0] = 1
    owner = np.repeat(np.arange(len(strings)), count)
    corrupt[owner[width > LONGEST]] = True
    pixels = np.bincount(owner, numbers * uses, len(strings))  # floats, exact below 2^53
    return np.where(corrupt | (np.abs(pixels) >= 1 << 53), -1, pixels).astype(np.int64)
