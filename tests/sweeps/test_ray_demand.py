"""The resources that a task reserves, and the node that they are of."""

from __future__ import annotations

import pytest

from proscale_bench.sweeps.ray.driver import Demand, Node, demand, fits, nodes_alive
from proscale_bench.sweeps.tasks import Needs

HEAD, SMALL, LARGE, GPUS = Node("0", 0, 0), Node("1", 2, 0), Node("2", 64, 0), Node("3", 32, 8)
ALONE = Needs(alone=True)


def test_one_cpu_or_exactly_its_gpus() -> None:
    assert demand(Needs(), [GPUS], ()) == Demand(cpus=1, gpus=0)
    assert demand(Needs(gpus=1), [GPUS], ()) == Demand(cpus=0, gpus=1)
    assert demand(Needs(gpus=4), [GPUS], ()) == Demand(cpus=0, gpus=4)


def test_ray_is_told_what_no_node_has() -> None:
    assert demand(Needs(gpus=9), [], ()) == Demand(cpus=0, gpus=9)  # it may start one that has


def test_alone_is_all_of_one_node_with_no_gpu_where_there_is_one() -> None:
    assert demand(ALONE, [GPUS, HEAD, LARGE, SMALL], ()) == Demand(2, 0, "1")
    assert demand(ALONE, [GPUS, HEAD, LARGE, SMALL], {"1"}) == Demand(64, 0, "2")
    assert demand(ALONE, [GPUS, HEAD, LARGE, SMALL], {"1", "2"}) == Demand(32, 8, "3")
    assert demand(ALONE, [GPUS, HEAD, LARGE, SMALL], {"1", "2", "3"}) is None
    assert demand(Needs(gpus=1, alone=True), [SMALL, GPUS], ()) == Demand(32, 8, "3")


@pytest.mark.parametrize(
    ("needs", "nodes"),
    [
        (Needs(), {SMALL, LARGE, GPUS}),
        (Needs(gpus=8), {GPUS, Node("4", 0, 8)}),
        (Needs(gpus=9), set()),
        (ALONE, {SMALL, LARGE, GPUS}),
        (Needs(gpus=1, alone=True), {GPUS}),
    ],
)
def test_a_task_fits_nodes_that_could_ever_hold_it(needs: Needs, nodes: set[Node]) -> None:
    assert {node for node in (HEAD, SMALL, LARGE, GPUS, Node("4", 0, 8)) if fits(needs, node)} == nodes


def test_dead_nodes_have_nothing() -> None:
    rows = [
        {"NodeID": "1", "Alive": True, "Resources": {"CPU": 2.0, "memory": 1e9}},
        {"NodeID": "2", "Alive": False, "Resources": {}},
        {"NodeID": "3", "Alive": True, "Resources": {"CPU": 32.0, "GPU": 8.0}},
        {"NodeID": "0", "Alive": True, "Resources": {"memory": 1e9}},
    ]
    assert nodes_alive(rows) == [SMALL, GPUS, HEAD]
