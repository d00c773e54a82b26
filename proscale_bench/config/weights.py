"""The weights that ship, and the header of a weights file, read without torch.

A safetensors file begins with the length of its header, 8 bytes, and the header, a JSON object of tensors' types,
shapes and places (https://github.com/huggingface/safetensors). What shapes cannot tell our own files say in the
header's metadata.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proscale_bench.errors import BenchError
from proscale_bench.specs.encoders import multiscale
from proscale_bench.specs.families import MASK2FORMER, is_detector
from proscale_bench.specs.model import EncoderSpec
from proscale_bench.specs.spelling import parse_encoder

METADATA = "proscale_bench"  # the key of what our own files say of themselves
FOLDER = Path(__file__).resolve().parent.parent / "weights"
MAX_HEADER_BYTES = 8 << 20  # that of Swin-L has 0.1 MiB
# With the largest number that a model can have.
TOLD_DIMENSIONS = {
    "encoder_heads": 1024,
    "encoder_points": 1024,
    "encoder_ffn": 1 << 20,
    "decoder_heads": 1024,
    "decoder_points": 1024,  # this and the next of detectors alone
    "queries": 65_536,
}
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class WeightsHeader:
    """The header of a weights file of ours. Nothing of it is held against the tensors: loading does that.

    Args:
        shapes: the shape of every tensor, under our keys.
        digest: the digest of the weights; None where it does not say.
        seed, data: of the training, `shapes` for example; None where it does not say.
        encoder_heads, encoder_points, encoder_ffn, decoder_heads, decoder_points, queries: what no shape tells; None
            where it does not say.
    """

    schedule: EncoderSpec
    shapes: Mapping[str, tuple[int, ...]]
    digest: str | None
    seed: int | None
    data: str | None = None
    encoder_heads: int | None = None
    encoder_points: int | None = None
    encoder_ffn: int | None = None
    decoder_heads: int | None = None
    decoder_points: int | None = None
    queries: int | None = None


def shipped_weights() -> dict[str, Path]:
    """The weights that come with the tool, by name: `tiny-3-3-3`. Empty where none were installed."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.safetensors"))}


def require_shipped_weights(schedule: EncoderSpec | None = None, seed: int | None = None) -> dict[str, Path]:
    """Choose weights that ship: those of a schedule and of a training's seed, where these are given.

    Raises:
        BenchError: there are none.
    """
    shipped = shipped_weights()
    if not shipped:
        hint = "give files: --weights FILE of 'eval', `weights: [FILE]` of a sweep; or try 'eval --random-weights 0'"
        raise BenchError(f"no weights ship with this installation: {FOLDER} holds none", hint)
    if schedule is None and seed is None:
        return shipped
    told = {name: read_header(path) for name, path in shipped.items()}
    chosen = {
        name: shipped[name]
        for name, one in told.items()
        if schedule in (None, one.schedule) and seed in (None, one.seed)
    }
    if not chosen:
        wanted = [
            *([f"schedule {schedule.compact}"] if schedule else []),
            *([f"seed {seed}"] if seed is not None else []),
        ]
        raise BenchError(f"no weights of {' and '.join(wanted)} ship", f"these do: {', '.join(shipped)}")
    return chosen


def read_header(path: Path) -> WeightsHeader:
    """Read the header of a safetensors file of ours.

    Raises:
        BenchError: unreadable, damaged, hostile, or not written by us.
    """
    shapes, metadata = read_shapes(path)
    try:
        if METADATA not in metadata:
            hint = "'proscale-bench models convert FILE OUT.safetensors --layout ours' writes a file that does"
            raise BenchError(f"{path}: does not say its schedule", hint)
        told = json.loads(metadata[METADATA])
        provenance = told.get("provenance") or {}
        seed = provenance.get("seed")
        digest = told.get("weights")
        return WeightsHeader(
            schedule=told_encoder(told),
            shapes=shapes,
            digest=digest if isinstance(digest, str) and DIGEST.fullmatch(digest) else None,
            seed=seed if type(seed) is int else None,
            data=data if isinstance(data := provenance.get("data"), str) else None,
            **told_dimensions(told),
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(path, error) from error


def read_shapes(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Read the shape of every tensor of a safetensors file, under the file's own keys, and the file's metadata.

    Raises:
        BenchError: unreadable, damaged, or no safetensors file.
    """
    header = _header(path)
    try:
        metadata = {str(key): str(value) for key, value in header.pop("__metadata__", {}).items()}
        return {key: tuple(int(side) for side in entry["shape"]) for key, entry in header.items()}, metadata
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise _unreadable(path, error) from error


def require_whole(path: Path) -> None:
    """Refuse a safetensors file that was cut short, where nobody is going to read its tensors.

    Raises:
        BenchError: unreadable, or shorter than its header says.
    """
    header = _header(path)
    ends = [entry.get("data_offsets") for entry in header.values() if isinstance(entry, dict)]
    tensors = max(
        (end[1] for end in ends if isinstance(end, list) and len(end) == 2 and type(end[1]) is int), default=0
    )
    with path.open("rb") as file:
        claimed = 8 + int.from_bytes(file.read(8), "little") + tensors
    found = path.stat().st_size
    if claimed > found:
        what = f"not a whole safetensors file: it has {found:,} of {claimed:,} bytes"
        raise BenchError(f"{path}: {what}", "download it again")


def _unreadable(path: Path, error: Exception) -> BenchError:
    return BenchError(f"{path}: its header cannot be read: {str(error)[:200]}", "the file is damaged")


def told_encoder(told: Mapping[str, Any]) -> EncoderSpec:
    """The encoder that a file of ours says, as its family spells it.

    Raises:
        BenchError: no encoder has such a spelling.
        LookupError, AttributeError: it says none.
    """
    detector = is_detector(told.get("model") or MASK2FORMER)
    return multiscale.parse_compact(told["schedule"]) if detector else parse_encoder(told["schedule"])


def told_dimensions(told: Mapping[str, object]) -> dict[str, int | None]:
    """The dimensions of `Head` that a file of ours says because no shape tells them; None where it does not.

    Raises:
        ValueError: a number that no model can have.
    """
    return {key: _number(told.get(key), most) for key, most in TOLD_DIMENSIONS.items()}


def _number(value: object, most: int) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{value!r} is not a number from 1 to {most}")
    return value


def _header(path: Path) -> dict[str, Any]:
    """Read the header's JSON object, and no more of the file."""
    wrong = f"{path}: not a safetensors file: its header"
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise BenchError(f"{path}: {what}", "give the path of a .safetensors file")
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(MAX_HEADER_BYTES, max(0, status.st_size - 8)):
                raise BenchError(f"{wrong} would have {length:,} bytes", "is this the right file?")
            raw = file.read(length)
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise BenchError(f"{path}: {getattr(error, 'strerror', None) or error}", "check the path") from error
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{wrong} is no JSON", "is this the right file?") from error
    if not isinstance(header, dict):
        raise BenchError(f"{wrong} is no JSON object", "is this the right file?")
    return header
