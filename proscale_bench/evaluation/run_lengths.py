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
    found[covered([one["counts"] for one in masks]) != pixels] = -1
    return found


def covered(counts: Sequence[str | bytes]) -> Integers:
    """How many pixels the runs of each string cover, zeros and ones; -1 where a character or a number is none."""
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
    text = "".join(strings)
    characters = np.frombuffer(text.encode("latin-1", "replace"), np.uint8)  # one byte each
    firsts = np.cumsum(lengths) - lengths
    corrupt = np.zeros(len(strings), bool)
    if not text.isascii():
        corrupt |= [not string.isascii() for string in strings]
    if text and not (characters.min() >= ZERO and characters.max() < ZERO + 2 * MORE):
        corrupt[_owners(firsts, np.flatnonzero((characters < ZERO) | (characters >= ZERO + 2 * MORE)))] = True
    # A string's last character ends its last number, whatever it says, so that no fault reaches the next string.
    ends = characters < ZERO + MORE
    filled = np.flatnonzero(lengths)
    lasts = (firsts + lengths - 1)[filled]
    corrupt[filled[~ends[lasts]]] = True
    ends[lasts] = True

    finish = np.flatnonzero(ends)
    payload = (characters - np.uint8(ZERO)) & PAYLOAD
    last = payload[finish].astype(np.int64)
    # Most numbers have one character: its fifth bit is the sign. The others take theirs one by one, last first.
    numbers = (last ^ SIGN) - SIGN
    before = np.empty_like(finish)
    before[:1], before[1:] = -1, finish[:-1]
    wide = np.flatnonzero(finish - before > 1)
    place, end = finish[wide] - 1, before[wide]
    value, more = numbers[wide], wide
    for _ in range(LONGEST - 1):
        value = (value << BITS) | payload[place]
        numbers[more] = value
        going = np.flatnonzero(place - 1 > end)
        if not len(going):
            break
        place, end, value, more = place[going] - 1, end[going], value[going], more[going]
    else:
        corrupt[_owners(firsts, place)] = True

    # Each number is in its own run, and from the second on in every other run to the string's end.
    bounds = np.searchsorted(finish, np.append(firsts[filled], len(characters)))
    uses = (np.repeat(bounds[1:] + 1, np.diff(bounds)) - np.arange(len(numbers))) >> 1
    uses[bounds[:-1]] = 1
    pixels = np.zeros(len(strings), np.int64)
    if len(filled):
        pixels[filled] = np.add.reduceat(numbers * uses, bounds[:-1])
    pixels[corrupt] = -1
    return pixels


def _owners(firsts: Integers, characters: Integers) -> Integers:
    """Which string each character is of."""
    return np.searchsorted(firsts, characters, side="right") - 1
