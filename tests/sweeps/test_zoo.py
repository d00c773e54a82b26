"""A zoo: what is missing is trained, once, and what is there can be measured."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from proscale_bench.config.choices import find_shipped
from proscale_bench.config.recipe import CocoData
from proscale_bench.config.weights import read_header
from proscale_bench.config.zoo import SHIPPED, read_zoo
from proscale_bench.errors import BenchError
from proscale_bench.results.training import read_record
from proscale_bench.sweeps import zoo as zoo_module
from proscale_bench.sweeps.plan import read_sweep
from proscale_bench.sweeps.zoo import MODEL, RECORD, Training, pack, plan_zoo, require_own, train_missing, write_sweep
from tests.cli import run
from tests.data.made import edit_json, make_dataset

SMALL = {
    "images: 8192": "images: 4",
    "iterations: 1200": "iterations: 2",
    "iterations: 6000": "iterations: 2",
    "warmup_iterations: 100": "warmup_iterations: 0",
    "warmup_iterations: 50": "warmup_iterations: 0",
    "batch_size: 4": "batch_size: 2",
    "crop: [128, 128]": "crop: [64, 64]",
    "points: 512": "points: 32",
}


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A zoo that is trained in seconds."""
    for part in ("trunk", "branch"):
        text = find_shipped("recipes", f"shapes-{part}").read_text()
        for ours, small in SMALL.items():
            text = text.replace(ours, small)
        (tmp_path / f"{part}.yaml").write_text(text)
    path = tmp_path / "zoo.yaml"
    path.write_text(
        "schema_version: 1\nname: small\nbackbone: tiny\ntrunk: trunk.yaml\nbranch: branch.yaml\n"
        'schedules: "1,1,1"\nseeds: 3\n'
    )
    return path


def test_a_pipe_in_the_place_of_the_errors_is_refused(spec: Path, tmp_path: Path) -> None:
    plan = plan_zoo(read_zoo(spec), tmp_path / "runs")
    plan[0].folder.mkdir(parents=True)
    os.mkfifo(plan[0].folder / "errors.txt")
    with pytest.raises(BenchError, match="not a regular file"):
        train_missing(plan[:1], 1)


def test_the_shipped_zoo_has_what_the_pareto_needs() -> None:
    plan = plan_zoo(read_zoo(SHIPPED), Path("runs/zoo"))
    schedules = [each.schedule.compact for each in plan if not each.is_trunk]
    wanted = ["baseline", "3,3,3", "2,2,2", "1,1,1", "3,3,1", "1,3,3", "3,3,3+conv", "3,3,3+trc:none", "3,3,3+spatial"]
    assert schedules == wanted
    assert len({each.recipe.digest for each in plan[1:]}) == 1
    assert all(each.start is plan[0] for each in plan[1:])


def test_the_verdicts_zoo_is_whole_before_it_is_sure() -> None:
    """All encoders once, from scratch and by one recipe, then more seeds of some."""
    plan = plan_zoo(read_zoo("verdict"), Path("runs/verdict"))
    first, more = [each for each in plan if each.seed == 0], [each for each in plan if each.seed != 0]
    assert plan == (*first, *more)
    assert len(first) == 16
    assert {each.schedule.compact for each in first} == {
        *("baseline", "baseline:3", "3,3,3", "2,2,2", "1,1,1", "3,3,1", "1,3,3", "3,3,3+conv", "3,3,3+trc:none"),
        *("3,3,3+spatial", "3,3,3+dw", "3,3,3+keep:0.5", "lite:(2+1)x3", "hybrid", "early-exit", "pem"),
    }
    again = ["baseline", "3,3,3", "1,1,1", "3,3,3+conv", "lite:(2+1)x3", "hybrid"]
    assert [(each.schedule.compact, each.seed) for each in more] == [(name, seed) for seed in (1, 2) for name in again]
    assert {each.schedule.compact for each in first[:8]} == {*again, "pem", "baseline:3"}  # the rivals next
    assert len({each.recipe.digest for each in plan}) == 1
    assert {each.recipe.name for each in plan} == {"shapes"}
    assert not any(each.start or each.is_trunk or "--start" in each.flags for each in plan)
    assert len({each.folder for each in plan}) == len({each.weights_name for each in plan}) == len(plan)
    assert {each.weights_name for each in plan} >= {"tiny-lite-2-1-x3.safetensors", "tiny-3-3-3-keep-0.5.safetensors"}
    of_seed_3 = plan_zoo(read_zoo("verdict"), Path("runs/verdict"), [3])
    assert [each.schedule for each in of_seed_3] == [each.schedule for each in first]


def test_the_zoo_of_detectors_is_told_apart_from_that_of_segmenters() -> None:
    plan = plan_zoo(read_zoo("detection"), Path("runs/detection"))
    once, again = ["baseline", "2,2,1,1", "lite:(2+1)x3", "baseline+keep:0.3"], ["baseline", "2,2,1,1"]
    wanted = [(name, 0) for name in once] + [(name, seed) for seed in (1, 2) for name in again]
    assert [(each.schedule.compact, each.seed) for each in plan] == wanted
    assert {each.recipe.name for each in plan} == {"shapes-detection"}
    assert all(each.flags[:2] == ("--model", "deformable-detr+two-stage") for each in plan)
    assert plan[0].weights_name == "deformable-detr-two-stage-tiny-baseline.safetensors"
    segmenters = {each.weights_name for name in ("zoo", "verdict") for each in plan_zoo(read_zoo(name), Path())}
    assert not segmenters & {each.weights_name for each in plan}


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("deformable-detr", "the recipe shapes-trunk is a mask2former's, and the zoo of deformable-detr"),
        ("detr", "no model of this name"),
        ("deformable-detr+three-stage", "three-stage"),
    ],
)
def test_a_zoos_model_and_recipe_are_of_one_family(spec: Path, model: str, said: str) -> None:
    text = spec.read_text().replace("trunk: trunk.yaml\nbranch: branch.yaml", "recipe: trunk.yaml")
    spec.write_text(text.replace('"1,1,1"', "baseline") + f"model: {model}\n")
    with pytest.raises(BenchError, match=r"zoo.yaml:\d+:\d+") as caught:
        read_zoo(spec)
    assert said in str(caught.value)


def test_a_zoo_of_detectors_is_trained_packed_and_swept(spec: Path, tmp_path: Path) -> None:
    text = find_shipped("recipes", "shapes-detection").read_text()
    for ours, small in {**SMALL, "crop: [128, 128]": "crop: [128, 128]"}.items():
        text = text.replace(ours, small)
    (tmp_path / "boxes.yaml").write_text(text)
    text = spec.read_text().replace("trunk: trunk.yaml\nbranch: branch.yaml", "recipe: boxes.yaml")
    spec.write_text(text.replace('"1,1,1"', '"1,1,1,1"') + "model: deformable-detr+two-stage\n")
    done = run("zoo", str(spec), "--out", str(tmp_path / "zoo"), "--jobs", "1")
    assert done.exit_code == 0, done.stderr
    (weights,) = (file.path for file in read_sweep(tmp_path / "zoo" / "sweep.yaml").weights)
    assert weights.name == "deformable-detr-two-stage-tiny-1-1-1-1-seed3.safetensors"
    told = read_header(weights)
    assert (told.schedule.compact, told.seed) == ("1,1,1,1", 3)


def test_a_zoo_from_scratch_is_trained_and_packed(spec: Path, tmp_path: Path) -> None:
    spec.write_text(spec.read_text().replace("trunk: trunk.yaml\nbranch: branch.yaml", "recipe: trunk.yaml"))
    out = tmp_path / "zoo"
    done = run("zoo", str(spec), "--out", str(out), "--jobs", "1")
    assert done.exit_code == 0, done.stderr
    assert [path.name for path in (out / "seed3").iterdir()] == ["tiny-1-1-1"]
    assert read_record(out / "seed3" / "tiny-1-1-1" / RECORD).start.kind == "fresh"
    assert [file.path.name for file in read_sweep(out / "sweep.yaml").weights] == ["tiny-1-1-1-seed3.safetensors"]


def test_packed_weights_and_their_record_are_all_that_a_training_must_keep(spec: Path, tmp_path: Path) -> None:
    spec.write_text(spec.read_text().replace("trunk: trunk.yaml\nbranch: branch.yaml", "recipe: trunk.yaml"))
    out = tmp_path / "zoo"
    assert run("zoo", str(spec), "--out", str(out), "--jobs", "1").exit_code == 0
    folder, packed = out / "seed3" / "tiny-1-1-1", out / "weights" / "tiny-1-1-1-seed3.safetensors"
    for path in folder.iterdir():
        if path.name != RECORD:
            path.unlink()
    made = packed.read_bytes()
    again = run("zoo", str(spec), "--out", str(out), "--jobs", "1")
    assert again.exit_code == 0, again.stderr
    assert "nothing is left to do" in again.stderr
    assert (packed.read_bytes(), (folder / MODEL).exists()) == (made, False)
    edit_json(folder / RECORD, lambda found: found.update(seconds=found["seconds"] + 1))
    refused = run("zoo", str(spec), "--out", str(out), "--list")
    assert refused.exit_code == 2
    assert "of another training than" in " ".join(refused.stderr.split())
    packed.unlink()
    listed = run("zoo", str(spec), "--out", str(out), "--list")
    assert (listed.exit_code, listed.stdout.count("missing")) == (0, 1)


@pytest.mark.parametrize("given", ["trunk: trunk.yaml", "branch: branch.yaml", "", "recipe: r\ntrunk: t\nbranch: b"])
def test_a_zoo_has_a_trunk_and_a_branch_or_one_recipe(spec: Path, given: str) -> None:
    spec.write_text(spec.read_text().replace("trunk: trunk.yaml\nbranch: branch.yaml", given))
    with pytest.raises(BenchError, match=r"zoo.yaml.*recipes:") as caught:
        read_zoo(spec)
    assert caught.value.hint == "give a trunk and a branch, or one recipe for all, from scratch"


def test_what_is_missing_is_trained_and_nothing_twice(spec: Path, tmp_path: Path) -> None:
    out = tmp_path / "zoo"
    done = run("zoo", str(spec), "--out", str(out), "--jobs", "1")
    assert done.exit_code == 0, done.stderr
    assert [path.name for path in (out / "weights").iterdir()] == ["tiny-1-1-1-seed3.safetensors"]
    told = read_header(out / "weights" / "tiny-1-1-1-seed3.safetensors")
    assert (told.schedule.compact, told.seed) == ("1,1,1", 3)
    assert [file.path.name for file in read_sweep(out / "sweep.yaml").weights] == ["tiny-1-1-1-seed3.safetensors"]

    made = {path: path.stat().st_mtime_ns for path in out.rglob(MODEL)}
    again = run("zoo", str(spec), "--out", str(out), "--jobs", "1")
    assert again.exit_code == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in out.rglob(MODEL)} == made

    trunk, recipe = out / "seed3" / "trunk", tmp_path / "branch.yaml"
    for path, old, new, said in (
        (recipe, "batch_size: 2", "batch_size: 1", "trained with another recipe than shapes-branch has now"),
        (trunk / RECORD, "shapes-v", "shapes-older-v", "trained with other data than shapes-trunk has now"),
        (trunk / RECORD, '"weights_digest": "', '"weights_digest": "f', "trained with another start"),
    ):
        text = path.read_text()
        path.write_text(text.replace(old, new))
        refused = run("zoo", str(spec), "--out", str(out), "--list")
        assert refused.exit_code == 2
        assert said in " ".join(refused.stderr.split())
        path.write_text(text)
    (trunk / RECORD).unlink()
    refused = run("zoo", str(spec), "--out", str(out))
    assert refused.exit_code == 2
    assert "a model.safetensors without the training.json that says what it is" in " ".join(refused.stderr.split())


def test_a_training_that_fails_is_told_and_what_starts_from_it_not_begun(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_zoo(read_zoo(spec), tmp_path / "zoo")
    monkeypatch.setattr(Training, "flags", ("--schedule", "no-such"))
    (failed,) = train_missing(plan, jobs=2)
    assert failed.training.is_trunk
    assert failed.exit_code == 2
    assert "no-such" in failed.said


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_passed_on_and_all_is_kept(spec: Path, tmp_path: Path, told: signal.Signals) -> None:
    trunk = tmp_path / "trunk.yaml"
    trunk.write_text(trunk.read_text().replace("iterations: 2", "iterations: 100000", 1))
    out = tmp_path / "zoo"
    command = [sys.executable, "-m", "proscale_bench", "zoo", str(spec), "--out", str(out), "--jobs", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as zoo:
        log = out / "seed3" / "trunk" / "log.jsonl"
        deadline = time.monotonic() + 120
        while not (log.is_file() and log.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.1)
        zoo.send_signal(told)  # to it alone, as `kill` does; a terminal would tell its trainings too
        _, said = zoo.communicate(timeout=60)
    assert zoo.returncode == 130, said
    assert said.strip() == f"interrupted: what is done is kept in {out}; run the same command to go on"
    assert (log.parent / "training.safetensors").is_file()
    assert "is kept in" in (log.parent / "errors.txt").read_text()


def test_trainings_end_with_a_killed_zoo_and_the_same_command_goes_on(spec: Path, tmp_path: Path) -> None:
    trunk = tmp_path / "trunk.yaml"
    short = trunk.read_text()
    trunk.write_text(short.replace("iterations: 2", "iterations: 100000", 1))
    out = tmp_path / "zoo"
    command = [sys.executable, "-m", "proscale_bench", "zoo", str(spec), "--out", str(out), "--jobs", "1"]
    log = out / "seed3" / "trunk" / "log.jsonl"
    for begun in (1, 2):
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as zoo:
            deadline = time.monotonic() + 120
            size = log.stat().st_size if log.is_file() else 0
            while zoo.poll() is None and time.monotonic() < deadline:
                if log.is_file() and log.stat().st_size > size:
                    break
                time.sleep(0.1)
            assert zoo.poll() is None, begun
            zoo.kill()
        trainings = processes_in(out)
        deadline = time.monotonic() + 10
        while trainings and time.monotonic() < deadline:
            time.sleep(0.05)
            trainings = processes_in(out)
        assert not trainings


def processes_in(folder: Path) -> list[str]:
    """The command lines of living processes that name a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if str(folder).encode() in (words := path.read_bytes()) and words:
                found.append(words.decode())
    return found


def test_the_list_tells_how_far_each_is(spec: Path, tmp_path: Path) -> None:
    listed = run("zoo", str(spec), "--out", str(tmp_path / "zoo"), "--list")
    assert listed.exit_code == 0
    assert listed.stdout.count("missing") == 2
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("trunk.yaml", "nowhere.yaml", 4),
        ("trunk.yaml", "t" * 300, 4),
        ("trunk.yaml", '"\\0.yaml"', 4),
        ('"1,1,1"', '"1,x,1"', 6),
        ("backbone: tiny", "backbone: huge", 3),
        ("seeds: 3", "seeds: -1", 7),
        ("name: small", "nme: small", 2),
    ],
)
def test_errors_say_where(spec: Path, old: str, new: str, line: int) -> None:
    spec.write_text(spec.read_text().replace(old, new))
    with pytest.raises(BenchError, match=rf"zoo.yaml:{line}:\d+"):
        read_zoo(spec)


def test_weights_are_packed_in_half_precision(spec: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    from proscale_bench.models.checkpoints.save import save_checkpoint
    from proscale_bench.specs.encoders.staged import parse_compact
    from tests.built import build_model

    _, training = plan_zoo(read_zoo(spec), tmp_path / "zoo")
    training.folder.mkdir(parents=True)
    save_checkpoint(
        build_model(parse_compact("1,1,1"), "tiny", 13), training.folder / MODEL, {"seed": 3, "recipe": "r"}
    )
    path = pack(training)
    assert path.stat().st_size < 2_500_000
    assert read_header(path).seed == 3
    with safe_open(path, framework="pt") as file:
        kinds = {str(file.get_tensor(key).dtype) for key in file.keys() if "index" not in key}  # noqa: SIM118
    assert kinds == {"torch.float16"}
    assert write_sweep(read_zoo(spec), tmp_path, [path]).is_file()


# --- On a folder of data ---


@pytest.fixture
def on_coco(spec: Path) -> Path:
    """The same zoo, whose recipes learn from a folder."""
    for part in ("trunk", "branch"):
        path = spec.parent / f"{part}.yaml"
        path.write_text(path.read_text().replace("{source: shapes, images: 4, seed: 1}", "{source: coco, split: null}"))
    return spec


def test_a_zoo_on_a_folder_is_refused_before_anything_starts(on_coco: Path, tmp_path: Path) -> None:
    out = tmp_path / "zoo"
    refused = run("zoo", str(on_coco), "--out", str(out))
    assert refused.exit_code == 2
    assert "shapes-trunk trains on a split of a folder" in refused.stderr
    assert "name it with --coco DIR" in refused.stderr
    nowhere = run("zoo", str(on_coco), "--coco", "nowhere", "--out", str(out))
    assert (nowhere.exit_code, "no such folder" in nowhere.stderr) == (2, True)
    embedded = run("zoo", "--coco", str(tmp_path), "--out", str(out))
    assert embedded.exit_code == 2
    assert "trains on the embedded data" in embedded.stderr
    assert not out.exists()


def test_a_zoo_on_a_folder_is_trained_and_measured_there(
    on_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = tmp_path / "own data", tmp_path / "zoo"
    made = make_dataset(data, 3)
    flags = ("zoo", str(on_coco), "--coco", str(data), "--out", str(out), "--jobs", "1")
    done = run(*flags)
    assert done.exit_code == 0, done.stderr
    assert read_record(out / "seed3" / "tiny-1-1-1" / RECORD).data == "val2017"  # the only split
    assert "evaluate" not in (out / "sweep.yaml").read_text()  # nothing is left to evaluate on
    assert [file.path.name for file in read_sweep(out / "sweep.yaml").weights] == ["tiny-1-1-1-seed3.safetensors"]
    for split in (("panoptic", "val"), ("instances", "val")):
        kind, name = split
        (data / f"annotations/{kind}_{name}.json").write_text((data / f"annotations/{kind}_val2017.json").read_text())
    (data / "val").symlink_to(made.images)
    (data / "panoptic_val").symlink_to(made.maps)
    zoo = read_zoo(on_coco)
    learnt = {"data": CocoData(source="coco", split="val2017")}
    assert zoo.trunk is not None
    trunk, branch = (replace(one, recipe=one.recipe.model_copy(update=learnt)) for one in (zoo.trunk, zoo.branch))
    zoo = replace(zoo, trunk=trunk, branch=branch)
    path = write_sweep(zoo, out, [out / "weights/tiny-1-1-1-seed3.safetensors"], data)
    assert f"data: {json.dumps(str(data.resolve()))}" in path.read_text()
    assert 'resize: "64,64"' in path.read_text()
    assert "sizes: 64x64" in path.read_text()
    plan = plan_zoo(zoo, out, coco=data)
    require_own(plan)
    for kind in ("panoptic", "instances"):
        edit_json(data / f"annotations/{kind}_val2017.json", lambda document: document.update(info={}))
    monkeypatch.setattr(zoo_module, "_data_digest", zoo_module._data_digest.__wrapped__)
    with pytest.raises(BenchError, match="trained with other data"):
        require_own(plan)
