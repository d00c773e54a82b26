"""From the words of `--model` to a module: a file's class, a package's factory, a configuration, a name of torchvision.

The first two execute what they name. That happens for what a user names on the command line or in a sweep or budget
of their own, and for nothing else: no record and no checkpoint leads here.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proscale_bench.config.model_request import GRAMMAR
from proscale_bench.errors import BenchError, did_you_mean
from proscale_bench.specs.custom import ModelRequest
from proscale_bench.units import Size

if TYPE_CHECKING:
    from torch import Tensor, nn

    from proscale_bench.measure.any_model import Inputs
    from proscale_bench.results.profile import PassPart

DEFAULT_SIDES = (640, 640)


@dataclass(frozen=True)
class LoadedModel:
    """A model that a user named, ready to be built as often as is needed.

    Args:
        digest: of the file or version that the words stand for.
        build: makes the module in eval mode, on the device that is torch's default.
        inputs: makes what it is called with, for images of a size.
        sides: the size of images that it was made for; None where it does not say.
        notes: what to know of its count.
        contains: what one pass of it contains.
    """

    digest: str
    build: Callable[[], nn.Module]
    inputs: Callable[[nn.Module, Size, int], Inputs]
    sides: Size | None = None
    notes: tuple[str, ...] = ()
    contains: tuple[PassPart, ...] = ("forward",)


def arguments_of(request: ModelRequest) -> dict[str, Any]:
    """The arguments as values."""
    return {key: ast.literal_eval(value) for key, value in request.arguments}


def load(request: ModelRequest) -> LoadedModel:
    """Find what a user named. Executes the file or package that it is in, and loads torch.

    Raises:
        BenchError: there is no such file, attribute, configuration or name, or it is no model; an allowed operator that
            there is not.
    """
    kind, _, rest = request.source.partition(":")
    with talking_to_stderr():
        if kind == "hf":
            from proscale_bench.bench.hugging_face import load_configuration

            loaded = load_configuration(Path(rest), arguments_of(request))
        elif kind == "torchvision":
            loaded = _of_torchvision(rest, arguments_of(request))
        else:
            loaded = _of_python(request.source, arguments_of(request))
        if request.inputs is not None:
            make = _named(request.inputs)[0]
            loaded = replace(loaded, inputs=lambda *given: _made_inputs(make, request, *given))
    if request.allowed:
        from proscale_bench.measure.allowed import require_operators
        from proscale_bench.measure.general_operators import GENERAL

        require_operators(request.allowed, GENERAL, every=False)  # before it is built
    return loaded


@contextlib.contextmanager
def talking_to_stderr() -> Iterator[None]:
    """Keep what somebody's code prints out of our documents."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


# --- Files and packages ---


def _named(words: str) -> tuple[Any, Path | None]:
    """Find what `my_file.py:Net` or `package.module:factory` names, and its file.

    Raises:
        BenchError: no such file, package or attribute, or importing it raised.
    """
    place, _, attribute = words.rpartition(":")
    module = _run_file(Path(place)) if place.endswith(".py") else _import(place)
    found: Any = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            own = [one for one in vars(found) if not one.startswith("_")]
            raise BenchError(f"{place}: there is no '{attribute}'", did_you_mean(name, own, GRAMMAR))
        found = getattr(found, name)
    file = getattr(module, "__file__", None)
    return found, Path(file) if file else None


def _run_file(path: Path) -> Any:
    if not path.is_file():
        raise BenchError(f"{path}: there is no such file", GRAMMAR)
    name = f"_model_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BenchError(f"{path}: not a Python file", GRAMMAR)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and pickle look it up
    with _imports_from(path.resolve().parent), faults_of(str(path)):
        spec.loader.exec_module(module)
    return module


def _import(name: str) -> Any:
    with _imports_from(Path.cwd()), faults_of(name):
        return importlib.import_module(name)


@contextlib.contextmanager
def _imports_from(folder: Path) -> Iterator[None]:
    """Have imports look into a folder first, from here on: constructors import too."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    yield


@contextlib.contextmanager
def faults_of(what: str) -> Iterator[None]:
    """Turn what somebody's code raises into one line, with its place."""
    try:
        yield
    except (BenchError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit among them
        raise fault_of(what, error) from error


def fault_of(what: str, error: BaseException) -> BenchError:
    """The error of code that is not ours: its last line, and the innermost place outside libraries."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = ("/site-packages/", "/proscale_bench/", "/lib/python", "<frozen")
    theirs = [frame for frame in frames if not any(one in frame.filename for one in ours)]
    place = f" ({Path(theirs[-1].filename).name}:{theirs[-1].lineno})" if theirs else ""
    last = str(error).strip().splitlines()[-1:] or [""]
    hint = None
    if "torch" in sys.modules and isinstance(error, (RuntimeError, MemoryError)):
        from proscale_bench.measure.memory import is_out_of_memory

        if is_out_of_memory(error):
            return BenchError(f"{what}: out of memory", "use a smaller --size or --batch-size")
    if isinstance(error, ModuleNotFoundError) and error.name:
        hint = GRAMMAR if error.name == what.partition(".")[0] else f"python -m pip install {error.name}"
    elif isinstance(error, TypeError) and "argument" in last[0]:
        hint = (
            "--model-args KEY=VALUE are its constructor's; --inputs my_file.py:make_inputs makes what it is called with"
        )
    return BenchError(f"{what}: {type(error).__name__}: {last[0][:300]}{place}", hint)


def _of_python(words: str, arguments: dict[str, Any]) -> LoadedModel:
    from torch import nn

    made, file = _named(words)
    if isinstance(made, nn.Module):
        if arguments:
            raise BenchError(f"{words}: it is built already, and takes no --model-args", "name its class instead")
    elif not callable(made):
        raise BenchError(f"{words}: of type {type(made).__name__}, and no module or factory", GRAMMAR)

    def build() -> nn.Module:
        module = made if isinstance(made, nn.Module) else made(**arguments)
        if not isinstance(module, nn.Module):
            raise BenchError(
                f"{words}: made something of type {type(module).__name__}, and no torch.nn.Module", GRAMMAR
            )
        return module.eval()

    return LoadedModel(source_digest(file.read_bytes() if file else words.encode()), build, images)


def source_digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


# --- torchvision ---


def _of_torchvision(name: str, arguments: dict[str, Any]) -> LoadedModel:
    """A model of torchvision with random weights: none are looked for."""
    import torchvision

    known = torchvision.models.list_models()
    if name not in known:
        hint = did_you_mean(name, known, "python -c 'import torchvision; print(torchvision.models.list_models())'")
        raise BenchError(f"torchvision has no model '{name}'", hint)
    builder = torchvision.models.get_model_builder(name)
    taken = inspect.signature(builder).parameters
    none = dict.fromkeys({"weights", "weights_backbone"} & taken.keys())
    is_detector = builder.__module__.startswith("torchvision.models.detection")

    def build() -> nn.Module:
        return builder(**none, **arguments).eval()  # type: ignore[no-any-return]

    notes = ("it resizes images itself: what is counted is the size that it makes of them",) if is_detector else ()
    make = listed_images if is_detector else images
    contains: tuple[PassPart, ...] = ("pre-processing", "network", "post-processing") if is_detector else ("network",)
    return LoadedModel(source_digest(torchvision.__version__.encode()), build, make, None, notes, contains)


# --- What a model is called with ---


def images(model: nn.Module, sides: Size, batch_size: int) -> Inputs:
    """A batch of images as the only argument."""
    from proscale_bench.measure.any_model import Inputs

    return Inputs((random_images(batch_size, 3, *sides),))


def listed_images(model: nn.Module, sides: Size, batch_size: int) -> Inputs:
    """A list of images, as detectors of torchvision take them."""
    from proscale_bench.measure.any_model import Inputs

    return Inputs((list(random_images(batch_size, 3, *sides)),))


def random_images(*shape: int) -> Any:
    """Random numbers from 0 to 1, the same in every run."""
    import torch

    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def _made_inputs(make: Any, request: ModelRequest, model: nn.Module, sides: Size, batch_size: int) -> Inputs:
    """Read what the user's function makes: a tensor, a tuple of arguments, or a dictionary of named ones.

    Of the arguments `model`, `size` (height, width) and `batch_size` it gets those that it names.
    """
    from torch import Tensor

    from proscale_bench.measure.any_model import Inputs

    if not callable(make):
        raise BenchError(f"--inputs {request.inputs}: not a function", "as in --inputs my_file.py:make_inputs")
    offered = {"model": model, "size": sides, "batch_size": batch_size}
    wanted = inspect.signature(make).parameters
    with faults_of(f"--inputs {request.inputs}"):
        made = make(**{name: value for name, value in offered.items() if name in wanted})
    if isinstance(made, Tensor):
        made = (made,)
    if isinstance(made, (tuple, dict)):
        tensors = made.values() if isinstance(made, dict) else made
        _require_size(request, [one for one in tensors if isinstance(one, Tensor)], wanted, sides, batch_size)
        return Inputs((), made) if isinstance(made, dict) else Inputs(made)
    kind = type(made).__name__
    raise BenchError(
        f"--inputs {request.inputs}: made something of type {kind}",
        "make a tensor, a tuple of arguments, or a dictionary",
    )


def _require_size(
    request: ModelRequest, made: Sequence[Tensor], wanted: Container[str], sides: Size, batch_size: int
) -> None:
    """Refuse images of a size of the function's own that is not the one which the record would name.

    Images are tensors of three channels, first or last. A function that takes `size` or `batch_size` knows what is
    asked for.
    """
    for images in (one for one in made if one.ndim == 4 and 3 in (one.shape[1], one.shape[3])):
        own = tuple(images.shape[2:] if images.shape[1] == 3 else images.shape[1:3])
        said = [
            *([f"--size {own[0]}x{own[1]}"] if "size" not in wanted and own != tuple(sides) else []),
            *([f"--batch-size {len(images)}"] if "batch_size" not in wanted and len(images) != batch_size else []),
        ]
        if said:
            message = (
                f"--inputs {request.inputs}: made {len(images)} of {own[0]}x{own[1]} where {batch_size} of "
                f"{sides[0]}x{sides[1]} are asked for"
            )
            raise BenchError(message, f"say {' '.join(said)}, or let the function take `size` and `batch_size`")
