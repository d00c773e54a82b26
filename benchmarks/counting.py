"""How fast is counting? Run by hand: python benchmarks/counting.py

Everything that is compared is measured in this one run, interleaved, and reported as a ratio of medians.
Process times are CPU seconds (user + system) of whole processes; the others are wall seconds in this process.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROUNDS = 7
PYTHON = sys.executable
CLI = [PYTHON, "-m", "proscale_bench"]


def cpu_s(command: list[str]) -> float:
    """CPU seconds of a whole process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def wall_s(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def interleaved(**candidates: Callable[[], float]) -> dict[str, float]:
    """Medians of candidates that take turns, so that what slows the machine slows them alike."""
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(ROUNDS):
        for name, measure in candidates.items():
            samples[name].append(measure())
    return {name: statistics.median(values) for name, values in samples.items()}


def report(what: str, found: float, target: str, met: bool) -> None:
    print(f"{what:66} {found:>12,.3f}   {target:22} {'met' if met else 'MISSED'}")


def start_up() -> None:
    times = interleaved(
        help=lambda: cpu_s([*CLI, "--help"]),
        typer_rich=lambda: cpu_s([PYTHON, "-c", "import typer, rich"]),
        list=lambda: cpu_s([*CLI, "schedules", "list"]),
        four=lambda: cpu_s([PYTHON, "-c", "import typer, rich.table, pydantic, yaml"]),
        flops=lambda: cpu_s([*CLI, "flops", "--schedule", "3,3,3"]),
    )
    for name, seconds in times.items():
        print(f"  {name:12} {seconds:.3f} CPU s")
    ratio = times["help"] / times["typer_rich"]
    report("--help / python -c 'import typer, rich'", ratio, "at most 3", ratio <= 3)
    ratio = times["list"] / times["four"]
    report("schedules list / 'import typer, rich.table, pydantic, yaml'", ratio, "at most 2", ratio <= 2)


def closed_form() -> None:
    from proscale_bench.bench.specs import count_flops
    from proscale_bench.cost import closed_form as module
    from proscale_bench.cost.geometry import parse_size
    from proscale_bench.cost.rules import get_rules
    from proscale_bench.specs.encoders.staged import parse_compact
    from proscale_bench.specs.mask2former import mask2former

    schedule = parse_compact("3,3,3")
    form = module.ClosedForm(mask2former(schedule, "swin_t"), get_rules("fvcore"))
    sides = [(height, width) for height in range(600, 700) for width in range(600, 700)]
    sizes = [parse_size(size) for size in sides]
    coco = parse_size("coco-val")

    def whole_set() -> None:
        module._of_coco.cache_clear()
        form._of_sets.clear()
        form.count(coco)

    times = interleaved(
        form=lambda: wall_s(lambda: [form.count(size) for size in sizes]) / len(sizes),
        row=lambda: wall_s(lambda: [count_flops(schedule, "swin_t", size) for size in sides]) / len(sides),
        coco=lambda: wall_s(whole_set),
    )
    report("closed form of the whole model, microseconds", times["form"] * 1e6, "at most 80", times["form"] < 80e-6)
    report("count_flops() with a fresh size, a second", 1 / times["row"], "(no target)", True)
    report("coco-val, all 5,000 images, ms", times["coco"] * 1e3, "under 20 ms", times["coco"] < 0.020)


def engines() -> None:
    """The same model and size by three engines; fvcore and the trace without their imports."""
    import torch

    from proscale_bench.bench.specs import count_flops
    from proscale_bench.measure.flops import trace_model
    from proscale_bench.measure.fvcore_count import count_with_fvcore

    torch.set_num_threads(2)
    count = count_flops("3,3,3", "resnet50", "800x1333")
    spec, size = count.spec, count.input
    times = interleaved(
        fvcore=lambda: wall_s(lambda: count_with_fvcore(spec, size.groups[0])),
        trace=lambda: wall_s(lambda: trace_model(spec, size)),
        process=lambda: wall_s(lambda: subprocess.run([*CLI, "flops", "-s", "3,3,3"], check=True, capture_output=True)),
    )
    for name, seconds in times.items():
        print(f"  {name:12} {seconds:.3f} s")
    ratio = times["fvcore"] / times["process"]
    report("fvcore / `flops --schedule 3,3,3` as a whole process", ratio, "at least 15", ratio >= 15)
    ratio = times["fvcore"] / times["trace"]
    report("fvcore / trace, R50 at 800x1333", ratio, "at least 10", ratio >= 10)


if __name__ == "__main__":
    print(f"python {sys.version.split()[0]}, {ROUNDS} interleaved rounds, medians; {Path(__file__).name}")
    start_up()
    closed_form()
    engines()
