"""What does a check on paper cost? Run by hand: python benchmarks/check.py

CPU seconds (user + system) of whole processes, interleaved with what any such tool imports; ratios of medians.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = 9
MOST = 3.0
PYTHON = sys.executable
IMPORTS = "import typer, rich.table, yaml, pydantic"
BACKBONES = ("resnet50", "resnet101", "swin_t", "swin_s", "swin_b", "swin_l", "tiny")
SIZES = ("coco-first100", "coco-val", "800x1333", "640x640")


def budgets(number: int) -> str:
    """So many budgets with three limits each, over every backbone, four sizes and many schedules."""
    lines = ["schema_version: 1", "budgets:"]
    for index in range(number):
        backbone, size = BACKBONES[index % len(BACKBONES)], SIZES[index % len(SIZES)]
        schedule = f"{index % 7},{index % 5},{1 + index % 3}"
        lines += [
            f"  - schedule: '{schedule}'",
            f"    backbone: {backbone}",
            f"    size: {size}",
            "    encoder_gflops: {max: 1000.0}",
            "    total_gflops: {max: 10000.0}",
            "    params_m: {max: 500.0, level: warn}",
        ]
    return "\n".join(lines) + "\n"


def cpu_s(command: list[str]) -> float:
    """CPU seconds of a whole process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        commands = {"imports": [PYTHON, "-c", IMPORTS]}
        for number in (1, 200):
            path = Path(folder) / f"{number}.yaml"
            path.write_text(budgets(number))
            for form in ("text", "github"):
                commands[f"check, {number} budgets, {form}"] = [
                    *(PYTHON, "-m", "proscale_bench", "check", str(path), "--format", form)
                ]
        samples: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name, command in commands.items():
                samples[name].append(cpu_s(command))
    least = statistics.median(samples["imports"])
    print(f"python {sys.version.split()[0]}, {ROUNDS} interleaved rounds, medians")
    print(f"{IMPORTS}: {least:.3f} CPU s")
    for name, values in list(samples.items())[1:]:
        seconds = statistics.median(values)
        verdict = "met" if seconds / least < MOST else "MISSED"
        print(f"{name:28} {seconds:.3f} CPU s, {seconds / least:.2f} times that: {verdict}")


if __name__ == "__main__":
    main()
