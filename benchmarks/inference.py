"""How fast is the model? Run by hand: python benchmarks/inference.py [--rounds N] [--no-hf-compile]

A baseline with ResNet-50 at 640x640 on two threads of the CPU, in float32, against Hugging Face's Mask2Former with the
same weights, each at its best setting; and (3,3,3) against our own baseline. Everything that is compared is measured in
this one run, interleaved, and reported as a ratio of medians. Peak memory is that of fresh processes.
Needs transformers (an extra of development).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SIDE_PX, THREADS = 640, 2
Forward = Callable[[], Any]


def hugging_face() -> Any:
    """Their model with random weights: ResNet-50, 133 classes."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    backbone = transformers.ResNetConfig(out_features=["stage1", "stage2", "stage3", "stage4"])
    config = transformers.Mask2FormerConfig(backbone_config=backbone, num_labels=133)
    torch.manual_seed(0)
    return transformers.Mask2FormerForUniversalSegmentation(config).eval()


def theirs(model: Any, images: Tensor) -> Forward:
    mask = torch.ones(len(images), SIDE_PX, SIDE_PX, dtype=torch.long)
    return lambda: model(pixel_values=images, pixel_mask=mask)


def ours(schedule: str | None, folder: Path, *, compiled: bool) -> Any:
    """Our model, ready for inference: with their weights, or fresh for a schedule that they do not have."""
    from proscale_bench import build_model, load_checkpoint
    from proscale_bench.models.inference import prepare_for_inference

    model = load_checkpoint(folder) if schedule is None else build_model(schedule)
    prepare_for_inference(model, compiled=compiled)
    return model


def report(what: str, found: str, target: str, met: bool) -> None:
    print(f"{what:58} {found:>24}   {target:22} {'met' if met else 'MISSED'}")


def interleaved(rounds: int, candidates: dict[str, Forward]) -> dict[str, list[float]]:
    """Seconds of candidates that take turns, the order turned round by round; two rounds warm up."""
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    names = list(candidates)
    for round_ in range(-2, rounds):
        for name in names if round_ % 2 else reversed(names):
            start = time.perf_counter()
            candidates[name]()
            if round_ >= 0:
                samples[name].append(time.perf_counter() - start)
    return samples


def speed(rounds: int, folder: Path, hf_compile: bool) -> None:
    model = hugging_face()
    model.save_pretrained(folder)
    pixels = torch.rand(1, 3, SIDE_PX, SIDE_PX, generator=torch.Generator().manual_seed(0)) * 255
    baseline = ours(None, folder, compiled=False)
    images = baseline.prepare(pixels)
    with torch.inference_mode():
        expected, found = theirs(model, images)(), baseline(pixels)
        logits = (found.pred_logits - expected.class_queries_logits).abs().max().item()
        masks = (found.pred_masks - expected.masks_queries_logits).abs().max().item()
        report(
            "largest difference of logits and of masks",
            f"{logits:.1e}, {masks:.1e}",
            "1e-4",
            max(logits, masks) <= 1e-4,
        )

        candidates: dict[str, Forward] = {
            "Hugging Face": theirs(model, images),
            "Hugging Face, channels last": theirs(model, images.contiguous(memory_format=torch.channels_last)),
        }
        if hf_compile:
            candidates["Hugging Face, compiled"] = theirs(torch.compile(model), images)
        for name, compiled in (("", False), (", compiled", True)):
            same = ours(None, folder, compiled=compiled)
            candidates[f"baseline{name}"] = lambda same=same: same(pixels)  # type: ignore[misc]
        samples = interleaved(rounds, candidates)
    medians = show(samples)

    def best(prefix: str) -> str:
        return min((name for name in medians if name.startswith(prefix)), key=medians.__getitem__)

    their_best, our_best = best("Hugging Face"), best("baseline")
    ratio = medians[their_best] / medians[our_best]
    report(f"{their_best} / {our_best}", f"{ratio:.2f} times faster", "at least 2.2", ratio >= 2.2)


def saving(rounds: int) -> None:
    """(3,3,3) against our own baseline, both compiled; the interval is of the ratio of medians, by bootstrap."""
    from proscale_bench.results.statistics import median_of_ratios

    pixels = torch.rand(1, 3, SIDE_PX, SIDE_PX) * 255
    old, new = (ours(schedule, Path(), compiled=True) for schedule in ("baseline", "3,3,3"))
    with torch.inference_mode():
        samples = interleaved(3 * rounds, {"baseline": lambda: old(pixels), "3,3,3": lambda: new(pixels)})
    show(samples)
    ratio = median_of_ratios(samples["3,3,3"], samples["baseline"])
    saved, low, high = (100 * (1 - value) for value in (ratio.value, ratio.high, ratio.low))
    report("realised saving", f"{saved:.1f} % [{low:.1f}, {high:.1f}]", "at least 27 %", saved >= 27)


def show(samples: dict[str, list[float]]) -> dict[str, float]:
    """Print and return the medians."""
    medians = {name: statistics.median(seconds) for name, seconds in samples.items()}
    for name, seconds in medians.items():
        low, high = min(samples[name]), max(samples[name])
        print(f"  {name:32} {seconds * 1e3:8.0f} ms   ({low * 1e3:.0f} to {high * 1e3:.0f})")
    return medians


def memory(folder: Path) -> None:
    """Peak RSS of a process that loads a model and runs it once."""
    peaks = {}
    for which in ("hugging_face", "ours"):
        command = [sys.executable, __file__, "--peak-of", which, "--folder", str(folder)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks[which] = json.loads(done.stdout.splitlines()[-1])
        print(f"  {which:32} {peaks[which]['peak']:8.0f} MiB   ({peaks[which]['before']:.0f} before the forward)")
    added = {which: peak["peak"] - peak["before"] for which, peak in peaks.items()}
    found = f"{peaks['ours']['peak']:.0f} of {peaks['hugging_face']['peak']:.0f} MiB"
    report("peak RSS, ours of theirs", found, "not more", peaks["ours"]["peak"] <= peaks["hugging_face"]["peak"])
    found = f"{added['ours']:.0f} of {added['hugging_face']:.0f} MiB"
    report("of that, added by the forward", found, "not more", added["ours"] <= added["hugging_face"])


def peak_of(which: str, folder: Path) -> None:
    def peak_mib() -> float:  # of this process alone: getrusage would begin with its parent's
        return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024  # type: ignore[index]

    pixels = torch.rand(1, 3, SIDE_PX, SIDE_PX) * 255
    if which == "hugging_face":
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        model = transformers.Mask2FormerForUniversalSegmentation.from_pretrained(folder)
        forward = theirs(model.eval(), pixels)
    else:
        model = ours(None, folder, compiled=False)
        forward = lambda: model(pixels)  # noqa: E731
    with torch.inference_mode():
        before = peak_mib()
        forward()
    print(json.dumps({"before": before, "peak": peak_mib()}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--no-hf-compile", action="store_true", help="their model in eager mode alone: minutes sooner")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    if arguments.peak_of:
        peak_of(arguments.peak_of, arguments.folder)
    else:
        print(f"torch {torch.__version__}, {THREADS} threads, {arguments.rounds} interleaved rounds, medians")
        with tempfile.TemporaryDirectory() as name:
            speed(arguments.rounds, Path(name), not arguments.no_hf_compile)
            memory(Path(name))
        saving(arguments.rounds)
