"""Training: iterations of forward, loss, backward and step, kept so that nothing finished is lost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from proscale_bench.config.recipe import Recipe
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.models.processes import Processes
from proscale_bench.models.running import autocast
from proscale_bench.results.training import TrainingSession, TrainingStep
from proscale_bench.specs.encoders.staged import Schedule
from proscale_bench.specs.levels import LEVELS, SIZE_DIVISOR
from proscale_bench.training.batch_norms import RunningStatistics
from proscale_bench.training.checkpoint import TrainingState, read_state, restore, save_training
from proscale_bench.training.criterion import Losses, LossNormalizer, Target, criterion
from proscale_bench.training.folder import START_OVER, STATE
from proscale_bench.training.optimizer import WeightAverage, build_optimizer, rate_factor
from proscale_bench.training.samples import Sample, TrainingSet, load_batches

LEAST_SCALE = 1.0  # of fp16's losses, which begins at 65,536 and is halved by every gradient that is not finite


class Trainer:
    """A model in training: what changes from one iteration to the next, and how.

    Args:
        model: initialised, on its device.
        identity: everything that the training follows from, as a checkpoint tells it.
        processes: that train it together.

    Raises:
        BenchError: a batch is not shared evenly, or its parts are too small for the encoder.
    """

    terms: tuple[str, ...] = ("class", "mask", "dice")  # of the losses, as they are logged

    def __init__(
        self,
        model: Mask2Former,
        recipe: Recipe,
        seed: int,
        identity: dict[str, Any],
        processes: Processes | None = None,
    ) -> None:
        self.model, self.recipe, self.seed, self.identity = model.train(), recipe, seed, identity
        self.processes = processes or Processes()
        self.parts = self.processes.size * recipe.accumulate  # of an iteration's batch
        if recipe.batch_size % self.parts:
            raise BenchError(
                f"{recipe.batch_size} images an iteration in {self.parts} equal parts",
                "batch_size is a multiple of processes times accumulate",
            )
        least = self._least_images()
        if recipe.batch_size < least * self.parts:
            raise BenchError(
                f"{recipe.batch_size} images in {self.parts} parts: the encoder's batch norms need {least} in each",
                "take more images with --batch-size, or fewer parts with --accumulate",
            )
        self.device = model.pixel_mean.device
        self.optimizer = build_optimizer(model, recipe.optimizer)
        self.statistics = RunningStatistics(model)
        self.average = None if recipe.ema is None else WeightAverage(model, recipe.ema)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "fp16")
        self.iteration, self.seconds = 0, 0.0
        self.asked_to_stop = False  # this process
        self.stops = False  # all processes, after the same iteration
        self._model = self.processes.wrap(model, self._leaves_parameters_out())
        self._since = time.perf_counter()

    def resume(self, run: Path) -> TrainingState | None:
        """Go on where the folder's training stopped; None where there is none.

        Raises:
            BenchError: the folder's training is another one, or damaged.
        """
        state = read_state(run, self.identity)
        if state is None:
            return None
        if state.scale.keys() != self.scaler.state_dict().keys() or state.iteration > self.recipe.iterations:
            raise BenchError(f"{run / STATE}: not a state of this training", START_OVER)
        restore(run, state, self.model, self.optimizer, self.average)
        self.iteration, self.seconds = state.iteration, state.seconds
        if state.scale:
            self.scaler.load_state_dict(state.scale)
        return state

    def keep(self, run: Path, unlogged: Sequence[TrainingStep] = (), sessions: Sequence[TrainingSession] = ()) -> None:
        """Write what `resume` reads.

        Raises:
            BenchError: see `save_training`.
        """
        state = TrainingState(
            iteration=self.iteration,
            seconds=self.seconds,
            updates=self.average.updates if self.average else 0,
            scale=self.scaler.state_dict(),
            identity=self.identity,
            unlogged=tuple(unlogged),
            sessions=tuple(sessions),
        )
        save_training(run, state, self.model, self.optimizer, self.average)

    def rest(self) -> None:
        """Leave the time since the last iteration out of the next one's."""
        self._since = time.perf_counter()

    def stop_soon(self) -> None:
        """Stop all processes after the iteration that they are at, once one of them is told."""
        self.asked_to_stop = True

    def run(self, training_set: TrainingSet, workers: int = 2) -> Iterator[TrainingStep]:
        """Train to the end, an iteration at a time.

        Raises:
            BenchError: an image cannot be read.
            NonFiniteError: see `step`.
        """
        self._since = time.perf_counter()
        batches = load_batches(
            training_set,
            self.seed,
            range(self.iteration, self.recipe.iterations),
            self.recipe.batch_size,
            rank=self.processes.rank,
            world=self.processes.size,
            workers=workers,
        )
        with closing(batches):
            yield from map(self.step, batches)

    def step(self, samples: Sequence[Any]) -> TrainingStep:
        """One iteration on this process's samples, of the kind that its losses are of.

        Raises:
            NonFiniteError: a loss or the gradient is no number, and nothing was learnt from it.
        """
        rate = self._set_rate()
        parts = [samples[part :: self.recipe.accumulate] for part in range(self.recipe.accumulate)]
        normalizer = self._normalizer(samples)
        found = torch.zeros(2 + len(self.terms))
        bad: set[str] = set()
        self.statistics.begin()
        for index, part in enumerate(parts):
            self._seed_part(index)
            with self._without_sharing(last=index == len(parts) - 1):
                losses = self._losses(part, normalizer)
                total = losses.total(self.recipe.loss) / len(parts)
                self.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
            self.statistics.keep_part()
            last = torch.stack([total * len(parts), *(term[-1] for term in losses.terms.values())])
            found[:-1] += last.detach().cpu() / len(parts)
            if not math.isfinite(found[0]):
                bad |= {name for name, values in losses.terms.items() if not bool(values.isfinite().all())}
        found[-1] = self.asked_to_stop
        found = self.processes.mean(found)
        if not found.isfinite().all():
            raise NonFiniteError(self.iteration, f"the {' and '.join(sorted(bad)) or 'total'} loss", samples)
        norm = self._update(samples)
        self.iteration += 1
        total_, *terms, stops = found.tolist()
        self.stops = stops > 0
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        self.seconds += seconds
        return TrainingStep(
            iteration=self.iteration,
            total=total_,
            **{f"{name}_loss": value for name, value in zip(self.terms, terms, strict=True)},
            gradient_norm=norm if math.isfinite(norm) else None,
            learning_rate=rate,
            seconds=seconds,
        )

    def _least_images(self) -> int:
        """The least number of images in a part."""
        return self.model.encoder.least_images(self.recipe.augmentation.crop)

    def _leaves_parameters_out(self) -> bool:
        """True if a backward pass may leave some parameters out: tokens', where no layer's are the decoder's."""
        encoder = self.model.encoder.spec
        return not isinstance(encoder, Schedule) or not any(set(layer.levels) & set(LEVELS) for layer in encoder.layers)

    def _normalizer(self, samples: Sequence[Sample]) -> LossNormalizer | None:
        """The divisors that an iteration's parts share, so that they add up to the loss of all its images."""
        if self.parts == 1:
            return None
        queries, weight = len(self.model.decoder.query_features), self.recipe.loss.no_object_weight
        segments = [len(sample.labels) for sample in samples]
        matched = [min(number, queries) for number in segments]
        mean = self.processes.mean(torch.tensor([float(sum(segments)), float(sum(matched))])) / self.recipe.accumulate
        each, of_queries = mean.tolist()
        queries_of_part = queries * self.recipe.batch_size // self.parts
        return LossNormalizer(each, of_queries + weight * (queries_of_part - of_queries))

    def _losses(self, samples: Sequence[Sample], normalizer: LossNormalizer | None) -> Losses:
        images = torch.stack([torch.from_numpy(sample.image) for sample in samples]).to(self.device)
        labels = [torch.from_numpy(sample.labels).to(self.device) for sample in samples]
        masks = [_padded(torch.from_numpy(sample.masks).to(self.device)) for sample in samples]
        targets = list(map(Target, labels, masks))
        with autocast(self.device, self.recipe.precision):
            predictions = self._model(images.permute(0, 3, 1, 2).float())
        return criterion(predictions, targets, self.recipe.loss, normalizer=normalizer)

    def _update(self, samples: Sequence[Sample]) -> float:
        """Step along the clipped gradient; its norm before that, the same in all processes.

        One that is no number is an error; in fp16, after the losses' scale has become useless.
        """
        self.scaler.unscale_(self.optimizer)
        limit = self.recipe.optimizer.clip_norm
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), math.inf if limit is None else limit))
        if not math.isfinite(norm):
            if not self.scaler.is_enabled():
                raise NonFiniteError(self.iteration, "the gradient", samples)
            if self.scaler.get_scale() <= LEAST_SCALE:
                raise NonFiniteError(self.iteration, "the gradient, however the losses are scaled for fp16,", samples)
        self.statistics.finish(self.processes.mean)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update()
        return norm

    def _set_rate(self) -> float:
        """The head's learning rate of this iteration."""
        factor = rate_factor(self.recipe, self.iteration)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        return self.recipe.optimizer.learning_rate * factor

    def _seed_part(self, index: int) -> None:
        """Chance (points, dropped paths) follows from seed, iteration and part, whichever process has the part."""
        part = self.processes.rank + self.processes.size * index
        state = np.random.SeedSequence([self.seed, self.iteration, part]).generate_state(1, np.uint64)
        torch.manual_seed(int(state[0] >> np.uint64(1)))

    def _without_sharing(self, *, last: bool) -> AbstractContextManager[None]:
        """Gradients are shared after the last part."""
        no_sync: Callable[[], AbstractContextManager[None]] | None = getattr(self._model, "no_sync", None)
        return nullcontext() if last or no_sync is None else no_sync()


class NonFiniteError(BenchError):
    """A number that is none stops a training.

    Args:
        iteration: number of iterations done before.
        what: is not finite.
        samples: this process's, to be kept for a look.
    """

    def __init__(self, iteration: int, what: str, samples: Sequence[Sample]) -> None:
        super().__init__(
            f"iteration {iteration + 1}: {what} is not finite",
            "lower the learning rate, or train in fp32",
            ExitCode.UNTRUSTED,
        )
        self.iteration, self.samples = iteration, samples


def _padded(masks: Tensor) -> Tensor:
    """Masks [N, H, W] as large as the model pads its images."""
    height, width = masks.shape[-2:]
    return F.pad(masks, (0, -width % SIZE_DIVISOR, 0, -height % SIZE_DIVISOR))
