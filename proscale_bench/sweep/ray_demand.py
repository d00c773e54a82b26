"""What a task reserves of a cluster."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from proscale_bench.sweep.executors import Needs


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, and what it has in all."""

    id: str
    cpus: int
    gpus: int


@dataclass(frozen=True)
class Demand:
    """CPUs and GPUs of one node; of this one, where `node` is its id."""

    cpus: int
    gpus: int
    node: str | None = None


def nodes_alive(rows: Iterable[Mapping[str, Any]]) -> list[Node]:
    """The nodes that tasks can run on, of what `ray.nodes()` lists."""
    return [
        Node(row["NodeID"], int(row["Resources"].get("CPU", 0)), int(row["Resources"].get("GPU", 0)))
        for row in rows
        if row["Alive"]
    ]


def fits(needs: Needs, node: Node) -> bool:
    """Whether the node has what a task needs, were it idle."""
    return node.gpus >= needs.gpus and (node.cpus >= 1 or (needs.gpus > 0 and not needs.alone))


def demand(needs: Needs, nodes: Iterable[Node], taken: Collection[str]) -> Demand | None:
    """What a task reserves: its GPUs and nothing else, or one CPU; alone, all of one node.

    A node's GPUs are reserved with its CPUs, since a GPU task reserves no CPU. Of the nodes that fit, one with the
    fewest GPUs is taken.

    Args:
        taken: ids of the nodes that other tasks wait for or hold alone.

    Returns:
        None where a task that must be alone has no node at this moment.
    """
    if not needs.alone:
        return Demand(cpus=0 if needs.gpus else 1, gpus=needs.gpus)
    free = [node for node in nodes if fits(needs, node) and node.id not in taken]
    if not free:
        return None
    node = min(free, key=lambda node: (node.gpus, node.id))
    return Demand(node.cpus, node.gpus, node.id)
