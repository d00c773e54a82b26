"""One counted configuration: the row of `flops --export-json`, as a frozen object."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import Any

from proscale_bench.config.architecture import Architecture, get_architecture
from proscale_bench.cost.closed_form import ClosedForm, PartFlops
from proscale_bench.cost.geometry import DEFAULT_SIZE, InputSize, parse_size
from proscale_bench.cost.parameters import count_parameters
from proscale_bench.cost.rules import CONVENTIONS, Convention, Rules, get_rules
from proscale_bench.cost.terms import TOKENS_OF, Quantity
from proscale_bench.errors import look_up
from proscale_bench.specs.encoders.staged import Level, Schedule, baseline
from proscale_bench.units import GIGA, MEGA, reduction_pct


@dataclass(frozen=True)
class Gflops:
    """GFLOPs of one image (a mean over images at the COCO sizes), by part. Named as in the papers.

    `encoder` is the whole pixel decoder: projection + recalibration + token layers + pixel embedding.
    `total` = backbone + encoder + fpn_upsampling + transformer_decoder.
    """

    backbone: float
    encoder: float
    encoder_token_layers: float
    encoder_projection: float
    encoder_recalibration: float
    pixel_embedding: float
    fpn_upsampling: float
    transformer_decoder: float
    total: float
    postprocessing: float
    total_with_postprocessing: float


@dataclass(frozen=True)
class ParamsM:
    """Millions of parameters by part."""

    backbone: float
    encoder: float
    transformer_decoder: float
    total: float


@dataclass(frozen=True)
class LayerCost:
    """One token layer: its stage (from 1), the levels it sees, its tokens and GFLOPs for one image."""

    stage: int
    levels: tuple[Level, ...]
    tokens: float
    gflops: float


@dataclass(frozen=True)
class Reduction:
    """Saved against the baseline on the same backbone and size, in percent."""

    encoder: float | None
    encoder_token_layers: float | None
    total: float | None
    total_with_postprocessing: float | None


@dataclass(frozen=True)
class FlopCount:
    """What one schedule costs on one backbone at one size.

    `flops` are integers, summed over the size's images; everything else follows from them.
    """

    backbone: str
    schedule: Schedule
    input: InputSize
    rules: Rules
    convention: Convention
    architecture: Architecture
    flops: PartFlops
    engine: str = "closed_form"
    as_executed: bool = False  # after the exact rewrites of inference, and not as the papers count

    @cached_property
    def gflops(self) -> Gflops:
        unit = GIGA * self.input.images
        return Gflops(**{part: getattr(self.flops, part) / unit for part in Gflops.__dataclass_fields__})

    @cached_property
    def params_m(self) -> ParamsM:
        parameters = count_parameters(self.architecture, self.schedule)
        return ParamsM(**{part: getattr(parameters, part) / MEGA for part in ParamsM.__dataclass_fields__})

    @cached_property
    def level_tokens(self) -> dict[str, float]:
        """Tokens of every level, res2 included; a mean over the size's images."""
        tokens_res5 = self.closed_form.quantities(self.input)[Quantity.TOKENS]
        return {level: _mean(ratio * tokens_res5, self.input.images) for level, ratio in TOKENS_OF.items()}

    @cached_property
    def layers(self) -> tuple[LayerCost, ...]:
        unit = GIGA * self.input.images
        tokens_res5 = self.closed_form.quantities(self.input)[Quantity.TOKENS]
        return tuple(
            LayerCost(
                stage,
                levels,
                _mean(tokens_res5 * sum(TOKENS_OF[level] for level in levels), self.input.images),
                flops / unit,
            )
            for (stage, levels), flops in zip(self.schedule.layers, self.flops.layers, strict=True)
        )

    @cached_property
    def baseline(self) -> FlopCount:
        """Mask2Former's six full layers on the same backbone, at the same size, under the same rules."""
        return self._recount(baseline(), self.as_executed)

    @cached_property
    def executed(self) -> FlopCount:
        """The same after the exact rewrites of inference: what `profile` and `eval` run by default."""
        return self._recount(self.schedule, as_executed=True)

    @cached_property
    def reduction_pct(self) -> Reduction:
        new, old = self.gflops, self.baseline.gflops
        return Reduction(
            **{part: reduction_pct(getattr(new, part), getattr(old, part)) for part in Reduction.__dataclass_fields__}
        )

    @cached_property
    def by_operator(self) -> dict[str, dict[str, float]]:
        """GFLOPs of one image by part and operator, as far as the rules count them."""
        unit = GIGA * self.input.images
        table = self.closed_form.by_operator(self.input)
        return {part: {str(op): n / unit for op, n in row.items() if n} for part, row in table.items()}

    @cached_property
    def uncounted_ops(self) -> dict[str, float]:
        """What the model runs and these rules leave out, by operator, in G of its own amount (see `Operator`)."""
        unit = GIGA * self.input.images
        return {str(op): n / unit for op, n in self.closed_form.uncounted(self.input).items()}

    @property
    def closed_form(self) -> ClosedForm:
        return _closed_form(self.architecture, self.schedule, self.rules.name, self.convention, self.as_executed)

    def _recount(self, schedule: Schedule, as_executed: bool) -> FlopCount:
        return count_model(
            schedule, self.backbone, self.architecture, self.input, self.rules, self.convention, as_executed
        )

    def row(self, with_executed: bool = False) -> dict[str, Any]:
        """The row of the JSON contract, at full precision; `with_executed` adds what inference executes."""
        old = self.baseline.gflops
        executed = {"gflops": asdict(self.executed.gflops), "reduction_pct": asdict(self.executed.reduction_pct)}
        return {
            "backbone": self.backbone,
            "schedule": self.schedule.compact,
            "encoder": self.schedule.encoder,
            "input": self.input.row(),
            "convention": self.convention,
            "rules": self.rules.name,
            "engine": self.engine,
            "gflops": asdict(self.gflops),
            "params_m": asdict(self.params_m),
            "layers": [{**asdict(layer), "levels": list(layer.levels)} for layer in self.layers],
            "baseline": {
                "schedule": self.baseline.schedule.compact,
                "gflops": {
                    "encoder": old.encoder,
                    "encoder_token_layers": old.encoder_token_layers,
                    "total": old.total,
                    "total_with_postprocessing": old.total_with_postprocessing,
                },
            },
            "reduction_pct": asdict(self.reduction_pct),
            "uncounted_ops": self.uncounted_ops,
            **({"executed": executed} if with_executed else {}),
        }


def count_flops(
    schedule: Schedule | str,
    backbone: str = "resnet50",
    size: str | tuple[int, int] = DEFAULT_SIZE,
    output_size: str | tuple[int, int] | None = None,
    rules: str = "fvcore",
    convention: str = "mac",
) -> FlopCount:
    """Count the whole model in closed form, without torch.

    Args:
        schedule: a `Schedule`, a YAML file, a catalogue name, or compact as `3,3,3`.
        backbone: one of `resnet50 resnet101 swin_t swin_s swin_b swin_l tiny`.
        size: (height, width) in pixels, `"800x1333"`, `"coco-first100"` or `"coco-val"`.
        output_size: what masks are resized to; the input's size where None. Not with the COCO sizes.
        rules: `fvcore`, `published` or `complete` (see `cost.rules`).
        convention: `mac` counts a multiply-accumulate once, `flop` twice.

    Raises:
        BenchError: any of these unknown or out of range.
    """
    if not isinstance(schedule, Schedule):
        from proscale_bench.config.catalogue import parse_schedule

        schedule = parse_schedule(schedule)
    known = look_up({known: known for known in CONVENTIONS}, convention, "convention")
    input_size = parse_size(size, output_size)
    return count_model(schedule, backbone, get_architecture(backbone), input_size, get_rules(rules), known)


def count_model(
    schedule: Schedule,
    backbone: str,
    architecture: Architecture,
    size: InputSize,
    rules: Rules,
    convention: Convention = "mac",
    as_executed: bool = False,
) -> FlopCount:
    """The same for dimensions and sizes of one's own; `backbone` is what they are called."""
    form = _closed_form(architecture, schedule, rules.name, convention, as_executed)
    flops = form.count(size)
    return FlopCount(backbone, schedule, size, rules, convention, architecture, flops, as_executed=as_executed)


@lru_cache(maxsize=1024)
def _closed_form(
    architecture: Architecture, schedule: Schedule, rules: str, convention: Convention, as_executed: bool
) -> ClosedForm:
    return ClosedForm(architecture, schedule, get_rules(rules), convention, as_executed)


def _mean(total: int, images: int) -> int | float:
    """A whole number where it is one, as for a single image."""
    return total // images if total % images == 0 else total / images
