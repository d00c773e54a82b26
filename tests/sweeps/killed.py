"""Kills a real sweep over and over, and says what is left: run by `test_killed.py`, in a process of its own.

Everything is imported once; each attempt is a copy of this process, so that twenty cost no more than the work that they
do. Prints JSON: how many records changed after they were there, and what the uninterrupted and the killed sweeps hold,
without what time does to it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

import proscale_bench.evaluation.summary
import proscale_bench.measure.profile  # noqa: F401
from proscale_bench.sweeps.plan import measurements, plan, read_sweep
from proscale_bench.sweeps.runner import run_sweep
from tests.sweeps.toys import InProcess

KILLS = 20
SHARE = 0.35  # of the uninterrupted sweep's time, at the most, until one is killed
OF_TIME = {"profile", "environment", "provenance", "seconds"}


def sweep(spec: Path, run: Path) -> None:
    read = read_sweep(spec)
    outcome = run_sweep(plan(read), run, measurements(read, run), InProcess())
    assert not outcome.failed, outcome.failed
    assert not outcome.lost


def attempt(spec: Path, run: Path, kill_after_s: float | None) -> bool:
    """Run it in a copy of this process; whether that was killed."""
    child = os.fork()
    if child == 0:
        try:
            sweep(spec, run)
        except BaseException as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)
        os._exit(0)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("a sweep failed")
    return os.WIFSIGNALED(status)


def records(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "records").glob("[0-9a-f]*.json")}


def timeless(value: Any) -> Any:
    """Without times; of a profile that it is there, and with which stages."""
    if isinstance(value, dict):
        kept = {key: timeless(item) for key, item in value.items() if key not in OF_TIME}
        return kept | ({"stages": sorted(value["profile"]["stages"])} if value.get("profile") else {})
    return [timeless(item) for item in value] if isinstance(value, list) else value


def main(spec: Path, folder: Path, seed: int) -> None:
    torch.set_num_threads(1)
    start = time.monotonic()
    attempt(spec, folder / "whole", None)
    whole_s = time.monotonic() - start
    chance, killed, changed = random.Random(seed), 0, 0
    runs: list[Path] = []
    while killed < KILLS:  # a sweep that was through before its moment came makes way for another
        runs.append(folder / f"killed{len(runs)}")
        seen: dict[str, bytes] = {}
        going_on = True
        while going_on:
            wait_s = chance.uniform(0, SHARE * whole_s) if killed < KILLS else None
            going_on = attempt(spec, runs[-1], wait_s)
            killed += going_on
            there = records(runs[-1])
            changed += sum(there.get(name) != content for name, content in seen.items())
            seen |= there
    print(json.dumps({"changed": changed, "whole": found(folder / "whole"), "killed": list(map(found, runs))}))


def found(run: Path) -> dict[str, Any]:
    """Return the contents of a finished sweep's folder."""
    others = [path for path in run.rglob("*") if path.is_file() and path.parent.name not in ("records", "finished")]
    return {
        "records": {name: timeless(json.loads(content)) for name, content in records(run).items()},
        "finished": sorted(path.name for path in (run / "finished").iterdir()),
        "others": sorted(path.name for path in others),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
