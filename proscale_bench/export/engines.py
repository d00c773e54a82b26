"""Exported files, loaded into what runs them: onnxruntime, OpenVINO, or a package of compiled code.

Loading an ONNX or OpenVINO file executes nothing of it. A `.pt2` package holds machine code, so whoever opens one says
that it is trusted.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from proscale_bench.config.choices import EngineName, ExportPrecision
from proscale_bench.config.weights import METADATA
from proscale_bench.errors import BenchError
from proscale_bench.export.extras import TENSORRT, first_line, last_line, needs, require_tensorrt
from proscale_bench.export.settings import sides_divisor
from proscale_bench.specs.deformable_detr import DeformableDetrSpec

Images = NDArray[np.uint8] | NDArray[np.float32]  # [B, 3, H, W], RGB, 0 to 255
Outputs = tuple[NDArray[np.float32], ...]
MAX_SIDE = 1 << 15
XML_PROLOGUE = 4096  # bytes of a file, in which its network begins
LEAST_PX = 64  # of a side, where all sizes are taken
FORMATS: dict[str, EngineName] = {".onnx": "onnxruntime", ".xml": "openvino", ".pt2": "aot"}
ENDS: dict[EngineName, str] = {
    **{engine: end for end, engine in FORMATS.items()},
    "tensorrt": ".onnx",
}  # what each runs


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
        """(height, width) of the images that it takes; None: any multiples of `settings.sides_divisor`."""
        given = self.told["input"]
        return None if given["dynamic"] else (given["size"][0], given["size"][1])

    @property
    def pads(self) -> bool:
        """Images are padded to multiples of 32, as a Mask2Former's are, and no detector's."""
        return self.told.get("family") != DeformableDetrSpec.family

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
        """Logits [B, Q, K+1] and mask logits [B, Q, H/4, W/4] of images [B, 3, H, W], RGB, 0 to 255; of a detector
        logits [B, Q, C] and boxes [B, Q, 4], centre x, y, width and height as fractions of the image.

        Raises:
            BenchError: images of a size or a number that the file does not take.
        """
        floating = bool(self.told["input"]["floating"])
        if images.ndim != 4 or images.shape[1] != 3:
            raise BenchError(f"{self.path}: images {list(images.shape)}, and it takes [B, 3, H, W]")
        height, width = images.shape[2:]
        divisor = sides_divisor(self.pads)
        if self.size is None and (height % divisor or width % divisor or min(height, width) < 2 * divisor):
            takes = f"sides that are multiples of {divisor}, at least {2 * divisor}"
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
    """onnxruntime, on the CPU.

    Args:
        model: path of a file, or a model's bytes.
        threads: number of threads of one operator; 0: onnxruntime's choice.
    """

    name: EngineName = "onnxruntime"
    providers: tuple[str, ...] = ("CPUExecutionProvider",)

    def __init__(self, model: Path | bytes, threads: int = 0) -> None:
        with needs("onnxruntime"):
            import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4  # what goes wrong is raised
        options.add_session_config_entry("session.force_spinning_stop", "1")  # others take turns with it
        source = model if isinstance(model, bytes) else str(model)
        self._where = "the graph" if isinstance(model, bytes) else str(model)
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=list(self.providers))
        except Exception as error:  # its own types derive from no common one
            raise BenchError(
                f"{self._where}: onnxruntime cannot load it: {first_line(error)}", "export it again"
            ) from error
        self.version = str(onnxruntime.__version__)
        self.told = self._session.get_modelmeta().custom_metadata_map.get(METADATA)
        self._inputs = [one.name for one in self._session.get_inputs()]
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, images: Images) -> Outputs:
        return self.run_all([images])

    def run_all(self, inputs: Sequence[NDArray[Any]]) -> Outputs:
        with _running(self._where, self.name):
            return tuple(self._session.run(None, dict(zip(self._inputs, inputs, strict=True))))

    def run_named(self, images: Images) -> dict[str, NDArray[np.float32]]:
        """The outputs by name."""
        return dict(zip(self._outputs, self.run(images), strict=True))


class TensorRt(OnnxRuntime):
    """TensorRT as onnxruntime's provider, on a GPU; what it does not take runs in CUDA, and on the CPU at last.

    Raises:
        BenchError: onnxruntime was built without it, or it did not start.
    """

    name: EngineName = "tensorrt"
    providers = (TENSORRT, "CUDAExecutionProvider", "CPUExecutionProvider")

    def __init__(self, model: Path | bytes, threads: int = 0) -> None:
        require_tensorrt()
        super().__init__(model, threads)
        if TENSORRT not in (ran := self._session.get_providers()):  # it steps back without a word
            raise BenchError(
                f"{self._where}: TensorRT did not start, and {ran[0]} would run it",
                "are its libraries and a GPU's driver there? nvidia-smi, python -m pip install tensorrt",
            )


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
        require_openvino_file(model)
        core = openvino.Core()
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            read = core.read_model(str(model))
            self._compiled = core.compile_model(read, "CPU", settings)
        except RuntimeError as error:
            raise BenchError(f"{model}: OpenVINO cannot load it: {last_line(error)}", "export it again") from error
        self._where = str(model)
        self.version = str(openvino.__version__).partition("-")[0]
        has = read.has_rt_info([METADATA])
        self.told = str(read.get_rt_info([METADATA]).value) if has else None

    def run(self, images: Images) -> Outputs:
        return self.run_all([images])

    def run_all(self, inputs: Sequence[NDArray[Any]]) -> Outputs:
        with _running(self._where, self.name):
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

        if not zipfile.is_zipfile(path):  # torch reads it otherwise, and says something else
            raise BenchError(f"{path}: no whole package", "export it again on this machine")
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
    "tensorrt": TensorRt,
}


@contextmanager
def _running(where: str, engine: EngineName) -> Iterator[None]:
    """Have what an engine says of a run be an error of ours, but for want of memory."""
    try:
        yield
    except Exception as error:  # its own types derive from no common one
        if "alloc" in str(error):
            raise MemoryError(str(error)) from error
        raise BenchError(f"{where}: {engine} cannot run it: {first_line(error)}", "export it again") from error


def load_exported(
    path: Path, *, trust: bool = False, threads: int = 0, engine: EngineName | None = None
) -> ExportedModel:
    """Load a file that `models export` wrote.

    Args:
        trust: run the machine code of a `.pt2` package.
        threads: number of CPU threads; 0: the engine's choice. A package has PyTorch's.
        engine: runs it, where a file's end leaves a choice.

    Raises:
        BenchError: unreadable, no export of ours, an engine that is not installed, or a package without trust.
    """
    if path.suffix not in FORMATS:
        raise BenchError(f"{path}: '{path.suffix}' is no exported file", f"known: {', '.join(FORMATS)}")
    require_file(path)
    if path.suffix == ".pt2" and not trust:
        raise BenchError(
            f"{path}: a package holds machine code, which loading it runs", "--trust, if you know where it is from"
        )
    found = ENGINES[engine or FORMATS[path.suffix]](path, threads)
    return ExportedModel(path, found, told_of(path, found.told))


def require_file(path: Path) -> None:
    """Refuse what is no file.

    Raises:
        BenchError: there is none, or it is a folder or a pipe.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file" if not path.exists() else "not a regular file"
        raise BenchError(f"{path}: {what}", "'proscale-bench models export' writes one")


def require_openvino_file(path: Path) -> None:
    """Refuse an `.xml` that is no network of OpenVINO, which would try whatever else it could be, or lacks its weights.

    Raises:
        BenchError: it is none, or its `.bin` is not there.
    """
    if path.suffix != ".xml":
        return
    with path.open("rb") as file:
        begin = file.read(XML_PROLOGUE)
    if b"<net" not in begin:
        raise BenchError(
            f"{path}: OpenVINO cannot load it: it is no network of its own, and has no <net>", "export it again"
        )
    require_file(path.with_suffix(".bin"))


def told_of(path: Path, text: str | None) -> dict[str, Any]:
    """The description that a file carries of itself.

    Raises:
        BenchError: it is no export of ours.
    """
    try:
        told = json.loads(text or "null")
        given = told["input"]
        if "head" not in told or not _is_input(given):
            raise KeyError("input")
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        hint = "its FLOPs: flops --graph FILE.onnx; its latency: profile --graph FILE.onnx"
        raise BenchError(f"{path}: does not say that it is an export of ours", hint) from error
    return dict(told)


def _is_input(given: Any) -> bool:
    """The input of a file is described as `module.metadata` does."""
    sides, number = given["size"], given["batch_size"]
    return (
        isinstance(sides, list)
        and len(sides) == 2
        and all(type(one) is int and 1 <= one <= MAX_SIDE for one in (*sides, number))
        and all(type(given[key]) is bool for key in ("dynamic", "floating"))
        and given.get("precision", "fp32") in get_args(ExportPrecision)
    )
