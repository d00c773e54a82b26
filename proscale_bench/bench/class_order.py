"""The categories of a data set in the order of a model's classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from proscale_bench.config.choices import ClassesBy
from proscale_bench.config.trained_on import folded, places_of
from proscale_bench.data.dataset import Category, Id
from proscale_bench.errors import BenchError
from proscale_bench.units import printable

MATCHED = "classes are matched by name: the data list their categories in another order than the weights know them"
NOTHING = frozenset(("n/a", "no object", "background"))  # in place of a class's name
BY_ORDER = "classes are taken by their order, as was asked for, and not by their names: class {} of the weights is "
BY_ORDER += "'{}', and category {} of the data '{}'"


@dataclass(frozen=True)
class ClassOrder:
    """The meaning of a model's classes in a data set's categories.

    Args:
        categories: of each class of the model, in order.
        places: of these among the data's categories, from 0; None where both have one order.
        by: what decided, where the weights' names and the data's are not the same in the same order.
        caution: what a user should know of it.
    """

    categories: tuple[Category, ...]
    places: tuple[int, ...] | None = None
    by: ClassesBy | None = None
    caution: str | None = None


def in_order_of(
    names: Sequence[str], categories: Sequence[Category], source: str, by: ClassesBy = "name"
) -> ClassOrder:
    """The categories in the order of the classes of these names, whatever order the data list them in.

    Names are equal apart from case and white space. Where another number of names is known than there are categories,
    or none, the order is the data's: who runs the model refuses another number of classes.

    Args:
        names: of a model's classes, as its file says them.
        source: the weights, for messages.
        by: `order` takes a class for the category at its place, whatever either is called.

    Raises:
        BenchError: a class whose name no category has, or names that are there twice, in another order.
    """
    found = [one.name for one in categories]
    places = places_of(found, names)
    if len(names) != len(found) or places == tuple(range(len(found))):
        return ClassOrder(tuple(categories))
    if by == "order":
        pairs = enumerate(zip(names, found, strict=True))
        place = next(place for place, (ours, theirs) in pairs if folded(ours) != folded(theirs))
        caution = BY_ORDER.format(place + 1, names[place], place + 1, found[place])
        return ClassOrder(tuple(categories), by=by, caution=printable(caution))
    if places is not None:
        return ClassOrder(tuple(categories[place] for place in places), places, by, MATCHED)
    hint = "evaluate on data with the weights' classes, whose names are in the annotations' categories, and in the "
    hint += "weights' metadata or id2label; --classes-by order takes classes by their order, whatever they are called"
    there = {folded(one) for one in found}
    for index, name in enumerate(names):
        if folded(name) not in there:
            what = f"{source} knows class {index + 1} as '{name}', and no category of the data is called so"
            raise BenchError(printable(what), hint)
    ours = Counter(map(folded, names))
    twice = next(name for name in names if ours[folded(name)] > 1)
    raise BenchError(printable(f"{source} knows two classes as '{twice}', and the data list others there"), hint)


def category_ids_of(
    names: Sequence[str], classes: int, things: Sequence[Category], source: str, by: ClassesBy = "name"
) -> tuple[tuple[Id | None, ...], ClassOrder]:
    """The category id of each of a detector's classes, None for a class that stands for nothing, and the others' order.

    Classes that a file names are matched by name, as `in_order_of` does; a name as "N/A" stands for nothing. Others are
    the data's things in their order, or as many as the ids go up to, as published for COCO: 91 for 80 things.

    Args:
        names: of the classes, as their file says them; empty where it does not.
        classes: their number.
        things: the data's categories that have boxes.
        source: the weights, for messages.
        by: see `in_order_of`.

    Raises:
        BenchError: other classes than the data's.
    """
    real = [name for name in names if not stands_for_nothing(name)]
    if len(names) == classes and len(real) == len(things):
        order = in_order_of(real, things, source, by)
        ids = iter(one.id for one in order.categories)
        return tuple(None if stands_for_nothing(name) else next(ids) for name in names), order
    plain = ClassOrder(tuple(things))
    if classes == len(things):
        return tuple(thing.id for thing in things), plain
    by_id = {thing.id: thing.id for thing in things}
    if classes == 1 + max((id_ for id_ in by_id if isinstance(id_, int)), default=-1):
        return tuple(by_id.get(place) for place in range(classes)), plain
    raise BenchError(
        f"{source} knows {classes} classes, and the data have {len(things)} categories of things",
        "weights and data must be of the same classes, in the same order",
    )


def stands_for_nothing(name: str) -> bool:
    """True for what published detectors have in place of a class's name."""
    return folded(name) in NOTHING
