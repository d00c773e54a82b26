"""Recipes: what is shipped is as published, every problem is at its place, and a digest names what is learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proscale_bench.config.choices import find_shipped, shipped
from proscale_bench.config.recipe import (
    OUTSIDE_DIGEST,
    CocoData,
    DetectionRecipe,
    Recipe,
    ShapesData,
    StepSchedule,
    read_recipe,
)
from proscale_bench.errors import BenchError

GOOD = """\
schema_version: 1
name: mine
data: {source: shapes, images: 512, seed: 3}
backbone: tiny
iterations: 1000
batch_size: 8
accumulate: 2
augmentation: {resize: [0.8, 1.25], crop: [160, 192]}
optimizer: {learning_rate: 2.0e-4}
schedule: {kind: step, milestones: [800, 900], warmup_iterations: 10}
loss: {points: 1024}
precision: fp32
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    return path


def read(tmp_path: Path, old: str = "", new: str = "") -> Recipe:
    assert old in GOOD
    return read_recipe(write(tmp_path, GOOD.replace(old, new) if old else GOOD + new))


@pytest.mark.parametrize("name", ["coco-50ep", "coco-finetune", "shapes"])
def test_shipped_recipes_are_called_as_their_files(name: str) -> None:
    recipe = read_recipe(find_shipped("recipes", name))
    assert recipe.name == name
    assert recipe.description
    assert find_shipped("recipes", name) == shipped("recipes")[name]
    assert isinstance(recipe.data, ShapesData if name == "shapes" else CocoData)


def test_coco_50ep_is_as_published() -> None:
    """Cheng et al. 2022, section 4.1; 368,750 iterations of 16 are 50 epochs of COCO's 118,287 images, nearly."""
    recipe = read_recipe(find_shipped("recipes", "coco-50ep"))
    assert recipe.data == CocoData(source="coco", split="train2017")
    assert (recipe.backbone, recipe.iterations, recipe.batch_size) == ("resnet50", 368_750, 16)
    assert recipe.iterations * recipe.batch_size / 118_287 == pytest.approx(50, abs=0.2)
    assert (recipe.augmentation.resize, recipe.augmentation.crop) == ((0.1, 2.0), (1024, 1024))
    assert (recipe.augmentation.flip, recipe.augmentation.vertical_flip, recipe.augmentation.color) == (
        True,
        False,
        False,
    )
    assert recipe.optimizer.model_dump() == {
        "learning_rate": 1e-4,
        "weight_decay": 0.05,
        "backbone_multiplier": 0.1,
        "clip_norm": 0.01,
    }
    assert isinstance(recipe.schedule, StepSchedule)
    assert (recipe.schedule.milestones, recipe.schedule.factor) == ((327_778, 355_092), 0.1)
    assert recipe.loss.model_dump() == {
        "class_weight": 2.0,
        "mask_weight": 5.0,
        "dice_weight": 5.0,
        "no_object_weight": 0.1,
        "points": 12_544,
        "oversampling": 3.0,
        "importance": 0.75,
    }
    assert (recipe.drop_path, recipe.ema) == (0.3, None)


def test_defaults_are_those_of_coco_50ep(tmp_path: Path) -> None:
    published = read_recipe(find_shipped("recipes", "coco-50ep"))
    recipe = read_recipe(
        write(tmp_path, GOOD.replace("loss: {points: 1024}\n", "").replace("learning_rate: 2.0e-4", ""))
    )
    assert (recipe.loss, recipe.optimizer) == (published.loss, published.optimizer)
    assert recipe.drop_path == 0.0  # a Swin's recipe says so


def test_finetuning_is_a_tenth_of_it() -> None:
    """The lengths differ, and the warm-up; nothing else that is learnt from."""
    long, short = (read_recipe(find_shipped("recipes", name)) for name in ("coco-50ep", "coco-finetune"))
    assert short.iterations * 10 == long.iterations
    assert isinstance(long.schedule, StepSchedule)
    assert isinstance(short.schedule, StepSchedule)
    assert [round(milestone / 10) for milestone in long.schedule.milestones] == list(short.schedule.milestones)
    same = {"iterations", "schedule", *OUTSIDE_DIGEST}
    assert long.model_dump(exclude=same) == short.model_dump(exclude=same)


@pytest.mark.parametrize(
    ("old", "new", "place", "said", "hint"),
    [
        ("", "colour: true\n", ":13:1", "colour: unknown key", "'color'"),
        ("seed: 3", "sed: 3", ":3:37", "sed: unknown key", "'seed'"),
        ("images: 512, ", "", ":3:1", "images: required key is missing", None),
        ("images: 512", "images: 0", ":3:24", "greater than or equal to 1", None),
        ("images: 512", "images: 1e3", ":3:24", "'1e3' is text", "1.0e-4"),
        ("seed: 3", "seed: 4294967296", ":3:37", "less than or equal to 4294967295", None),
        ("source: shapes", "source: shape", ":3:8", "source: 'shape' is not 'shapes' or 'coco'", "'shapes'"),
        ("source: shapes", "source: [coco]", ":3:8", "is not 'shapes' or 'coco'", None),
        ("source: shapes, ", "", ":3:1", "source: required key is missing", None),
        ("source: shapes, images: 512, seed: 3", "source: coco, split: ../x", ":3:22", "split", None),
        ("{source: shapes, images: 512, seed: 3}", "shapes", ":3:1", "data: 'shapes'", None),
        ("kind: step", "kind: polynomial", ":10:30", "milestones: unknown key", None),
        ("kind: step", "kind: cosine", ":10:12", "'cosine' is not 'step' or 'polynomial' or 'trapezoid'", None),
        ("step, milestones: [800, 900]", "trapezoid", ":10:1", "cooldown_iterations: required key is missing", None),
        (
            "step, milestones: [800, 900]",
            "trapezoid, cooldown_iterations: 991",
            ":10:29",
            "after a warm-up of 10",
            "fit",
        ),
        ("[800, 900]", "800", ":10:24", "expected a list", None),
        ("[800, 900]", "[800, late]", ":10:42", "milestones[1]: 'late'", None),
        ("[800, 900]", "[900, 800]", ":10:42", "milestones: 800 after 900", "later"),
        ("[800, 900]", "[800, 800]", ":10:42", "milestones: 800 after 800", "later"),
        ("[800, 900]", "[800, 1000]", ":10:42", "1000, and training ends after 1000", "before the end"),
        ("warmup_iterations: 10", "warmup_iterations: 1000", ":10:48", "warmup_iterations: 1000", "ends before"),
        ("resize: [0.8, 1.25]", "resize: [1.25, 0.8]", ":8:16", "1.25 is more than 0.8", "[0.8, 1.25]"),
        ("resize: [0.8, 1.25]", "resize: 0.8", ":8:16", "expected two numbers", None),
        ("resize: [0.8, 1.25]", "resize: [0.8, 1.25, 2]", ":8:16", "expected two numbers", None),
        ("resize: [0.8, 1.25]", "resize: [0, 1.25]", ":8:25", "resize[0]: 0", None),
        (", crop: [160, 192]", "", ":8:1", "crop: required key is missing", None),
        ("crop: [160, 192]", "crop: [160, 31]", ":8:49", "crop[1]: 31", None),
        ("crop: [160, 192]", "crop: [160.0, 192]", ":8:44", "valid integer", None),
        ("crop: [160, 192]", "crop: '160x192'", ":8:37", "expected two numbers", None),
        ("accumulate: 2", "accumulate: 3", ":7:1", "8 images in 3 equal parts", "multiple"),
        ("learning_rate: 2.0e-4", "learning_rate: 2e-4", ":9:13", "'2e-4' is text", "1.0e-4"),
        ("learning_rate: 2.0e-4", "learning_rate: .inf", ":9:13", "finite", None),
        ("learning_rate: 2.0e-4", "clip_norm: 0", ":9:13", "greater than 0", None),
        ("points: 1024", "importance: 1.5", ":11:8", "less than or equal to 1", None),
        ("backbone: tiny", "backbone: resnet18", ":4:1", "'resnet18' is not", "resnet101"),
        ("precision: fp32", "precision: tf32", ":12:1", "'tf32' is not 'fp32', 'bf16' or 'fp16'", "'fp32'"),
        ("precision: fp32", "ema: 1", ":12:1", "ema: 1", None),
        ("precision: fp32", "drop_path: 1", ":12:1", "less than 1", None),
        ("precision: fp32", "start: ''", ":12:1", "at least 1 character", None),
        ("precision: fp32", "start: ~nobody-of-that-name/x.pth", ":12:1", "~nobody-of-that-name", "write the path out"),
        ("precision: fp32", "start: a\nbackbone_weights: b", ":13:1", "has the backbone's weights already", "one of"),
        ("schema_version: 1", "schema_version: 2", ":1:1", "2 is not 1", None),
        ("iterations: 1000", "iterations: true", ":5:1", "valid integer", None),
    ],
)
def test_every_problem_is_at_its_place(
    tmp_path: Path, old: str, new: str, place: str, said: str, hint: str | None
) -> None:
    with pytest.raises(BenchError) as caught:
        read(tmp_path, old, new)
    assert caught.value.message.startswith(f"{tmp_path / 'x.yaml'}{place}: "), caught.value.message
    assert said in caught.value.message
    if hint:
        assert hint in str(caught.value.hint)


def test_problems_of_several_sections_come_together(tmp_path: Path) -> None:
    with pytest.raises(BenchError) as caught:
        read_recipe(write(tmp_path, GOOD.replace("images: 512", "images: x").replace("kind: step", "kind: x")))
    assert [line.split(": ")[0].removeprefix(str(tmp_path)) for line in caught.value.message.splitlines()] == [
        "/x.yaml:3:24",
        "/x.yaml:10:12",
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from([":", " 1", "[", "{", "shapes", "0.8", "step", "800", "tiny"]),
    st.text(alphabet="abz019.,:[]{}-_'\"#& \n", max_size=8),
)
def test_whatever_is_written_is_a_recipe_or_a_users_error(tmp_path: Path, old: str, new: str) -> None:
    path = write(tmp_path, GOOD.replace(old, new, 1))
    try:
        said = f"{path}: {read_recipe(path).digest}"
    except BenchError as error:
        said = error.message
    assert said.startswith(str(path))


DETECTOR = """schema_version: 1
name: boxes
model: deformable-detr
data: {source: coco}
backbone: resnet50
iterations: 1000
batch_size: 8
augmentation: {short_sides: [480, 800], longest_side: 1333, crop_short_sides: [400], crop_sides: [384, 600]}
schedule: {kind: polynomial}
"""


def test_detectors_defaults_are_the_published_ones(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(DETECTOR)
    found, published = read_recipe(path), read_recipe(find_shipped("recipes", "coco-detection-50ep"))
    assert isinstance(found, DetectionRecipe)
    assert isinstance(published, DetectionRecipe)
    assert (found.loss, found.optimizer, found.dropout) == (published.loss, published.optimizer, published.dropout)
    assert published.iterations == 50 * (118_287 // published.batch_size)  # images of train2017
    assert isinstance(published.schedule, StepSchedule)
    assert published.schedule.milestones == (published.iterations * 40 // 50,)
    assert published.evaluation_resize is None
    assert found.augmentation.crop == (800, 1333)


@pytest.mark.parametrize(
    ("old", "new", "place", "said"),
    [
        ("deformable-detr", "detr", ":3:1", "'detr' is not 'deformable-detr'"),
        ("crop_sides: [384, 600]", "crop_sides: [600, 384]", ":8:86", "crop_sides: 600 is more than 384"),
        ("longest_side: 1333", "longest: 1333", ":8:41", "longest: unknown key"),
        ("[480, 800]", "[]", ":8:16", "at least 1 item"),
        ("backbone: resnet50", "backbone: resnet50\nloss: {mask_weight: 1.0}", ":6:8", "mask_weight: unknown key"),
        ("model: deformable-detr\n", "", ":7:1", "crop: required key is missing"),
    ],
)
def test_every_problem_of_a_detectors_recipe_is_at_its_place(
    tmp_path: Path, old: str, new: str, place: str, said: str
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(DETECTOR.replace(old, new))
    with pytest.raises(BenchError) as caught:
        read_recipe(path)
    assert f"{path}{place}: " in caught.value.message
    assert said in caught.value.message


def test_an_unknown_recipe_is_a_users_error() -> None:
    with pytest.raises(BenchError, match="unknown recipe 'coco-50epp'") as caught:
        find_shipped("recipes", "coco-50epp")
    assert caught.value.hint == "did you mean 'coco-50ep'?"
    with pytest.raises(BenchError) as caught:
        find_shipped("recipes", "zzzzz")
    assert "coco-50ep, coco-detection-50ep, coco-finetune, own-finetune, own-tiny, shapes" in str(caught.value.hint)
    assert find_shipped("recipes", "mine/own.yaml") == Path("mine/own.yaml")


def test_files_are_seen_from_the_recipe(tmp_path: Path) -> None:
    assert read(tmp_path, "", "start: w/a.pth\n").start == str(tmp_path / "w" / "a.pth")
    assert read(tmp_path, "", "backbone_weights: /w/a.pth\n").backbone_weights == "/w/a.pth"
    assert read(tmp_path).start is None


# --- The digest ---


def test_a_digest_names_what_is_learnt_however_it_is_spelt(tmp_path: Path) -> None:
    digest = read(tmp_path).digest
    assert read(tmp_path, "loss: {points: 1024}", "loss: {mask_weight: 5, points: 1024}").digest == digest
    assert read(tmp_path, "learning_rate: 2.0e-4", "learning_rate: 0.0002").digest == digest
    assert read(tmp_path, "accumulate: 2\n", "accumulate: 2\nema: null\n").digest == digest
    reordered = yaml.safe_dump(yaml.safe_load(GOOD), sort_keys=True)
    assert read_recipe(write(tmp_path, reordered)).digest == digest


@pytest.mark.parametrize(
    "more",
    ["name: other", "description: what it is", "checkpoint_every: 7", "start: a.pth", "backbone_weights: a.pth"],
)
def test_a_digest_is_no_matter_of_words_and_places(tmp_path: Path, more: str) -> None:
    digest = read(tmp_path).digest
    other = read(tmp_path, "name: mine", more) if more.startswith("name") else read(tmp_path, "", f"{more}\n")
    assert other.digest == digest


def changed(fields: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    head, *rest = path
    return {**fields, head: changed(fields[head], tuple(rest), value) if rest else value}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("data", "images"), 513),
        (("data", "seed"), 4),
        (("data",), {"source": "coco", "split": "train2017"}),
        (("backbone",), "swin_t"),
        (("iterations",), 1001),
        (("batch_size",), 16),
        (("accumulate",), 1),
        (("augmentation", "resize"), (0.8, 1.26)),
        (("augmentation", "crop"), (192, 160)),
        (("augmentation", "flip"), False),
        (("augmentation", "vertical_flip"), True),
        (("augmentation", "color"), True),
        (("optimizer", "learning_rate"), 1e-4),
        (("optimizer", "weight_decay"), 0.0),
        (("optimizer", "backbone_multiplier"), 1.0),
        (("optimizer", "clip_norm"), None),
        (("schedule", "milestones"), (800,)),
        (("schedule", "factor"), 0.2),
        (("schedule", "warmup_iterations"), 11),
        (("schedule", "warmup_factor"), 0.5),
        (("schedule",), {"kind": "polynomial"}),
        (("schedule",), {"kind": "trapezoid", "cooldown_iterations": 10}),
        (("loss", "class_weight"), 1.0),
        (("loss", "mask_weight"), 1.0),
        (("loss", "dice_weight"), 1.0),
        (("loss", "no_object_weight"), 1.0),
        (("loss", "points"), 1025),
        (("loss", "oversampling"), 2.0),
        (("loss", "importance"), 0.5),
        (("drop_path",), 0.1),
        (("ema",), 0.999),
        (("precision",), "bf16"),
    ],
)
def test_a_digest_changes_with_all_that_is_learnt_from(tmp_path: Path, path: tuple[str, ...], value: Any) -> None:
    recipe = read(tmp_path)
    assert Recipe.model_validate(changed(recipe.model_dump(), path, value)).digest != recipe.digest


def test_the_shipped_digests_differ() -> None:
    assert len({read_recipe(path).digest for path in shipped("recipes").values()}) == len(shipped("recipes"))
