"""Training: iterations of forward, loss, backward and step, kept so that nothing finished is lost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from proscale_bench.config.recipe import Recipe
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.models.running import autocast
from proscale_bench.training.average import WeightAverage
from proscale_bench.training.checkpoint import Standing, load_training, save_training
from proscale_bench.training.criterion import Losses, Target, criterion
from proscale_bench.training.optimizer import build_optimizer
from proscale_bench.training.order import load_batches
from proscale_bench.training.rate import rate_factor
from proscale_bench.training.samples import Sample, TrainingSet


@dataclass(frozen=True)
class Step:
    """What one iteration found, in the mean over its images' processes.

    Args:
        iteration: how many are done.
        total: what was minimised; `of_class`, `of_mask` and `of_dice` are the last layer's, without weights.
        gradient_norm: before clipping.
        seconds: of this iteration.
    """

    iteration: int
    total: float
    of_class: float
    of_mask: float
    of_dice: float
    gradient_norm: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Share:
    """Which process this is, of how many, and how they add up numbers and share gradients.

    Args:
        mean: of a tensor over all processes, in place.
        wrap: a model whose gradients are the mean over processes after each backward pass.
    """

    rank: int = 0
    world: int = 1
    mean: Callable[[Tensor], Tensor] = lambda tensor: tensor
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model


class Trainer:
    """A model in training: what changes from one iteration to the next, and how.

    Args:
        model: initialised, on its device.
        identity: what the training is made of, as a checkpoint tells it.
        share: of several processes.
    """

    def __init__(
        self, model: Mask2Former, recipe: Recipe, seed: int, identity: dict[str, Any], share: Share | None = None
    ) -> None:
        self.model, self.recipe, self.seed, self.identity = model.train(), recipe, seed, identity
        self.share = share or Share()
        parts = self.share.world * recipe.accumulate
        if recipe.batch_size % parts:
            raise BenchError(
                f"{recipe.batch_size} images an iteration in {parts} equal parts",
                "batch_size is a multiple of processes times accumulate",
            )
        self.device = model.pixel_mean.device
        self.optimizer = build_optimizer(model, recipe.optimizer)
        self.average = None if recipe.ema is None else WeightAverage(model, recipe.ema)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "fp16")
        self.iteration, self.seconds = 0, 0.0
        self._shared = self.share.wrap(model)

    def resume(self, run: Path) -> bool:
        """Go on where the folder's training stopped; False where there is none."""
        standing = load_training(run, self.identity, self.model, self.optimizer, self.average)
        if standing is None:
            return False
        self.iteration, self.seconds = standing.iteration, standing.seconds
        if standing.scale:
            self.scaler.load_state_dict(standing.scale)
        return True

    def keep(self, run: Path) -> None:
        """Write what `resume` reads."""
        updates = self.average.updates if self.average else 0
        scale = self.scaler.state_dict()
        standing = Standing(self.iteration, self.seconds, updates, scale, self.identity)
        save_training(run, standing, self.model, self.optimizer, self.average)

    def run(self, training_set: TrainingSet, workers: int = 2) -> Iterator[Step]:
        """Train to the end, an iteration at a time."""
        batches = load_batches(
            training_set,
            self.seed,
            self.iteration,
            self.recipe.iterations,
            self.recipe.batch_size,
            self.share.rank,
            self.share.world,
            workers,
        )
        with closing(batches):
            for samples in batches:
                yield self.step(samples)

    def step(self, samples: Sequence[Sample]) -> Step:
        """One iteration on this process's samples.

        Raises:
            NonFinite: the loss is no number.
        """
        began = time.perf_counter()
        rate = self._set_rate()
        parts = [samples[part :: self.recipe.accumulate] for part in range(self.recipe.accumulate)]
        segments = self.share.mean(torch.tensor(float(sum(len(sample.labels) for sample in samples))))
        normalizer = float(segments) / len(parts)
        found = torch.zeros(4)
        for index, part in enumerate(parts):
            self._seed_part(index)
            with self._without_sharing(last=index == len(parts) - 1):
                losses = self._losses(part, normalizer)
                total = losses.total(self.recipe.loss) / len(parts)
                if not math.isfinite(total.item()):
                    raise NonFinite(self.iteration, losses, samples)
                self.scaler.scale(total).backward()
            last = torch.stack(
                [total.detach() * len(parts), losses.of_class[-1], losses.of_mask[-1], losses.of_dice[-1]]
            )
            found += last.detach().cpu() / len(parts)
        norm = self._update()
        self.iteration += 1
        seconds = time.perf_counter() - began
        self.seconds += seconds
        return Step(self.iteration, *self.share.mean(found).tolist(), norm, rate, seconds)

    def _losses(self, samples: Sequence[Sample], normalizer: float) -> Losses:
        images = torch.stack([torch.from_numpy(sample.image) for sample in samples]).to(self.device)
        targets = [
            Target(
                torch.from_numpy(sample.labels).to(self.device),
                torch.from_numpy(sample.masks).to(self.device, torch.float32),
            )
            for sample in samples
        ]
        with autocast(self.device, self.recipe.precision):
            predictions = self._shared(images.permute(0, 3, 1, 2).float())
        return criterion(predictions, targets, self.recipe.loss, normalizer=normalizer)

    def _update(self) -> float:
        """Step along the clipped gradient; its norm before that."""
        self.scaler.unscale_(self.optimizer)
        limit = self.recipe.optimizer.clip_norm
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), math.inf if limit is None else limit)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.model)
        return float(norm)

    def _set_rate(self) -> float:
        """The head's learning rate of this iteration."""
        factor = rate_factor(self.recipe, self.iteration)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        return self.recipe.optimizer.learning_rate * factor

    def _seed_part(self, index: int) -> None:
        """Chance (points, dropped paths) follows from seed, iteration and part, whichever process has the part."""
        part = self.share.rank + self.share.world * index
        state = np.random.SeedSequence([self.seed, self.iteration, part]).generate_state(1, np.uint64)
        torch.manual_seed(int(state[0] >> np.uint64(1)))

    def _without_sharing(self, *, last: bool) -> AbstractContextManager[None]:
        """Gradients are shared after the last part."""
        no_sync: Callable[[], AbstractContextManager[None]] | None = getattr(self._shared, "no_sync", None)
        return nullcontext() if last or no_sync is None else no_sync()


class NonFinite(BenchError):
    """A loss that is no number. `samples` are the iteration's, to be kept for a look."""

    def __init__(self, iteration: int, losses: Losses, samples: Sequence[Sample]) -> None:
        parts = {"class": losses.of_class, "mask": losses.of_mask, "dice": losses.of_dice}
        bad = [name for name, values in parts.items() if not bool(torch.isfinite(values).all())] or ["total"]
        super().__init__(
            f"iteration {iteration + 1}: the {' and '.join(bad)} loss is not finite",
            "lower the learning rate, or train in fp32",
            ExitCode.UNTRUSTED,
        )
        self.iteration, self.samples = iteration, samples
