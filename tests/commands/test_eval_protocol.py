"""`proscale-bench eval`: classes by name, thresholds, the scale of training, and what a file has too much."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import proscale_bench as psb
from proscale_bench.config.sweep import EvaluateStep
from proscale_bench.config.trained_on import KnownClass, TrainedOn
from proscale_bench.models.checkpoints.save import convert_checkpoint, save_checkpoint
from proscale_bench.results.store import scan
from proscale_bench.sweeps.measurements import EvaluateTask
from proscale_bench.sweeps.tasks import digest_of
from tests.built import build_model
from tests.cli import Result, run
from tests.data.made import CATEGORIES, Made, make_dataset

NAMES = tuple(str(one["name"]) for one in CATEGORIES)
METRICS = ("pq", "ap", "miou")
FAST = ("--threads", "1", "--bootstrap", "0")


def weights(path: Path, names: tuple[str, ...] = (), resize: tuple[int, int] | None = None, sure: float = 60) -> Path:
    """An untrained model, which predicts segments where it is sure of itself."""
    torch.manual_seed(0)
    model = build_model(psb.parse_schedule("1,1,1"), "tiny", len(CATEGORIES))
    with torch.no_grad():
        model.decoder.class_head.weight.mul_(sure)
    save_checkpoint(model, path, seen=TrainedOn(tuple(map(KnownClass, names)), resize))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_dataset(tmp_path_factory.mktemp("data") / "coco", 2)


def evaluate(path: Path, data: Made, folder: Path, *flags: str) -> Result:
    where = ("--weights", str(path), "--coco", str(data.root), "--out", str(folder / "run"))
    return run("eval", *where, *FAST, *flags)


def row(path: Path, data: Made, folder: Path, *flags: str) -> dict[str, Any]:
    result = evaluate(path, data, folder, "--export-json", "-", *flags)
    assert result.exit_code == 0, result.stderr
    (found,) = json.loads(result.stdout)["results"]
    return dict(found)


# --- Classes ---


def test_classes_are_matched_by_name_whatever_their_order(tmp_path: Path, made: Made) -> None:
    path = weights(tmp_path / "w.safetensors", NAMES)
    expected = row(path, made, tmp_path, "--resize", "none")
    assert expected["accuracy"]["evaluated"]["warnings"] == []
    turned = make_dataset(tmp_path / "turned", 2)
    for edit in (turned.edit_panoptic, turned.edit_instances):
        edit(lambda document: document["categories"].reverse())
    found = row(path, turned, tmp_path, "--resize", "none")
    assert {name: found[name] for name in METRICS} == pytest.approx({name: expected[name] for name in METRICS})
    (warning,) = found["accuracy"]["evaluated"]["warnings"]
    assert "classes are matched by name" in warning
    by_place = row(weights(tmp_path / "nameless.safetensors"), turned, tmp_path, "--resize", "none")
    assert by_place["miou"] != pytest.approx(expected["miou"])


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pkl"])
def test_classes_of_other_names_are_refused_in_every_format(tmp_path: Path, made: Made, suffix: str) -> None:
    from proscale_bench.models.checkpoints.load import open_checkpoint

    path = weights(tmp_path / "w.safetensors", ("cat", *NAMES[1:]))
    convert_checkpoint(open_checkpoint(path), tmp_path / f"converted{suffix}")
    result = evaluate(tmp_path / f"converted{suffix}", made, tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"converted{suffix} knows class 1 as 'cat', and no category of the data is called so" in result.stderr


def test_classes_are_taken_by_order_where_that_is_asked_for_and_share_no_record(tmp_path: Path, made: Made) -> None:
    """Two files of the same tensors whose classes are called otherwise are two rows, each of its own mapping."""
    turned = NAMES[::-1]
    path, other = weights(tmp_path / "w.safetensors", NAMES), weights(tmp_path / "other.safetensors", turned)
    plain = row(path, made, tmp_path, "--resize", "none")
    by_name = row(other, made, tmp_path, "--resize", "none")
    by_order = row(other, made, tmp_path, "--resize", "none", "--classes-by", "order")
    assert plain["weights_digest"] == by_name["weights_digest"]
    assert by_name["class_order"] == [*range(len(NAMES))][::-1]
    assert by_name["miou"] != pytest.approx(plain["miou"])
    assert {name: by_order[name] for name in METRICS} == {name: plain[name] for name in METRICS}
    assert "class_order" not in by_order
    told = by_order["accuracy"]["evaluated"]
    assert told["classes_by"] == "order"
    assert "class 1 of the weights is" in told["warnings"][0]
    assert (by_name["accuracy"]["evaluated"]["classes_by"], "classes_by" in plain["accuracy"]["evaluated"]) == (
        "name",
        False,
    )
    records = scan(tmp_path / "run")[0]
    assert sorted((one.identity.class_order is None) for one in records) == [False, True]
    assert {one.accuracy.miou for one in records if one.accuracy} == {plain["miou"], by_name["miou"]}
    report = run("report", str(tmp_path / "run"), "--out", str(tmp_path / "report"))
    assert report.exit_code == 0, report.stderr
    lines = (tmp_path / "report" / "report.md").read_text().splitlines()
    head = next(line for line in lines if line.startswith("|") and "1,1,1, " in line)
    assert "| 1,1,1 | 1,1,1, classes in another order |" in head


def test_classes_of_other_names_can_be_taken_by_order(tmp_path: Path, made: Made) -> None:
    path = weights(tmp_path / "w.safetensors", ("cat", *NAMES[1:]))
    refused = evaluate(path, made, tmp_path)
    assert (refused.exit_code, "--classes-by order takes classes by their order" in refused.stderr) == (2, True)
    assert evaluate(path, made, tmp_path, "--classes-by", "order").exit_code == 0
    assert evaluate(path, made, tmp_path, "--classes-by", "place").exit_code == 2


# --- Thresholds ---


def test_empty_results_have_a_reason_and_a_way_out(tmp_path: Path, made: Made) -> None:
    path = weights(tmp_path / "w.safetensors", sure=1)
    result = evaluate(path, made, tmp_path, "--resize", "none", "--tasks", "panoptic")
    assert result.exit_code == 0
    assert "no panoptic segment in any image, so that PQ is 0" in result.stdout
    assert "no query exceeds the score 0.8, the surest has 0." in result.stderr
    assert "--score-threshold lowers it" in result.stderr
    flags = ("--score-threshold", "0", "--overlap-threshold", "0", "--mask-threshold", "0.25")
    again = evaluate(path, made, tmp_path, "--resize", "none", "--tasks", "panoptic", *flags)
    assert again.exit_code == 0
    assert "no panoptic segment" not in again.stdout + again.stderr
    official, lowered = sorted(
        (
            one.evaluation.thresholds
            for one in scan(tmp_path / "run")[0]
            if one.evaluation and one.evaluation.thresholds
        ),
        key=lambda found: -found["score"],
    )
    assert official == {"score": 0.8, "mask": 0.5, "overlap": 0.8, "instances": 100}
    assert lowered == {"score": 0.0, "mask": 0.25, "overlap": 0.0, "instances": 100}
    masks = evaluate(path, made, tmp_path, "--resize", "none", "--score-threshold", "0", "--overlap-threshold", "1")
    assert masks.exit_code == 0


@pytest.mark.parametrize("value", ["-0.1", "1.5", "nan", "x"])
def test_thresholds_are_shares(tmp_path: Path, made: Made, value: str) -> None:
    assert evaluate(weights(tmp_path / "w.safetensors"), made, tmp_path, "--mask-threshold", value).exit_code == 2


def test_thresholds_of_files_are_theirs(tmp_path: Path, made: Made) -> None:
    result = run("eval", "--from-predictions", str(tmp_path), "--coco", str(made.root), "--score-threshold", "0.5")
    assert (result.exit_code, "leave them out" in result.stderr) == (2, True)


def test_sweeps_know_thresholds_and_keep_the_keys_of_the_official_ones() -> None:
    def key(**how: Any) -> str:
        return EvaluateTask(Path("w"), None, "cpu", EvaluateStep(**how)).key

    before = EvaluateStep().model_dump(
        mode="json", exclude={"data", "score_threshold", "overlap_threshold", "mask_threshold", "engine"}
    )
    assert key() == key(score_threshold=0.8) == digest_of(weights="w", data="", device="cpu", how=before)
    assert len({key(), key(score_threshold=0.5), key(mask_threshold=0.4), key(overlap_threshold=0.5)}) == 4
    assert EvaluateStep(score_threshold=0.5).thresholds.score == 0.5


# --- The scale of training, and what has no place ---


def test_images_are_evaluated_at_the_scale_of_training(tmp_path: Path, made: Made) -> None:
    path = weights(tmp_path / "w.safetensors", resize=(64, 96))
    assert row(path, made, tmp_path, "--tasks", "panoptic")["evaluation"]["resize"] == "64,96"
    assert row(path, made, tmp_path, "--tasks", "panoptic", "--resize", "none")["evaluation"]["resize"] == "none"
    others = [
        str(weights(tmp_path / f"{name}.safetensors", resize=sides)) for name, sides in (("a", (32, 64)), ("b", None))
    ]
    flags = ("--weights", others[0], "--weights", others[1], "--limit", "1", "--tasks", "panoptic", *FAST)
    result = run("eval", *flags, "--coco", str(made.root), "--out", str(tmp_path / "both"), "--export-json", "-")
    assert [one["evaluation"]["resize"] for one in json.loads(result.stdout)["results"]] == ["32,64", "800,1333"]
    assert "resized to a short side of 32 or resized to a short side of 800" in result.stderr


def test_an_evaluation_says_what_has_no_place(tmp_path: Path, made: Made) -> None:
    path = weights(tmp_path / "w.safetensors", resize=(64, 64))
    save_file(load_file(path) | {"val_map.mean": torch.zeros(1)}, tmp_path / "extra.safetensors")
    flags = ("--resize", "none", "--tasks", "panoptic")
    result = evaluate(tmp_path / "extra.safetensors", made, tmp_path, *flags)
    said = "1 tensor has no place in the model; the first is val_map.mean"
    assert (result.exit_code, said in result.stderr) == (0, True)
    (record,), _ = scan(tmp_path / "run")
    assert record.evaluated is not None
    assert said in record.evaluated.warnings[0]
