"""The share of false alarms: one thing called different from itself. Run by hand:

    python benchmarks/false_alarms.py RUNS.jsonl [--pairs 1000]

Sessions are measured one after another, each in a fresh process as `profile --sessions` does: the baseline, (3,3,3) and
a twin of it, which does the very same (another re-calibration temperature), in turns. Then every question that
`compare`, `check` and `profile` answer is asked of pairs of which the answer is known:

- A/A: of S sessions against S others, drawn from all of them, and in a row against later ones: the sides are then some
  minutes apart, so what drifts in the machine is in them. And of (3,3,3) against its twin in each session.
- A/B: the same, with all times of (3,3,3) on one side 3 % longer.

Pairs share sessions, so a thousand say less than a thousand would that do not; of rows of S sessions few share none.
Sessions are kept in RUNS.jsonl as they end: started again, it goes on.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from pydantic import TypeAdapter

from proscale_bench.analysis.significance import change
from proscale_bench.bench.profile import ProfileRequest, saving, timing
from proscale_bench.bench.sessions import in_fresh_process, merged
from proscale_bench.bench.specs import ModelChoice
from proscale_bench.cost.geometry import parse_size
from proscale_bench.machine import cpu_name, usable_cores
from proscale_bench.measure.latency import Limits
from proscale_bench.measure.profile import ProfileSettings
from proscale_bench.results.metrics import METRICS
from proscale_bench.results.profile import Profile
from proscale_bench.results.record import Record
from proscale_bench.results.statistics import paired_ratio

MODEL, TWIN = "3,3,3", "3,3,3+temp:0.2"
TIMES = ("latency_median_ms", "throughput_ips")
SAVINGS = ("latency_saving_pct", "encoder_latency_saving_pct")
SessionRecords = dict[str, Record]  # by schedule
Pairs = list[tuple[Record, Record]]
Sessions = tuple[int, ...]  # their places


@dataclass(frozen=True)
class Answers:
    """One question, asked of many pairs."""

    question: str
    metric: str
    pairs: int
    different: int
    target: str

    @property
    def row(self) -> str:
        share = 100 * self.different / self.pairs
        return f"| {self.question} | `{self.metric}` | {self.pairs} | {share:.1f} % | {self.target} |"


def measured(path: Path, count: int, size: str, rounds: int) -> list[SessionRecords]:
    """Sessions of earlier runs, and as many more as are asked for."""
    lines = path.read_text().splitlines() if path.exists() else []
    of_session = TypeAdapter(list[Record])
    sessions = [of_session.validate_json(line) for line in lines]
    request = ProfileRequest(ModelChoice(schedules=[MODEL, TWIN], backbone="tiny").specs(), parse_size(size), (1,))
    settings = ProfileSettings(device="cpu", threads=1, limits=Limits(60.0, rounds))
    with path.open("a") as file:
        while len(sessions) < count:
            sessions.append(in_fresh_process(request, settings, lambda what, share: None))
            print(of_session.dump_json(sessions[-1]).decode(), file=file, flush=True)
            print(f"session {len(sessions)} of {count}", flush=True)
    return [{record.identity.name: _asked_of(record) for record in records} for records in sessions]


def _asked_of(record: Record) -> Record:
    """The record without the stages that no metric is of."""
    assert record.profile is not None
    stages = {"encoder": record.profile.stages["encoder"]}
    return record.model_copy(update={"profile": record.profile.model_copy(update={"stages": stages})})


def together(sessions: Sequence[SessionRecords], of_baseline: bool = False) -> Record:
    """(3,3,3), or its baseline, over several sessions, as `profile --sessions` has it."""
    both = merged([[one["baseline"], one[MODEL]] for one in sessions])
    (found,) = (one for one in both if one.is_baseline == of_baseline)
    return found


def slower(session: SessionRecords, percent: float) -> SessionRecords:
    """The session as if every time of (3,3,3) had been so much longer."""
    base, one = session["baseline"].profile, session[MODEL].profile
    assert base is not None
    assert one is not None
    by = 1 + percent / 100
    stages = {
        name: stage.model_copy(
            update={
                **dict(timing([[by * ms for ms in stage.samples_ms]])),
                "realised_saving_pct": _against(by, stage.samples_ms, base.stages[name].samples_ms)
                if stage.realised_saving_pct
                else None,
            }
        )
        for name, stage in one.stages.items()
    }
    profile: Profile = one.model_copy(
        update={
            **dict(timing([[by * ms for ms in one.samples_ms]])),
            "throughput_ips": one.throughput_ips / by,
            "realised_saving_pct": _against(by, one.samples_ms, base.samples_ms),
            "stages": stages,
        }
    )
    return {**session, MODEL: session[MODEL].model_copy(update={"profile": profile})}


def _against(by: float, samples_ms: Sequence[float], base_ms: Sequence[float]) -> object:
    return saving(paired_ratio([[by * ms for ms in samples_ms]], [list(base_ms)]))


def drawn_sides(sessions: int, width: int, count: int) -> list[tuple[Sessions, Sessions]]:
    """So many pairs of sides that share no session, drawn from all."""
    generator = Random(0)
    drawn = (generator.sample(range(sessions), 2 * width) for _ in range(count))
    return [(tuple(sorted(one[:width])), tuple(sorted(one[width:]))) for one in drawn]


def sides_in_a_row(sessions: int, width: int, count: int) -> list[tuple[Sessions, Sessions]]:
    """So many pairs of sides in a row, evenly taken from all that do not overlap."""
    rows = [tuple(range(first, first + width)) for first in range(sessions - width + 1)]
    every = [(before, after) for before in rows for after in rows if before[-1] < after[0]]
    count = min(count, len(every))
    return [every[index * len(every) // count] for index in range(count)]


def is_different(metric: str, old: Record, new: Record) -> bool:
    before, after = METRICS[metric].read(old), METRICS[metric].read(new)
    assert before is not None
    assert after is not None
    return change(METRICS[metric], old, new, before, after).verdict == "significant"


def answers(sessions: Sequence[SessionRecords], count: int, a_side: int, percent: float) -> Iterator[Answers]:
    """Ask every question."""
    worse = [slower(session, percent) for session in sessions]
    found = cache(
        lambda chosen, is_worse, of_baseline: together(
            [(worse if is_worse else sessions)[index] for index in chosen], of_baseline
        )
    )

    def sides(chosen: Sequence[tuple[Sessions, Sessions]], is_worse: bool = False, of_baseline: bool = False) -> Pairs:
        return [(found(before, False, of_baseline), found(after, is_worse, of_baseline)) for before, after in chosen]

    drawn, in_a_row = drawn_sides(len(sessions), a_side, count), sides_in_a_row(len(sessions), a_side, count)
    single = sides_in_a_row(len(sessions), 1, count)
    of_all = (*TIMES, *SAVINGS, "peak_memory_mib")
    in_turns = [(one[MODEL], one[TWIN]) for one in sessions]
    slowed = [(one[TWIN], two[MODEL]) for one, two in zip(sessions, worse, strict=True)]
    questions: tuple[tuple[str, Pairs, tuple[str, ...], str], ...] = (
        (f"A/A, {a_side} sessions a side", sides(drawn), of_all, "at most 5 %"),
        (f"A/A, {a_side} sessions in a row a side", sides(in_a_row), of_all, "at most 5 %"),
        (f"A/A of the baseline, {a_side} sessions a side", sides(drawn, of_baseline=True), TIMES, "at most 5 %"),
        (
            f"A/A of the baseline, {a_side} sessions in a row a side",
            sides(in_a_row, of_baseline=True),
            TIMES,
            "at most 5 %",
        ),
        ("A/A, one session a side", sides(single), of_all, "at most 5 %"),
        ("A/A, in turns in one session", in_turns, (*TIMES, *SAVINGS), "at most 5 %"),
        (f"{percent:g} % slower, {a_side} sessions a side", sides(drawn, True), TIMES, "at least 80 %"),
        (f"{percent:g} % slower, {a_side} sessions a side", sides(drawn, True), SAVINGS, "at least 95 %"),
        (f"{percent:g} % slower, {a_side} sessions in a row a side", sides(in_a_row, True), (*TIMES, *SAVINGS), ""),
        (f"{percent:g} % slower, one session a side", sides(single, True), SAVINGS, "none: one session is too few"),
        (f"{percent:g} % slower, in turns in one session", slowed, TIMES, "none: one session is too few"),
    )
    for question, pairs, metrics, target in questions:
        for metric in metrics:
            different = sum(is_different(metric, old, new) for old, new in pairs)
            yield Answers(question, metric, len(pairs), different, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--pairs", type=int, default=1000, help="at most, of each kind")
    parser.add_argument("--sessions", type=int, default=8, help="a side")
    parser.add_argument("--in-all", type=int, default=36, help="sessions that are measured")
    parser.add_argument("--rounds", type=int, default=100, help="of a session")
    parser.add_argument("--size", default="128x128")
    parser.add_argument("--slower", type=float, default=3.0, help="percent that A/B puts in by hand")
    asked = parser.parse_args()
    if asked.in_all < 2 * asked.sessions:
        parser.error(f"--in-all {asked.in_all}: two sides of {asked.sessions} need {2 * asked.sessions} sessions")
    sessions = measured(asked.runs, asked.in_all, asked.size, asked.rounds)
    print(f"{cpu_name()}, {usable_cores()} cores, {platform.system()}; tiny at {asked.size}, one thread,", end=" ")
    print(f"{asked.rounds} rounds a session, {len(sessions)} sessions\n")
    print("| question | metric | pairs | called different | target |\n|---|---|--:|--:|---|")
    for one in answers(sessions, asked.pairs, asked.sessions, asked.slower):
        print(one.row, flush=True)


if __name__ == "__main__":
    main()
