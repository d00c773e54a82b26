"""Classes of weights meet the categories of data by name."""

from __future__ import annotations

import json

import pytest

from proscale_bench.bench.class_order import in_order_of
from proscale_bench.config.trained_on import KnownClass, TrainedOn, trained_on
from proscale_bench.config.weights import METADATA
from proscale_bench.data.dataset import Category
from proscale_bench.errors import BenchError

CAT, DOG, SKY = Category(7, "cat", True), Category(3, "dog", True), Category(9, "Clear  sky", False)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), (CAT, DOG, SKY)),
        (("cat", "dog", "clear sky"), (CAT, DOG, SKY)),
        (("clear sky", "Cat", "dog "), (SKY, CAT, DOG)),
        (("one", "two"), (CAT, DOG, SKY)),  # the number of classes is refused elsewhere
    ],
)
def test_categories_stand_in_the_order_of_the_weights(names: tuple[str, ...], expected: tuple[Category, ...]) -> None:
    found = in_order_of(names, (CAT, DOG, SKY), "w.pth")
    assert found.categories == expected
    places = tuple(map((CAT, DOG, SKY).index, expected))
    assert found.places == (None if places == (0, 1, 2) else places)
    assert found.by == (None if found.places is None else "name")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("dog", "cat", "sea"), "w.pth knows class 3 as 'sea', and no category of the data is called so"),
        (("dog", "cat", "cat"), "w.pth knows two classes as 'cat'"),
    ],
)
def test_names_that_differ_are_refused(names: tuple[str, ...], said: str) -> None:
    with pytest.raises(BenchError, match=said):
        in_order_of(names, (CAT, DOG, SKY), "w.pth")


@pytest.mark.parametrize("names", [("dog", "cat", "sea"), ("dog", "cat", "cat"), ("clear sky", "Cat", "dog ")])
def test_classes_are_taken_by_their_order_where_that_is_asked_for(names: tuple[str, ...]) -> None:
    found = in_order_of(names, (CAT, DOG, SKY), "w.pth", "order")
    assert (found.categories, found.places, found.by) == ((CAT, DOG, SKY), None, "order")
    assert f"class 1 of the weights is '{names[0]}', and category 1 of the data 'cat'" in (found.caution or "")
    same = in_order_of(("cat", "dog", "clear sky"), (CAT, DOG, SKY), "w.pth", "order")
    assert (same.by, same.caution) == (None, None)


def test_what_weights_were_trained_on_survives_a_file() -> None:
    seen = TrainedOn((KnownClass("cat", 7, True), KnownClass("sky")), (512, 640))
    assert trained_on({METADATA: json.dumps(seen.fields())}) == seen


@pytest.mark.parametrize(
    ("metadata", "names"),
    [
        ({}, ()),
        ({"config": json.dumps({"id2label": {"1": "dog", "0": "cat"}})}, ("cat", "dog")),
        ({"id2label": json.dumps({"0": "cat"})}, ("cat",)),
        ({"config": json.dumps({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}})}, ()),
        ({"config": json.dumps({"id2label": {"5": "cat"}})}, ()),
        ({"config": json.dumps({"id2label": [1]})}, ()),
        ({METADATA: json.dumps({"categories": [{"name": 3}]})}, ()),
        ({METADATA: json.dumps({"categories": [None], "resize": "9,x"})}, ()),
        ({METADATA: "["}, ()),
    ],
)
def test_names_of_classes_are_read_where_they_are(metadata: dict[str, str], names: tuple[str, ...]) -> None:
    assert trained_on(metadata).names == names
    assert trained_on(metadata).resize is None
