"""The words for a model's classes, of its own file and of well-known data sets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from proscale_bench.bench.vocabulary import Vocabulary, read_categories, vocabulary_of
from proscale_bench.bench.weights import Weights, random_weights
from proscale_bench.config.catalogue import parse_schedule
from proscale_bench.config.trained_on import KnownClass, TrainedOn
from proscale_bench.config.weights import METADATA
from proscale_bench.data.dataset import Category
from proscale_bench.data.known_classes import CITYSCAPES, COCO, KNOWN
from proscale_bench.errors import BenchError
from proscale_bench.specs.mask2former import mask2former

PATH = Path("w.pth")


def weights(classes: int, **metadata: object) -> Weights:
    spec = mask2former(parse_schedule("1,1,1"), "tiny", classes=classes)
    return replace(random_weights(spec, 0), metadata={key: json.dumps(value) for key, value in metadata.items()})


def labels(categories: tuple[Category, ...]) -> dict[str, object]:
    return {"id2label": {str(place): category.name for place, category in enumerate(categories)}}


def test_cocos_classes_are_the_panoptic_challenges() -> None:
    assert len(COCO) == 133
    assert sum(category.is_thing for category in COCO) == 80
    assert [COCO[place].id for place in (0, 79, 80, 132)] == [1, 90, 92, 200]
    assert [category.id for category in COCO] == sorted({category.id for category in COCO})
    assert COCO[131].name == "wall-other-merged"
    assert len({len(listed) for listed in KNOWN}) == len(KNOWN)


def test_weights_say_their_classes_themselves() -> None:
    seen = TrainedOn((KnownClass("cat", 7, True), KnownClass("sky", 9, False)), (512, 640))
    found = vocabulary_of(weights(2, **{METADATA: seen.fields()}), PATH, None)
    assert found == Vocabulary((Category(7, "cat", True), Category(9, "sky", False)), resize=(512, 640))


@pytest.mark.parametrize("listed", [COCO, CITYSCAPES])
def test_names_of_a_known_data_set_tell_things_and_ids(listed: tuple[Category, ...]) -> None:
    """Hugging Face's `id2label` has names alone, in whatever order."""
    backwards = listed[::-1]
    found = vocabulary_of(weights(len(listed), config=labels(backwards)), PATH, None)
    assert [(one.id, one.name, one.is_thing) for one in found.categories] == [
        (one.id, one.name, one.is_thing) for one in backwards
    ]
    assert found.note is None


def test_133_classes_without_names_are_cocos_with_a_note() -> None:
    found = vocabulary_of(weights(133), PATH, None)
    assert found.categories == COCO
    assert found.note == "w.pth does not name its classes: 133 are taken as COCO's"


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({}, "w.pth knows 2 classes, and nothing says what they are called"),
        ({"config": {"id2label": {"0": "cat", "1": "sky"}}}, "w.pth does not say whether 'cat' is a thing or stuff"),
    ],
)
def test_what_nobody_says_is_asked_for(metadata: dict[str, object], said: str) -> None:
    with pytest.raises(BenchError, match=said) as caught:
        vocabulary_of(weights(2, **metadata), PATH, None)
    assert "--categories" in str(caught.value.hint)


def test_a_file_of_categories_comes_first_and_must_fit(tmp_path: Path) -> None:
    listed = [{"id": 4, "name": "cat"}, {"id": 5, "name": "sky", "isthing": 0}]
    (tmp_path / "list.json").write_text(json.dumps(listed))
    told = read_categories(tmp_path / "list.json")
    assert told.categories == (Category(4, "cat", True), Category(5, "sky", False))
    assert vocabulary_of(weights(2), PATH, told).categories == told.categories
    with pytest.raises(BenchError, match="knows 3 classes, and 2 categories are given"):
        vocabulary_of(weights(3), PATH, told)
    (tmp_path / "twice.json").write_text(json.dumps([listed[0], listed[0]]))
    with pytest.raises(BenchError, match="an id is there twice"):
        read_categories(tmp_path / "twice.json")
