"""`--allow aten.foo=0`: names that allow nothing are refused or said, never written into a record in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli import run

NET = '''
import torch
from torch import nn

class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.conv(x).sigmoid().flatten(1)

class Raises(Plain):
    def __init__(self) -> None:
        raise ValueError("it was built")

class Bessel(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)

class Late(nn.Module):
    """Its constructor brings an operator."""

    def __init__(self) -> None:
        super().__init__()
        if not hasattr(torch.ops.psb_late, "twice"):
            @torch.library.custom_op("psb_late::twice", mutates_args=())
            def twice(x: torch.Tensor) -> torch.Tensor:
                return x * 2

            twice.register_fake(torch.empty_like)

    def forward(self, x):
        return torch.ops.psb_late.twice(x)
'''


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("models") / "net.py"
    file.write_text(NET)
    return str(file)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("aten.specail_bessel_j0", "did you mean 'aten.special_bessel_j0'?"),
        ("atne.special_bessel_j0", "did you mean 'aten.special_bessel_j0'?"),
        ("aten.op_that_nobody_has", "no operator is called so"),
        ("load_library.name", "no operator is called so"),
        ("aten.__name__", "no operator is called so"),
        ("aten.convolution", "has a rule, and is counted by it"),
    ],
)
def test_a_name_that_can_allow_nothing_is_refused_before_the_model_is_built(net: str, name: str, said: str) -> None:
    allow = ("--allow", f"{name}=0")
    for command in ("flops", "profile"):
        result = run(command, "--model", f"{net}:Bessel", "--size", "8x8", *allow)
        assert result.exit_code == 2, result.stderr
        assert f"--allow {name}=0: " in result.stderr
        assert said in result.stderr
    if not name.startswith("aten."):  # of a library that the model may bring
        return
    result = run("flops", "--model", f"{net}:Raises", *allow)
    assert said in result.stderr
    assert "it was built" not in result.stderr


def test_a_library_that_the_model_brings_while_it_is_built_is_known(net: str) -> None:
    allow = ("--size", "8x8", "--allow", "psb_late.twice=0")
    result = run("flops", "--model", f"{net}:Late", *allow, "--export-json", "-")
    assert result.exit_code == 0, result.stderr
    assert "--allow" not in result.stderr
    (row,) = json.loads(result.stdout)["results"]
    assert row["uncounted_ops"]["psb_late.twice"] == 3 * 64 / 1e9
    unused = run("flops", "--model", f"{net}:Plain", *allow)
    assert "psb_late.twice never ran" in unused.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("aten.special_bessel_j1", "aten.special_bessel_j1 never ran"),
        ("aten.sigmoid", "aten.sigmoid counts as nothing anyhow"),
        ("aten.view", "aten.view counts as nothing anyhow"),
    ],
)
def test_what_is_allowed_in_vain_is_said(net: str, name: str, said: str) -> None:
    result = run("flops", "--model", f"{net}:Plain", "--size", "8x8", "--allow", f"{name}=0")
    assert result.exit_code == 0, result.stderr
    assert said in result.stderr
    used = run("flops", "--model", f"{net}:Bessel", "--size", "8x8", "--allow", "aten.special_bessel_j0=0")
    assert "--allow" not in used.stderr


def test_a_sweep_says_what_is_allowed_in_vain(net: str, tmp_path: Path) -> None:
    entry = f"{{model: '{net}:Plain', allow: [aten.special_bessel_j1=0]}}"
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(f"schema_version: 1\nname: mine\nsizes: [8x8]\nmodels: [{entry}]\n")
    result = run("sweep", str(sweep), "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.stderr
    assert "aten.special_bessel_j1 never ran" in result.stderr
    sweep.write_text(sweep.read_text().replace("bessel_j1", "besel_j1"))
    result = run("sweep", str(sweep), "--out", str(tmp_path / "other"))
    assert result.exit_code == 2
    assert "did you mean 'aten.special_bessel_j1'?" in result.stderr
