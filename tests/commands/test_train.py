"""`proscale-bench train` from flags to files."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from proscale_bench.bench.train import fitting_recipe
from proscale_bench.config.choices import shipped
from proscale_bench.config.recipe import read_recipe
from proscale_bench.config.recipe_changes import RecipeChanges, with_changes
from proscale_bench.errors import BenchError
from proscale_bench.models.processes import Processes
from proscale_bench.render.training import next_step
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


# --- On a folder of one's own ---


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with the splits `train` and `val`."""
    made = make_dataset(tmp_path / "own", 4)
    for kind in ("panoptic", "instances"):
        for split in ("train", "val"):
            shutil.copy(made.root / f"annotations/{kind}_val2017.json", made.root / f"annotations/{kind}_{split}.json")
        (made.root / f"annotations/{kind}_val2017.json").unlink()
    for split in ("train", "val"):
        shutil.copytree(made.images, made.root / split)
        shutil.copytree(made.maps, made.root / f"panoptic_{split}")
    return made.root


SHORT = ("-s", "1,1,1", "--threads", "1", "--device", "cpu", "--iterations", "1", "--batch-size", "1")


def test_a_folder_is_all_that_train_needs(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own.parent)
    done = run("train", "--coco", "own", *SHORT, "--export-json", "-")
    assert done.exit_code == 0, done.stderr
    assert "by the recipe own-tiny, on train; 'proscale-bench recipes list' has others" in done.stderr
    (row,) = json.loads(done.stdout)["results"]
    assert (row["data"], row["classes"], row["start"]["file"]) == ("train", 4, "tiny-baseline.safetensors")
    assert (row["recipe"]["data"]["split"], row["best"]["iteration"], row["best"]["validation"]["split"]) == (
        "train",
        1,
        "val",
    )
    assert "iteration 1: PQ " in done.stderr
    assert "images of val, the best so far" in done.stderr
    assert "eval --weights runs/own-tiny-tiny-1-1-1-seed0/best.safetensors --coco own --resize 256,256" in done.stderr


def test_the_next_step_evaluates_by_the_thresholds_of_validation(own: Path) -> None:
    changes = RecipeChanges(score_threshold=0.5, mask_threshold=0.4)
    recipe = with_changes(read_recipe(shipped("recipes")["own-tiny"]), changes)
    assert recipe.validation is not None
    said = next_step(Path("w.safetensors"), own, None, recipe.validation.thresholds)
    assert said.endswith(" --score-threshold 0.5 --mask-threshold 0.4")
    assert recipe.digest == read_recipe(shipped("recipes")["own-tiny"]).digest


def test_the_recipe_fits_the_data_and_the_start(own: Path) -> None:
    assert fitting_recipe(None, None, starts=False, backbone=None) == "shapes"
    assert fitting_recipe(own, None, starts=False, backbone="tiny") == "own-tiny"
    assert fitting_recipe(own, "val", starts=True, backbone=None) == "own-finetune"
    assert fitting_recipe(own, None, starts=False, backbone="resnet50") == "own-finetune"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("proscale_bench.bench.train.MOST_SMALL_IMAGES", 3)
        assert fitting_recipe(own, None, starts=False, backbone="resnet50") == "coco-50ep"
        assert fitting_recipe(own, None, starts=True, backbone=None) == "coco-finetune"


@pytest.mark.parametrize(
    ("flags", "said", "hint"),
    [
        (["--split", "trian"], "no split 'trian'", "did you mean 'train'?"),
        (["--val-split", "vla"], "no split 'vla'", "did you mean 'val'?"),
        (["--mask-threshold", "0.5", "--validate-every", "0"], "--mask-threshold with --validate-every 0", "leave one"),
        (["--val-split", "val", "--validate-every", "0"], "--val-split with --validate-every 0", "leave one"),
        (["-r", "shapes", "--split", "train"], "trains on the embedded data", "leave --split out"),
    ],
)
def test_a_split_that_is_not_there_is_refused_before_anything_starts(
    own: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], said: str, hint: str
) -> None:
    monkeypatch.chdir(own.parent)
    result = run("train", "--coco", "own", *SHORT, *flags)
    assert result.exit_code == 2
    assert said in result.stderr
    assert hint in result.stderr
    assert not Path("runs").exists()


def test_splits_to_choose_from_are_named(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own.parent)
    for old, new in (("train", "one"), ("val", "two")):
        (own / f"annotations/panoptic_{old}.json").rename(own / f"annotations/panoptic_{new}.json")
        (own / f"annotations/instances_{old}.json").unlink()
    result = run("train", "--coco", "own", *SHORT)
    assert result.exit_code == 2
    assert "several splits to learn from: one, two" in result.stderr
    assert "--split one" in result.stderr


def test_the_only_split_is_learnt_from_and_the_missing_validation_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_dataset(tmp_path / "own", 2)
    monkeypatch.chdir(tmp_path)
    done = run("train", "--coco", str(made.root), *SHORT, "--out", "run")
    assert done.exit_code == 0, done.stderr
    assert "no split to validate on" in done.stderr
    assert not Path("run/best.safetensors").exists()


def test_recipes_are_listed_and_printed_to_be_copied(tmp_path: Path) -> None:
    listed = run("recipes", "list")
    assert listed.exit_code == 0
    for name in shipped("recipes"):
        assert name in listed.stdout
        shown = run("recipes", "show", name)
        assert shown.stdout == shipped("recipes")[name].read_text()
        (tmp_path / "mine.yaml").write_text(shown.stdout)
        assert read_recipe(tmp_path / "mine.yaml") == read_recipe(shipped("recipes")[name])
    unknown = run("recipes", "show", "own-tniy")
    assert unknown.exit_code == 2
    assert "did you mean 'own-tiny'?" in unknown.stderr
