"""Packages that only exporting needs: an extra each, a clear word where one is missing, and their own words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from proscale_bench.errors import BenchError

EXTRAS = {"onnx": "onnx", "onnxscript": "onnx", "onnxruntime": "onnx", "openvino": "openvino"}


@contextmanager
def needs(*packages: str) -> Iterator[None]:
    """Import these inside.

    Raises:
        BenchError: one is not installed; with the extra that has it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or packages[0]).partition(".")[0]
        extra = EXTRAS.get(name, EXTRAS[packages[0]])
        raise BenchError(
            f"{name} is not installed, and this needs it", f"python -m pip install 'proscale-bench[{extra}]'"
        ) from None


def first_line(error: Exception) -> str:
    """The beginning of what a library says went wrong, first of all."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__
