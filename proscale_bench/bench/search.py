"""Searches with milliseconds: profiles a few encoders on this device, predicts all others, measures the pick."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proscale_bench.analysis.search import Found, SearchRequest, search
from proscale_bench.bench.latency_model import LatencyModel, ProfiledModel, choose
from proscale_bench.cache import read_cache, write_cache
from proscale_bench.config.catalogue import parse_schedule
from proscale_bench.cost.search import points_of
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.results.export import now
from proscale_bench.results.profile import RealisedSaving
from proscale_bench.specs.candidates import FAMILIES
from proscale_bench.specs.model import ModelSpec, model_words

if TYPE_CHECKING:
    from proscale_bench.measure.profile import OnProfileStage, ProfileSettings
    from proscale_bench.results.record import Record

PROFILED = 12  # models that a prediction is fitted on
TRIES = 3  # picks that are measured until one keeps to the limit
CACHE = "latencies-2"  # another number once other models are profiled, or the same run at another speed


@dataclass(frozen=True)
class MeasuredPick:
    """The pick, in turns with the baseline: milliseconds of both, and what is saved of the time."""

    latency_ms: float
    baseline_ms: float
    saving: RealisedSaving


@dataclass(frozen=True)
class TimedSearch:
    """A search with milliseconds.

    Args:
        found: its answer.
        model: what predicted them.
        pick: the pick, measured; None where it is the baseline, or several were measured and all too slow.
        where: the device, how models ran on it, and when they were profiled.
        others_cpu_pct: what other programs used of all processors meanwhile; None where nothing tells.
    """

    found: Found
    model: LatencyModel
    pick: MeasuredPick | None
    where: str
    others_cpu_pct: float | None

    @property
    def of_pick(self) -> tuple[RealisedSaving, float] | None:
        """The time that the pick saves, and the baseline's milliseconds of the same rounds."""
        return (self.pick.saving, self.pick.baseline_ms) if self.pick else None


def search_with_latency(
    request: SearchRequest, settings: ProfileSettings, progress: OnProfileStage, anew: bool = False
) -> TimedSearch:
    """Search, with the milliseconds of one image at an explicit size. Loads torch.

    Args:
        settings: how models are run, and for how long each is profiled.
        progress: called with what is being done, and the share of it that is done.
        anew: profile again what the cache knows.

    Raises:
        BenchError: nothing keeps to the limits, or a model could not be profiled (exit code 3).
    """
    key = _key(request, settings)
    kept = {} if anew else _cached(key, request)
    if not kept:
        records = _profile(request, to_profile(request), settings, lambda what, done: progress(f"a few: {what}", done))
        kept = _document(request, records)
        write_cache(CACHE, {**read_cache(CACHE), key: kept})
    profiled = _profiled(kept, request)
    model = LatencyModel(profiled, request.size.groups[0].sides, settings.optimizations)
    picks = {parse_schedule(spelling): _pick(kept) for spelling, kept in kept["picks"].items()}
    baseline = request.spec.baseline().encoder

    def search_now() -> Found:
        known = {one.spec.encoder: one.whole_ms for one in profiled}
        known |= {encoder: pick.latency_ms for encoder, pick in picks.items()}
        return search(request, lambda one: model.ms(request.with_encoder(one)), known)

    found = search_now()
    for _ in range(TRIES):
        encoder = found.pick.count.spec.encoder
        if encoder in picks or encoder == baseline:
            break
        spec = request.with_encoder(encoder)
        records = _profile(request, [spec], settings, lambda what, done: progress(f"the pick: {what}", done))
        kept["picks"][encoder.compact] = _measured(records)
        write_cache(CACHE, {**read_cache(CACHE), key: kept})
        picks[encoder] = _pick(kept["picks"][encoder.compact])
        found = search_now()
    where = f"{key.partition(' | ')[0]}, profiled {kept['measured']}"
    return TimedSearch(found, model, picks.get(found.pick.count.spec.encoder), where, kept["others_cpu_pct"])


def _key(request: SearchRequest, settings: ProfileSettings) -> str:
    """The conditions that two fits must share: machine, execution, versions, and the model but for its encoder."""
    import torch

    from proscale_bench.models.running import device_name, global_state

    with global_state(settings.dtype, settings.threads):
        threads = torch.get_num_threads()
    cores = f"{threads} thread{'s' if threads > 1 else ''}"
    ran = f"{device_name(torch.device(settings.device))}, {cores}, sampling {settings.sampling}"
    spec = request.spec
    words = model_words(spec.backbone_name, {"classes": spec.head.num_classes, **spec.dimensions()})
    return f"{ran}, torch {torch.__version__} | {words} | {request.size}"


def to_profile(request: SearchRequest) -> list[ModelSpec]:
    """The few models of the candidates from which the others are predicted: two of each grid may be chosen."""
    pool: list[list[ModelSpec]] = []
    for name in request.families:
        pool.append([])
        for grid in FAMILIES[name](request.max_layers):
            if points := points_of(grid).tolist():
                two = dict.fromkeys((tuple(points[0]), tuple(points[len(points) // 2])))
                pool[-1] += [request.with_encoder(grid.make(*point)) for point in two]
    return choose(pool, request.spec.baseline(), PROFILED, request.size.groups[0].sides)


def _profile(
    request: SearchRequest, specs: Sequence[ModelSpec], settings: ProfileSettings, progress: OnProfileStage
) -> list[Record]:
    """Profile models in turns, with the baseline."""
    from proscale_bench.bench.profile import ProfileRequest, measured_here

    (records,) = measured_here(ProfileRequest(tuple(specs), request.size, (1,)), settings, progress)
    if failed := next((one.error for one in records if one.error), None):
        raise BenchError(failed.message, "use a smaller --size, or a smaller --backbone", ExitCode.UNTRUSTED)
    return records


def _document(request: SearchRequest, records: Sequence[Record]) -> dict[str, Any]:
    """The profiles that the cache keeps."""
    profiles = [(one.identity.schedule, one.profile) for one in records if one.profile]
    others = [session.others_cpu_pct for _, profile in profiles for session in profile.sessions]
    return {
        "profiled": {
            schedule: {
                "whole_ms": profile.latency_median_ms,
                "parts_ms": {name: stage.latency_median_ms for name, stage in profile.stages.items()},
            }
            for schedule, profile in profiles
        },
        "families": list(request.families),
        "measured": now(),
        "others_cpu_pct": max((one for one in others if one is not None), default=None),
        "picks": {},
    }


def _cached(key: str, request: SearchRequest) -> dict[str, Any]:
    """The profiles that the cache has for these families; empty where it has nothing, or nothing that can be read."""
    kept: Any = read_cache(CACHE).get(key)
    try:
        _profiled(kept, request)
        list(map(_pick, kept["picks"].values()))
        float(kept["others_cpu_pct"] or 0)
        known: dict[str, Any] = kept if set(kept["families"]) >= set(request.families) else {}
        return known
    except (BenchError, LookupError, TypeError, ValueError, AttributeError):
        return {}


def _profiled(kept: dict[str, Any], request: SearchRequest) -> list[ProfiledModel]:
    return [
        ProfiledModel(request.with_encoder(parse_schedule(schedule)), one["whole_ms"], one["parts_ms"])
        for schedule, one in kept["profiled"].items()
    ]


def _measured(records: Sequence[Record]) -> dict[str, Any]:
    """The cache's entry of a pick, from its record and the baseline's."""
    base, pick = (one.profile for one in records)
    assert base is not None
    assert pick is not None
    assert pick.realised_saving_pct is not None
    saving = pick.realised_saving_pct.model_dump(mode="json")
    return {"latency_ms": pick.latency_median_ms, "baseline_ms": base.latency_median_ms, "saving": saving}


def _pick(kept: dict[str, Any]) -> MeasuredPick:
    return MeasuredPick(
        kept["latency_ms"], kept["baseline_ms"], RealisedSaving.model_validate_json(json.dumps(kept["saving"]))
    )
