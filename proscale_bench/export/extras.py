"""Packages that only exporting needs: an extra each, a clear word where one is missing, and their own words."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from proscale_bench.errors import BenchError

PACKAGES = {  # of an engine, to write its file and to run it
    "onnxruntime": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "onnxruntime", "openvino"),
    "tensorrt": ("onnx", "onnxscript", "onnxruntime"),
}
TENSORRT = "TensorrtExecutionProvider"  # onnxruntime's
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


def require_engines(names: Iterable[str]) -> None:
    """Make sure that engines are there, without loading one.

    Raises:
        BenchError: one is not installed; with the extra that has it.
    """
    for name in names:
        for package in PACKAGES.get(name, ()):
            if find_spec(package) is None:
                extra = "openvino" if name == "openvino" else "onnx"
                hint = f"python -m pip install 'proscale-bench[{extra}]'"
                raise BenchError(f"{name} needs {package}, which is not installed", hint)
        if name == "aot" and not any(map(shutil.which, (os.environ.get("CXX") or "g++", "clang++"))):
            message = "aot: a package is compiled, and there is no C++ compiler"
            raise BenchError(message, "on Debian: apt install g++")
        if name == "tensorrt":
            require_tensorrt()


def require_tensorrt() -> None:
    """Make sure that this machine's onnxruntime was built with TensorRT.

    Raises:
        BenchError: it was not; with what it has.
    """
    with needs("onnxruntime"):
        import onnxruntime
    if TENSORRT not in (there := onnxruntime.get_available_providers()):
        raise BenchError(
            f"tensorrt: onnxruntime has no {TENSORRT} here, but {', '.join(there)}",
            "on a machine with an NVIDIA GPU: python -m pip install onnxruntime-gpu tensorrt; else another --engine",
        )


def first_line(error: Exception) -> str:
    """The beginning of what a library says went wrong, first of all."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__


def last_line(error: Exception) -> str:
    """The end of what OpenVINO says went wrong: it begins with places in its source."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return said[-1][:300] if said else first_line(error)
