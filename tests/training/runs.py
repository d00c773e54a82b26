"""Trainings of a small folder of images, in this process and in others, and what they left."""

from __future__ import annotations

import os
import signal
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from proscale_bench import files
from proscale_bench.config.catalogue import parse_schedule_of
from proscale_bench.models.processes import join_processes
from proscale_bench.results.training import LogLine, TrainingStep, read_log
from proscale_bench.specs.deformable_detr import NAME
from proscale_bench.specs.families import MASK2FORMER, is_detector
from proscale_bench.specs.spelling import parse_encoder
from proscale_bench.training import checkpoint
from proscale_bench.training import job as job_module
from proscale_bench.training.folder import LOG, STATE, WEIGHTS
from proscale_bench.training.job import FinishedTraining, TrainingJob, Watcher, run_training
from tests.training.made import recipe

ITERATIONS = 5
KILLED = -signal.SIGKILL
# Started from a process that has loaded torch already, and has no threads that a copy would lack.
FORKS = get_context("forkserver")
FORKS.set_forkserver_preload(["tests.training.runs"])


def job(coco: Path, schedule: str = "1,1,1", model: str = MASK2FORMER, **changes: Any) -> TrainingJob:
    """A short training, whose log and state are kept at different iterations; a detector's has stages of its own."""
    settings = {"iterations": ITERATIONS, "batch_size": 2, "augmentation": {"crop": [32, 32]}} | changes
    if is_detector(model):
        made, encoder = recipe(**settings, model=NAME), parse_schedule_of(model, "1,1,0,1")
    else:
        made, encoder = recipe(**settings), parse_encoder(schedule)
    return TrainingJob(made, encoder, seed=1, coco=coco, threads=1, model=model)


class At(Watcher):
    """Does something after an iteration."""

    def __init__(self, iteration: int, do: Any) -> None:
        self.iteration, self.do = iteration, do
        self.steps: list[TrainingStep] = []
        self.began = -1

    def begins(self, iteration: int) -> None:
        self.began = iteration

    def step(self, step: TrainingStep) -> None:
        self.steps.append(step)
        if step.iteration == self.iteration:
            self.do()


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def tensors(run: Path) -> dict[str, torch.Tensor]:
    """All that a training's files hold."""
    return {f"{name}:{key}": value for name in (STATE, WEIGHTS) for key, value in load_file(run / name).items()}


def lines(run: Path) -> list[LogLine]:
    """The log, without times."""
    return [line.model_copy(update={"images_per_second": 0.0, "seconds": 0.0}) for line in read_log(run / LOG)]


def assert_same(run: Path, other: Path) -> None:
    one, two = tensors(run), tensors(other)
    assert one.keys() == two.keys()
    assert [key for key, value in one.items() if not torch.equal(value, two[key])] == []
    assert lines(run) == lines(other)


# --- In other processes ---


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train_until_killed(moment: str, coco: str, run: str, number: int, changes: dict[str, Any]) -> None:
    """Train, and die at a moment: in the `number`th of its kind."""
    torch.set_num_threads(1)
    watcher: Watcher = At(number, die) if moment == "iteration" else Watcher()
    left = number

    def countdown() -> None:
        nonlocal left
        left -= 1
        if not left:
            die()

    if moment == "half a state":
        original_save = checkpoint.save_file

        def save_half(tensors: Any, path: Path, metadata: Any) -> None:
            original_save(tensors, path, metadata)
            if left == 1:
                os.truncate(path, path.stat().st_size // 2)
            countdown()

        checkpoint.save_file = save_half
    elif moment == "a whole state":
        original_keep = checkpoint.save_training

        def keep_and_die(*arguments: Any) -> None:
            original_keep(*arguments)
            countdown()

        from proscale_bench.training import loop

        loop.save_training = keep_and_die
    elif moment == "the weights":
        job_module.save_checkpoint = lambda *_, **__: die()
    elif moment == "before the state takes its place":
        files.os.fsync = lambda *_: countdown()
    run_training(job(Path(coco), **changes), Path(run), watcher=watcher)


def killed(moment: str, coco: Path, run: Path, number: int = 1, **changes: Any) -> int | None:
    """The exit code of a training that dies at a moment."""
    return in_another_process(train_until_killed, moment, str(coco), str(run), number, changes)


def in_another_process(function: Any, *arguments: Any) -> int | None:
    """The exit code of a process that calls a function."""
    process = FORKS.Process(target=function, args=arguments)
    process.start()
    process.join(300)
    return process.exitcode


def train_together(rank: int, size: int, port: int, coco: str, run: str, changes: dict[str, Any], stop: int) -> None:
    """One process of several, as torchrun would start it; the last one is interrupted after an iteration."""
    torch.set_num_threads(1)
    variables = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in variables.items()}
    watcher = At(stop if rank == size - 1 else 0, interrupt)
    with join_processes("train") as processes:
        run_training(job(Path(coco), **changes), Path(run), processes, watcher)


def together(coco: Path, run: Path, size: int = 2, stop: int = 0, **changes: Any) -> list[int | None]:
    """The exit codes of processes that train together."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        FORKS.Process(target=train_together, args=(rank, size, port, str(coco), str(run), changes, stop))
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    return [process.exitcode for process in processes]


def train(coco: Path, run: Path, watcher: Watcher | None = None, **changes: Any) -> FinishedTraining:
    trained = run_training(job(coco, **changes), run, watcher=watcher)
    assert trained is not None
    return trained
