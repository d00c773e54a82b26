"""Does anything that is killed end as if it never had been? Run by hand: python benchmarks/kills.py [--kills 100]

Every command that writes is run once to its end. Then it is killed with SIGKILL, in a fresh folder each time: at random
moments, and right before and right after every fsync, link and rename that it makes; and run again, with --force where
the command keeps nothing of its own and says that a file is there already. It must end with exit code 0, and what lies
in the folder must be what the uninterrupted run left, to the bit but for what time does to it. Last, two are started at
once: one may be refused.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OF_TIME = {
    "seconds",
    "images_per_second",
    "environment",
    "created",
    "provenance",
    "energy",
    "peak_memory_mib",
    "sittings",
}
OURS = {".lock"}  # may stay
SECOND = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
MOMENT = re.compile(SECOND + rb"( to " + SECOND + rb")?")  # when records were made, as pages and tables have it
CREATED = re.compile(rb'"created": "[^"]*"')
MOMENTS = ("fsync", "link", "rename", "replace")
# Counts the moments of a process, and ends it at one of them. `os` is changed before anything binds its functions.
LAUNCHER = """
import os, signal, sys
target, path, seen, us = int(os.environ.pop("KILL_AT")), os.environ.pop("KILL_COUNTS"), 0, os.getpid()
def moment():
    global seen
    if os.getpid() == us:
        seen += 1
        with open(path, "w") as file:
            file.write(str(seen))
        if seen == target:
            os.kill(us, signal.SIGKILL)
def watched(function):
    def call(*arguments, **options):
        moment()
        result = function(*arguments, **options)
        moment()
        return result
    return call
for name in MOMENTS:
    setattr(os, name, watched(getattr(os, name)))
from proscale_bench.cli import main
main()
"""
SWEEP = "schema_version: 1\nname: kills\nbackbones: tiny\nsizes: 64x64\nschedules: ['1,1,1', '3,3,3']\ncount:\n"
BUDGETS = "schema_version: 1\nbudgets:\n  - schedule: 3,3,3\n    backbone: swin_t\n    total_gflops: {max: 1000}\n"
WEIGHTS = "{root}/proscale_bench/weights/tiny-3-3-3.safetensors"
COMMANDS = {
    "flops": "flops -s 3,3,3 --export-json a.json --export-csv a.csv --export-markdown a.md",
    "check --update": "check budgets.yaml --update",
    "sweep": "sweep sweep.yaml --out run",
    "report": "report {root}/reports/cpu --out report",
    "convert": f"models convert {WEIGHTS} out.pth",
    "warm-start": "models warm-start {root}/proscale_bench/weights/tiny-baseline.safetensors out.safetensors",
    "make-shapes": "data make-shapes shapes --images 3",
    "eval": f"eval --weights {WEIGHTS} --limit 3 --bootstrap 0 --threads 1 --save-predictions saved --out run",
    "train": "train --recipe recipe.yaml --backbone tiny --out run --threads 1",
}
WITHOUT_RUN = ("flops", "report", "models", "data")  # they write files, and no run that could go on


@dataclass
class Tally:
    """Kills of one command, and what went wrong after them."""

    command: str
    moments: int
    random_kills: int
    kills: int
    wrong: list[str]

    @property
    def row(self) -> str:
        return f"| `{self.command}` | {self.random_kills} | {self.kills - self.random_kills} | {len(self.wrong)} |"


def run(folder: Path, command: str, kill_at: int = 0) -> subprocess.Popen[bytes]:
    """Start a command in a folder; `kill_at` is the moment at which it ends itself."""
    words = command.format(root=ROOT).split()
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "SOURCE_DATE_EPOCH": "1700000000",
        "OMP_NUM_THREADS": "1",
        "KILL_AT": str(kill_at),
        "KILL_COUNTS": str(folder.with_suffix(".count")),
    }
    launcher = LAUNCHER.replace("MOMENTS", repr(MOMENTS))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-c", launcher, *words], cwd=folder, env=environment, **quiet)


def fresh(folder: Path) -> Path:
    """A folder that holds nothing but what the commands read."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "sweep.yaml").write_text(SWEEP)
    (folder / "budgets.yaml").write_text(BUDGETS)
    recipe = (ROOT / "proscale_bench/config/recipes/shapes.yaml").read_text()
    for old, new in RECIPE.items():
        recipe = recipe.replace(old, new)
    (folder / "recipe.yaml").write_text(recipe)
    return folder


RECIPE = {
    "images: 8192": "images: 4",
    "iterations: 9000": "iterations: 12",
    "cooldown_iterations: 1800": "cooldown_iterations: 4",
    "warmup_iterations: 100": "warmup_iterations: 0",
    "checkpoint_every: 250": "checkpoint_every: 4",
}


def holds(folder: Path) -> dict[str, str]:
    """The digest of every file, without what time does to it."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(timeless(path)).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in OURS
    }


def timeless(path: Path) -> bytes:
    raw = path.read_bytes()
    if path.suffix == ".safetensors":  # its metadata say how long it took
        end = 8 + int.from_bytes(raw[:8], "little")
        return json.dumps({**json.loads(raw[8:end]), "__metadata__": None}, sort_keys=True).encode() + raw[end:]
    if path.suffix == ".pth":  # so do its own, beside the tensors
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("serialization_id")]  # of the rest
            return b"".join(CREATED.sub(b"", archive.read(name)) for name in names)
    if path.suffix not in (".json", ".jsonl"):
        return MOMENT.sub(b"", raw)
    lines = raw.splitlines() if path.suffix == ".jsonl" else [raw]
    return "\n".join(json.dumps(without_time(json.loads(line)), sort_keys=True) for line in lines).encode()


def without_time(document: Any) -> Any:
    if isinstance(document, dict):
        return {key: without_time(value) for key, value in document.items() if key not in OF_TIME}
    return [without_time(one) for one in document] if isinstance(document, list) else document


def wrong_after(folder: Path, command: str, whole: dict[str, str], limit_s: float) -> str | None:
    """Run a killed command again; what is wrong then."""
    code = run(folder, command).wait(limit_s)
    if code == 2 and command.split(maxsplit=1)[0] in WITHOUT_RUN:
        code = run(folder, f"{command} --force").wait(limit_s)
    found = holds(folder)
    if code != 0:
        return f"exit code {code}"
    if found != whole:
        differ = sorted(name for name in found.keys() | whole.keys() if found.get(name) != whole.get(name))
        return f"another {differ[0]}"
    return None


def killed(name: str, command: str, kills: int, most: int | None, chance: random.Random, place: Path) -> Tally:
    """Kill a command at random moments and at every one that matters, or at the `most` of these that chance draws."""
    folder = fresh(place / "whole")
    began = time.monotonic()
    code = run(folder, command).wait()
    took = time.monotonic() - began
    if code != 0:
        sys.exit(f"{name}: exit code {code} without being killed")
    whole, counts = holds(folder), folder.with_suffix(".count")
    moments = int(counts.read_text()) if counts.is_file() else 0
    tally = Tally(name, moments, 0, 0, [])
    limit_s = 60 + 10 * took
    drawn = range(1, moments + 1) if most is None else sorted(chance.sample(range(1, moments + 1), min(most, moments)))
    for at in [*[0] * kills, *drawn]:
        folder = fresh(place / "killed")
        process = run(folder, command, at)
        if at:
            process.wait(limit_s)
        else:
            try:
                process.wait(chance.uniform(0, took))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.returncode != -signal.SIGKILL:
            continue  # it was faster this time
        tally.kills += 1
        tally.random_kills += not at
        if wrong := wrong_after(folder, command, whole, limit_s):
            tally.wrong.append(f"{name}, {f'at moment {at} of {moments}' if at else 'at random'}: {wrong}")
    return tally


def at_once(name: str, command: str, pairs: int, place: Path) -> list[str]:
    """Start a command twice at the same time; what is wrong then."""
    run(fresh(place / "whole"), command).wait()
    whole, wrong = holds(place / "whole"), []
    for _ in range(pairs):
        folder = fresh(place / "pair")
        codes = sorted(process.wait() for process in [run(folder, command), run(folder, command)])
        if codes not in ([0, 0], [0, 2]) or holds(folder) != whole:
            wrong.append(f"{name}, two at once: exit codes {codes}")
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="at random moments, over all commands")
    parser.add_argument("--moments", type=int, help="at most so many writes of each command, drawn; else all")
    parser.add_argument("--pairs", type=int, default=3, help="of writers, for each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=COMMANDS, default=list(COMMANDS))
    asked = parser.parse_args(arguments)
    chance, wrong = random.Random(asked.seed), []
    print("| command | killed at random | killed at a write | not as uninterrupted |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="kills-") as place:
        for name in asked.only:
            command = COMMANDS[name]
            tally = killed(name, command, -(-asked.kills // len(asked.only)), asked.moments, chance, Path(place))
            print(tally.row, flush=True)
            wrong += tally.wrong + at_once(name, command, asked.pairs, Path(place))
    print("\n".join(wrong) or "nothing was lost, half written or changed")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
