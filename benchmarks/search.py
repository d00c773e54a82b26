"""How fast is a search, and how far off are its milliseconds?

Run by hand: python benchmarks/search.py [SECONDS] [cpu] [seed=N]

The first number is of this process alone. For the second, the models that a search profiles and 20 others, drawn at
random from every family alike (seed 0) and never fitted, take turns in one session, SECONDS each (default 10), on
`tiny` at 192x192 with one thread. The 20 are predicted from the others' times; what of both is held against each other
are medians, and the fastest quarter of the rounds. With `cpu` the clock is the process's own: what a busy machine gives
to others is left out of it.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice, zip_longest

from proscale_bench.analysis.search import SearchLimits, SearchRequest, search
from proscale_bench.bench.latency_model import LatencyModel, ProfiledModel
from proscale_bench.bench.search import to_profile
from proscale_bench.cost.geometry import parse_size
from proscale_bench.cost.rules import get_rules
from proscale_bench.cost.search import Candidates
from proscale_bench.measure.timers import Wall
from proscale_bench.results.statistics import percentile, prediction_error
from proscale_bench.specs.candidates import DEFAULT_FAMILIES, FAMILIES
from proscale_bench.specs.encoders.staged import baseline
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.specs.model import ModelSpec

HELD_OUT, ROUNDS = 20, 5


def request(backbone: str, size: str, families: tuple[str, ...] = DEFAULT_FAMILIES, layers: int = 9) -> SearchRequest:
    spec = mask2former(baseline(), backbone)
    return SearchRequest(spec, parse_size(size), get_rules("fvcore"), SearchLimits(saving_pct=10), families, layers)


def counting() -> None:
    for families, layers in ((DEFAULT_FAMILIES, 9), (DEFAULT_FAMILIES, 20), *(((name,), 9) for name in FAMILIES)):
        times, asked = [], request("resnet50", "800x1333", families, layers)
        for _ in range(1 if families == ("more-levels",) else ROUNDS):
            start = time.process_time()
            number = len(asked.candidates().counts)
            times.append(time.process_time() - start)
        seconds = statistics.median(times)
        print(
            f"{','.join(families):32} {layers:3} layers  {number:9,} candidates  {number / seconds:10,.0f} a CPU second"
        )


def request_spec(asked: SearchRequest, candidates: Candidates, index: int) -> ModelSpec:
    return asked.with_encoder(candidates.encoder(index))


class OwnTime:
    """A clock of the processor time that this process uses."""

    def wall(self, call: Callable[[], object]) -> Wall:
        (ms,) = self.each_ms([call])
        return Wall(ms, ms)

    def each_ms(self, calls: Sequence[Callable[[], object]]) -> list[float]:
        times = []
        for call in calls:
            start = time.process_time_ns()
            call()
            times.append(max(1, time.process_time_ns() - start) / 1e6)
        return times


def predicting(seconds: float, own_time: bool, seed: int) -> None:
    import torch

    from proscale_bench.machine import OthersCpu
    from proscale_bench.measure import profile
    from proscale_bench.measure.latency import Limits as TimeLimits
    from proscale_bench.measure.profile import MeasuredProfile, ProfileSettings, Session

    asked = request("tiny", "192x192", layers=9)
    fitted = to_profile(asked)
    candidates, chance = asked.candidates(), random.Random(seed)
    by_family: dict[str, list[int]] = {}
    for index in chance.sample(range(len(candidates.counts)), len(candidates.counts)):
        if request_spec(asked, candidates, index) not in fitted:
            by_family.setdefault(candidates.family(index), []).append(index)
    in_turn = (index for some in zip_longest(*by_family.values()) for index in some if index is not None)
    family_of = {request_spec(asked, candidates, i): candidates.family(i) for i in islice(in_turn, HELD_OUT)}
    others = list(family_of)
    settings = ProfileSettings(device="cpu", threads=1, limits=TimeLimits(seconds))
    busy = OthersCpu()
    if own_time:
        profile.timer_for = lambda device: OwnTime()  # type: ignore[assignment]
    with Session(settings, [*fitted, *others]) as session:
        found = session.measure(1, (192, 192), (192, 192), lambda what, share: None)
    print(
        f"torch {torch.__version__}, {len(fitted)} fitted, {len(others)} held out, one thread of {os.cpu_count()} cores"
    )
    print(f"load {os.getloadavg()[0]:.1f}; others used {busy.pct or 0:.0f} % of all processors")
    measured = [one for one in found if isinstance(one, MeasuredProfile)]
    for what, percent in (("medians", 50), ("fastest quarter", 25), ("fastest", 0)):
        points = [
            ProfiledModel(
                one.spec,
                percentile(one.samples.whole_ms, percent),
                {name: percentile(ms, percent) for name, ms in one.samples.stages_ms.items()},
            )
            for one in measured
        ]
        model = LatencyModel([one for one in points if one.spec in fitted], asked.size.groups[0].sides)
        held_out = [one for one in points if one.spec in others]
        pairs = [(model.ms(one.spec), one.whole_ms) for one in held_out]
        error, left_out = prediction_error(pairs), model.error
        pick = min(pairs)[1] / min(ms for _, ms in pairs)
        print(
            f"{what:16} {len(measured[0].samples.whole_ms)} rounds: held out, median error {error.median_pct:.1f} %, "
            f"95th percentile {error.p95_pct:.1f} %, rank correlation {error.rank_correlation or 0:.3f}; the pick "
            f"takes {100 * (pick - 1):.1f} % more than the best; cross-validated {left_out.median_pct:.1f} % and "
            f"{left_out.p95_pct:.1f} %"
        )
        for one, (predicted, ms) in zip(held_out, pairs, strict=True):
            if percent == 50:
                off = 100 * (predicted / ms - 1)
                print(f"  {family_of[one.spec]:12} {one.spec.variant:40} {ms:7.1f} ms, off by {off:+.1f} %")


if __name__ == "__main__":
    counting()
    start = time.perf_counter()
    points = len(search(request("resnet50", "800x1333")).rows)
    print(f"{points} points of the frontier in {time.perf_counter() - start:.2f} s")
    seconds = next((float(word) for word in sys.argv[1:] if word[0].isdecimal()), 10.0)
    seed = next((int(word.removeprefix("seed=")) for word in sys.argv[1:] if word.startswith("seed=")), 0)
    predicting(seconds, "cpu" in sys.argv, seed)
