"""`proscale-bench train` from flags to files."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from proscale_bench.errors import BenchError
from proscale_bench.models.processes import Processes
from proscale_bench.results.training import read_log, read_record
from proscale_bench.training.folder import LOG, RECORD, STATE, WEIGHTS
from proscale_bench.training.loop import Trainer
from tests.cli import Result, run
from tests.data.made import make_dataset
from tests.training.made import RECIPE
from tests.training.test_job import assert_close

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("coco"), 5).root


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "small.yaml"
    small = {"augmentation": {"crop": [32, 32]}, "batch_size": 2, "iterations": 2, "checkpoint_every": 1}
    path.write_text(yaml.safe_dump(RECIPE | small))
    return path


@pytest.fixture
def train(coco: Path, recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def train(*flags: str) -> Result:
        return run("train", "-r", str(recipe_file), "--coco", str(coco), "--threads", "1", "-s", "1,1,1", *flags)

    return train


def test_it_trains_says_what_to_do_next_and_goes_on(train: Callable[..., Result], coco: Path, tmp_path: Path) -> None:
    first = train("--export-json", "-")
    assert first.exit_code == 0, first.stderr
    folder = Path("runs/small-tiny-1-1-1-seed0")
    assert f"next: proscale-bench eval --weights {folder / WEIGHTS} --coco {coco}" in first.stderr
    assert "2 of 2: loss " in first.stderr
    assert "images/s, 0 s left" in first.stderr
    (row,) = json.loads(first.stdout)["results"]
    record = read_record(folder / RECORD)
    assert row == record.row()
    assert (row["schedule"], row["seed"], row["iterations"]) == ("1,1,1", 0, 2)
    assert [line.iteration for line in read_log(folder / LOG)] == [2]
    assert {path.name for path in folder.iterdir()} == {".lock", LOG, RECORD, STATE, WEIGHTS}

    again = train()
    assert again.exit_code == 0
    assert "2 of 2 iterations are done: nothing is left to do" in again.stderr
    assert again.stdout.startswith("1,1,1 on tiny: 2 iterations by small in ")

    more = train("--iterations", "3")
    assert more.exit_code == 2
    assert "another training: recipe.iterations is 2, not 3" in more.stderr
    over = train("--no-resume")
    assert over.exit_code == 2
    assert "holds a training already" in over.stderr
    assert train("--no-resume", "--force", "--iterations", "1").exit_code == 0
    assert read_record(folder / RECORD).iterations == 1

    flags = ("--coco", str(coco), "--resize", "none", "--limit", "1", "--bootstrap", "0", "--threads", "1")
    evaluated = run("eval", "-w", str(folder / WEIGHTS), *flags)
    assert evaluated.exit_code == 0, evaluated.stderr


def test_flags_reach_the_training(train: Callable[..., Result], tmp_path: Path) -> None:
    baseline = train("-s", "baseline:1", "--iterations", "1", "--out", "base")
    assert baseline.exit_code == 0, baseline.stderr
    flags = ["--iterations", "1", "--batch-size", "4", "--accumulate", "2", "--precision", "bf16", "--seed", "7"]
    flags += ["--start", f"base/{WEIGHTS}", "--sampling", "grid_sample", "--workers", "1", "--tensorboard"]
    result = train(*flags)
    assert result.exit_code == 0, result.stderr
    record = read_record(Path("runs/small-tiny-1-1-1-seed7") / RECORD)
    assert (record.recipe["batch_size"], record.recipe["accumulate"], record.recipe["precision"]) == (4, 2, "bf16")
    assert (record.seed, record.sessions[0].sampling, record.start.kind) == (7, "grid_sample", "baseline")
    assert record.start.digest == read_record(Path("base") / RECORD).weights_digest
    assert f"from {WEIGHTS}" in result.stdout
    assert list(Path("runs/small-tiny-1-1-1-seed7/tensorboard").iterdir())


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["-r", "shape"], "unknown recipe 'shape'"),
        (["-r", "nowhere.yaml"], "nowhere.yaml"),
        (["-s", "1,2"], "1,2"),
        (["-b", "resnet18"], "resnet18"),
        (["--precision", "tf32"], "unknown precision 'tf32'"),
        (["--device", "tpu"], "unknown device 'tpu'"),
        (["--accumulate", "3"], "2 images an iteration in 3 equal parts"),
        (["--start", "nowhere.pth"], "nowhere.pth: no such file"),
        (["--start", "a", "--backbone-weights", "b"], "--start has a backbone already"),
        (["--sampling", "sparse"], "unknown sampling 'sparse'"),
        (["--sampling", "triton", "--device", "cpu"], "needs a GPU"),
        (["-r", "shapes"], "trains on the embedded data"),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_written(
    train: Callable[..., Result], flags: list[str], said: str
) -> None:
    result = train(*flags)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "\nerror: " in f"\n{result.stderr}"
    assert not list(Path("runs").glob("*"))


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b'{"a": 1}'])
def test_a_hostile_state_is_an_error_of_the_users(train: Callable[..., Result], content: bytes) -> None:
    Path("out").mkdir()
    (Path("out") / STATE).write_bytes(content)
    result = train("--out", "out")
    assert result.exit_code == 2
    assert f"out/{STATE}: cannot be read" in result.stderr
    assert "--no-resume --force" in result.stderr
    assert (Path("out") / STATE).read_bytes() == content


def test_a_number_that_is_none_exits_3(train: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    original = Trainer.step

    def broken(self: Trainer, samples: Any) -> Any:
        torch.nn.init.constant_(self.model.decoder.class_head.bias, math.nan)
        return original(self, samples)

    monkeypatch.setattr(Trainer, "step", broken)
    result = train("--out", "out")
    assert result.exit_code == 3
    assert "iteration 1: the class loss is not finite; its images:" in result.stderr
    assert "not-finite-1-0.npz" in result.stderr


def test_an_interruption_is_one_line_and_130(train: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    original = Trainer.step

    def interrupted(self: Trainer, samples: Any) -> Any:
        if self.iteration == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, samples)

    monkeypatch.setattr(Trainer, "step", interrupted)
    result = train("--out", "out")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == ("interrupted: iteration 1 of 2 is kept in out; the same command goes on")
    monkeypatch.undo()


def test_a_process_needs_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from proscale_bench.training.setup import device_of

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(BenchError, match="process 1 has no GPU: there are 1"):
        device_of("cuda", Processes(rank=1, size=2, local_rank=1))


def test_flags_are_checked_without_torch(recipe_file: Path) -> None:
    code = (
        "import sys; from tests.cli import run; "
        f"result = run('train', '-r', {str(recipe_file)!r}, '--accumulate', '3'); "
        "sys.exit(result.exit_code if 'torch' not in sys.modules else 9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 2


def test_torchrun_learns_what_one_process_learns(
    train: Callable[..., Result], coco: Path, recipe_file: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "proscale_bench", "train", "-r", str(recipe_file), "--coco", str(coco), "-s", "1,1,1"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(
        [*command, "--threads", "1", "--out", "two"], env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("next: proscale-bench eval") == 1
    alone = train("--accumulate", "2", "--out", "one")
    assert alone.exit_code == 0, alone.stderr
    assert read_record(Path("two") / RECORD).sessions[0].processes == 2
    assert_close(Path("two"), Path("one"))
