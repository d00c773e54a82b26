"""Profiles over several sessions: each in a fresh process, their records merged to one a model.

What differs between two sittings (memory layout, clocks, the load of those minutes) is not in the rounds of one. Fresh
processes, one after another, show it, so that it is part of every interval (`results/statistics.py`).
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from subprocess import PIPE
from threading import Thread
from typing import TYPE_CHECKING

from proscale_bench import children
from proscale_bench.bench.profile import (
    ProfileRequest,
    measured_here,
    saving,
    temporary_folder,
    timing,
    unprepared,
)
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.results.profile import Caution, Profile, RealisedSaving, StageProfile, Timing
from proscale_bench.results.record import Record
from proscale_bench.results.statistics import paired_ratio

if TYPE_CHECKING:
    from proscale_bench.measure.profile import OnProfileStage, ProfileSettings

OfPrecision = ("few samples", "wide interval")  # cautions that hang on how much was measured in all
MeasureSession = Callable[["ProfileRequest", "ProfileSettings", "OnProfileStage"], list[Record]]


def measured_in_sessions(
    request: ProfileRequest,
    settings: ProfileSettings,
    sessions: int,
    progress: OnProfileStage,
    measure: MeasureSession | None = None,
) -> Iterator[list[Record]]:
    """Measure in fresh processes, which share the time limit: after each, the records of all so far.

    Args:
        measure: a session in a fresh process, unless a test brings another.

    Raises:
        BenchError: no such device, the models do not fit into memory, or a process died.
    """
    limits = replace(settings.limits, max_seconds=settings.limits.max_seconds / sessions)
    with ExitStack() as stack:
        if settings.engines.exports and settings.engines.folder is None:  # exported once, for all sessions
            folder = Path(stack.enter_context(temporary_folder()))
            settings = replace(settings, engines=replace(settings.engines, folder=folder, trust=True))
        yield from _in_sessions(request, replace(settings, limits=limits), sessions, progress, measure)


def _in_sessions(
    request: ProfileRequest,
    settings: ProfileSettings,
    sessions: int,
    progress: OnProfileStage,
    measure: MeasureSession | None,
) -> Iterator[list[Record]]:
    found: list[list[Record]] = []
    for number in range(1, sessions + 1):

        def show(what: str, share: float | None, number: int = number) -> None:
            whole = None if share is None else (number - 1 + share) / sessions
            progress(f"session {number} of {sessions}: {what}", whole)

        asked = request if number == 1 else replace(request, ceilings=False)  # measured in the first, kept for all
        found.append((measure or in_fresh_process)(asked, settings, show))
        yield merged(found)


def in_fresh_process(request: ProfileRequest, settings: ProfileSettings, progress: OnProfileStage) -> list[Record]:
    """Measure one session in a process of its own, which ends with this one.

    It is this module: what to measure comes pickled through its stdin; a line of JSON a message goes back.

    Raises:
        BenchError: as the session does, or it died.
    """
    process = children.start("proscale_bench.bench.sessions", stdin=PIPE, stdout=PIPE, start_new_session=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(pickle.dumps((request, settings)))
        process.stdin.flush()
        for line in process.stdout:
            kind, *told = json.loads(line)
            if kind == "progress":
                progress(*told)
            elif kind == "records":
                return [Record.model_validate_json(text) for text in told]
            else:
                message, hint, code = told
                raise BenchError(message, hint, ExitCode(code))
    except BrokenPipeError:  # it died before it was told
        pass
    finally:
        process.kill()
        code = process.wait()
        process.stdin.close()
        process.stdout.close()
    hint = "it may have run out of memory: profile fewer schedules at a time, or a smaller size"
    raise BenchError(
        f"a session's process ended with exit code {code} before it had measured", hint, ExitCode.UNTRUSTED
    )


def main() -> None:
    """The fresh process."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints, prints to stderr
    request, settings = pickle.load(sys.stdin.buffer)
    Thread(target=children.end_with_stdin, daemon=True).start()

    def tell(*message: object) -> None:
        print(json.dumps(message), file=answers, flush=True)

    try:
        batches = measured_here(request, settings, lambda what, share: tell("progress", what, share))
        tell("records", *(record.model_dump_json() for found in batches for record in found))
    except BenchError as error:
        tell("error", error.message, error.hint, error.exit_code.value)


def merged(sessions: Sequence[Sequence[Record]]) -> list[Record]:
    """One record a configuration, of what all sessions found; a failure in any session is that of all."""
    together: dict[str, list[Record]] = {}
    for session in sessions:
        for record in session:
            together.setdefault(record.digest, []).append(record)
    groups = list(together.values())
    found = []
    for group in groups:
        failed = next((record for record in group if record.error), None)
        if failed or group[0].profile is None:
            found.append(failed or group[0])
            continue
        base = next((other for other in groups if _is_baseline_of(other[0], group[0])), None)
        profile = _merged(_profiles(group), _profiles(base) if base and not group[0].is_baseline else None)
        found.append(group[0].model_copy(update={"profile": profile}))
    return found


def _is_baseline_of(one: Record, record: Record) -> bool:
    """They took turns: one is the baseline of the other, in its engine and at its batch size. Of two families they may
    differ in how they were prepared, and in what a size is padded to."""
    cost = record.cost
    if not cost or not cost.baseline or cost.baseline.schedule != one.identity.schedule or not one.is_baseline:
        return False
    ran = [other.execution and unprepared(other.execution) for other in (one, record)]
    return ran[0] == ran[1] and one.input.size == record.input.size


def _profiles(records: Sequence[Record]) -> list[Profile]:
    return [record.profile for record in records if record.profile]


def _merged(profiles: Sequence[Profile], base: Sequence[Profile] | None) -> Profile:
    """One profile of several sessions.

    Args:
        base: of the baseline in the same sessions; None for the baseline, or where it failed in one.
    """
    first = profiles[0]
    if base is not None and len(base) != len(profiles):
        base = None
    whole = timing([one.samples_ms for one in profiles])
    stages = {
        name: _merged_stage(
            [one.stages[name] for one in profiles],
            whole,
            [one.stages[name] for one in base] if base and all(name in one.stages for one in base) else None,
        )
        for name in first.stages
        if all(name in one.stages for one in profiles)
    }
    sessions = tuple(session for one in profiles for session in one.sessions)
    scale = whole.latency_median_ms / first.latency_median_ms
    return first.model_copy(
        update={
            **dict(whole),
            "sessions": sessions,
            "stages": stages,
            "warmup_rounds": sum(one.warmup_rounds for one in profiles),
            "throughput_ips": first.throughput_ips / scale,
            "launch_share_pct": _mean([one.launch_share_pct for one in profiles]),
            "peak_memory_mib": _mean([one.peak_memory_mib for one in profiles]),
            "energy_j": _mean([one.energy_j for one in profiles]),
            "realised_saving_pct": _saving(profiles, base),
            "stage_sum_pct": _mean([one.stage_sum_pct for one in profiles]),
            "warnings": _cautions(profiles, whole),
        }
    )


def _merged_stage(stages: Sequence[StageProfile], whole: Timing, base: Sequence[StageProfile] | None) -> StageProfile:
    first, found = stages[0], timing([one.samples_ms for one in stages])
    slower = found.latency_median_ms / first.latency_median_ms if first.latency_median_ms else 1.0
    rates = {
        name: rate / slower
        for name in ("achieved_gflops_per_s", "min_bandwidth_gb_per_s")
        if slower and (rate := getattr(first, name)) is not None
    }
    share = 100 * found.latency_median_ms / whole.latency_median_ms
    return first.model_copy(
        update={**dict(found), **rates, "share_pct": share, "realised_saving_pct": _saving(stages, base)}
    )


def _saving(new: Sequence[Timing], old: Sequence[Timing] | None) -> RealisedSaving | None:
    """The saving over all sessions; None where a session has none, as one layer of a schedule has none."""
    if old is None or any(getattr(one, "realised_saving_pct", None) is None for one in new):
        return None
    return saving(paired_ratio([one.samples_ms for one in new], [one.samples_ms for one in old]))


def _cautions(profiles: Sequence[Profile], whole: Timing) -> tuple[Caution, ...]:
    """Those of how much was measured in all, and those that half of the sessions have."""
    from proscale_bench.measure import stability

    reach = whole.interval_pct / 100
    found = {one.kind: one for one in stability.of_precision(len(whole.samples_ms), reach)}
    told = [one for profile in profiles for one in profile.warnings if one.kind not in OfPrecision]
    for one in told:
        if 2 * sum(other.kind == one.kind for other in told) >= len(profiles):
            found.setdefault(one.kind, one)
    return tuple(found.values())


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


if __name__ == "__main__":
    main()
