"""Cautions about what a measurement can be trusted for; every one ends with what to do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from proscale_bench.measure.environment import Environment
from proscale_bench.results.profile import Caution
from proscale_bench.results.statistics import drift, half_width, outliers

FEW = 10  # samples: an interval from fewer is a guess
WIDE = 0.03  # of the median, either way
DRIFTED = 0.03  # between the halves
HONEST_SUM_PCT = 15.0  # the stages may differ from the whole by so much
LAUNCH_BOUND_PCT = 90.0
QUIET = "close other programs, and give it more --max-seconds"
BUSY = 0.5  # cores that others may use


def of_samples(samples_ms: Sequence[float], warm: bool) -> list[Caution]:
    """Cautions from the samples of one session themselves."""
    count, reach, change = len(samples_ms), half_width(samples_ms), drift(samples_ms)
    found = of_precision(count, reach)
    if not warm:
        found.append(_unstable("warm-up", "the warm-up did not become stable", QUIET))
    if count >= FEW and abs(change) > max(DRIFTED, reach):
        what = f"the second half of the samples is {100 * abs(change):.1f} % {'slower' if change > 0 else 'faster'}"
        advice = "let the machine cool down or wait until other programs have ended, and measure again"
        found.append(_unstable("drift", what, advice))
    if count >= FEW and (far := len(outliers(samples_ms))):
        what = f"{far} of {count} samples lie far out: the median bears that, the 95th and 99th do not"
        found.append(_note("outliers", what, "close other programs, and measure again before quoting a percentile"))
    return found


def of_precision(samples: int, reach: float) -> list[Caution]:
    """Cautions from how much was measured.

    Args:
        reach: the wider half of the interval, as a fraction of the value.
    """
    found = []
    if samples < FEW:
        what = f"{samples} sample{'s' if samples > 1 else ''} only: the interval is a guess"
        found.append(_unstable("few samples", what, "give it more --max-seconds"))
    if reach > WIDE:
        found.append(_unstable("wide interval", f"the median is known to ±{100 * reach:.1f} % only", QUIET))
    return found


def of_environment(environment: Environment) -> list[Caution]:
    """Cautions from the machine before anything is measured."""
    found = []
    load, cores, threads = environment.load, environment.cores, environment.threads
    on_gpu = environment.device == "cuda"
    needed = 1 if on_gpu else threads  # a GPU needs one to feed it
    if load is not None and load > cores - needed + BUSY:
        what = f"the load average is {load:.1f} on {cores} cores, and this needs {needed} of them"
        found.append(_note("load", what, "close other programs, or use fewer --threads"))
    if not on_gpu and threads > cores:
        found.append(_note("threads", f"{threads} threads share {cores} cores", f"give --threads {cores} or fewer"))
    if not on_gpu and (environment.governor or "performance") != "performance":
        what = f"the CPU's clock follows the load (governor {environment.governor})"
        advice = "set the governor to performance: cpupower frequency-set --governor performance"
        found.append(_note("clock", what, advice))
    if environment.other_gpu_processes:
        what = f"{environment.other_gpu_processes} other processes compute on this GPU"
        found.append(_unstable("shared", what, "measure on a GPU of your own"))
    return found


def of_clocks(throttled_by: Sequence[str]) -> list[Caution]:
    """Cautions from the reasons that held the GPU's clocks down, asked right after it was busy."""
    if not throttled_by:
        return []
    what = f"the GPU's clock was held down by {' and '.join(throttled_by)}"
    advice = "let it cool down, or lock its clock below the cap: nvidia-smi --lock-gpu-clocks"
    return [_unstable("throttled", what, advice)]


def of_stages(sum_pct: float, launch_share_pct: float | None) -> list[Caution]:
    """Cautions about how far the stages explain the whole."""
    found = []
    if abs(sum_pct - 100) > HONEST_SUM_PCT:
        what = f"the stages by themselves add up to {sum_pct:.0f} % of the whole"
        found.append(_note("isolation", what, "trust the whole; read the stages as shares, not as milliseconds"))
    if launch_share_pct is not None and launch_share_pct > LAUNCH_BOUND_PCT:
        what = f"the CPU needs {launch_share_pct:.0f} % of the latency to launch the GPU's work"
        found.append(_note("launch-bound", what, "try --cuda-graphs, --compile or a larger --batch-size"))
    return found


def of_note(note: str) -> list[Caution]:
    """A caution where the whole was not run as asked."""
    return [_unstable("not as asked", note, "compare it with eager runs only")] if note else []


def _note(kind: str, message: str, advice: str, *, unstable: bool = False) -> Caution:
    """A caution that leaves the times as good as they are, or with `unstable` says that they cannot be trusted."""
    return Caution(kind=kind, message=message, advice=advice, unstable=unstable)


_unstable = partial(_note, unstable=True)
