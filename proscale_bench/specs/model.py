"""A model as one frozen value: it names itself, says what it is made of, and what that costs.

All that counts, times, evaluates, stores and shows a model takes a `ModelSpec` and knows no family. `models/build.py`
makes the module of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from proscale_bench.specs.levels import STRIDES, Channels
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.tasks import Task
from proscale_bench.specs.terms import Kept, Quantity, Terms, Together, Tokens

Number = TypeVar("Number", int, float)
PLURALS = ("classes", "queries", "points", "heads", "layers", "boxes")  # dimensions that are told before their name
TRACED = ("engine", "source")  # how a model was found that has no closed form
TOTAL, POSTPROCESSING, WHOLE = "total", "postprocessing", "total_with_postprocessing"


@dataclass(frozen=True)
class Part:
    """One node in the tree of a model's parts, and one row of every table.

    Args:
        name: its key in records, as in "encoder_projection".
        title: what a reader calls it, as in "projection".
        of: the name of the part that contains it; None for the root.
        modules: names of the modules that run it, as in "encoder.projections". What such a module runs outside the
            modules of other parts belongs to this one, so "encoder" may stand for what is left of the encoder.
        numbered: one of several alike, as the token layers are: a row of its own only where every layer is shown.
        quoted: one of the numbers that papers compare: what is saved of it against the baseline is a number too.
    """

    name: str
    title: str
    of: str | None = TOTAL
    modules: tuple[str, ...] = ()
    numbered: bool = False
    quoted: bool = False

    def row(self) -> dict[str, Any]:
        """The part as a record carries it."""
        return {"name": self.name, "title": self.title, "of": self.of, "quoted": self.quoted}


class LayerSpec(NamedTuple):
    """One layer of an encoder.

    Args:
        stage: its stage, from 1.
        levels: the levels whose tokens it refines, coarse to fine.
        reads: the levels whose tokens these attend to; None where they are the same.
        keep: the share of the last level's tokens that it refines.
        keeps_of_all: the share is of all its tokens, and not of the last level's alone.
    """

    stage: int
    levels: tuple[str, ...]
    reads: tuple[str, ...] | None = None
    keep: float = 1.0
    keeps_of_all: bool = False

    @property
    def tokens(self) -> tuple[Quantity, ...]:
        """The tokens of each level that it refines."""
        *coarser, last = (Tokens(STRIDES[level]) for level in self.levels)
        if self.keeps_of_all:
            return (Kept(Together((*coarser, last)), self.keep),)
        return (*coarser, last if self.keep == 1 else Kept(last, self.keep))


class EncoderSpec(Protocol):
    """A whole pixel decoder, as data: what every encoder family in `specs/encoders/` is.

    An encoder is a frozen dataclass beside its formulas. A plain feature pyramid, for example::

        @dataclass(frozen=True)
        class Pyramid:
            name: str | None = None
            encoder = "pyramid"                      # the family's key in records
            compact = "pyramid"                      # the one canonical spelling; `spelling.py` reads it back
            layers = ()                              # token layers, where it has any
            parts = (
                Part("encoder_lateral", "lateral", of="encoder", modules=("encoder.lateral",)),
                Part("fpn_upsampling", "FPN upsampling", modules=("encoder",)),
            )

            def terms(self, channels, head, as_executed=False):  # a table for each leaf of `parts`
                return {
                    "encoder_lateral": terms((Operator.CONV, channels[0] * head.width, Tokens(4))),
                    "fpn_upsampling": terms((Operator.UPSAMPLE_BILINEAR2D, 4 * head.width, Tokens(4))),
                }

            def parameters(self, channels, head):
                return channels[0] * head.width

    Its module is the class of the same idea in `models/encoders/`, named in `models/build.py`. An encoder that leaves
    open how much of it runs has no one cost: it has `exits`, which are encoders with one each, and `expected`, the mean
    over a distribution of them, which says so by its `expected_over` (see `early_exit.py`).
    """

    def __hash__(self) -> int: ...

    @property
    def name(self) -> str | None:
        """The name in the catalogue or its file; no part of its identity."""

    @property
    def encoder(self) -> str:
        """The family's key in records: `mask2former`, `proscale`."""

    @property
    def compact(self) -> str:
        """The one canonical spelling."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts inside `encoder`, in forward order, and what it runs that is booked beside it."""

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        """The token layers in order; empty where it has none."""

    def terms(self, channels: Channels, head: Head, as_executed: bool = False) -> dict[str, Terms]:
        """The coefficients of every leaf of `parts`.

        Args:
            channels: channels of the backbone's features.
            head: dimensions.
            as_executed: see `ModelSpec.terms`.
        """

    def parameters(self, channels: Channels, head: Head) -> int:
        """The number of parameters of the whole encoder."""


@runtime_checkable
class HasPyramidWidth(Protocol):
    """An encoder whose pyramid is not as wide as the head."""

    def pyramid_width(self, head: Head) -> int:
        """The channels of the pyramid; mask features are as wide as the head."""


def pyramid_width(encoder: EncoderSpec, head: Head) -> int:
    """The channels of an encoder's pyramid: the head's width, unless the encoder says otherwise."""
    return encoder.pyramid_width(head) if isinstance(encoder, HasPyramidWidth) else head.width


class ModelSpec(Protocol):
    """A model as data: frozen, hashable, picklable. `specs/mask2former.py` is the one to read as an example."""

    def __hash__(self) -> int: ...

    @property
    def family(self) -> str:
        """The model's name in records: "Mask2Former"."""

    @property
    def backbone_name(self) -> str:
        """The backbone's name, or its kind and dimensions where it has none."""

    @property
    def encoder(self) -> EncoderSpec:
        """The pixel decoder."""

    @property
    def variant(self) -> str:
        """The canonical spelling of what tells it from its siblings: "3,3,3"."""

    @property
    def tasks(self) -> frozenset[Task]:
        """The tasks that its predictions can be judged by; empty where it is counted and timed alone."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """The tree of its parts in forward order, a sum after what it sums up; the root comes last."""

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        """The token layers of its encoder, in order."""

    @property
    def exits(self) -> tuple[ModelSpec, ...]:
        """The models that it is for one image or another, where its encoder's gate chooses; else empty."""

    def expected(self, images: Sequence[int]) -> ModelSpec:
        """The model whose cost is the mean of one with `exits`, where so many images take each of them."""

    @property
    def expected_over(self) -> tuple[tuple[ModelSpec, Fraction], ...]:
        """The models that its cost is the expectation over, with their shares; empty where an image costs that."""

    @property
    def carries_its_parts(self) -> bool:
        """Its records say what its parts are. Those of Mask2Former with token layers do not, as none once did."""

    @property
    def pads(self) -> bool:
        """Images are padded to a multiple of 32, and do not keep their size."""

    def require_sides(self, height_px: int, width_px: int) -> None:
        """Refuse images that are too small for its levels.

        Raises:
            BenchError: these are.
        """

    @property
    def classes(self) -> int | None:
        """The number of classes; None where it is as many as its name stands for."""

    def dimensions(self) -> dict[str, int | str | tuple[int, ...]]:
        """The dimensions in which it differs from what its names stand for; empty for a named model."""

    def baseline(self) -> ModelSpec | None:
        """The model that it is held against; None where there is none."""

    def terms(self, as_executed: bool = False) -> dict[str, Terms] | None:
        """The coefficients of every leaf of `parts`; None where only a trace can count it.

        Args:
            as_executed: after the exact optimizations of inference, and not as the papers count.
        """

    def parameters(self) -> dict[str, int]:
        """The number of parameters by top part."""


def dimension_words(dimensions: Mapping[str, object]) -> dict[str, str]:
    """Say dimensions in words, by their names: `width 128`, `20 queries`, `8 encoder heads`."""
    found = {}
    for name, value in dimensions.items():
        words = name.replace("_", " ").replace("ffn", "FFN")
        shown = "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
        found[name] = f"{shown} {words}" if words.rpartition(" ")[2] in PLURALS else f"{words} {shown}"
    return found


def model_words(backbone: str, dimensions: Mapping[str, object]) -> str:
    """Name a model but for its encoder: `resnet50, 3 classes, width 128`. A backbone's name has its dimensions, and
    what a traced model was read from and run on tells no reader what it is."""
    own = {name: value for name, value in dimensions.items() if not name.startswith(("backbone_", *TRACED))}
    return ", ".join((backbone, *dimension_words(own).values()))


def by_exit(specs: Iterable[ModelSpec]) -> tuple[ModelSpec, ...]:
    """Models of one cost each: a model itself, or where its gate chooses how much of it runs, one for every exit."""
    return tuple(one for spec in specs for one in (spec.exits or (spec,)))


def over_exits(spec: ModelSpec, images: Mapping[int, int]) -> ModelSpec:
    """The model whose cost is a model's on some images: where its gate chooses, the mean over the exits that they took.

    Args:
        images: how many took each exit, by its place among `exits`.
    """
    return spec.expected([images.get(place, 0) for place in range(len(spec.exits))]) if spec.exits else spec


def leaves(parts: Iterable[Part]) -> list[Part]:
    """The parts that contain no other, in order: a count is a number for each of them."""
    known = list(parts)
    containers = {part.of for part in known}
    return [part for part in known if part.name not in containers]


def with_sums(counts: Mapping[str, Number], parts: Sequence[Part]) -> dict[str, Number]:
    """A number for every part: those of the leaves as given, and the sums of all that contain others."""
    found: dict[str, Number] = {part.name: counts.get(part.name, 0) for part in leaves(parts)}
    children: dict[str | None, list[str]] = {}
    for part in parts:
        children.setdefault(part.of, []).append(part.name)

    def number(name: str) -> Number:
        if name not in found:
            found[name] = sum(number(child) for child in children[name])
        return found[name]

    return {part.name: number(part.name) for part in parts}


def rows(parts: Iterable[Part]) -> list[Part]:
    """The parts that are a row each, in the order of the JSON contract: a quoted part stands right below what contains
    it. Numbered layers have a table of their own."""
    shown: list[Part] = []
    for part in parts:
        if not part.numbered:
            below = (place for place, other in enumerate(shown, start=1) if part.quoted and other.name == part.of)
            shown.insert(next(below, len(shown)), part)
    return shown
