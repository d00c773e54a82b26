"""Flags of what runs a model: torch, or another engine that runs an exported file of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from proscale_bench.commands import completion
from proscale_bench.commands.options import ExecutionOptions, MaybePath, MaybeStr, MaybeStrs, Options, flag
from proscale_bench.config.choices import EngineName, ExportPrecision
from proscale_bench.errors import BenchError, one_of

if TYPE_CHECKING:
    from proscale_bench.commands.evaluate import EvalOptions

EXPORTED = "Other engines than torch"
Quantized = Literal["int8"]
OF_EXPORTS = ("auto", "grid_sample", "gather")  # samplings that an exported file can have


class EngineOptions(Options):
    """Flags of the engines that run a model, and of the exported files that all but torch need."""

    engine: MaybeStrs = flag(
        "--engine NAME",
        "Engine that runs it: torch, aot, onnxruntime, openvino or, on a GPU, tensorrt. Repeat to compare several. "
        "[default: torch, or that of an exported file]",
        EXPORTED,
    )
    quantize: MaybeStr = flag(
        "--quantize NAME",
        "Run exported files also with 8-bit weights and activations: int8. [default: fp32 alone]",
        EXPORTED,
        values=completion.precisions_of_exports,
    )
    exported: MaybePath = flag(
        "--exported DIR", "Folder in which exported files are kept and looked for. [default: none]", EXPORTED
    )
    trust: bool = flag("--trust", "Run the machine code of a .pt2 package that is there already.", EXPORTED)


def is_exported(path: Path | None) -> bool:
    """Whether a path is, by its end, an exported file and no checkpoint."""
    from proscale_bench.export.engines import FORMATS

    return path is not None and path.suffix in FORMATS


def chosen_engines(words: Sequence[str], file: Path | None) -> tuple[EngineName, ...]:
    """The engines that are named, each once; without names torch, or what runs the file.

    Raises:
        BenchError: an unknown name, one that is not installed, or none that runs the file.
    """
    from proscale_bench.export.engines import ENDS, FORMATS
    from proscale_bench.export.extras import require_engines

    own: EngineName = FORMATS[file.suffix] if file is not None else "torch"
    found = tuple(dict.fromkeys(one_of(EngineName, name, "engine") for name in words or (own,)))
    if file is not None and not any(ENDS.get(engine) == file.suffix for engine in found):
        raise BenchError(f"{file}: runs in {own}, not in {' or '.join(found)}", f"--engine {own}, or leave it out")
    require_engines(found)
    return found


def engines_of_graphs(words: Sequence[str]) -> tuple[EngineName, ...]:
    """The engines that ONNX files of anybody's take turns in; without names onnxruntime.

    Raises:
        BenchError: an unknown name, one that is not installed, or one that runs no ONNX file.
    """
    found = chosen_engines(words or ("onnxruntime",), None)
    for name in (name for name in found if name in ("torch", "aot")):
        raise BenchError(f"--engine {name}: runs no ONNX file", "--engine onnxruntime, openvino or tensorrt")
    return found


def precisions(quantize: str | None, engines: Sequence[EngineName] = ()) -> tuple[ExportPrecision, ...]:
    """The number formats that exported files run in.

    Raises:
        BenchError: an unknown word, or an engine whose files are not quantised.
    """
    if quantize is None:
        return ("fp32",)
    one_of(Quantized, quantize, "quantization")
    if "aot" in engines:
        raise BenchError("--quantize int8: compiled code is not quantised", "leave out --engine aot")
    return "fp32", "int8"


def refuse_of_torch(options: ExecutionOptions, engines: Sequence[EngineName]) -> None:
    """Refuse flags that exported files cannot follow.

    Raises:
        BenchError: one is given, and an engine beside torch, or no torch at all.
    """
    others = [engine for engine in engines if engine != "torch"]
    if not others:
        return
    engine = f"--engine {others[0]}"
    never: dict[str, Any] = {
        "--device cuda": options.device == "cuda",
        f"--dtype {options.dtype}": options.dtype != "fp32",
        "--no-optimizations": not options.optimizations,
    }
    for name in (name for name, given in never.items() if given):
        raise BenchError(f"{engine}: runs an exported file on the CPU in fp32, optimized", f"leave out {name}")
    if "torch" in engines:
        return
    of_torch = {
        "--compile": options.compiled,
        "--cuda-graphs": getattr(options, "cuda_graphs", False),
        f"--sampling {options.sampling}": options.sampling not in OF_EXPORTS,
    }
    for name in (name for name, given in of_torch.items() if given):
        raise BenchError(f"{engine}: {name} is of models that torch runs", "leave it out, or add --engine torch")


def check_evaluated(options: EvalOptions) -> None:
    """Refuse what exported files are not; see `refuse_of_torch`.

    Raises:
        BenchError: an engine is unknown, not installed, or does not run a file that is given.
    """
    for file in filter(is_exported, options.weights or ()):
        refuse_of_torch(options, own := chosen_engines(options.engine or (), file))
        if len(own) > 1:
            raise BenchError(f"{file}: runs in one engine alone", "leave out --engine, or give the checkpoint")
        if file.suffix == ".pt2" and not options.trust:
            raise BenchError(f"{file}: a package holds machine code, which loading it runs", "--trust, if you know it")
        if options.schedule is not None:
            raise BenchError(f"{file}: says its schedule itself", "leave out --schedule")
    engines = chosen_engines(options.engine or (), None)
    refuse_of_torch(options, engines)
    if engines != ("torch",) and options.from_predictions:
        raise BenchError("--engine runs a model, and --from-predictions has none", "leave it out")
    precisions(options.quantize, engines)
    if engines == ("torch",) and (options.exported is not None or options.quantize):
        raise BenchError("--exported and --quantize are of exported files", "name an --engine that runs them")
