"""`eval --model`: weights of transformers' models, judged as their saved predictions are; tensors that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from proscale_bench.bench.loader import load
from proscale_bench.bench.other_weights import FAMILIES, fill
from proscale_bench.config.model_request import read_request
from tests.cli import Result, run
from tests.commands.test_eval import believe
from tests.data.made import CATEGORIES, Made, make_dataset
from tests.measure.families import configuration

THINGS = sum(category["isthing"] for category in CATEGORIES)
MASKS = ("pq", "sq", "rq", "ap", "ap_bbox", "miou")
FAST = ("--threads", "1", "--device", "cpu", "--bootstrap", "20", "--score-threshold", "0.3")
MASK_FAMILIES = ("mask2former", "maskformer", "eomt", "oneformer")
BOX_FAMILIES = ("detr", "deformable_detr", "rt_detr", "lw_detr")


def surer(model: nn.Module, scale: float = 60) -> nn.Module:
    """Have a fresh model be sure of itself, so that it predicts something."""
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear) and any(
                one in name for one in ("class_predictor", "class_embed", "enc_score")
            ):
                module.weight.mul_(scale)
                module.bias.zero_()
    return model


def written(family: str, labels: int, folder: Path, **changes: Any) -> tuple[str, Path]:
    """A small fresh model on disk: its configuration's folder as a flag has it, and its weights."""
    (folder / family).mkdir()
    (folder / family / "config.json").write_text(json.dumps({**configuration(family), "num_labels": labels, **changes}))
    if FAMILIES[family].stretched:
        told = {"size": {"height": 64, "width": 64}}
        (folder / family / "preprocessor_config.json").write_text(json.dumps(told))
    source = f"hf:{folder / family}"
    torch.manual_seed(0)
    model = surer(load(read_request(source)).build())
    path = folder / f"{family}.safetensors"
    save_file({name: tensor.clone().contiguous() for name, tensor in model.state_dict().items()}, path)
    return source, path


def written_words(folder: Path) -> None:
    """The vocabulary that tasks are told in, of letters alone, where a configuration asks for one."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ("<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters))
    (folder / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(words[:50])}))
    (folder / "merges.txt").write_text("#version: 0.2\n")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("weights")
    masks = {family: written(family, len(CATEGORIES), folder) for family in MASK_FAMILIES}
    written_words(folder / "oneformer")
    return masks | {family: written(family, THINGS, folder) for family in BOX_FAMILIES}


def evaluate(one: tuple[str, Path], data: Made, out: Path, *flags: str) -> Result:
    source, weights = one
    given = ("--model", source, "--weights", str(weights), "--coco", str(data.root), "--out", str(out / "run"))
    return run("eval", *given, *FAST, *flags)


def row(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.stderr
    (one,) = json.loads(result.stdout)["results"]
    return one  # type: ignore[no-any-return]


# OneFormer's own post-processing of instances needs a file that is downloaded, so it is refused.
PROCESSED = [(family, whose) for family in MASK_FAMILIES for whose in ("ours", "theirs")][:-1]


@pytest.mark.parametrize(("family", "whose"), PROCESSED)
def test_masks_are_scored_as_their_saved_predictions_are(
    made: dict[str, tuple[str, Path]], tmp_path: Path, family: str, whose: str
) -> None:
    data, saved = make_dataset(tmp_path / "coco", 4), tmp_path / "saved"
    flags = ("--postprocess", whose, *(() if family == "eomt" else ("--resize", "48,96")))
    first = evaluate(made[family], data, tmp_path, *flags, "--save-predictions", str(saved))
    assert first.exit_code == 0, first.stderr
    believe(data, saved)
    found = row(evaluate(made[family], data, tmp_path, *flags, "--export-json", "-"))
    scored = ("--from-predictions", str(saved), "--coco", str(data.root), "--bootstrap", "20", "--export-json", "-")
    files = row(run("eval", *scored))
    assert {name: found[name] for name in MASKS} == {name: files[name] for name in MASKS}
    assert found["pq"] > 10
    assert found["accuracy"]["evaluated"]["tasks"] == ["panoptic", "instance", "semantic"]
    assert found["evaluation"].get("postprocessing", "ours") == whose
    assert found["weights_digest"]
    assert found["dimensions"]["source"]
    assert (found["sampling"], found["rewrites"]) == ("none", False)


@pytest.mark.parametrize("whose", ["ours", "theirs"])
@pytest.mark.parametrize("family", BOX_FAMILIES)
def test_boxes_are_scored_as_their_saved_predictions_are(
    made: dict[str, tuple[str, Path]], tmp_path: Path, family: str, whose: str
) -> None:
    data, saved = make_dataset(tmp_path / "coco", 4), tmp_path / "saved"
    resized = () if FAMILIES[family].stretched else ("--resize", "96,160", "--batch-size", "2")
    flags = ("--postprocess", whose, *resized)
    first = evaluate(made[family], data, tmp_path, *flags, "--save-predictions", str(saved))
    assert first.exit_code == 0, first.stderr
    believe_boxes(data, saved / "instances.json")
    found = row(evaluate(made[family], data, tmp_path, *flags, "--export-json", "-"))
    scored = ("--from-predictions", str(saved), "--tasks", "boxes", "--coco", str(data.root), "--export-json", "-")
    files = row(run("eval", *scored, "--bootstrap", "20"))
    assert found["ap_bbox"] == files["ap_bbox"]
    assert found["ap_bbox"] > 1
    assert found["pq"] is found["ap"] is None
    assert found["accuracy"]["evaluated"]["tasks"] == ["boxes"]
    assert found["evaluation"]["resize"] == ("64x64 stretched" if FAMILIES[family].stretched else "96,160")


def believe_boxes(data: Made, predictions: Path) -> None:
    """Make the two surest boxes of each image the truth, moved by a tenth."""
    detections = json.loads(predictions.read_text())

    def boxes(document: Any) -> None:
        document["annotations"] = []
        for image in document["images"]:
            own = [one for one in detections if one["image_id"] == image["id"]]
            for one in sorted(own, key=lambda one: -one["score"])[:2]:
                x, y, width, height = one["bbox"]
                truth = {key: one[key] for key in ("image_id", "category_id")}
                number = len(document["annotations"]) + 1
                truth |= {
                    "id": number,
                    "iscrowd": 0,
                    "area": width * height,
                    "bbox": [x + width / 10, y, width, height],
                }
                document["annotations"].append(truth)

    data.edit_instances(boxes)
    data.panoptic_json.unlink()


def test_our_boxes_are_theirs(made: dict[str, tuple[str, Path]], tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "coco", 2)
    for family in ("detr", "deformable_detr", "rt_detr"):
        found = []
        for whose in ("ours", "theirs"):
            saved = tmp_path / f"{family}-{whose}"
            flags = ("--postprocess", whose, "--save-predictions", str(saved), "--tasks", "boxes")
            flags += () if FAMILIES[family].stretched else ("--resize", "96,160")
            assert evaluate(made[family], data, tmp_path, *flags).exit_code == 0
            items = json.loads((saved / "instances.json").read_text())
            found.append({tuple(round(value, 2) for value in numbers_of(one)) for one in items})
        ours, theirs = found
        assert len(ours) > 1
        assert ours <= theirs or theirs <= ours  # they may keep another number


def numbers_of(found: Any) -> tuple[float, ...]:
    return (found["image_id"], found["category_id"], *found["bbox"], found["score"])


def test_classes_with_coco_s_numbers(tmp_path: Path) -> None:
    one = written("detr", 19, tmp_path)  # the highest id of a thing is 18
    data = make_dataset(tmp_path / "coco", 2)
    saved = tmp_path / "saved"
    assert evaluate(one, data, tmp_path, "--resize", "48,96", "--save-predictions", str(saved)).exit_code == 0
    assert {found["category_id"] for found in json.loads((saved / "instances.json").read_text())} <= {1, 18}


def test_tensors_must_be_the_model_s(made: dict[str, tuple[str, Path]], tmp_path: Path) -> None:
    source, _ = made["detr"]
    model = load(read_request(source)).build()
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = next(iter(tensors))
    last = list(tensors)[-1]
    cases = [
        ({**tensors, "stray.weight": torch.zeros(1)}, "stray.weight: no place in DetrForObjectDetection"),
        ({name: one for name, one in tensors.items() if name != last}, f"{last} is missing"),
        ({**tensors, first: torch.zeros(3, 3)}, f"{first}: shape [3, 3], expected"),
        ({**tensors, first: tensors[first] * float("nan")}, f"{first}: values that are not finite"),
    ]
    data = make_dataset(tmp_path / "coco", 1)
    for number, (broken, expected) in enumerate(cases):
        file = tmp_path / f"{number}.safetensors"
        save_file(broken, file)
        result = evaluate((source, file), data, tmp_path)
        assert result.exit_code == 2
        assert expected in result.stderr.replace("\n", " ")
    torch.save(tensors, tmp_path / "fine.pth")
    fill(model, tmp_path / "fine.pth")


def test_nothing_in_a_file_is_executed(made: dict[str, tuple[str, Path]], tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"model": Hostile()}, tmp_path / "hostile.pth")
    result = evaluate((made["detr"][0], tmp_path / "hostile.pth"), make_dataset(tmp_path / "coco", 1), tmp_path)
    assert result.exit_code == 2
    assert "refused" in result.stderr
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--model", "hf:{detr}", "--tasks", "panoptic"), "has no outputs for it"),
        (("--model", "hf:{rt_detr}", "--resize", "32,64"), "takes images of 64x64 alone"),
        (("--model", "my.py:Net"), "its outputs are not known"),
        (("--model", "hf:{detr}", "-s", "3,3,3"), "--schedule is of this tool's own models"),
        (("--postprocess", "theirs"), "--postprocess is of a model that --model names"),
        (("--model", "hf:{detr}", "--postprocess", "mine"), "unknown post-processing 'mine'"),
        (("--model", "hf:{mask2former}"), "shape"),
    ],
)
def test_what_cannot_be_is_refused(
    made: dict[str, tuple[str, Path]], tmp_path: Path, flags: tuple[str, ...], expected: str
) -> None:
    folders = {family: source.removeprefix("hf:") for family, (source, _) in made.items()}
    given = [flag.format(**folders) for flag in flags]
    weights = made["rt_detr" if "rt_detr" in flags[1] else "detr"][1]
    data = make_dataset(tmp_path / "coco", 1)
    result = run("eval", *given, "--weights", str(weights), "--coco", str(data.root), "--out", str(tmp_path / "run"))
    assert result.exit_code == 2
    assert expected in result.stderr.replace("\n", " ") or "no place" in result.stderr


def test_a_model_needs_weights(made: dict[str, tuple[str, Path]]) -> None:
    result = run("eval", "--model", made["detr"][0])
    assert result.exit_code == 2
    assert "give --weights FILE" in result.stderr


def test_oneformer_is_told_its_task_in_words(tmp_path: Path) -> None:
    one = written("oneformer", len(CATEGORIES), tmp_path)
    data = make_dataset(tmp_path / "coco", 2)
    refused = evaluate(one, data, tmp_path, "--resize", "48,96")
    assert refused.exit_code == 2
    assert "vocab.json" in refused.stderr
    written_words(tmp_path / "oneformer")
    assert row(evaluate(one, data, tmp_path, "--resize", "48,96", "--export-json", "-"))["pq"] is not None
    refused = evaluate(one, data, tmp_path, "--resize", "48,96", "--postprocess", "theirs")
    assert refused.exit_code == 2
    assert "leave instance out of --tasks" in refused.stderr
