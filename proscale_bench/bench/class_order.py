"""The categories of a data set in the order of a model's classes."""

from __future__ import annotations

from collections.abc import Sequence

from proscale_bench.data.dataset import Category, Id
from proscale_bench.errors import BenchError
from proscale_bench.units import printable

MATCHED = "classes are matched by name: the data list their categories in another order than the weights know them"
NOTHING = frozenset(("n/a", "no object", "background"))  # in place of a class's name


def in_order_of(names: Sequence[str], categories: Sequence[Category], source: str) -> tuple[Category, ...]:
    """The categories in the order of the classes of these names, whatever order the data list them in.

    Names are equal apart from case and white space. Where another number of names is known than there are categories,
    or none, the order is the data's: who runs the model refuses another number of classes.

    Args:
        names: of a model's classes, as its file says them.
        source: the weights, for messages.

    Raises:
        BenchError: a class whose name no category has, or names that are there twice, in another order.
    """
    wanted, found = ([_folded(name) for name in listed] for listed in (names, [one.name for one in categories]))
    if len(wanted) != len(found) or wanted == found:
        return tuple(categories)
    of_name = dict(zip(found, categories, strict=True))
    hint = "evaluate on data with the weights' classes; names are in the annotations' categories, and in the "
    hint += "weights' metadata or id2label"
    for index, name in enumerate(wanted):
        if name not in of_name:
            what = f"{source} knows class {index + 1} as '{names[index]}', and no category of the data is called so"
            raise BenchError(printable(what), hint)
    if len(set(wanted)) < len(wanted):
        twice = next(name for index, name in enumerate(wanted) if name in wanted[:index])
        raise BenchError(printable(f"{source} knows two classes as '{twice}', and the data list others there"), hint)
    return tuple(of_name[name] for name in wanted)


def category_ids_of(
    names: Sequence[str], classes: int, things: Sequence[Category], source: str
) -> tuple[Id | None, ...]:
    """The category id of each of a detector's classes; None for a class that stands for nothing.

    Classes that a file names are matched by name, as `in_order_of` does; a name as "N/A" stands for nothing. Others are
    the data's things in their order, or as many as the ids go up to, as published for COCO: 91 for 80 things.

    Args:
        names: of the classes, as their file says them; empty where it does not.
        classes: their number.
        things: the data's categories that have boxes.
        source: the weights, for messages.

    Raises:
        BenchError: other classes than the data's.
    """
    real = [name for name in names if not stands_for_nothing(name)]
    if len(names) == classes and len(real) == len(things):
        ids = iter(one.id for one in in_order_of(real, things, source))
        return tuple(None if stands_for_nothing(name) else next(ids) for name in names)
    if classes == len(things):
        return tuple(thing.id for thing in things)
    by_id = {thing.id: thing.id for thing in things}
    if classes == 1 + max((id_ for id_ in by_id if isinstance(id_, int)), default=-1):
        return tuple(by_id.get(place) for place in range(classes))
    raise BenchError(
        f"{source} knows {classes} classes, and the data have {len(things)} categories of things",
        "weights and data must be of the same classes, in the same order",
    )


def stands_for_nothing(name: str) -> bool:
    """True for what published detectors have in place of a class's name."""
    return _folded(name) in NOTHING


def _folded(name: str) -> str:
    return " ".join(name.casefold().split())
