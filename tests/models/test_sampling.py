"""Every core of deformable attention against the definition, written out in loops, in float64; and its gradients."""

from __future__ import annotations

import math
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from proscale_bench.errors import BenchError
from proscale_bench.models.sampling import AUTO, SAMPLERS, Sampler, choose, gpu, obstacle

CPU = torch.device("cpu")
ON_CPU = {name: sample for name, sample in SAMPLERS.items() if obstacle(name, CPU) is None}
SIZES = [(3, 5), (1, 4), (7, 2)]
PIXELS = sum(height * width for height, width in SIZES)
BATCH, QUERIES, HEADS, POINTS, DEPTH = 2, 4, 3, 2, 5
SHAPE = (BATCH, QUERIES, HEADS, len(SIZES), POINTS)


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Values, locations (some outside, some far outside) and weights."""
    torch.manual_seed(0)
    value = torch.randn(BATCH, PIXELS, HEADS, DEPTH, dtype=torch.float64)
    locations = torch.rand(*SHAPE, 2, dtype=torch.float64) * 1.6 - 0.3
    locations[0, 0, 0, 0, 0] = torch.tensor([1e6, -1e6])
    return value, locations, torch.rand(SHAPE, dtype=torch.float64)


def read_bilinearly(level: Tensor, x: float, y: float) -> Tensor:
    """level [h, w, d] at fractions of its width and height; zero outside."""
    height, width, depth = level.shape
    column, row = x * width - 0.5, y * height - 0.5
    left, top = math.floor(column), math.floor(row)
    total = torch.zeros(depth, dtype=level.dtype)
    for i, j in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        if 0 <= i < height and 0 <= j < width:
            total += level[i, j] * (1 - abs(row - i)) * (1 - abs(column - j))
    return total


@pytest.mark.parametrize("sample", ON_CPU.values(), ids=ON_CPU)
def test_sampling_is_a_weighted_sum_of_bilinear_reads(sample: Sampler) -> None:
    value, locations, weights = inputs()
    levels = [
        pixels.view(BATCH, *size, HEADS, DEPTH)
        for pixels, size in zip(value.split([h * w for h, w in SIZES], dim=1), SIZES, strict=True)
    ]
    expected = torch.zeros(BATCH, QUERIES, HEADS, DEPTH, dtype=torch.float64)
    for b, q, m, level, p in torch.cartesian_prod(*(torch.arange(n) for n in SHAPE)).tolist():
        x, y = locations[b, q, m, level, p].tolist()
        expected[b, q, m] += weights[b, q, m, level, p] * read_bilinearly(levels[level][b, :, :, m], x, y)
    assert torch.allclose(sample(value, SIZES, locations, weights), expected.flatten(2), atol=1e-12)


@pytest.mark.parametrize("sample", ON_CPU.values(), ids=ON_CPU)
def test_gradients_are_those_of_the_reference(sample: Sampler) -> None:
    gradients = []
    for core in (SAMPLERS["grid_sample"], sample):
        leaves = [tensor.requires_grad_() for tensor in inputs()]
        output = core(leaves[0], SIZES, *leaves[1:])
        slope = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view_as(output)
        gradients.append(torch.autograd.grad(output, leaves, slope))
    for found, expected in zip(gradients[1], gradients[0], strict=True):
        assert torch.allclose(found, expected, atol=1e-10)


def test_a_compiled_core_without_a_compiler_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    for name, compiled in ((AUTO, True), ("embedding_bag_compiled", False)):
        with pytest.raises(BenchError, match=r"needs a C\+\+ compiler"):
            choose(name, CPU, compiled)
    assert choose(AUTO, CPU) == "embedding_bag"


def test_the_choice_depends_on_the_device_and_can_be_forced() -> None:
    assert choose(AUTO, CPU) == "embedding_bag"
    assert choose(AUTO, torch.device("meta")) == "grid_sample"
    assert choose("grid_sample", CPU) == "grid_sample"


def test_every_sampling_may_be_counted_on_the_meta_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "INSTALLED", {"triton": False, "deformops": False})
    assert [choose(name, torch.device("meta")) for name in SAMPLERS] == list(SAMPLERS)


@pytest.mark.parametrize(
    ("deformops", "triton", "major", "chosen"),
    [
        (True, True, 9, "deformops"),
        (False, True, 7, "triton"),
        (False, False, 9, "grid_sample"),
        (True, True, 6, "grid_sample"),
    ],
)
def test_a_gpu_uses_the_best_that_is_there(
    monkeypatch: pytest.MonkeyPatch, deformops: bool, triton: bool, major: int, chosen: str
) -> None:
    monkeypatch.setattr(gpu, "INSTALLED", {"triton": triton, "deformops": deformops})
    gpu_there = SimpleNamespace(major=major, name="a GPU")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: gpu_there)
    assert choose(AUTO, torch.device("cuda")) == chosen


@pytest.mark.parametrize("name", ["triton", "deformops"])
def test_what_does_not_run_says_what_does(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(BenchError) as elsewhere:
        choose(name, CPU)
    assert elsewhere.value.message == f"the sampling '{name}' needs a GPU and does not run on cpu"
    assert elsewhere.value.hint == f"move the model to a GPU, or use one that runs here: {', '.join(ON_CPU)}"

    monkeypatch.setattr(gpu, "INSTALLED", {"triton": False, "deformops": False})
    with pytest.raises(BenchError, match=f"'{name}' is not installed") as missing:
        choose(name, torch.device("cuda"))
    assert {"triton": "torch 2.7", "deformops": "pip install 'proscale-bench[gpu]'"}[name] in str(missing.value)

    monkeypatch.setattr(gpu, "INSTALLED", {"triton": True, "deformops": True})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(major=6, name="an old GPU"))
    with pytest.raises(BenchError, match=f"'{name}' does not run on an old GPU") as old:
        choose(name, torch.device("cuda"))
    assert "capability 7.0" in str(old.value)


def test_an_unknown_sampling_is_named() -> None:
    with pytest.raises(BenchError, match="unknown sampling 'gridsample'") as caught:
        choose("gridsample", CPU)
    assert caught.value.hint == "did you mean 'grid_sample'?"


def test_what_is_for_gpus_is_imported_where_it_is_used() -> None:
    code = "import sys, proscale_bench.models.sampling; sys.exit(bool({'triton', 'deformops'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
