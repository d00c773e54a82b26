"""Export a model to a file that runs without Python, and prove that it is the same model."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.export import ExportedProgram

from proscale_bench.config.weights import METADATA
from proscale_bench.cost.count import as_given, count_model
from proscale_bench.cost.geometry import parse_size
from proscale_bench.cost.rules import RULES
from proscale_bench.errors import BenchError
from proscale_bench.export.engines import FORMATS, Images, load_exported
from proscale_bench.export.extras import first_line, needs
from proscale_bench.export.graph import GraphCount, count_nodes
from proscale_bench.export.module import INPUT, captured, metadata, outputs_of, prepared
from proscale_bench.export.onnx_file import to_onnx, write_onnx
from proscale_bench.export.proof import SEED, Proof, proof_images, prove
from proscale_bench.export.quantize import CALIBRATION_IMAGES, calibration_images, quantized
from proscale_bench.export.settings import ExportSettings
from proscale_bench.files import refuse_overwrite, replacing
from proscale_bench.models.build import OwnModel
from proscale_bench.models.sampling.embedding_bag import has_compiler
from proscale_bench.specs.families import OwnSpec
from proscale_bench.specs.model import POSTPROCESSING

if TYPE_CHECKING:
    import onnx

DEFAULTS = ExportSettings()
CALIBRATION_SEED = 11  # of images that are drawn as the embedded data are, other ones than the proof's
OnStep = Callable[[str, int, int], None]  # what is being done, how much of it is done, and in all


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Args:
        path: the file.
        format: its end without the dot.
        engine, engine_version: what it was proved in.
        bytes: size of the file, with the `.bin` beside an `.xml`.
        seconds: time that writing it took, without the proof.
        settings: the input that it takes.
        outputs: names and shapes of what it gives, at the size that it was traced at.
        graph: operations of its nodes; None where the graph cannot be read back.
        expected: operations of the closed form as executed, by operator, in FLOPs of the rules `complete`.
        proof: its agreement with torch.
    """

    path: Path
    format: str
    engine: str
    engine_version: str
    bytes: int
    seconds: float
    settings: ExportSettings
    outputs: Mapping[str, tuple[int, ...]]
    graph: GraphCount | None
    expected: Mapping[str, int]
    proof: Proof

    @property
    def graph_difference(self) -> dict[str, int] | None:
        """FLOPs of the graph less those of the closed form as executed, by operator, where they are not equal."""
        if self.graph is None:
            return None
        found = {str(operator): flops for operator, flops in self.graph.by_operator(RULES["complete"]).items()}
        every = {**self.expected, **found}
        apart = {one: found.get(one, 0) - self.expected.get(one, 0) for one in every}
        return {one: difference for one, difference in apart.items() if difference}

    def row(self) -> dict[str, Any]:
        """The row of `models export --export-json`."""
        return {
            "path": str(self.path),
            "format": self.format,
            "engine": self.engine,
            "engine_version": self.engine_version,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "size": list(self.settings.size),
            "batch_size": self.settings.batch_size,
            "dynamic": self.settings.dynamic,
            "sampling": self.settings.sampling,
            "precision": self.settings.precision,
            "inputs": {INPUT: [self.settings.batch_size, 3, *self.settings.size]},
            "outputs": {name: list(shape) for name, shape in self.outputs.items()},
            "graph_gflops": None if self.graph is None else self.graph.flops(RULES["complete"]) / 1e9,
            "executed_gflops": sum(self.expected.values()) / 1e9,
            "graph_difference": self.graph_difference,
            "proof": self.proof.row(),
        }


def export_model(
    model: OwnModel,
    spec: OwnSpec,
    path: Path,
    settings: ExportSettings = DEFAULTS,
    *,
    told: Mapping[str, Any] | None = None,
    images: int = 4,
    calibration: Sequence[Path] | None = None,
    overwrite: bool = False,
    progress: OnStep = lambda what, done, total: None,
) -> Exported:
    """Write a model to a file, and hold the file against the model.

    Args:
        model: in eval mode; it is prepared for inference, and serves for nothing else afterwards.
        path: its end says what is written: `.onnx`, `.xml` for OpenVINO, `.pt2` for compiled code.
        told: more of what the file says of itself: the weights' digest, classes, provenance.
        images: number of drawn images that the file is proved on, beside random ones.
        calibration: pictures whose activations a quantised file's ranges are of; None: drawn ones.

    Raises:
        BenchError: another end, a file that is there, a package that is not installed, or a model that cannot be
            exported so.
    """
    if path.suffix not in FORMATS:
        raise BenchError(f"{path}: '{path.suffix}' is no format to export to", f"known: {', '.join(FORMATS)}")
    if settings.precision == "int8" and path.suffix == ".pt2":
        raise BenchError(f"{path}: compiled code is not quantised", "write .onnx or .xml")
    beside = path.with_suffix(".bin")
    for one in (path, beside) if path.suffix == ".xml" else (path,):
        refuse_overwrite(one, overwrite)
    calibrated_on: list[Images] = []
    if settings.precision == "int8":
        calibrated_on = (
            _proof_batches(settings, CALIBRATION_IMAGES, seed=CALIBRATION_SEED)
            if calibration is None
            else calibration_images(calibration, settings.size, settings.batch_size, settings.floating)
        )
    started = time.monotonic()
    progress("capturing the graph", 0, 1)
    module = prepared(model, settings)
    program = captured(module, spec, settings)
    said = metadata(spec, settings, **(told or {}))
    graph: onnx.ModelProto | None = None
    if path.suffix == ".pt2":
        progress("compiling", 0, 1)
        write_package(program, path, said, overwrite)
    else:
        progress("translating to ONNX", 0, 1)
        graph = to_onnx(program, [INPUT], list(outputs_of(spec)), said)
        written = graph
        if settings.precision == "int8":
            progress("quantising", 0, 1)
            written = quantized(graph, INPUT, calibrated_on)
        if path.suffix == ".onnx":
            write_onnx(written, path, overwrite)
        else:
            progress("translating to OpenVINO", 0, 1)
            write_openvino(written, path, said, overwrite)
    seconds = time.monotonic() - started
    exported = load_exported(path, trust=True, threads=torch.get_num_threads())
    batches = _proof_batches(settings, images, pads=spec.pads)
    proof = prove(
        module,
        spec,
        exported,
        graph if settings.precision == "fp32" else None,
        batches,
        lambda done, total: progress("proving", done, total),
        exact=settings.precision == "fp32",
    )
    return Exported(
        path,
        path.suffix[1:],
        exported.engine.name,
        exported.engine.version,
        path.stat().st_size + (beside.stat().st_size if path.suffix == ".xml" else 0),
        seconds,
        settings,
        {
            name: (settings.batch_size, *output.shape[1:])
            for name, output in zip(outputs_of(spec), exported.run(batches[0]), strict=True)
        },
        None if graph is None or settings.dynamic else count_nodes(graph, str(path)),
        _expected(spec, settings),
        proof,
    )


def _proof_batches(settings: ExportSettings, images: int, seed: int = SEED, pads: bool = True) -> list[Images]:
    """The batches that the file takes; of a dynamic one at five sizes and in two batch sizes.

    Args:
        pads: sides are multiples of 32, else of 64.
    """
    if not settings.dynamic:
        return proof_images(settings.size, settings.batch_size, images, settings.floating, seed)
    height, width = settings.size
    others = [(64, 64), (96, 160), (224, 128), (160, 256)]
    if not pads:
        others = [(128, 128), (128, 192), (256, 128), (192, 256)]
    sizes = dict.fromkeys([(height, width), (width, height), *others])
    shapes = [(size, 1 + index % 2) for index, size in enumerate(list(sizes)[:5])]
    return [
        batch
        for size, count in shapes
        for batch in proof_images(size, count, max(1, images // 5), settings.floating, seed)
    ]


def _expected(spec: OwnSpec, settings: ExportSettings) -> dict[str, int]:
    """FLOPs of the network as executed, by operator, under the rules `complete`, of one run."""
    size = as_given(spec, parse_size(settings.size))
    found: Counter[str] = Counter()
    for part, row in count_model(spec, size, RULES["complete"], as_executed=True).closed_form.by_operator(size).items():
        if part != POSTPROCESSING:
            found.update({str(operator): flops * settings.batch_size for operator, flops in row.items()})
    return dict(+found)


def write_package(program: ExportedProgram, path: Path, said: str, overwrite: bool) -> None:
    """Compile the graph for this machine's processor; seconds to minutes, and a C++ compiler."""
    if not has_compiler():
        raise BenchError(f"{path}: a package is compiled, and there is no C++ compiler", "on Debian: apt install g++")
    from torch._inductor import aoti_compile_and_package

    with replacing(path, overwrite) as temporary, tempfile.TemporaryDirectory(dir=path.parent) as folder:
        package = Path(folder) / "package.pt2"
        settings = {"aot_inductor.metadata": {METADATA: said}, "freezing": True}
        aoti_compile_and_package(program, package_path=str(package), inductor_configs=settings)
        package.replace(temporary)


def write_openvino(graph: onnx.ModelProto, path: Path, said: str, overwrite: bool) -> None:
    """The `.xml` and the `.bin` beside it, in float32; the `.xml`, which names the other, comes last."""
    with needs("openvino"):
        import openvino
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        source = Path(folder) / "model.onnx"
        source.write_bytes(graph.SerializeToString())
        try:
            model = openvino.convert_model(source)
        except Exception as error:  # OpenVINO reads Swin's windows only after constants are folded
            source = _folded(source)
            try:
                model = openvino.convert_model(source)
            except Exception:
                raise BenchError(
                    f"{path}: OpenVINO does not take the graph: {first_line(error)}", "write .onnx"
                ) from error
        model.set_rt_info(said, [METADATA])
        openvino.save_model(model, str(Path(folder) / path.name), compress_to_fp16=False)
        for one in (path.with_suffix(".bin"), path):
            with replacing(one, overwrite) as temporary:
                (Path(folder) / one.name).replace(temporary)


def _folded(source: Path) -> Path:
    """The graph after onnxruntime's basic optimization."""
    with needs("onnxruntime"):
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath, options.log_severity_level = str(source.with_name("folded.onnx")), 3
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    return source.with_name("folded.onnx")
