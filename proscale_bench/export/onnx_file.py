"""ONNX files: written by torch's exporter in the standard domain alone, and read with suspicion."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proscale_bench.config.weights import METADATA
from proscale_bench.errors import BenchError
from proscale_bench.export.extras import first_line, needs
from proscale_bench.files import replacing

if TYPE_CHECKING:
    import onnx
    from torch.export import ExportedProgram

OPSET = 20  # of the first GridSample as torch has it
MAX_BYTES = 2**31 - 1  # of a protocol buffer
KEPT = ("pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy")  # not the places of our source on this machine


def to_onnx(program: ExportedProgram, inputs: list[str], outputs: list[str], said: str) -> onnx.ModelProto:
    """The graph as a model of ONNX, checked.

    Args:
        said: what the file says of itself: `module.metadata`.

    Raises:
        BenchError: `onnx` or `onnxscript` is not installed; an operator outside the standard domain.
    """
    with needs("onnx", "onnxscript"):
        import onnx
        import onnxscript  # noqa: F401
    import torch

    with _quiet(), _as_ours():
        made: Any = torch.onnx.export(
            program,
            (),
            input_names=inputs,
            output_names=outputs,
            opset_version=OPSET,
            dynamo=True,
            optimize=True,
            verbose=False,
        )
    model: onnx.ModelProto = made.model_proto
    foreign = sorted(
        {one.domain for one in (*model.opset_import, *model.graph.node) if one.domain not in ("", "ai.onnx")}
    )
    if foreign or model.functions:
        raise BenchError(f"the graph has operators outside ONNX's own: {', '.join(foreign)}", "try --sampling gather")
    for node in model.graph.node:
        kept = [one for one in node.metadata_props if one.key in KEPT]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    model.metadata_props.add(key=METADATA, value=said)
    if model.ByteSize() > MAX_BYTES:
        raise BenchError(f"{model.ByteSize():,} bytes, more than an ONNX file can have", "write .pt2 or .xml")
    onnx.checker.check_model(model)
    return model


def write_onnx(model: onnx.ModelProto, path: Path, overwrite: bool) -> None:
    """Write the file; it takes its place when it is whole."""
    with replacing(path, overwrite) as temporary:
        temporary.write_bytes(model.SerializeToString())


def read_graph(path: Path) -> onnx.ModelProto:
    """Read an ONNX file's graph. Nothing in it is executed, and no other file is opened.

    Raises:
        BenchError: `onnx` is not installed; unreadable, cut short, or no ONNX file.
    """
    with needs("onnx"):
        import onnx
        from google.protobuf.message import DecodeError
    if path.suffix == ".xml":
        raise BenchError(f"{path}: a file of OpenVINO", "give the .onnx file of the same model")
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file" if not path.exists() else "not a regular file"
        raise BenchError(f"{path}: {what}", "give the path of an .onnx file")
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise BenchError(f"{path}: not a whole ONNX file", "export it again") from error
    if not model.graph.node or not model.opset_import:
        raise BenchError(f"{path}: no ONNX file: it has no graph", "is this the right file?")
    return model


def told_of(model: onnx.ModelProto) -> str | None:
    """The description that a file of ours carries of itself; None of another's."""
    return next((one.value for one in model.metadata_props if one.key == METADATA), None)


@contextmanager
def _as_ours() -> Iterator[None]:
    """Have every error of torch's exporter be one of a graph that it cannot translate."""
    from torch.onnx.errors import OnnxExporterError

    try:
        yield
    except (OnnxExporterError, RuntimeError) as error:
        what = f"torch cannot translate the graph to ONNX: {first_line(error)}"
        raise BenchError(what, "write .pt2, which needs no ONNX") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' own notes off the terminal."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
