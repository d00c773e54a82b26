"""A gate learns which exit is worth the most, and the parent stays as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from proscale_bench.config.weights import FOLDER
from proscale_bench.models.checkpoints.load import load_checkpoint
from proscale_bench.training.gate import best_exits, fit_gate
from tests.cli import run

EXITS = [f"early-exit:{layers}" for layers in range(2, 7)]


def test_the_best_exit_is_the_earliest_whose_layers_are_worth_their_price() -> None:
    quality = torch.tensor([[0.5, 0.5, 0.5, 0.5, 0.5], [0.1, 0.2, 0.3, 0.4, 0.5], [0.1, 0.4, 0.41, 0.3, 0.42]])
    assert best_exits(quality, beta=0.0).tolist() == [0, 4, 4]
    assert best_exits(quality, beta=0.05).tolist() == [0, 4, 1]
    assert best_exits(quality, beta=0.2).tolist() == [0, 0, 1]


def test_a_gate_chooses_what_its_features_tell_and_follows_from_them_alone() -> None:
    torch.manual_seed(0)
    best = torch.arange(60) % 5
    features = torch.eye(5)[best] @ torch.randn(5, 16) + 0.05 * torch.randn(60, 16) + 7
    gates = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        gates.append(nn.Linear(16, 5))
        fit_gate(gates[-1], features, best)
        assert torch.equal(gates[-1](features).argmax(dim=1), best)
    torch.testing.assert_close(gates[0].weight, gates[1].weight)


def test_features_that_never_vary_and_exits_that_nobody_needs_do_no_harm() -> None:
    gate = nn.Linear(4, 5)
    fit_gate(gate, torch.ones(3, 4), torch.tensor([2, 2, 2]))
    assert gate.weight.isfinite().all()
    assert gate(torch.ones(1, 4)).argmax() == 2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes") / "shapes"
    assert run("data", "make-shapes", str(folder), "--images", "4", "--seed", "5", "--split", "train").exit_code == 0
    return folder


def test_a_parents_gate_is_trained_and_evaluated(data: Path, tmp_path: Path) -> None:
    parent, gated = tmp_path / "parent.safetensors", tmp_path / "gated.safetensors"
    start = ("models", "warm-start", str(FOLDER / "tiny-baseline.safetensors"), str(parent))
    assert run(*start, "--schedule", "early-exit").exit_code == 0
    few = ("--coco", str(data), "--device", "cpu", "--threads", "1")
    done = run("models", "train-gate", str(parent), str(gated), "--beta", "0", "--batch-size", "2", *few)
    assert done.exit_code == 0, done.stderr
    assert all(f"{exit_}: PQ " in done.stdout for exit_ in EXITS)

    old, new = (load_checkpoint(path).state_dict() for path in (parent, gated))
    changed = {key for key in old if not torch.equal(old[key], new[key])}
    assert changed == {"encoder.gate.weight", "encoder.gate.bias"}

    judge = ("--tasks", "panoptic", "--bootstrap", "0", "--split", "train", "--out", str(tmp_path / "run"))
    row = json.loads(run("eval", "--weights", str(gated), *few, *judge, "--export-json", "-").stdout)["results"][0]
    taken = [f"taken by {round(4 * one['share'])}" for one in row["exits"]]
    lines = [line for line in done.stdout.splitlines() if line.startswith("early-exit:")]
    assert [line.rpartition(", ")[2] for line in lines] == taken


def test_what_has_no_gate_to_train_is_refused(data: Path, tmp_path: Path) -> None:
    out, baseline = str(tmp_path / "out.safetensors"), str(FOLDER / "tiny-baseline.safetensors")
    for more, said in (
        ((), "no gate that chooses"),
        (("--beta", "-1"), "--beta -1.0"),
        (("--beta", "nan"), "--beta nan"),
    ):
        done = run("models", "train-gate", baseline, out, "--coco", str(data), "--device", "cpu", *more)
        assert done.exit_code == 2
        assert said in done.stderr
    assert not Path(out).exists()
