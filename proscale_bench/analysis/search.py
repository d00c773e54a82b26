"""Searches the encoders that a model may have for those that give the most capacity for a cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

from proscale_bench.cost.count import FlopCount, count_model
from proscale_bench.cost.geometry import InputSize
from proscale_bench.cost.rules import Rules
from proscale_bench.cost.search import (
    ENCODER_AT,
    STRIDES,
    TOTAL_AT,
    Candidates,
    Tally,
    count_candidates,
    frontier_of,
    over_grids,
)
from proscale_bench.errors import BenchError
from proscale_bench.specs.candidates import DEFAULT_FAMILIES, FAMILIES
from proscale_bench.specs.mask2former import Mask2FormerSpec
from proscale_bench.specs.model import EncoderSpec
from proscale_bench.units import GIGA, show_gflops, show_ms, show_tokens

if TYPE_CHECKING:
    from proscale_bench.cost.search import Values

Axis = Literal["total_gflops", "encoder_gflops", "latency_ms"]
NO_DIFFERENCE = 0.001  # of the baseline's cost, or of the longest time: options that cost less are no rows of their own


@dataclass(frozen=True, kw_only=True)
class SearchLimits:
    """Limits of what an encoder may cost; None: none.

    Args:
        total_gflops, encoder_gflops: of one image.
        saving_pct: of the whole model, against the baseline.
        latency_ms: of one image on this device.
    """

    total_gflops: float | None = None
    encoder_gflops: float | None = None
    saving_pct: float | None = None
    latency_ms: float | None = None

    def __post_init__(self) -> None:
        for flag, number in (
            ("--max-total-gflops", self.total_gflops),
            ("--max-encoder-gflops", self.encoder_gflops),
            ("--saving", self.saving_pct),
            ("--max-ms", self.latency_ms),
        ):
            if number is not None and not (isfinite(number) and number > 0):
                raise BenchError(f"{flag} {number:g}: not a positive number", f"as in {flag} 30")
        if self.saving_pct is not None and self.saving_pct >= 100:
            raise BenchError(f"--saving {self.saving_pct:g}: nothing is left of the model", "as in --saving 30")

    @property
    def axis(self) -> Axis:
        """The cost that capacity is held against: that of the limit, or the total."""
        if self.latency_ms is not None:
            return "latency_ms"
        both = self.total_gflops is None and self.saving_pct is None and self.encoder_gflops is not None
        return "encoder_gflops" if both else "total_gflops"


@dataclass(frozen=True)
class SearchRequest:
    """A search: the model, the size, and which encoders are looked through.

    Args:
        spec: the model, whose encoder is left aside.
        families: names of `specs.candidates.FAMILIES`.
        max_layers: the largest number of token layers.
    """

    spec: Mask2FormerSpec
    size: InputSize
    rules: Rules
    limits: SearchLimits
    families: tuple[str, ...] = DEFAULT_FAMILIES
    max_layers: int = 9

    def with_encoder(self, encoder: EncoderSpec) -> Mask2FormerSpec:
        return replace(self.spec, encoder=encoder)

    def candidates(self) -> Candidates:
        """Every encoder that is searched, counted."""
        grids = [(name, grid) for name in self.families for grid in FAMILIES[name](self.max_layers)]
        return count_candidates(grids, self.tally(), self.spec.baseline().encoder)

    def tally(self) -> Tally:
        """The counter of the encoders."""
        return Tally(self.with_encoder, self.size, self.rules)


@dataclass(frozen=True)
class SearchRow:
    """An encoder of the frontier.

    Args:
        count: its cost.
        family: the name of its family.
        capacity: as a share of the baseline's.
        ratios: of the baseline's: work a place at strides 32, 16, 8 and 4, and parameters.
        beats: the number of candidates that cost as much or more for no more capacity.
        reason: why it is kept.
        latency_ms: of one image, where it was asked for.
        measured: the latency is measured, and not predicted.
    """

    count: FlopCount
    family: str
    capacity: float
    ratios: tuple[float, ...]
    beats: int
    reason: str
    latency_ms: float | None = None
    measured: bool = False

    def row(self) -> dict[str, Any]:
        """The row of the JSON contract: that of `flops`, and what the search says."""
        levels = [f"stride_{stride}" for stride in STRIDES]
        return {
            **self.count.row(),
            "family": self.family,
            "capacity_pct": 100 * self.capacity,
            "work_pct": {key: 100 * share for key, share in zip(levels, self.ratios, strict=False)},
            "parameters_pct": 100 * self.ratios[-1],
            "beats": self.beats,
            "reason": self.reason,
            "latency_ms": self.latency_ms,
            "latency_origin": None if self.latency_ms is None else "measured" if self.measured else "predicted",
        }


@dataclass(frozen=True)
class Found:
    """The answer of a search.

    Args:
        rows: the frontier within the limits, the most capacity first.
        candidates: all that was searched.
        allowed: the number of those within the limits.
        costs: of every candidate on the axis of the limits.
    """

    request: SearchRequest
    rows: tuple[SearchRow, ...]
    candidates: Candidates
    allowed: int
    costs: Values

    @property
    def pick(self) -> SearchRow:
        """The most capacity within the limits."""
        return self.rows[0]

    @cached_property
    def baseline(self) -> FlopCount:
        request = self.request
        return count_model(request.spec.baseline(), request.size, request.rules)

    def spread(self, number: int) -> tuple[SearchRow, ...]:
        """So many rows of the frontier, spread evenly over its costs, with the first and the last."""
        if number >= len(self.rows):
            return self.rows
        if number == 1:
            return self.rows[:1]
        axis = self.request.limits.axis
        costs = [cost_of(row, axis) for row in self.rows]
        wanted = (costs[0] + (costs[-1] - costs[0]) * step / (number - 1) for step in range(number))
        places = {min(range(len(costs)), key=lambda place: abs(costs[place] - cost)) for cost in wanted}
        return tuple(self.rows[place] for place in sorted(places))


def cost_of(row: SearchRow, axis: Axis) -> float:
    """The cost of a row: GFLOPs or milliseconds of one image."""
    if axis == "latency_ms":
        assert row.latency_ms is not None
        return row.latency_ms
    return row.count.gflops["total" if axis == "total_gflops" else "encoder"]


def search(
    request: SearchRequest,
    latency_ms: Callable[[EncoderSpec], float] | None = None,
    measured_ms: dict[EncoderSpec, float] | None = None,
) -> Found:
    """Search exhaustively.

    Args:
        latency_ms: predicts the milliseconds of one image.
        measured_ms: those that were measured, which count in the place of a prediction.

    Raises:
        BenchError: nothing keeps to the limits; names the cheapest.
    """
    import numpy as np

    candidates = request.candidates()
    gflops = candidates.counts / (GIGA * candidates.images)
    total, encoder = gflops[:, TOTAL_AT], gflops[:, ENCODER_AT]
    times = None
    if latency_ms is not None:
        times = over_grids([grid for _, grid in candidates.grids], lambda one: [latency_ms(one)])[:, 0]
        tally = request.tally()
        for measured, ms in (measured_ms or {}).items():
            alike = np.flatnonzero((candidates.counts == tally.row(measured)).all(axis=1)).tolist()
            times[[index for index in alike if candidates.encoder(index) == measured]] = ms
    limits, base = request.limits, candidates.baseline[TOTAL_AT] / (GIGA * candidates.images)
    axis = limits.axis
    costs = {"total_gflops": total, "encoder_gflops": encoder, "latency_ms": times}[axis]
    assert costs is not None
    allowed = np.ones(len(costs), dtype=bool)
    for values, limit in (
        (total, limits.total_gflops),
        (total, None if limits.saving_pct is None else base * (1 - limits.saving_pct / 100)),
        (encoder, limits.encoder_gflops),
        (times, limits.latency_ms),
    ):
        if values is not None and limit is not None:
            allowed &= values <= limit
    if not allowed.any():
        raise _too_little(request, candidates, costs, base)
    base_cost = {"total_gflops": base, "encoder_gflops": candidates.baseline[ENCODER_AT] / (GIGA * candidates.images)}
    least = NO_DIFFERENCE * base_cost.get(axis, float(costs.max()))
    kept = _apart(frontier_of(costs, candidates.capacity, allowed), costs, least)
    rows = tuple(
        _row(request, candidates, costs, index, place, len(kept), times, measured_ms or {})
        for place, index in enumerate(kept)
    )
    return Found(request, rows, candidates, int(allowed.sum()), costs)


def _apart(frontier: Sequence[int], costs: Values, least: float) -> list[int]:
    """The frontier from the most capacity down, without what costs as good as the same as the one before, and with the
    cheapest."""
    kept: list[int] = []
    for index in reversed(frontier):
        if not kept or costs[kept[-1]] - costs[index] >= least:
            kept.append(index)
    return kept if len(kept) == 1 else [*kept[:-1], frontier[0]]


def _row(
    request: SearchRequest,
    candidates: Candidates,
    costs: Values,
    index: int,
    place: int,
    number: int,
    times: Values | None,
    measured_ms: dict[EncoderSpec, float],
) -> SearchRow:
    encoder, capacity = candidates.encoder(index), float(candidates.capacity[index])
    beaten = (costs >= costs[index]) & (candidates.capacity <= candidates.capacity[index])
    if place == 0:
        reason = "most capacity in the limits"
    elif place == number - 1:
        reason = "cheapest in the limits"
    else:
        reason = f"cheapest with {100 * capacity:.1f} %"
    measured = measured_ms.get(encoder)
    return SearchRow(
        count=count_model(request.with_encoder(encoder), request.size, request.rules),
        family=candidates.family(index),
        capacity=capacity,
        ratios=tuple(map(float, candidates.ratios[index])),
        beats=int(beaten.sum()) - 1,
        reason=reason,
        latency_ms=measured if measured is not None else None if times is None else float(times[index]),
        measured=measured is not None,
    )


def _too_little(request: SearchRequest, candidates: Candidates, costs: Values, base: float) -> BenchError:
    """Name the cheapest where nothing keeps to the limits."""
    index = int(costs.argmin())
    total, encoder = (candidates.counts[index, at] / (GIGA * candidates.images) for at in (TOTAL_AT, ENCODER_AT))
    saved = f"{100 * (1 - total / base):.1f} % saved"
    what = f"{show_gflops(total)} GFLOPs in all, {saved}, {show_gflops(encoder)} the encoder"
    if request.limits.axis == "latency_ms":
        what = f"{show_ms(float(costs[index]))} ms, {what}"
    return BenchError(
        f"none of {show_tokens(len(costs))} candidates keeps to the limits: the cheapest is "
        f"{candidates.encoder(index).compact} ({what})",
        "allow more, or give a smaller --size or another --backbone",
    )
