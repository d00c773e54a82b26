"""All that a GPU is needed for, in at most ten minutes: python benchmarks/gpu.py [--dry-run] [--out DIR], `make gpu`.

Steps run one after another, each in a process of its own and in a time of its own, the most telling first: the tests
marked `gpu`; the kernels of sampling against the reference in float64; `profile` of five encoders on two backbones at
800x1333 in every number format, eager, with CUDA graphs and compiled, one image and eight. What a step found is kept
when it ends, in DIR/steps/, and the same command goes on with those that are not done. Then the report is written.
Without a GPU every step that needs one says so and is passed over. `--dry-run` tries all of it on a CPU with the
smallest model.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOL = (sys.executable, "-m", "proscale_bench")
SCHEDULES = ("3,3,3", "1,1,1", "lite", "hybrid")  # in turns with the baseline
MODES = {"eager": (), "graphs": ("--cuda-graphs",), "compiled": ("--compile",)}
DTYPES = ("fp32", "tf32", "bf16", "fp16")
MINUTES = 10.0
LEFT_FOR_THE_REPORT_S = 60.0
LEAST_S = 10.0  # a step that has less is left for the next time
LAST_LINES = 12


@dataclass(frozen=True)
class Step:
    """A command, the time that it may take, and whether a GPU must be there."""

    name: str
    command: tuple[str, ...]
    seconds: float
    needs_gpu: bool = True


@dataclass(frozen=True)
class Outcome:
    """The end of a step: `done`, `failed`, `out of time` or `no GPU`, and its last words."""

    name: str
    status: str
    seconds: float = 0.0
    said: tuple[str, ...] = ()


def steps(run: Path, dry: bool) -> Iterator[Step]:
    """Every step, the most telling first."""
    yield Step("tests", (sys.executable, "-m", "pytest", "-q", "-m", "gpu", str(ROOT / "tests")), 90)
    yield Step("kernels", (sys.executable, __file__, "--kernels"), 60, needs_gpu=not dry)
    if dry:
        words = ("-b", "tiny", "--size", "64x64", "--device", "cpu", "--threads", "1", "--repeats", "2")
        yield Step(
            "tiny-fp32-eager", (*TOOL, "profile", "-s", "3,3,3", *words, "--out", str(run)), 120, needs_gpu=False
        )
    for mode, flags in MODES.items():
        for dtype in DTYPES:
            for backbone in ("resnet50", "swin_t"):
                words = ["-b", backbone, "--size", "800x1333", "--dtype", dtype, "--device", "cuda", *flags]
                words += ["-n", "1", "-n", "8", "--max-seconds", "3", *(["--ceilings"] if mode == "eager" else [])]
                words += [word for schedule in SCHEDULES for word in ("-s", schedule)]
                seconds = 120 if mode == "compiled" else 45
                yield Step(f"{backbone}-{dtype}-{mode}", (*TOOL, "profile", *words, "--out", str(run)), seconds)


def finish(step: Step, seconds: float) -> Outcome:
    """Run a step to its end, or to that of its time."""
    started = time.monotonic()
    try:
        found = subprocess.run(
            step.command,
            cwd=ROOT,
            timeout=seconds,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        said = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else error.stdout or ""
        return Outcome(step.name, "out of time", seconds, _last(said))
    status = "done" if found.returncode in (0, 5) else "failed"  # 5: pytest has no test of that kind
    return Outcome(step.name, status, time.monotonic() - started, _last(found.stdout))


def _last(text: str) -> tuple[str, ...]:
    return tuple(line for line in text.splitlines() if line.strip())[-LAST_LINES:]


def read(folder: Path) -> dict[str, Outcome]:
    """The outcomes that are kept, by name. One that cannot be read is not there."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            told = json.loads(path.read_text())
            found[path.stem] = Outcome(path.stem, told["status"], told["seconds"], tuple(told["said"]))
        except (ValueError, LookupError, TypeError):
            continue
    return found


def keep(folder: Path, outcome: Outcome) -> None:
    """Write an outcome, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{outcome.name}"
    temporary.write_text(json.dumps(asdict(outcome), indent=1) + "\n")
    temporary.replace(folder / f"{outcome.name}.json")


def kernels() -> None:
    """Every sampling that runs here against the reference in float64, forward; exits 1 where one is wrong."""
    import torch

    from proscale_bench.models.sampling import SAMPLERS, grid_sample, obstacle, sampler

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    sizes, heads, width, points = [(25, 42), (50, 84), (100, 167)], 8, 32, 4
    tokens = sum(height * width_ for height, width_ in sizes)
    value = torch.randn(2, tokens, heads, width, dtype=torch.float64, device=device)
    locations = torch.rand(2, 500, heads, len(sizes), points, 2, dtype=torch.float64, device=device) * 1.2 - 0.1
    weights = torch.rand(2, 500, heads, len(sizes), points, dtype=torch.float64, device=device)
    expected = grid_sample.sample(value, sizes, locations, weights)
    wrong = []
    for name in SAMPLERS:
        if obstacle(name, device) is not None or (device.type == "cpu" and "compiled" in name):
            print(f"{name}: not run on {device.type}")
            continue
        with torch.inference_mode():
            found = sampler(name, device)(value.float(), sizes, locations.float(), weights.float())
        apart = float((found.double() - expected).abs().max() / expected.abs().max())
        print(f"{name}: relative difference {apart:.1e}")
        wrong += [name] if not apart < 1e-3 else []
    sys.exit(f"wrong: {', '.join(wrong)}" if wrong else 0)


def gpu_name() -> str | None:
    """The name of the GPU; None where there is none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dry-run", action="store_true", help="try it on a CPU, with the smallest model")
    parser.add_argument("--out", type=Path, help="folder of the run (default: reports/gpu-NAME)")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="time for all steps of this call")
    parser.add_argument("--kernels", action="store_true", help="hold the kernels of sampling to the reference, no more")
    asked = parser.parse_args()
    if asked.kernels:
        kernels()
    gpu = gpu_name()
    if gpu is None and not asked.dry_run:
        print("no GPU: every step that needs one is passed over")
    name = re.sub(r"[^a-z0-9]+", "-", (gpu or "none").lower()).strip("-")
    run = asked.out or ROOT / "reports" / f"gpu-{name}"
    folder, end = run / "steps", time.monotonic() + 60 * asked.minutes - LEFT_FOR_THE_REPORT_S
    before, left, ran, seconds = read(folder), 0, False, 0.0
    for step in steps(run, asked.dry_run):
        if (known := before.get(step.name)) and known.status in ("done", "out of time"):
            print(f"{step.name:28} {known.status} before")
            continue
        if step.needs_gpu and gpu is None:
            outcome = Outcome(step.name, "no GPU")
        elif (seconds := min(step.seconds, end - time.monotonic())) < LEAST_S:
            left += 1
            continue
        else:
            outcome, ran = finish(step, seconds), True
        if outcome.status == "out of time" and seconds < step.seconds:
            left += 1
            continue
        keep(folder, outcome)
        last = outcome.said[-1][:60] if outcome.said else ""
        print(f"{step.name:28} {outcome.status:12} {outcome.seconds:6.1f} s   {last}")
    if left:
        print(f"{left} steps are left: the same command goes on with them")
    if ran and any((run / "records").glob("*.json")):
        report = Step("report", (*TOOL, "report", str(run)), LEFT_FOR_THE_REPORT_S)
        outcome = finish(report, report.seconds)
        print(*outcome.said, sep="\n")
    failed = [one.name for one in read(folder).values() if one.status == "failed"]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
