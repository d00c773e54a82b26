"""The categories of a data set in the order of a model's classes."""

from __future__ import annotations

from collections.abc import Sequence

from proscale_bench.data.dataset import Category
from proscale_bench.errors import BenchError
from proscale_bench.units import printable

MATCHED = "classes are matched by name: the data list their categories in another order than the weights know them"


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


def _folded(name: str) -> str:
    return " ".join(name.casefold().split())
