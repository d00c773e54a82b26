"""JSON documents are read as Python reads them, by a faster parser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from proscale_bench.data.documents import read_json
from proscale_bench.errors import BenchError


def read(tmp_path: Path, content: bytes) -> Any:
    path = tmp_path / "document.json"
    path.write_bytes(content)
    return read_json(path)


READ_ALIKE = [
    b'{"a": 1, "b": {"a": 2}, "a": 3}',
    b"[NaN, Infinity, -Infinity, 1e400]",
    b"[-0, -0.0, 1E5, 1e-400, 9223372036854775807, -9223372036854775808, 18446744073709551615]",
    b'["\\ud800", "\\u0000", "\\ud83d\\ude00"]',
    b"\xef\xbb\xbf[1]",
    "[1, 'ä']".replace("'", '"').encode("utf-16"),
    b"[" * 200 + b"]" * 200,
    b" null ",
]


@pytest.mark.parametrize("content", READ_ALIKE)
def test_documents_are_read_as_python_reads_them(tmp_path: Path, content: bytes) -> None:
    found = read(tmp_path, content)
    assert repr(found) == repr(json.loads(content))


def test_numbers_are_the_same_to_the_last_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    doubles = rng.integers(0, 1 << 63, 50_000, np.uint64).view(np.float64)
    digits = [f"{rng.integers(1 << 62)}.{rng.integers(1 << 62)}e{rng.integers(-320, 280)}" for _ in range(20_000)]
    content = f"[{', '.join([*map(repr, doubles[np.isfinite(doubles)].tolist()), *digits])}]".encode()
    assert read(tmp_path, content) == json.loads(content)


def test_a_whole_number_past_64_bits_has_its_value(tmp_path: Path) -> None:
    numbers = [1 << 64, 10**30, -(1 << 63) - 1, 10**400]
    assert read(tmp_path, json.dumps(numbers[:3]).encode()) == [float(number) for number in numbers[:3]]
    assert read(tmp_path, json.dumps(numbers[3:]).encode()) == numbers[3:]


BROKEN = {
    b'{"a": 1,\n "b" 2}': r"document\.json:2:6: expecting ':' delimiter",
    b"[1, 2": r"document\.json:1:6: expecting ',' delimiter",
    b"": r"document\.json:1:1: expecting value",
    b'["\xff"]': r"byte 2: not UTF-8",
    b"[" * 100_000: "nested too deeply",
    b"[" + b"1" * 5000 + b"]": "document",
}


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_document_is_named_with_its_place(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BenchError, match=BROKEN[content]):
        read(tmp_path, content)
