"""`eval` and `data check` on data as other tools write them: both say the same, and a number is the reference's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli import Result, run
from tests.data.broken import both, instances, panoptic
from tests.data.made import Made, make_dataset

CITY = {10: "aaa_000000_000019", 11: "bbb_000001_000019", 12: "ccc_000002_000019"}


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A data set whose predictions, in `pred`, miss nothing but a third of the persons."""
    made = make_dataset(tmp_path / "data")
    pred = tmp_path / "pred"
    pred.mkdir()
    shutil.copytree(made.maps, pred / "panoptic")
    truth = json.loads(made.panoptic_json.read_text())
    (pred / "panoptic.json").write_text(json.dumps({"annotations": truth["annotations"]}))
    found = [
        {"image_id": one["image_id"], "category_id": one["category_id"], "score": 0.9, "bbox": one["bbox"]}
        for one in json.loads(made.instances_json.read_text())["annotations"]
    ]
    (pred / "instances.json").write_text(json.dumps(found[:1] + found[2:]))
    return made


def scored(made: Made, *flags: str) -> tuple[Result, dict[str, Any]]:
    """The result of `eval` on the predictions, and its row; empty where it is refused."""
    out = made.root.parent / "out.json"
    out.unlink(missing_ok=True)
    result = run(
        *("eval", "--from-predictions", str(made.root.parent / "pred"), "--coco", str(made.root)),
        *("--bootstrap", "0", "--export-json", str(out), *flags),
    )
    return result, json.loads(out.read_text())["results"][0]["accuracy"] if out.exists() else {}


def checked(made: Made) -> Result:
    return run("data", "check", str(made.root))


def in_predictions(made: Made, change: Callable[[Any], object]) -> None:
    for name in ("panoptic.json", "instances.json"):
        path = made.root.parent / "pred" / name
        document = json.loads(path.read_text())
        change(document["annotations"] if isinstance(document, dict) else document)
        path.write_text(json.dumps(document))


def rename(key: str, names: Callable[[Any], str]) -> Callable[[Any], object]:
    def change(annotations: Any) -> None:
        for one in annotations:
            for place in (one, *one.get("segments_info", ())):
                if key in place:
                    place[key] = names(place[key])

    return change


def rename_truth(key: str, listed: str, names: Callable[[Any], str]) -> Callable[[Any], object]:
    def change(document: Any) -> None:
        rename("id", names)(document[listed])
        rename(key, names)(document["annotations"])

    return change


TEXT = {
    "images as Cityscapes'": ("image_id", "images", CITY.__getitem__),
    "images as COCO's files": ("image_id", "images", "{:012}".format),
    "categories": ("category_id", "categories", "class {}".format),
}


@pytest.mark.parametrize("name", TEXT)
def test_text_ids_have_the_numbers_of_the_others(made: Made, name: str) -> None:
    key, listed, names = TEXT[name]
    _, before = scored(made)
    both(rename_truth(key, listed, names))(made)
    in_predictions(made, rename(key, names))
    result, row = scored(made)
    assert result.exit_code == checked(made).exit_code == 0, result.stderr
    for metric in ("pq", "pq_things", "ap", "ap_bbox", "miou"):
        assert row[metric] == before[metric]
    assert row["pq"] is not None


def test_ids_of_text_and_numbers_are_told_apart(made: Made) -> None:
    in_predictions(made, rename("image_id", str))
    result, _ = scored(made, "--tasks", "panoptic")
    assert result.exit_code == 2
    assert "its id is text in one of both files and a number in the other" in result.stderr


BOXES: dict[str, Callable[[Made], object]] = {
    "no part": instances(lambda d: [one.update(segmentation=[]) for one in d["annotations"]]),
    "an empty part": instances(lambda d: [one.update(segmentation=[[]]) for one in d["annotations"]]),
    "no key": instances(lambda d: [one.pop("segmentation") for one in d["annotations"]]),
}


@pytest.mark.parametrize("name", BOXES)
def test_data_without_masks_are_evaluated_by_their_boxes(made: Made, name: str) -> None:
    _, before = scored(made)
    BOXES[name](made)
    checking, (result, row) = checked(made), scored(made)
    assert checking.exit_code == result.exit_code == 0
    assert "can be evaluated  panoptic, semantic, boxes" in checking.stdout
    assert "6 of 6 instances have no mask" in checking.stdout
    assert "6 of 6 instances have no mask" in result.stderr
    assert (row["ap"], row["ap_bbox"], row["pq"]) == (None, before["ap_bbox"], before["pq"])
    refused, _ = scored(made, "--tasks", "instance")
    assert refused.exit_code == 2
    assert "no truth for the task instance; it has" in refused.stderr.replace("\nhint: ", "; ")


def test_boxes_are_part_of_instance(made: Made) -> None:
    _, row = scored(made, "--tasks", "boxes")
    assert row["ap"] is None
    assert row["evaluated"]["tasks"] == ["boxes"]
    _, whole = scored(made, "--tasks", "boxes,instance")
    assert whole["evaluated"]["tasks"] == ["instance"]
    assert whole["ap_bbox"] == row["ap_bbox"]


ASKED_OF_INSTANCES: dict[str, Callable[[Made], object]] = {
    "cut off": lambda made: made.instances_json.write_text('{"images": ['),
    "no area": instances(lambda d: [one.pop("area") for one in d["annotations"]]),
    "an id twice": instances(lambda d: d["annotations"][1].update(id=d["annotations"][0]["id"])),
    "a root category": instances(lambda d: d["categories"].insert(0, {"id": 0, "name": "root"})),
    "two points": instances(lambda d: d["annotations"][0].update(segmentation=[[1, 2, 3, 4]])),
    "iscrowd -1": instances(lambda d: d["annotations"][0].update(iscrowd=-1)),
    "a folder": lambda made: (made.instances_json.unlink(), made.instances_json.mkdir()),
}


@pytest.mark.parametrize("name", ASKED_OF_INSTANCES)
def test_panoptic_asks_nothing_of_the_instances(made: Made, name: str) -> None:
    _, before = scored(made, "--tasks", "panoptic")
    ASKED_OF_INSTANCES[name](made)
    result, row = scored(made, "--tasks", "panoptic")
    assert result.exit_code == 0, result.stderr
    assert row["pq"] == before["pq"]
    everything, _ = scored(made)
    assert everything.exit_code == checked(made).exit_code == 2


ASKED_OF_PANOPTIC: dict[str, Callable[[Made], object]] = {
    "cut off": lambda made: made.panoptic_json.write_text('{"images": ['),
    "no isthing": panoptic(lambda d: d["categories"][0].pop("isthing")),
    "not annotated": panoptic(lambda d: d["annotations"].pop()),
    "another name": panoptic(lambda d: d["categories"][0].update(name="cat")),
    "no maps": lambda made: shutil.rmtree(made.maps),
}


@pytest.mark.parametrize("task", ["instance", "boxes"])
@pytest.mark.parametrize("name", ASKED_OF_PANOPTIC)
def test_instances_ask_nothing_of_the_panoptic_file(made: Made, name: str, task: str) -> None:
    _, before = scored(made, "--tasks", task)
    ASKED_OF_PANOPTIC[name](made)
    result, row = scored(made, "--tasks", task)
    assert result.exit_code == 0, result.stderr
    assert (row["ap"], row["ap_bbox"]) == (before["ap"], before["ap_bbox"])
    everything, _ = scored(made)
    assert everything.exit_code == checked(made).exit_code == 2


NAMES = {
    **{"empty": "", "a line break": "\n", "two lines": "a\nb", "a tab": "a\tb", "long": "x" * 201, "zero": "a\0b"},
    **{"half a character": "\ud800", "right to left": "\u202eabc", "an escape": "\x1b[31mred"},
    **{"no-break": "a\xa0b", "joined": "a\u200db", "line separator": "a\u2028b"},
}


@pytest.mark.parametrize("name", NAMES)
def test_no_number_depends_on_a_category_name(made: Made, name: str) -> None:
    _, before = scored(made)
    both(lambda d: d["categories"][0].update(name=NAMES[name]))(made)
    checking, (result, row) = checked(made), scored(made)
    assert checking.exit_code == result.exit_code == 0, result.stderr
    shown = row["evaluated"]["classes"][0]["name"]
    assert shown.isprintable()
    assert 0 < len(shown) <= 200
    for words in (checking.stdout, result.stderr):
        assert f"category 1 is shown as '{shown}'"[:60] in words
    assert (row["pq"], row["ap"]) == (before["pq"], before["ap"])


@pytest.mark.parametrize("split", ["a\xa0b", "a\u200db", "a\tb", "a\nb", "x" * 210])
def test_a_split_that_no_record_can_name_is_refused_by_both(made: Made, split: str) -> None:
    for path in (made.panoptic_json, made.instances_json):
        path.rename(path.with_name(path.name.replace("val2017", split)))
    checking = checked(made)
    result, _ = scored(made)
    assert checking.exit_code == result.exit_code == 2
    assert checking.stderr == result.stderr
    assert "rename its files" in result.stderr


def test_the_name_of_the_predictions_may_be_anything(made: Made) -> None:
    pred = made.root.parent / "pred"
    named = pred.rename(made.root.parent / "p\nq")
    result = run("eval", "--from-predictions", str(named), "--coco", str(made.root), "--bootstrap", "0")
    assert result.exit_code == 0, result.stderr
