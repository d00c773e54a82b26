"""The worth of a counted saving in every engine: python benchmarks/engines.py [--dry-run] [--out DIR] [--minutes N]

The baseline and (3,3,3) on ResNet-50 at 640x640, one thread: exported and proved for each engine, then all in turns in
one session; and the peak memory of fresh processes that load and run one file. Each step runs in a process and a time
of its own and is kept when it ends, in DIR/steps/; the same command goes on with those that are not done, and takes
files that are there. DIR/engines.md says what was found, DIR/index.html shows it. `--dry-run` tries all of it on a
model of seconds, without compiling.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from gpu import LEAST_S, ROOT, TOOL, Outcome, Step, finish, keep, read

ENGINES = ("onnxruntime", "openvino", "aot")
SCHEDULE, THREADS, PASSES = "3,3,3", "1", 2
MINUTES = 20.0


def words(dry: bool) -> tuple[str, ...]:
    """The flags of every profile."""
    model = ("-b", "tiny", "--size", "64x64") if dry else ("-b", "resnet50", "--size", "640x640")
    return ("-s", SCHEDULE, *model, "--device", "cpu", "--threads", THREADS, "--force", "--trust")


def steps(run: Path, kept: Path, dry: bool) -> Iterator[Step]:
    """Every step: exports, then turns, then memory.

    Args:
        kept: folder of the exported files.
    """
    engines = ("onnxruntime",) if dry else ENGINES
    files = ("--exported", str(kept))
    for engine in engines:
        once = (*TOOL, "profile", *words(dry), *files, "--engine", engine, "--repeats", "1", "--out", str(kept / "run"))
        yield Step(f"export-{engine}", once, 420 if engine == "aot" else 150)
    turns = [flag for engine in ("torch", *engines) for flag in ("--engine", engine)]
    how = ("--repeats", "2" if dry else "7", "--out", str(run), "--export-json", str(run / "profile.json"))
    yield Step("turns", (*TOOL, "profile", *words(dry), *files, *turns, *how), 300)
    for engine in ("torch", *engines):
        yield Step(
            f"memory-{engine}", (sys.executable, __file__, "--memory", engine, str(kept), *["--dry-run"][:dry]), 60
        )


def peak_memory(engine: str, kept: Path, dry: bool) -> float:
    """The peak resident memory in MiB of this process after it has loaded (3,3,3) and run it."""
    import numpy as np

    size = (64, 64) if dry else (640, 640)
    images = np.random.default_rng(0).integers(0, 256, (1, 3, *size), dtype=np.uint8)
    if engine == "torch":
        import torch

        from proscale_bench.models.build import build
        from proscale_bench.models.inference import prepare_for_inference
        from proscale_bench.specs.mask2former import mask2former
        from proscale_bench.specs.spelling import parse_encoder

        torch.set_num_threads(int(THREADS))
        model = build(mask2former(parse_encoder(SCHEDULE), "tiny" if dry else "resnet50"))
        prepare_for_inference(model)
        with torch.inference_mode():
            for _ in range(PASSES):
                model(torch.from_numpy(images).float())
    else:
        from proscale_bench.export.engines import ENDS, load_exported

        (path,) = kept.glob(f"{SCHEDULE.replace(',', '-')}-*{ENDS[engine]}")
        exported = load_exported(path, trust=True, threads=int(THREADS))
        for _ in range(PASSES):
            exported.run(images)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table(run: Path, outcomes: dict[str, Outcome]) -> str:
    """The findings, as Markdown."""
    rows = json.loads((run / "profile.json").read_text())["results"]
    lines = [
        "| engine | baseline ms | 3,3,3 ms | counted % | as executed % | realised %, interval | peak RSS MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    medians = {(row.get("inference_engine"), row["schedule"]): row for row in rows if "latency_median_ms" in row}
    for (engine, schedule), row in medians.items():
        if schedule != SCHEDULE or (engine, "baseline") not in medians:
            continue
        counted, realised = row["counted_saving_pct"], row["realised_saving_pct"]
        said = outcomes.get(f"memory-{engine or 'torch'}")
        memory = said.said[-1] if said and said.status == "done" else "–"
        low, high = realised["interval"]
        name = f"{engine} {row['inference_engine_version']}" if engine else f"torch, {row['mode']}"
        lines.append(
            f"| {name} | {medians[engine, 'baseline']['latency_median_ms']:.0f} | {row['latency_median_ms']:.0f} "
            f"| {counted['counted']:.2f} | {counted['executed']:.2f} | {realised['value']:.1f} [{low:.1f}, {high:.1f}] "
            f"| {memory} |"
        )
    return "\n".join([*lines, ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "engines")
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--memory", nargs=2, metavar=("ENGINE", "FOLDER"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.memory:
        print(f"{peak_memory(asked.memory[0], Path(asked.memory[1]), asked.dry_run):.0f}")
        return 0
    run, ends = asked.out, time.monotonic() + 60 * asked.minutes
    kept = Path(tempfile.gettempdir()) / f"proscale-bench-engines-{'dry' if asked.dry_run else 'r50'}"
    outcomes = read(run / "steps")
    for step in steps(run, kept, asked.dry_run):
        left = ends - time.monotonic()
        if step.name in outcomes and outcomes[step.name].status == "done":
            print(f"{step.name}: done before")
            continue
        if left < LEAST_S:
            print(f"{step.name}: left for the next time")
            continue
        outcomes[step.name] = found = finish(step, left if asked.dry_run else min(step.seconds, left))
        keep(run / "steps", found)
        print(f"{step.name}: {found.status}, {found.seconds:.0f} s")
        if found.status != "done":
            print("\n".join(f"    {line}" for line in found.said))
    if (run / "profile.json").is_file():
        (run / "engines.md").write_text(found_table := table(run, outcomes))
        print(found_table)
        subprocess.run((*TOOL, "report", str(run), "--out", str(run), "--force"), cwd=ROOT, check=False)
    return 0 if all(one.status == "done" for one in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
