"""How fast is an iteration of training? Run by hand: python benchmarks/training.py [--rounds N] [--hf-compile]

The recipe `shapes` on one thread of the CPU: iterations of the embedded baseline against those of Hugging Face's
Mask2Former of the same dimensions, on the same batches, with the same losses, clipping and optimiser, at its best
setting. Both take turns within this one run; what is reported is a ratio of process times, which other work on the
machine changes little.
Ours also loads its images and keeps an average of the weights. Peak memory is that of fresh processes.
Needs transformers (an extra of development).
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from proscale_bench.config.choices import find_shipped
from proscale_bench.config.recipe import Recipe, read_recipe
from proscale_bench.models.build import build
from proscale_bench.models.images import PIXEL_MEAN, PIXEL_STD
from proscale_bench.models.inference import use_sampling
from proscale_bench.specs.encoders.staged import baseline
from proscale_bench.specs.mask2former import Mask2FormerSpec, mask2former
from proscale_bench.training.loop import Trainer
from proscale_bench.training.optimizer import build_optimizer, rate_factor
from proscale_bench.training.samples import Sample, ShapesTraining, load_batches
from proscale_bench.training.setup import sampling_for

THREADS, WARM_UP, TARGET = 1, 3, 2.0
OF_PEAK = 20  # iterations
Step = Callable[[], object]
CPU = torch.device("cpu")


def opened() -> tuple[Recipe, ShapesTraining, Mask2FormerSpec]:
    recipe = read_recipe(find_shipped("recipes", "shapes"))
    images = ShapesTraining(recipe.data.images, recipe.data.seed, recipe.augmentation)  # type: ignore[union-attr]
    return recipe, images, mask2former(baseline(), recipe.backbone, classes=len(images.classes))


def ours() -> Step:
    """An iteration as `train` runs it, from the images on disk to the average of the weights."""
    recipe, images, spec = opened()
    torch.manual_seed(0)
    model = build(spec)
    use_sampling(model, sampling_for("auto", CPU, recipe.augmentation.crop, spec.encoder))
    steps = Trainer(model, recipe, 0, {}).run(images)
    return lambda: next(steps)


def theirs(setting: str, iterations: int) -> Step:
    """An iteration of their model, whose batches are loaded before, outside of the time that counts."""
    recipe, images, spec = opened()
    torch.manual_seed(0)
    model = hugging_face(spec, recipe)
    layout = torch.channels_last if setting == "channels last" else torch.contiguous_format
    model.to(memory_format=layout)
    run = torch.compile(model) if setting == "compiled" else model
    optimizer = build_optimizer(model, recipe.optimizer)  # AdamW in one pass, as ours
    batches = iter(list(load_batches(images, 0, range(iterations), recipe.batch_size)))
    waiting: list[tuple[Tensor, list[Tensor], list[Tensor]]] = []

    def load() -> None:
        waiting.append(tensors(next(batches), layout))

    def step() -> None:
        pixels, masks, classes = waiting.pop()
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * rate_factor(recipe, step.iteration)  # type: ignore[attr-defined]
        loss = run(pixel_values=pixels, mask_labels=masks, class_labels=classes).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.optimizer.clip_norm or float("inf"))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        step.iteration += 1  # type: ignore[attr-defined]

    step.iteration = 0  # type: ignore[attr-defined]
    step.load = load  # type: ignore[attr-defined]
    return step


def hugging_face(spec: Mask2FormerSpec, recipe: Recipe) -> nn.Module:
    """Their model of the same dimensions, in training."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    swin, head, loss = spec.backbone, spec.head, recipe.loss
    backbone = transformers.SwinConfig(
        embed_dim=swin.width,
        depths=list(swin.depths),
        num_heads=list(swin.heads),
        window_size=swin.window,
        drop_path_rate=recipe.drop_path,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone,
        num_labels=head.num_classes,
        feature_size=head.width,
        mask_feature_size=head.width,
        hidden_dim=head.width,
        encoder_feedforward_dim=head.encoder_ffn,
        encoder_layers=len(spec.encoder.layers),
        decoder_layers=head.decoder_layers + 1,  # theirs counts the first prediction
        num_attention_heads=head.decoder_heads,
        dim_feedforward=head.decoder_ffn,
        num_queries=head.queries,
        no_object_weight=loss.no_object_weight,
        class_weight=loss.class_weight,
        mask_weight=loss.mask_weight,
        dice_weight=loss.dice_weight,
        train_num_points=loss.points,
        oversample_ratio=loss.oversampling,
        importance_sample_ratio=loss.importance,
    )
    return transformers.Mask2FormerForUniversalSegmentation(config).train()


def tensors(samples: Sequence[Sample], layout: torch.memory_format) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The inputs of their model: normalised pixels, masks and classes."""
    images = torch.stack([torch.from_numpy(sample.image) for sample in samples]).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (PIXEL_MEAN, PIXEL_STD))
    pixels = ((images - mean) / std).contiguous(memory_format=layout)
    return (
        pixels,
        [torch.from_numpy(sample.masks).float() for sample in samples],
        [torch.from_numpy(sample.labels) for sample in samples],
    )


def interleaved(rounds: int, candidates: dict[str, Step]) -> dict[str, list[float]]:
    """Seconds of all threads of this process, of candidates that take turns; the first rounds warm up."""
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    names = list(candidates)
    for round_ in range(-WARM_UP, rounds):
        for name in names if round_ % 2 else reversed(names):
            step = candidates[name]
            getattr(step, "load", lambda: None)()
            start = time.process_time()
            step()
            if round_ >= 0:
                samples[name].append(time.process_time() - start)
    return samples


def peak_mib() -> float:
    """Peak RSS of this process alone: getrusage would begin with its parent's."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024  # type: ignore[index]


def peak_of(which: str) -> float:
    """Peak RSS of a fresh process after some iterations."""
    command = [sys.executable, __file__, "--peak-of", which]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main(rounds: int, hf_compile: bool) -> None:
    print(f"torch {torch.__version__}, {THREADS} thread, {rounds} interleaved rounds of one iteration, medians")
    settings = ("eager", "channels last", *(("compiled",) if hf_compile else ()))
    candidates = {"ours": ours()} | {f"Hugging Face, {one}": theirs(one, rounds + WARM_UP) for one in settings}
    samples = interleaved(rounds, candidates)
    medians = {name: statistics.median(seconds) for name, seconds in samples.items()}
    for name, seconds in medians.items():
        low, high = min(samples[name]), max(samples[name])
        print(f"  {name:32} {seconds * 1e3:8.0f} ms   ({low * 1e3:.0f} to {high * 1e3:.0f})")
    best = min((name for name in medians if name != "ours"), key=medians.__getitem__)
    ratio = medians[best] / medians["ours"]
    met = "met" if ratio >= TARGET else "MISSED"
    print(f"{best} / ours: {ratio:.2f} times faster; the target is at least {TARGET:g}: {met}")
    for which in ("ours", "eager"):
        print(f"  peak RSS, {which:22} {peak_of(which):8.0f} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--hf-compile", action="store_true", help="their model compiled too: minutes more")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    if arguments.peak_of:
        one = ours() if arguments.peak_of == "ours" else theirs(arguments.peak_of, OF_PEAK)
        for _ in range(OF_PEAK):
            getattr(one, "load", lambda: None)()
            one()
        print(peak_mib())
    else:
        main(arguments.rounds, arguments.hf_compile)
