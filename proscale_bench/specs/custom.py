"""A model of somebody else's as a value: what the user named, and the parts that were found when it was built.

It has no closed form: a trace counts it (`measure/any_model.py`). Its identity is the words that name it with its
arguments, and a digest of what these words stood for, so that a file that changed is another model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar, NoReturn

from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.specs.levels import Channels
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.model import POSTPROCESSING, TOTAL, LayerSpec, ModelSpec, Part
from proscale_bench.specs.tasks import Task
from proscale_bench.specs.terms import Terms

CUSTOM = "custom"
REST = "outside"  # what runs in no child of the model
BACKWARD = "backward"
Depth = int | str  # levels of named children, or the attribute in which a model names its parts


@dataclass(frozen=True)
class ModelRequest:
    """A model as a user names it.

    Args:
        source: `my_file.py:Net`, `package.module:factory`, `hf:CONFIG.json`, `torchvision:NAME`.
        arguments: of its constructor, as (key, value in Python's own spelling).
        inputs: `file.py:make_inputs`, which makes what the model is called with; None where that is a batch of images.
        depth: levels of named children that are a part each, or the attribute in which the model names its parts.
        allowed: operators without a rule that count as nothing.
        training: a forward and a backward pass, in training mode, and not a forward pass alone.
        memory: the peak of activations is asked for, so that it is traced as a CPU runs it: under fake tensors.
    """

    source: str
    arguments: tuple[tuple[str, str], ...] = ()
    inputs: str | None = None
    depth: Depth = 2
    allowed: tuple[str, ...] = ()
    training: bool = False
    memory: bool = False

    def __str__(self) -> str:
        arguments = ", ".join(f"{key}={value}" for key, value in self.arguments)
        return f"{self.source}({arguments})" if arguments else self.source


@dataclass(frozen=True)
class CustomEncoder:
    """The place where other models have a pixel decoder: nothing is known of it."""

    compact: str
    name = None
    encoder = CUSTOM
    parts: tuple[Part, ...] = ()
    layers: tuple[LayerSpec, ...] = ()

    def terms(self, channels: Channels, head: Head, as_executed: bool = False) -> dict[str, Terms]:
        return {}

    def parameters(self, channels: Channels, head: Head) -> int:
        return 0


def _not_loaded(spec: object, *given: object) -> NoReturn:
    """The tracer and opener of a model that nobody loaded: records and checkpoints lead to none."""
    raise BenchError(f"{spec} is not loaded", "name it with --model", ExitCode.UNTRUSTED)


@dataclass(frozen=True)
class CustomSpec:
    """A model of somebody else's. The rest is `ModelSpec`'s.

    Args:
        request: what the user named.
        digest: of the file or the version that it stood for.
        parts: see `ModelSpec`; a part's modules are paths in the model.
        counted: parameters by top part; those that parts share are in the first.
        engine: what it was traced on: `trace-meta`, `trace-fake` or `trace-cpu`.
        against: the model that it is held against.
        is_base: others are held against it.
        tracer: makes a `cost.count.Traced` of it and a size, which `cost` cannot; processes find it by its name.
        opener: makes the `bench.loader.LoadedModel` that it is of, which builds the module and its inputs.
    """

    request: ModelRequest
    digest: str
    parts: tuple[Part, ...]
    counted: tuple[tuple[str, int], ...]
    engine: str
    against: ModelSpec | None = field(default=None, compare=False)
    is_base: bool = field(default=False, compare=False)
    tracer: Callable[..., Any] = field(default=_not_loaded, compare=False, repr=False)
    opener: Callable[..., Any] = field(default=_not_loaded, compare=False, repr=False)

    family = CUSTOM
    backbone_name = CUSTOM
    tasks = frozenset[Task]()
    layers: ClassVar[tuple[LayerSpec, ...]] = ()
    exits: ClassVar[tuple[ModelSpec, ...]] = ()
    expected_over: ClassVar[tuple[tuple[ModelSpec, Fraction], ...]] = ()
    carries_its_parts = True
    pads = False
    classes = None

    @property
    def encoder(self) -> CustomEncoder:
        return CustomEncoder(self.variant)

    @property
    def variant(self) -> str:
        return str(self.request)

    def dimensions(self) -> dict[str, int | str | tuple[int, ...]]:
        """All that identifies it beside its words."""
        given: dict[str, str | None] = {"pass": "forward and backward" if self.request.training else None}
        given |= {"inputs": self.request.inputs, "allowed": ", ".join(f"{name}=0" for name in self.request.allowed)}
        own: dict[str, int | str | tuple[int, ...]] = {key: value for key, value in given.items() if value}
        return {**own, "engine": self.engine, "source": self.digest}

    def require_sides(self, height_px: int, width_px: int) -> None:
        """Unknown: running it tells."""

    def expected(self, images: Sequence[int]) -> CustomSpec:
        return self

    def baseline(self) -> ModelSpec | None:
        return self if self.is_base else self.against

    def terms(self, as_executed: bool = False) -> None:
        """None: a trace counts it."""

    def parameters(self) -> dict[str, int]:
        return dict(self.counted)

    def __str__(self) -> str:
        return self.variant


def parts_of(children: Mapping[str, str], training: bool = False) -> tuple[Part, ...]:
    """The tree of parts of a model, from the paths and titles of the modules that are a part each.

    Args:
        training: the backward pass is a part too.
        children: titles by path, a module after those that contain it. One that contains others gets a part for what
            it runs outside them.

    A sum comes after what it sums up, as everywhere.
    """

    def name(path: str) -> str:
        return f"module {path}" if path in (TOTAL, REST, BACKWARD, POSTPROCESSING) else path

    def subtree(above: str) -> list[Part]:
        found: list[Part] = []
        for path in inside.get(above, ()):
            of = name(above) if above else TOTAL
            if path in inside:
                rest = Part(f"{path}.{REST}", f"{REST} these", name(path), (path,))
                found += [*subtree(path), rest, Part(name(path), children[path], of)]
            else:
                found.append(Part(name(path), children[path], of, (path,)))
        return found

    inside: dict[str, list[str]] = {}
    for path in children:
        inside.setdefault(_container(path, children), []).append(path)
    rest = Part(REST, f"{REST} these", TOTAL, ("",))
    backward = (Part(BACKWARD, "backward pass", TOTAL),) if training else ()
    return (*subtree(""), rest, *backward, Part(TOTAL, "total", None, quoted=True))


def is_rest(part: Part) -> bool:
    """The part is what a module runs outside the parts inside it."""
    return part.name == REST or part.name.endswith(f".{REST}")


def _container(path: str, children: Mapping[str, str]) -> str:
    """The nearest of the paths that contains a path; empty where none does."""
    above = path.rpartition(".")[0]
    while above and above not in children:
        above = above.rpartition(".")[0]
    return above
