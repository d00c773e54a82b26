"""`proscale-bench eval` from flags to records: the numbers are those of the files that it would have written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hotcoco.mask import decode
from PIL import Image

import proscale_bench as psb
from proscale_bench.analysis.views import side_by_side
from proscale_bench.data.coco import open_dataset
from proscale_bench.data.pictures import read_id_map
from proscale_bench.data.truth import semantic_truth
from proscale_bench.evaluation.runner import BatchDone
from proscale_bench.models.checkpoints.save import save_checkpoint
from proscale_bench.results.collect import read_export
from proscale_bench.results.export import envelope
from proscale_bench.results.store import scan
from tests.built import build_model
from tests.cli import EVERY, Result, run
from tests.data.made import CATEGORIES, SPLIT, Made, box_of, make_dataset, rle_of, save_ids

IMAGES = 5
METRICS = ("pq", "sq", "rq", "pq_things", "pq_stuff", "ap", "ap_bbox", "miou")
FAST = ("--threads", "1", "--bootstrap", "50", "--resize", "none")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained, but sure of itself: it predicts segments."""
    torch.manual_seed(0)
    model = build_model(psb.parse_schedule("1,1,1"), "tiny", len(CATEGORIES))
    with torch.no_grad():
        model.decoder.class_head.weight.mul_(60)
    path = tmp_path_factory.mktemp("weights") / "sure.safetensors"
    save_checkpoint(model, path)
    return path


@pytest.fixture(scope="module")
def data(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A data set that the model is right about, more or less: its own predictions, moved by a pixel, are the truth."""
    folder = tmp_path_factory.mktemp("data")
    made = make_dataset(folder / "coco", IMAGES)
    result = evaluate(weights, made, folder, "--save-predictions", str(folder / "predictions"))
    assert result.exit_code == 0, result.stderr
    believe(made, folder / "predictions")
    return made


def believe(made: Made, predictions: Path) -> None:
    """Make predictions the truth: maps and the masks of the two surest things an image, moved by a pixel."""
    segments = {one["image_id"]: one for one in json.loads((predictions / "panoptic.json").read_text())["annotations"]}
    detections = json.loads((predictions / "instances.json").read_text())

    def maps(document: Any) -> None:
        for entry in document["annotations"]:
            ids = np.roll(read_id_map(predictions / "panoptic" / entry["file_name"]), 1, axis=1)
            save_ids(made.maps / entry["file_name"], ids)
            entry["segments_info"] = [
                {**one, "iscrowd": 0, "area": int((ids == one["id"]).sum()), "bbox": [0, 0, 1, 1]}
                for one in segments[entry["image_id"]]["segments_info"]
            ]

    def masks(document: Any) -> None:
        document["annotations"] = []
        for image in document["images"]:
            best = [one for one in detections if one["image_id"] == image["id"]][:2]
            for one in best:
                mask = np.roll(decode(one["segmentation"]), 1, axis=1).astype(bool)
                if mask.any():
                    document["annotations"].append(
                        {
                            "id": len(document["annotations"]) + 1,
                            "image_id": image["id"],
                            "category_id": one["category_id"],
                            "iscrowd": 0,
                            "area": int(mask.sum()),
                            "bbox": box_of(mask),
                            "segmentation": rle_of(mask),
                        }
                    )

    made.edit_panoptic(maps)
    made.edit_instances(masks)


@pytest.fixture(scope="module")
def saved(weights: Path, data: Made, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The row of an evaluation, and the predictions that it kept."""
    folder = tmp_path_factory.mktemp("saved")
    return row(weights, data, folder, "--save-predictions", str(folder / "predictions")), folder / "predictions"


def evaluate(weights: Path, data: Made, folder: Path, *flags: str) -> Result:
    return run("eval", "--weights", str(weights), "--coco", str(data.root), "--out", str(folder / "run"), *FAST, *flags)


def row(weights: Path, data: Made, folder: Path, *flags: str) -> dict[str, Any]:
    found = evaluate(weights, data, folder, "--export-json", str(folder / "row.json"), "--force", *flags)
    assert found.exit_code == 0, found.stderr
    (one,) = json.loads((folder / "row.json").read_text())["results"]
    assert isinstance(one, dict)
    return one


def test_the_row_of_the_contract(saved: tuple[dict[str, Any], Path]) -> None:
    found, _ = saved
    keys = {"schedule", "backbone", "weights", "images", *METRICS, "gflops"}
    assert keys <= found.keys()
    assert (found["schedule"], found["backbone"], found["weights"]) == ("1,1,1", "tiny", "sure.safetensors")
    assert found["images"] == IMAGES
    assert found["gflops"]["encoder"] > 0
    assert found["accuracy"]["evaluated"]["processes"] == 1
    assert found["threads"] == 1


def test_the_numbers_are_those_of_the_files_that_other_tools_score(
    saved: tuple[dict[str, Any], Path], data: Made, tmp_path: Path
) -> None:
    found, predictions = saved
    panoptic = psb.evaluate_panoptic(
        data.panoptic_json, data.maps, predictions / "panoptic.json", predictions / "panoptic"
    )
    assert panoptic.all.pq is not None
    assert 0 < panoptic.all.pq < 1
    assert found["pq"] == 100 * panoptic.all.pq
    assert (found["sq"], found["rq"]) == (100 * (panoptic.all.sq or 0), 100 * (panoptic.all.rq or 0))
    for name, group in (("pq_things", panoptic.things), ("pq_stuff", panoptic.stuff)):
        assert found[name] == 100 * (group.pq or 0)

    with pytest.warns(UserWarning, match="the results have boxes"):
        masks = psb.evaluate_instances(data.instances_json, predictions / "instances.json", "segm")
    assert 0 < found["ap"] < 100
    assert found["ap"] == 100 * masks.stats[0]
    boxes = psb.evaluate_instances(data.instances_json, predictions / "instances.json", "bbox")
    assert found["ap_bbox"] == 100 * boxes.stats[0]

    dataset = open_dataset(data.root)
    (tmp_path / "truth").mkdir()
    for image in dataset.images:
        labels = Image.fromarray(semantic_truth(dataset, image))
        labels.save(tmp_path / "truth" / Path(image.file_name).with_suffix(".png").name)
    semantic = psb.evaluate_semantic(tmp_path / "truth", predictions / "semantic", num_classes=len(CATEGORIES))
    assert found["miou"] == semantic.miou
    assert found["accuracy"]["pacc"] == semantic.pacc


def test_saved_predictions_score_the_same(saved: tuple[dict[str, Any], Path], data: Made, tmp_path: Path) -> None:
    found, predictions = saved
    json_path = tmp_path / "row.json"
    result = run(
        "eval", "--from-predictions", str(predictions), "--coco", str(data.root), "--export-json", str(json_path),
        "--bootstrap", "50",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    (scored,) = json.loads(json_path.read_text())["results"]
    assert {name: scored[name] for name in METRICS} == {name: found[name] for name in METRICS}
    assert scored["accuracy"]["evaluated"]["intervals"] == found["accuracy"]["evaluated"]["intervals"]
    assert scored["schedule"] is None


def test_reference_is_pycocotools_and_agrees(
    saved: tuple[dict[str, Any], Path], weights: Path, data: Made, tmp_path: Path
) -> None:
    found = row(weights, data, tmp_path, "--reference", "--tasks", "instance")
    assert found["accuracy"]["evaluated"]["engine"] == "pycocotools"
    assert (found["ap"], found["ap_bbox"]) == (saved[0]["ap"], saved[0]["ap_bbox"])


def test_batches_change_rounding_alone(
    saved: tuple[dict[str, Any], Path], weights: Path, data: Made, tmp_path: Path
) -> None:
    found = row(weights, data, tmp_path, "--batch-size", "2")
    for name in METRICS:
        # Equal where this was written; elsewhere a pixel between two masks, one of some 700, may fall to the other.
        assert found[name] == pytest.approx(saved[0][name], abs=0.5)


def test_a_record_is_kept_and_shown(weights: Path, data: Made, tmp_path: Path) -> None:
    result = evaluate(weights, data, tmp_path, "--visuals", "2", "--per-class")
    assert result.exit_code == 0, result.stderr
    assert f"{SPLIT}, {IMAGES} images, in percent" in result.stdout
    assert "mask AP" in result.stdout
    assert "person" in result.stdout
    (record,), problems = scan(tmp_path / "run")
    assert not problems
    assert record.accuracy is not None
    assert record.accuracy.evaluated is not None
    assert len(record.accuracy.evaluated.replicates["pq"]) == 50
    assert record.cost is not None
    pictures = sorted((tmp_path / "run" / "visuals").rglob("*.png"))
    assert len(pictures) == 2
    assert Image.open(pictures[0]).size[0] > 100
    assert not (tmp_path / "run" / "evaluation").exists()  # the journal goes when the record is there


def test_a_thousand_draws_unless_told_otherwise() -> None:
    assert EVERY["eval"].make_context("eval", []).params["bootstrap"] == 1000


@pytest.mark.parametrize(("flags", "draws"), [(["--bootstrap", "7"], 7), (["--bootstrap=0"], 0)])
def test_the_number_of_draws_may_be_chosen(
    flags: list[str], draws: int, weights: Path, data: Made, tmp_path: Path
) -> None:
    found = row(weights, data, tmp_path, "--tasks", "semantic", "--limit", "2", *flags)["accuracy"]["evaluated"]
    assert (found["resamples"], len(found["replicates"].get("miou", []))) == (draws, draws)


def test_two_weights_stand_side_by_side_and_compare(weights: Path, data: Made, tmp_path: Path) -> None:
    torch.manual_seed(4)
    model = build_model(psb.parse_schedule("baseline"), "tiny", len(CATEGORIES))
    save_checkpoint(model, tmp_path / "other.safetensors")
    result = evaluate(weights, data, tmp_path, "--weights", str(tmp_path / "other.safetensors"))
    assert result.exit_code == 0, result.stderr
    assert "1,1,1" in result.stdout
    assert "baseline" in result.stdout
    compared = run("compare", *[str(tmp_path / "run")] * 2, "--old", "baseline", "--new", "1,1,1")
    assert compared.exit_code == 0, compared.stderr
    assert "baseline on tiny against 1,1,1 on tiny" in compared.stdout
    assert "PQ, %" in compared.stdout


def test_the_embedded_data_need_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROSCALE_BENCH_CACHE", str(tmp_path / "cache"))
    flags = ("--random-weights", "0", "--limit", "2", "--bootstrap", "0", "--out", str(tmp_path / "run"))
    result = run("eval", *flags, "--export-json", str(tmp_path / "row.json"))
    assert result.exit_code == 0, result.stderr
    (found,) = json.loads((tmp_path / "row.json").read_text())["results"]
    assert (found["images"], found["accuracy"]["evaluated"]["resize"]) == (2, "none")
    assert found["weights"] == "random weights, seed 0"
    assert (tmp_path / "cache").is_dir()


def test_only_the_first_images_and_some_tasks(weights: Path, data: Made, tmp_path: Path) -> None:
    found = row(weights, data, tmp_path, "--limit", "2", "--tasks", "semantic")
    assert found["images"] == 2
    assert found["pq"] is None
    assert found["ap"] is None
    assert found["miou"] is not None
    assert found["input"]["size"] == f"{SPLIT}[:2]"


def test_what_decides_a_result_never_overwrites_another(weights: Path, data: Made, tmp_path: Path) -> None:
    """Every way to evaluate is a record of its own, a row of its own, and in an export what it is in the folder."""
    ways = ((), ("--resize", "64,96"), ("--limit", "2"), ("--tasks", "semantic"), ("--batch-size", "2"))
    found = [row(weights, data, tmp_path, *way) for way in (*ways, ())]
    records, problems = scan(tmp_path / "run")
    assert not problems
    assert len(records) == len(ways)  # the last replaced the first
    document = envelope(found[1:])
    (tmp_path / "all.json").write_text(json.dumps(document))
    assert {one.digest for one in read_export(tmp_path / "all.json")} == {one.digest for one in records}
    for one in records:
        assert one.identity.classes == len(CATEGORIES)
        assert one.evaluation is not None
        assert one.evaluation.thresholds == {"score": 0.8, "mask": 0.5, "overlap": 0.8, "instances": 100}
        assert one.evaluation.missing == ()
        assert one.accuracy is not None
        assert one.accuracy.evaluated is not None
        assert one.accuracy.evaluated.data_folder == data.root.name
    tables = side_by_side(records)
    assert len({table.data for table in tables}) == len(tables) == len(ways)
    table = psb.read_run(tmp_path / "run")
    assert len(table) == len(ways)


# --- Interrupted, and gone on with ---


def interrupted_after(monkeypatch: pytest.MonkeyPatch, images: int) -> None:
    """Ctrl-C once so many images are done."""
    from proscale_bench.commands import evaluate as command

    original = command.shower

    def shower(*arguments: Any) -> Callable[[BatchDone], None]:
        show = original(*arguments)

        def interrupt(step: BatchDone) -> None:
            show(step)
            if step.done == images:
                raise KeyboardInterrupt

        return interrupt

    monkeypatch.setattr(command, "shower", shower)


def test_an_interrupted_evaluation_goes_on_where_it_stopped(
    saved: tuple[dict[str, Any], Path], weights: Path, data: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from proscale_bench.evaluation.model_predictor import ModelPredictor

    with monkeypatch.context() as patch:
        interrupted_after(patch, 3)
        result = evaluate(weights, data, tmp_path)
    assert result.exit_code == 130
    assert "the same command goes on" in result.stderr

    predicted = []
    original = ModelPredictor.predict

    def counted(self: Any, batch: Any, loaded: Any) -> Any:
        predicted.extend(batch.images)
        return original(self, batch, loaded)

    monkeypatch.setattr(ModelPredictor, "predict", counted)
    found = row(weights, data, tmp_path)
    assert len(predicted) == IMAGES - 3
    assert {name: found[name] for name in METRICS} == {name: saved[0][name] for name in METRICS}


def test_saved_predictions_go_on_too_and_are_never_mixed(
    saved: tuple[dict[str, Any], Path], weights: Path, data: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions = tmp_path / "predictions"
    flags = ("--save-predictions", str(predictions))
    with monkeypatch.context() as patch:
        interrupted_after(patch, 3)
        assert evaluate(weights, data, tmp_path, *flags).exit_code == 130
    assert (predictions / "panoptic").is_dir()
    other = evaluate(weights, data, tmp_path, *flags, "--batch-size", "2")
    assert (other.exit_code, "beginning of another" in other.stderr) == (2, True)
    assert evaluate(weights, data, tmp_path, *flags).exit_code == 0
    for path in (path for path in saved[1].rglob("*") if path.is_file()):
        assert (predictions / path.relative_to(saved[1])).read_bytes() == path.read_bytes()
    assert {path.name for path in predictions.iterdir()} == {path.name for path in saved[1].iterdir()}
    again = evaluate(weights, data, tmp_path, *flags)
    assert (again.exit_code, "exists" in again.stderr) == (2, True)


def test_two_images_never_share_a_file(weights: Path, tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "coco", IMAGES)
    (data.images / "000000000011.jpg").rename(data.images / "000000000010.png")
    data.edit_both(lambda document: document["images"][1].update(file_name="000000000010.png"))
    result = evaluate(weights, data, tmp_path, "--save-predictions", str(tmp_path / "predictions"))
    assert (result.exit_code, "2 images would be saved as 000000000010.png" in result.stderr) == (2, True)
    assert evaluate(weights, data, tmp_path).exit_code == 0


def test_what_is_evaluated_before_a_failure_is_shown(weights: Path, data: Made, tmp_path: Path) -> None:
    torch.save({"model": {"stray": torch.zeros(1)}}, tmp_path / "broken.pth")  # found out when its turn comes
    result = evaluate(weights, data, tmp_path, "--weights", str(tmp_path / "broken.pth"))
    assert result.exit_code == 2
    assert "1,1,1" in result.stdout
    assert "broken.pth" in result.stderr
    assert len(list((tmp_path / "run" / "records").iterdir())) == 1


def test_starting_over_evaluates_all(
    weights: Path, data: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupted_after(patch, 3)
        assert evaluate(weights, data, tmp_path).exit_code == 130
    journal = next((tmp_path / "run" / "evaluation").rglob("*.jsonl"))
    journal.write_text(journal.read_text().replace('"image_id":10', '"image_id":10,"wrong":true'))
    with monkeypatch.context() as patch:
        interrupted_after(patch, 4)
        assert evaluate(weights, data, tmp_path, "--no-resume").exit_code == 130
    assert all("wrong" not in path.read_text() for path in (tmp_path / "run" / "evaluation").rglob("*.jsonl"))


def test_a_command_killed_before_its_record_goes_on_with_its_predictions(
    weights: Path, data: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = ("--save-predictions", str(tmp_path / "saved"))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("proscale_bench.bench.evaluate.write_record", killed)
        assert evaluate(weights, data, tmp_path, *saved).exit_code == 130
    assert (tmp_path / "saved" / "panoptic.json").is_file()
    assert evaluate(weights, data, tmp_path, *saved).exit_code == 0
    assert len(list((tmp_path / "run" / "records").iterdir())) == 1
    assert not (tmp_path / "saved" / ".unfinished").exists()
    assert evaluate(weights, data, tmp_path, *saved).exit_code == 2  # it is finished, and not overwritten


# --- Many processes ---


@pytest.mark.parametrize("processes", [2, 3])
def test_any_number_of_processes_finds_the_same(
    processes: int, saved: tuple[dict[str, Any], Path], weights: Path, data: Made, tmp_path: Path
) -> None:
    found, predictions = saved
    arguments = [
        *("--weights", str(weights), "--coco", str(data.root), "--out", str(tmp_path / "run"), *FAST),
        *("--save-predictions", str(tmp_path / "predictions"), "--export-json", str(tmp_path / "row.json")),
    ]
    finished = torchrun(processes, arguments)
    assert finished.returncode == 0, finished.stderr
    (shared,) = json.loads((tmp_path / "row.json").read_text())["results"]
    assert shared["accuracy"]["evaluated"].pop("processes") == processes
    for one in (shared, found):
        one["accuracy"]["evaluated"] = {**one["accuracy"]["evaluated"], "seconds": 0, "processes": 0}
    assert shared["accuracy"] == found["accuracy"]
    assert finished.stdout.count(f"{SPLIT}, {IMAGES} images") == 1  # one process reports
    for path in predictions.rglob("*.*"):
        assert (tmp_path / "predictions" / path.relative_to(predictions)).read_bytes() == path.read_bytes()


def test_a_process_that_fails_fails_the_run(weights: Path, data: Made, tmp_path: Path) -> None:
    broken = make_dataset(tmp_path / "broken", IMAGES)
    (broken.images / "000000000011.jpg").write_bytes(b"no image")  # of the second process
    arguments = ["--weights", str(weights), "--coco", str(broken.root), "--out", str(tmp_path / "run"), *FAST]
    finished = torchrun(2, arguments)
    assert finished.returncode != 0
    assert "000000000011.jpg: not an image" in finished.stderr
    assert not list(tmp_path.rglob("records/*.json"))


def torchrun(processes: int, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, "-m", "proscale_bench", "eval", *arguments],
        capture_output=True, text=True, timeout=300, env=environment, check=False,
    )  # fmt: skip


# --- What cannot be evaluated ---

BAD_FLAGS: dict[str, tuple[list[str], str]] = {
    "two sources": (["--random-weights", "0", "--weights", "W"], "exclude each other"),
    "files and weights": (["--from-predictions", ".", "--weights", "W"], "exclude each other"),
    "missing weights": (["--weights", "/nowhere.pth"], "no such file"),
    "unknown task": (["--random-weights", "0", "--tasks", "panoptic,detection"], "unknown task 'detection'"),
    "no task": (["--random-weights", "0", "--tasks", ""], "unknown task ''"),
    "unknown schedule": (["--random-weights", "0", "--schedule", "3,3"], "3,3"),
    "unknown backbone": (["--random-weights", "0", "--backbone", "vgg"], "unknown backbone 'vgg'"),
    "unknown device": (["--random-weights", "0", "--device", "tpu"], "unknown device 'tpu'"),
    "unknown dtype": (["--random-weights", "0", "--dtype", "int8"], "unknown dtype 'int8'"),
    "one side": (["--random-weights", "0", "--resize", "800"], "not two sides"),
    "sides swapped": (["--random-weights", "0", "--resize", "1333,800"], "the short side comes first"),
    "sides of nothing": (["--random-weights", "0", "--resize", "0,0"], "1 to 8,192 pixels"),
    "huge sides": (["--random-weights", "0", "--resize", "9000,9000"], "1 to 8,192 pixels"),
    "sides in words": (["--random-weights", "0", "--resize", "small,large"], "not two sides"),
    "limit of none": (["--random-weights", "0", "--limit", "0"], "--limit"),
    "negative draws": (["--random-weights", "0", "--bootstrap=-1"], "--bootstrap"),
    "batch of none": (["--random-weights", "0", "--batch-size", "0"], "--batch-size"),
    "unknown split": (["--random-weights", "0", "--split", "train2017"], "no split 'train2017'"),
    "pictures without maps": (["--random-weights", "0", "--tasks", "semantic", "--visuals", "1"], "--visuals"),
    "saving what is saved": (["--from-predictions", ".", "--save-predictions", "x"], "nothing to save"),
    "saving two": (["--weights", "W", "--weights", "W", "--save-predictions", "x"], "is for one --weights"),
    "tf32 on a CPU": (["--random-weights", "0", "--device", "cpu", "--dtype", "tf32"], "tf32"),
    "unknown sampling": (["--random-weights", "0", "--sampling", "nearest"], "sampling"),
    "no predictions": (["--from-predictions", "/nowhere"], "not a folder"),
}


@pytest.mark.parametrize("name", BAD_FLAGS)
def test_bad_flags_are_named(name: str, weights: Path, data: Made, tmp_path: Path) -> None:
    flags, message = BAD_FLAGS[name]
    flags = [str(weights) if flag == "W" else flag for flag in flags]
    result = run("eval", "--coco", str(data.root), "--out", str(tmp_path / "run"), *flags)
    assert result.exit_code == 2, (result.stdout, result.stderr)
    assert message in result.stderr.replace("\n", " ")
    assert not list(tmp_path.rglob("records/*.json"))


def test_without_weights_it_is_those_that_ship(
    weights: Path, data: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "shipped"
    monkeypatch.setattr("proscale_bench.config.weights.FOLDER", shipped)
    flags = ("eval", "--coco", str(data.root), "--out", str(tmp_path / "run"), *FAST)
    result = run(*flags)
    assert (result.exit_code, "no weights ship" in result.stderr) == (2, True)
    shipped.mkdir()
    shutil.copy(weights, shipped / "tiny-1-1-1.safetensors")
    result = run(*flags, "--schedule", "3,3,3")
    assert (result.exit_code, "no weights of schedule 3,3,3 ship" in result.stderr) == (2, True)
    result = run(*flags, "--training-seed", "1")
    assert (result.exit_code, "no weights of seed 1 ship" in result.stderr) == (2, True)
    result = run(*flags, "--schedule", "1,1,1", "--export-json", str(tmp_path / "row.json"))
    assert result.exit_code == 0, result.stderr
    (found,) = json.loads((tmp_path / "row.json").read_text())["results"]
    assert (found["weights"], found["schedule"]) == ("tiny-1-1-1.safetensors", "1,1,1")
    result = run(*flags, "--weights", str(weights), "--training-seed", "1")
    assert (result.exit_code, "--weights is given" in result.stderr) == (2, True)


def test_a_split_is_of_a_folder(tmp_path: Path) -> None:
    result = run("eval", "--random-weights", "0", "--split", "val", "--out", str(tmp_path))
    assert (result.exit_code, "--split goes with --coco" in result.stderr) == (2, True)


def remove_map(data: Made) -> None:
    next(data.maps.iterdir()).unlink()


def grey_map(data: Made) -> None:
    Image.new("L", (32, 24)).save(data.maps / "000000000010.png")


def small_map(data: Made) -> None:
    Image.new("RGB", (5, 5)).save(data.maps / "000000000010.png")


def small_image(data: Made) -> None:
    Image.new("RGB", (5, 5)).save(data.images / "000000000010.jpg")


def cut_image(data: Made) -> None:
    path = data.images / "000000000010.jpg"
    path.write_bytes(path.read_bytes()[:300])


def remove_image(data: Made) -> None:
    (data.images / "000000000010.jpg").unlink()


def remove_images(data: Made) -> None:
    for path in data.images.iterdir():
        path.unlink()
    data.images.rmdir()


def climb(data: Made) -> None:
    data.edit_both(lambda document: document["images"][0].update(file_name="../../etc/passwd"))


def cut_json(data: Made) -> None:
    data.panoptic_json.write_text(data.panoptic_json.read_text()[:-100])


def one_class_less(data: Made) -> None:
    data.edit_panoptic(lambda document: document["categories"].append({"id": 200, "name": "sea", "isthing": 0}))


def twice(data: Made) -> None:
    data.edit_panoptic(lambda document: document["annotations"].append(document["annotations"][0]))


def unknown_category(data: Made) -> None:
    data.edit_panoptic(lambda document: document["annotations"][0]["segments_info"][0].update(category_id=77))


BAD_DATA: dict[str, tuple[Callable[[Made], None], str]] = {
    "a map is missing": (remove_map, ".png"),
    "a grey map": (grey_map, "mode L"),
    "a map of another size": (small_map, "5 x 5 pixels"),
    "an image of another size": (small_image, "5 x 5 pixels"),
    "half an image": (cut_image, "000000000010.jpg"),
    "an image is missing": (remove_image, "000000000010.jpg"),
    "no images": (remove_images, SPLIT),
    "a path that climbs": (climb, "passwd"),
    "half a JSON": (cut_json, f"panoptic_{SPLIT}.json"),
    "classes that clash": (one_class_less, "4 classes"),
    "an image annotated twice": (twice, "image 10"),
    "an unknown category": (unknown_category, "77"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_are_named_and_nothing_is_lost(name: str, weights: Path, tmp_path: Path) -> None:
    spoil, message = BAD_DATA[name]
    data = make_dataset(tmp_path / "coco", IMAGES)
    spoil(data)
    result = evaluate(weights, data, tmp_path)
    assert result.exit_code == 2, (result.stdout, result.stderr)
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_out_of_memory_is_no_traceback(
    weights: Path, data: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from proscale_bench.evaluation import model_predictor

    def too_large(*arguments: Any) -> Any:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(model_predictor, "run_model", too_large)
    result = evaluate(weights, data, tmp_path)
    assert result.exit_code == 2
    assert "out of memory at batch size 1" in result.stderr


def test_a_broken_image_is_put_right_and_the_run_goes_on(weights: Path, tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "coco", IMAGES)
    path = data.images / "000000000013.jpg"
    whole = path.read_bytes()
    path.write_bytes(b"")
    assert evaluate(weights, data, tmp_path).exit_code == 2
    kept = [line for one in (tmp_path / "run").rglob("*.jsonl") for line in one.read_text().splitlines()]
    assert len(kept) == 3
    path.write_bytes(whole)
    assert row(weights, data, tmp_path)["images"] == IMAGES


# --- Somebody's files ---


def no_entry(folder: Path) -> None:
    edit(folder / "panoptic.json", lambda document: document["annotations"].pop())


def another_size(folder: Path) -> None:
    Image.new("RGB", (5, 5)).save(folder / "panoptic" / "000000000010.png")


def unknown_id(folder: Path) -> None:
    Image.fromarray(np.full((24, 32, 3), 99, np.uint8)).save(folder / "panoptic" / "000000000010.png")


def unknown_class(folder: Path) -> None:
    Image.fromarray(np.full((24, 32), 99, np.uint8)).save(folder / "semantic" / "000000000010.png")


def no_labels(folder: Path) -> None:
    (folder / "semantic" / "000000000010.png").unlink()


def foreign_image(folder: Path) -> None:
    edit(folder / "instances.json", lambda document: document[0].update(image_id=4711))


def corrupt_mask(folder: Path) -> None:
    edit(
        folder / "instances.json", lambda document: document[0].update(segmentation={"size": [24, 32], "counts": "zzz"})
    )


def no_panoptic(folder: Path) -> None:
    (folder / "panoptic.json").unlink()


BAD_PREDICTIONS: dict[str, tuple[Callable[[Path], None], str]] = {
    "an image without a prediction": (no_entry, "no prediction for 1"),
    "a map of another size": (another_size, "image 10"),
    "an id that nobody lists": (unknown_id, "image 10"),
    "a label that is no class": (unknown_class, "99"),
    "a class map is missing": (no_labels, "000000000010.png"),
    "an image that the truth lacks": (foreign_image, "4711"),
    "a corrupt mask": (corrupt_mask, "instances.json"),
    "no panoptic predictions": (no_panoptic, "panoptic.json"),
}


@pytest.mark.parametrize("name", BAD_PREDICTIONS)
def test_bad_predictions_are_named(name: str, saved: tuple[dict[str, Any], Path], data: Made, tmp_path: Path) -> None:
    spoil, message = BAD_PREDICTIONS[name]
    folder = tmp_path / "predictions"
    shutil.copytree(saved[1], folder)
    spoil(folder)
    result = run("eval", "--from-predictions", str(folder), "--coco", str(data.root), "--bootstrap", "0")
    assert result.exit_code == 2, (result.stdout, result.stderr)
    assert message in result.stderr


def test_what_the_files_have_is_scored(saved: tuple[dict[str, Any], Path], data: Made, tmp_path: Path) -> None:
    """The first images are scored, and entries of the others are no surprise."""
    shutil.copytree(saved[1] / "panoptic", tmp_path / "files" / "panoptic")
    shutil.copy(saved[1] / "panoptic.json", tmp_path / "files")
    flags = ("--from-predictions", str(tmp_path / "files"), "--coco", str(data.root), "--limit", "2")
    result = run("eval", *flags, "--export-json", "-")
    assert result.exit_code == 0, result.stderr
    assert "warning" not in result.stderr
    (found,) = json.loads(result.stdout)["results"]
    assert (found["images"], found["pq"] is None, found["ap"], found["miou"]) == (2, False, None, None)


def test_files_are_scored_without_the_images(saved: tuple[dict[str, Any], Path], data: Made, tmp_path: Path) -> None:
    shutil.copytree(data.root, tmp_path / "coco", ignore=shutil.ignore_patterns("*.jpg"))
    (tmp_path / "coco" / SPLIT).rmdir()
    flags = ("--from-predictions", str(saved[1]), "--coco", str(tmp_path / "coco"), "--bootstrap", "0")
    result = run("eval", *flags, "--export-json", "-")
    assert result.exit_code == 0, result.stderr
    (found,) = json.loads(result.stdout)["results"]
    assert found["pq"] == saved[0]["pq"]
    drawn = run("eval", *flags, "--visuals", "1", "--out", str(tmp_path / "run"))
    assert (drawn.exit_code, f"no folder {SPLIT}/" in drawn.stderr) == (2, True)


def test_a_folder_without_predictions_says_what_it_would_hold(data: Made, tmp_path: Path) -> None:
    result = run("eval", "--from-predictions", str(tmp_path), "--coco", str(data.root))
    assert (result.exit_code, "no predictions for panoptic, instance, semantic" in result.stderr) == (2, True)


def test_nothing_found_scores_zero(data: Made, tmp_path: Path) -> None:
    """Empty predictions crash the reference tools."""
    folder = tmp_path / "predictions"
    for name in ("panoptic", "semantic"):
        (folder / name).mkdir(parents=True)
    entries = []
    for image in json.loads(data.panoptic_json.read_text())["images"]:
        size = (image["width"], image["height"])
        name = Path(image["file_name"]).with_suffix(".png").name
        Image.new("RGB", size).save(folder / "panoptic" / name)
        Image.new("L", size).save(folder / "semantic" / name)
        entries.append({"image_id": image["id"], "file_name": name, "segments_info": []})
    (folder / "panoptic.json").write_text(json.dumps({"annotations": entries}))
    (folder / "instances.json").write_text("[]")
    result = run("eval", "--from-predictions", str(folder), "--coco", str(data.root), "--export-json", "-")
    assert result.exit_code == 0, result.stderr
    (found,) = json.loads(result.stdout)["results"]
    assert (found["pq"], found["ap"], found["ap_bbox"]) == (0.0, 0.0, 0.0)


def edit(path: Path, change: Callable[[Any], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
