"""The operators that a user counts as nothing, by their names: `aten.foo`.

A name that nobody has would change no count and yet be written into the record, so it is refused. So is one of an
operator that has a rule, which counts all the same.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Any

import torch

from proscale_bench.errors import BenchError, did_you_mean
from proscale_bench.measure.operators import OperatorTable

OTHERWISE = "the error of an operator without a rule has the name to give; libraries of others bring their own"


def require_operators(names: Iterable[str], table: OperatorTable, every: bool = True) -> None:
    """Refuse names that no operator of torch, or of a library that was imported, has.

    Args:
        table: the operators that the count has rules for.
        every: False: libraries may still be imported, so that what names none that is known is left for later.

    Raises:
        BenchError: such a name, with the nearest there is; or an operator with a rule.
    """
    names = list(names)
    known = registered() if names else {}
    for name in names:
        namespace = name.partition(".")[0]
        if namespace not in known and not every:
            continue
        if name not in known.get(namespace, ()):
            near = known.get(namespace) or sorted(one for some in known.values() for one in some)
            raise BenchError(f"--allow {name}=0: no operator is called so", did_you_mean(name, near, OTHERWISE))
        if operator_named(name) in table.rules:
            message = f"--allow {name}=0: {name} has a rule, and is counted by it"
            raise BenchError(message, "leave it out: --allow is of operators that no rule knows")


def registered() -> dict[str, list[str]]:
    """The operators of torch and of every library that was imported, as `aten.foo`, by their library."""
    found: dict[str, set[str]] = {}
    for one in torch._C._dispatch_get_all_op_names():
        namespace, _, name = one.partition("::")
        found.setdefault(namespace, set()).add(f"{namespace}.{name.partition('.')[0]}")
    return {namespace: sorted(names) for namespace, names in found.items()}


def operator_named(name: str) -> Any:
    """The operator of a name as `aten.foo`; None where this torch has none."""
    namespace, _, operator = name.partition(".")
    return getattr(getattr(torch.ops, namespace, None), operator, None)


def needless(names: Sequence[str], ran: Container[str], table: OperatorTable) -> tuple[str, ...]:
    """What to say of allowed operators that change no count: a line each.

    Args:
        ran: the operators without a rule that a pass ran.
        table: the operators that the count knows without being told.
    """
    found = []
    for name in names:
        operator = operator_named(name)
        if operator in table.uncounted or operator in table.moves:
            found.append(f"--allow {name}=0 changes no count, since {name} counts as nothing anyhow; leave it out")
        elif name not in ran:
            found.append(f"--allow {name}=0 changes no count, since {name} never ran; leave it out")
    return tuple(found)
