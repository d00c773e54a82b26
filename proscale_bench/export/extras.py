"""Packages that only exporting needs: an extra each, and a clear word where it is missing."""

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
