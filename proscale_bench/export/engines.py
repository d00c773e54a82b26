"""Exported files, loaded into what runs them: onnxruntime, OpenVINO, or a package of compiled code.

Loading an ONNX or OpenVINO file executes nothing of it. A `.pt2` package holds machine code, so whoever opens one says
that it is trusted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from proscale_bench.config.choices import EngineName, ExportPrecision
from proscale_bench.config.weights import METADATA
from proscale_bench.errors import BenchError
from proscale_bench.export.extras import first_line, needs
from proscale_bench.specs.levels import SIZE_DIVISOR

Images = NDArray[np.uint8] | NDArray[np.float32]  # [B, 3, H, W], RGB, 0 to 255
Outputs = tuple[NDArray[np.float32], ...]
LEAST_PX = 64  # of a side, where all sizes are taken
FORMATS: dict[str, EngineName] = {".onnx": "onnxruntime", ".xml": "openvino", ".pt2": "aot"}


class Engine(Protocol):
    """The interface of what runs an exported file."""

    @property
    def name(self) -> EngineName:
        """`onnxruntime`, `openvino` or `aot`."""

    @property
    def version(self) -> str:
        """The version of what runs it."""

    @property
    def told(self) -> str | None:
        """The description that the file carries of itself, as JSON; None of a file that is not ours."""

    def run(self, images: Images) -> Outputs:
        """The outputs of a batch, in the file's order."""

    def run_all(self, inputs: Sequence[NDArray[Any]]) -> Outputs:
        """The same of a file with several inputs, in the file's order."""


@dataclass(frozen=True)
class ExportedModel:
    """An exported file of ours, ready to run.

    Args:
        path: the file.
        engine: runs it.
        told: what the file says of itself: see `module.metadata`.
    """

    path: Path
    engine: Engine
    told: dict[str, Any]

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of the images that it takes; None: any multiples of 32."""
        given = self.told["input"]
        return None if given["dynamic"] else (given["size"][0], given["size"][1])

    @property
    def engine_version(self) -> str:
        """The version of its engine."""
        return self.engine.version

    @property
    def precision(self) -> ExportPrecision:
        """`fp32`, or `int8` of a quantised file."""
        return "int8" if self.told["input"].get("precision") == "int8" else "fp32"

    @property
    def bytes(self) -> int:
        """The size of the file, with the `.bin` beside an `.xml`."""
        files = (self.path, self.path.with_suffix(".bin")) if self.path.suffix == ".xml" else (self.path,)
        return sum(one.stat().st_size for one in files)

    @property
    def batch_size(self) -> int | None:
        """The number of images in a run; None: any."""
        return None if self.told["input"]["dynamic"] else int(self.told["input"]["batch_size"])

    def run(self, images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits [B, Q, K+1] and mask logits [B, Q, H/4, W/4] of images [B, 3, H, W], RGB, 0 to 255.

        Raises:
            BenchError: images of a size or a number that the file does not take.
        """
        floating = bool(self.told["input"]["floating"])
        if images.ndim != 4 or images.shape[1] != 3:
            raise BenchError(f"{self.path}: images {list(images.shape)}, and it takes [B, 3, H, W]")
        height, width = images.shape[2:]
        if self.size is None and (height % SIZE_DIVISOR or width % SIZE_DIVISOR or min(height, width) < LEAST_PX):
            takes = f"sides that are multiples of {SIZE_DIVISOR}, at least {LEAST_PX}"
            raise BenchError(f"{self.path}: images of {height}x{width}, and it takes {takes}", "pad them")
        if self.size is not None and ((height, width) != self.size or len(images) != self.batch_size):
            takes = f"{self.batch_size} of {self.size[0]}x{self.size[1]}"
            raise BenchError(
                f"{self.path}: {len(images)} images of {height}x{width}, and it takes {takes}",
                "export it for that size, or with --dynamic",
            )
        taken: Images
        taken = images.astype(np.float32, copy=False) if floating else images.astype(np.uint8, copy=False)
        logits, masks = self.engine.run(taken)[:2]
        return logits, masks


class OnnxRuntime:
    """onnxruntime on the CPU.

    Args:
        model: path of a file, or a model's bytes.
        threads: number of threads of one operator; 0: onnxruntime's choice.
    """

    name: EngineName = "onnxruntime"

    def __init__(self, model: Path | bytes, threads: int = 0) -> None:
        with needs("onnxruntime"):
            import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
        options.add_session_config_entry("session.force_spinning_stop", "1")  # others take turns with it
        source = model if isinstance(model, bytes) else str(model)
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own types derive from no common one
            where = "the graph" if isinstance(model, bytes) else str(model)
            raise BenchError(f"{where}: onnxruntime cannot load it: {first_line(error)}", "export it again") from error
        self.version = str(onnxruntime.__version__)
        self.told = self._session.get_modelmeta().custom_metadata_map.get(METADATA)
        self._inputs = [one.name for one in self._session.get_inputs()]
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, images: Images) -> Outputs:
        return self.run_all([images])

    def run_all(self, inputs: Sequence[NDArray[Any]]) -> Outputs:
        return tuple(self._session.run(None, dict(zip(self._inputs, inputs, strict=True))))

    def run_named(self, images: Images) -> dict[str, NDArray[np.float32]]:
        """The outputs by name."""
        return dict(zip(self._outputs, self.run(images), strict=True))


class OpenVino:
    """OpenVINO on the CPU, in float32.

    Args:
        model: path of an `.xml` file with its `.bin`, or of an `.onnx` file.
        threads: number of threads; 0: OpenVINO's choice.
    """

    name: EngineName = "openvino"

    def __init__(self, model: Path, threads: int = 0) -> None:
        with needs("openvino"):
            import openvino
        core = openvino.Core()
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            read = core.read_model(str(model))
            self._compiled = core.compile_model(read, "CPU", settings)
        except RuntimeError as error:
            raise BenchError(f"{model}: OpenVINO cannot load it: {first_line(error)}", "export it again") from error
        self.version = str(openvino.__version__).partition("-")[0]
        has = read.has_rt_info([METADATA])
        self.told = str(read.get_rt_info([METADATA]).value) if has else None

    def run(self, images: Images) -> Outputs:
        return self.run_all([images])

    def run_all(self, inputs: Sequence[NDArray[Any]]) -> Outputs:
        found = self._compiled(list(inputs))
        return tuple(found[output] for output in self._compiled.outputs)


class CompiledPackage:
    """A package of AOTInductor: machine code, made for the processor that compiled it.

    Args:
        path: the `.pt2` file.
        threads: are PyTorch's.
    """

    name: EngineName = "aot"

    def __init__(self, path: Path, threads: int = 0) -> None:
        import torch

        try:
            self._run: Any = torch._inductor.aoti_load_package(str(path))
        except (RuntimeError, OSError, ValueError) as error:
            raise BenchError(
                f"{path}: no whole package: {first_line(error)}", "export it again on this machine"
            ) from error
        self.version = torch.__version__
        self.told = self._run.get_metadata().get(METADATA)

    def run(self, images: Images) -> Outputs:
        return self.run_all([images])

    def run_all(self, inputs: Sequence[NDArray[Any]]) -> Outputs:
        import torch

        with torch.inference_mode():
            return tuple(output.numpy() for output in self._run(*map(torch.from_numpy, inputs)))


ENGINES: dict[EngineName, Callable[[Path, int], Engine]] = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "aot": CompiledPackage,
}


def load_exported(path: Path, *, trust: bool = False, threads: int = 0) -> ExportedModel:
    """Load a file that `models export` wrote.

    Args:
        trust: run the machine code of a `.pt2` package.
        threads: number of CPU threads; 0: the engine's choice. A package has PyTorch's.

    Raises:
        BenchError: unreadable, no export of ours, an engine that is not installed, or a package without trust.
    """
    if path.suffix not in FORMATS:
        raise BenchError(f"{path}: '{path.suffix}' is no exported file", f"known: {', '.join(FORMATS)}")
    require_file(path)
    engine: Engine
    match path.suffix:
        case ".onnx":
            engine = OnnxRuntime(path, threads)
        case ".xml":
            engine = OpenVino(path, threads)
        case _:
            if not trust:
                raise BenchError(
                    f"{path}: a package holds machine code, which loading it runs",
                    "--trust, if you know where it is from",
                )
            engine = CompiledPackage(path)
    return ExportedModel(path, engine, told_of(path, engine.told))


def require_file(path: Path) -> None:
    """Refuse what is no file.

    Raises:
        BenchError: there is none, or it is a folder or a pipe.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file" if not path.exists() else "not a regular file"
        raise BenchError(f"{path}: {what}", "'proscale-bench models export' writes one")


def told_of(path: Path, text: str | None) -> dict[str, Any]:
    """The description that a file carries of itself.

    Raises:
        BenchError: it is no export of ours.
    """
    try:
        told = json.loads(text or "null")
        given = told["input"]
        if not {"size", "batch_size", "dynamic", "floating"} <= set(given) or "head" not in told:
            raise KeyError("input")
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        hint = "its FLOPs: proscale-bench flops --graph FILE.onnx"
        raise BenchError(f"{path}: does not say that it is an export of ours", hint) from error
    return dict(told)
