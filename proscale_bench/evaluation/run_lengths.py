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

CHUNK_BYTES = 1 << 17  # enough for numpy, and a chunk's numbers stay in the processor's cache
ZERO, MORE, SIGN, BITS = ord("0"), 0x20, 0x10, 5
LONGEST = 7  # characters of one number: pycocotools keeps 32 bits


def areas(masks: Sequence[dict[str, Any]], pixels: Integers) -> Integers:
    """The pixels of masks, [N]; -1 for one whose counts are corrupt, or do not cover its size exactly.

    Args:
        masks: `size` (height, width) and `counts` as text or bytes; nothing about the counts is taken for granted.
        pixels: [N], height times width of each.
    """
    from hotcoco import mask

    try:
        found = np.asarray(mask.area(list(masks)), np.int64)
    except (ValueError, TypeError, OverflowError):  # it does not say which
        found = np.array([_area(one) for one in masks], np.int64)
    # hotcoco took no run below 0 and none past the size, so that nothing is a multiple of 2^32 off.
    found[covered([one["counts"] for one in masks]) != pixels] = -1
    return found


def covered(counts: Sequence[str | bytes]) -> Integers:
    """The pixels that the runs of each string cover, zeros and ones, modulo 2^32; -1 where a part is no number."""
    strings = [one if isinstance(one, str) else one.decode("latin-1") for one in counts]
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


def _covered(strings: Sequence[str]) -> Integers:
    """`covered` of one chunk, all characters at once."""
    lengths = np.fromiter(map(len, strings), np.int64, len(strings))
    filled = np.flatnonzero(lengths)
    pixels = np.zeros(len(strings), np.int64)
    if not len(filled):
        return pixels
    text = "".join(strings)
    characters = np.frombuffer(text.encode("latin-1", "replace"), np.uint8)  # one byte each
    firsts = np.cumsum(lengths) - lengths
    lasts = firsts[filled] + lengths[filled] - 1
    corrupt = np.zeros(len(strings), bool)
    if not text.isascii():
        corrupt |= [not string.isascii() for string in strings]
    if not (characters.min() >= ZERO and characters.max() < ZERO + 2 * MORE):
        corrupt[_owners(firsts, np.flatnonzero((characters < ZERO) | (characters >= ZERO + 2 * MORE)))] = True
    # A string's last character ends its last number, whatever it says, so that no fault reaches the next string.
    more = characters >= ZERO + MORE
    corrupt[filled[more[lasts]]] = True
    more[lasts] = False

    # A number's last character has its sign. Most have one alone: only those after others are worth a shift.
    digits = characters - np.uint8(ZERO)
    values = np.where(more, digits - np.uint8(MORE), (digits ^ SIGN) - np.uint8(SIGN)).view(np.int8).astype(np.int32)
    place = np.flatnonzero(more) + 1
    for _ in range(LONGEST - 1):
        if not len(place):
            break
        values[place] <<= BITS
        place = place[more[place]] + 1
    corrupt[_owners(firsts, place)] = True

    # Each number is in its own run, and from the second on in every other run to the string's end.
    number = np.zeros(len(values), np.int32)
    np.cumsum(~more[:-1], out=number[1:])
    uses = np.repeat(number[lasts] + np.int32(2), lengths[filled])
    uses -= number
    uses >>= 1
    place = firsts[filled]
    while len(place):
        uses[place] = 1
        place = place[more[place]] + 1
    uses *= values
    pixels[filled] = np.add.reduceat(uses, firsts[filled], dtype=np.int32).view(np.uint32)
    pixels[corrupt] = -1
    return pixels


def _owners(firsts: Integers, characters: Integers) -> Integers:
    """The place of each character's string."""
    return np.searchsorted(firsts, characters, side="right") - 1
