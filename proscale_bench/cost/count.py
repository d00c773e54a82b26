"""One counted configuration: the row of `flops --export-json`, as a frozen object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, TypeVar

from proscale_bench.cost.closed_form import ClosedForm, quantity_of
from proscale_bench.cost.geometry import BatchInput, InputSize, batch_of, in_batch, parse_size, unpadded
from proscale_bench.cost.rules import Convention, Rules, get_rules
from proscale_bench.specs.levels import STRIDES, TOKEN_LEVELS
from proscale_bench.specs.model import EncoderSpec, ModelSpec, rows, with_sums
from proscale_bench.specs.terms import Terms, Tokens
from proscale_bench.specs.traced_pass import TracedPass
from proscale_bench.units import GIGA, MEGA, MIB, reduction_pct

Number = TypeVar("Number", bound=float | None)
MASK2FORMER = "Mask2Former"  # the family that rows say nothing of: there once was no other


class ByPart(dict[str, Number]):
    """Numbers by part, in the order of the JSON contract; `gflops["encoder"]` is `gflops.encoder` too."""

    def __getattr__(self, name: str) -> Number:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no part {name!r}: there are {', '.join(self)}") from None


@dataclass(frozen=True)
class LayerCost:
    """One token layer.

    Args:
        stage: its stage, from 1.
        levels: the levels whose tokens it refines, coarse to fine.
        tokens: their number, for one image.
        gflops: its cost, for one image.
        reads: the levels that these tokens attend to; None where they are the same.
        keep: the share of the last level's tokens that it refines.
        keeps_of_all: the share is of all its tokens, and not of the last level's alone.
    """

    stage: int
    levels: tuple[str, ...]
    tokens: float
    gflops: float
    reads: tuple[str, ...] | None = None
    keep: float = 1.0
    keeps_of_all: bool = False

    def row(self) -> dict[str, Any]:
        """The layer's entry in the JSON contract."""
        row = {"stage": self.stage, "levels": list(self.levels), "tokens": self.tokens, "gflops": self.gflops}
        return row if self.reads is None else row | {"reads": list(self.reads)}


@dataclass(frozen=True)
class Traced:
    """The findings of a trace, of a model without a closed form.

    Args:
        tables: by leaf of its parts, of one pass.
        left_out: output elements of arithmetic that no rule set counts, by aten operator.
        engine: what it was traced on.
        peak_bytes: of activations, of the pass; None where nobody asked.
    """

    tables: Mapping[str, Terms]
    left_out: Mapping[str, int]
    engine: str
    peak_bytes: int | None = None


@dataclass(frozen=True)
class FlopCount:
    """The cost of one model at one size under one rule set.

    `flops` are integers by leaf of the model's parts, summed over the size's images (fractions, in an expectation over
    the exits of a gate); everything else follows from them. Two counts are equal where all of these are.
    """

    spec: ModelSpec
    input: InputSize
    rules: Rules
    convention: Convention
    flops: Mapping[str, int]
    engine: str = "closed_form"
    as_executed: bool = False  # after the exact optimizations of inference, and not as the papers count
    traced: Traced | None = None  # where there is no closed form

    @property
    def backbone(self) -> str:
        """The backbone's name."""
        return self.spec.backbone_name

    @property
    def schedule(self) -> EncoderSpec:
        """The model's encoder."""
        return self.spec.encoder

    @property
    def variant(self) -> str:
        """The canonical spelling of the model's encoder."""
        return self.spec.variant

    @property
    def is_baseline(self) -> bool:
        """The model is the one that others are held against."""
        return self.spec == self.spec.baseline()

    @cached_property
    def part_flops(self) -> dict[str, int]:
        """FLOPs of every part, sums included, over the size's images."""
        return with_sums(self.flops, self.spec.parts)

    @cached_property
    def gflops(self) -> ByPart[float]:
        """GFLOPs of one image (a mean over the images of a set) by part, named as in the papers.

        `encoder` is the whole pixel decoder; `total` is all but post-processing.
        """
        unit = GIGA * self.input.images
        return ByPart({part.name: float(self.part_flops[part.name] / unit) for part in rows(self.spec.parts)})

    @cached_property
    def params_m(self) -> ByPart[float]:
        """Millions of parameters by top part, and `total`."""
        parameters = self.spec.parameters()
        return ByPart({part: n / MEGA for part, n in (parameters | {"total": sum(parameters.values())}).items()})

    @property
    def activation_mib(self) -> float | None:
        """The peak of a pass's activations in MiB, beyond weights and input; None where it was not traced for that."""
        peak = self.traced.peak_bytes if self.traced else None
        return None if peak is None else peak / MIB

    @cached_property
    def level_tokens(self) -> dict[str, float]:
        """Tokens of every level that there can be, coarse to fine; a mean over the size's images."""
        images = self._grouped_images
        return {level: _mean(quantity_of(Tokens(STRIDES[level]), self.input), images) for level in TOKEN_LEVELS}

    @cached_property
    def layers(self) -> tuple[LayerCost, ...]:
        """The token layers in order; empty where the encoder has none."""
        images = self.input.images
        numbered = [part.name for part in self.spec.parts if part.numbered]
        return tuple(
            LayerCost(
                layer.stage,
                layer.levels,
                _mean(sum(quantity_of(tokens, self.input) for tokens in layer.tokens), self._grouped_images),
                float(self.flops[part] / (GIGA * images)),
                layer.reads,
                layer.keep,
                layer.keeps_of_all,
            )
            for part, layer in zip(numbered, self.spec.layers, strict=True)
        )

    @property
    def _grouped_images(self) -> int:
        """The images that a quantity is summed over: one of a batch, whose images are alike."""
        return sum(group.images for group in self.input.groups)

    @cached_property
    def baseline(self) -> FlopCount | None:
        """The model that this one is held against, at the same size under the same rules; None where there is none."""
        spec = self.spec.baseline()
        return None if spec is None else self._recount(spec, self.as_executed)

    @cached_property
    def exits(self) -> tuple[tuple[FlopCount, float], ...]:
        """The counts that this one is the expectation over, with their shares; empty where an image costs this."""
        return tuple((self._recount(spec, self.as_executed), float(share)) for spec, share in self.spec.expected_over)

    @cached_property
    def executed(self) -> FlopCount:
        """The same after the exact optimizations of inference: what `profile` and `eval` run by default."""
        return self._recount(self.spec, as_executed=True)

    @cached_property
    def quoted(self) -> tuple[str, ...]:
        """The parts that are compared with the baseline's: those that papers quote; of two families, of both."""
        if self.baseline is None or self.baseline.spec.family == self.spec.family:
            return _quoted(self.spec if self.baseline is None else self.baseline.spec)
        own = _quoted(self.spec)
        return tuple(part for part in _quoted(self.baseline.spec) if part in own)

    @cached_property
    def reduction_pct(self) -> ByPart[float | None]:
        """The saving of each quoted part, in percent of the baseline's; None where either has no such part."""
        old = self.baseline.gflops if self.baseline else {}
        own = {part.name for part in self.spec.parts if part.quoted}
        return ByPart(
            {
                part: reduction_pct(self.gflops[part], old[part]) if part in old and part in own else None
                for part in self.quoted
            }
        )

    @cached_property
    def by_operator(self) -> dict[str, dict[str, float]]:
        """GFLOPs of one image by row and operator, as far as the rules count them."""
        unit = GIGA * self.input.images
        table = self.closed_form.by_operator(self.input)
        return {part: {str(op): float(n / unit) for op, n in row.items() if n} for part, row in table.items()}

    @cached_property
    def uncounted_ops(self) -> dict[str, float]:
        """Operations that a model runs and these rules leave out, by operator, in G of its amount (see `Operator`)."""
        unit = GIGA * self.input.images
        left_out = self.traced.left_out if self.traced else {}
        found = {str(op): n for op, n in self.closed_form.uncounted(self.input).items()}
        return {name: float(n / unit) for name, n in {**found, **left_out}.items()}

    @property
    def closed_form(self) -> ClosedForm:
        if self.traced:
            return ClosedForm(self.spec, self.rules, self.convention, tables=self.traced.tables)
        return _closed_form(self.spec, self.rules.name, self.convention, self.as_executed)

    def under(self, rules: Rules) -> FlopCount:
        """The same model counted under other rules."""
        if self.traced:
            return count_traced(self.spec, self.input, rules, self.convention, self.traced)
        return count_model(self.spec, self.input, rules, self.convention, self.as_executed)

    def _recount(self, spec: ModelSpec, as_executed: bool) -> FlopCount:
        if self.traced and spec == self.spec:  # a model of somebody else's runs as it is
            return self
        return count_model(spec, self.input, self.rules, self.convention, as_executed)

    def row(self, with_executed: bool = False) -> dict[str, Any]:
        """The row of the JSON contract, at full precision; `with_executed` adds what inference executes."""
        own = {"classes": self.spec.classes, "dimensions": self.spec.dimensions()}
        row: dict[str, Any] = {
            **({"model": self.spec.family} if self.spec.family != MASK2FORMER else {}),
            "backbone": self.backbone,
            "schedule": self.variant,
            "encoder": self.spec.encoder.encoder,
            **{key: value for key, value in own.items() if value},
            "input": self.input.row(),
            "convention": self.convention,
            "rules": self.rules.name,
            "engine": self.engine,
            "gflops": self.gflops,
            "params_m": self.params_m,
            "layers": [layer.row() for layer in self.layers],
            "baseline": None,
            "reduction_pct": self.reduction_pct,
            "uncounted_ops": self.uncounted_ops,
        }
        if self.spec.carries_its_parts:
            row["parts"] = [part.row() for part in self.spec.parts if not part.numbered]
        if self.baseline is not None:
            old = self.baseline.gflops
            row["baseline"] = {"schedule": self.baseline.variant, "gflops": {part: old[part] for part in self.quoted}}
        if self.activation_mib is not None:
            row["activation_mib"] = self.activation_mib
        if self.exits:
            row["exits"] = [
                {"schedule": one.variant, "share": share, "gflops": {part: one.gflops[part] for part in self.quoted}}
                for one, share in self.exits
            ]
        if with_executed:
            row["executed"] = {"gflops": self.executed.gflops, "reduction_pct": self.executed.reduction_pct}
        return row


def count_model(
    spec: ModelSpec, size: InputSize, rules: Rules, convention: Convention = "mac", as_executed: bool = False
) -> FlopCount:
    """Count a model in closed form, without torch; one that has none is traced.

    Raises:
        BenchError: an operator of one that is traced has no rule, or nobody loaded it (exit code 3).
    """
    if (trace := getattr(spec, "tracer", None)) is not None:
        given = as_given(spec, size)
        return count_traced(spec, given, rules, convention, trace(spec, given))
    given = as_given(spec, size)
    flops = _closed_form(spec, rules.name, convention, as_executed).count(given)
    return FlopCount(spec, given, rules, convention, flops, as_executed=as_executed)


def as_given(spec: ModelSpec, size: InputSize) -> InputSize:
    """The size as a model sees it: some pad nothing.

    Raises:
        BenchError: images are too small for it.
    """
    if isinstance(spec, TracedPass):
        plain = InputSize(size.name, size.groups, size.height_px, size.width_px, size.pads)
        return in_batch(as_given(spec.model, plain), size.images)
    if hasattr(spec, "tracer"):
        return size if isinstance(size, BatchInput) else batch_of(size, 1)
    if isinstance(size, BatchInput):  # of a model that is traced, which is held against this one
        size = parse_size(size.sides)
    if not spec.pads and size.pads:
        size = unpadded(size)
        for group in size.groups:
            spec.require_sides(*group.padded)
    return size


def count_traced(spec: ModelSpec, size: InputSize, rules: Rules, convention: Convention, traced: Traced) -> FlopCount:
    """Count what a trace found under a rule set."""
    flops = ClosedForm(spec, rules, convention, tables=traced.tables).count(size)
    return FlopCount(spec, size, rules, convention, flops, traced.engine, traced=traced)


@lru_cache(maxsize=1024)
def _closed_form(spec: ModelSpec, rules: str, convention: Convention, as_executed: bool) -> ClosedForm:
    return ClosedForm(spec, get_rules(rules), convention, as_executed)


def _quoted(spec: ModelSpec) -> tuple[str, ...]:
    return tuple(part.name for part in rows(spec.parts) if part.quoted)


def _mean(total: int, images: int) -> int | float:
    """A whole number where it is one, as for a single image."""
    return total // images if total % images == 0 else total / images
