"""The core in C against the reference in float64, of float32 at all widths; threads change no bit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from proscale_bench.children import compile_with
from proscale_bench.errors import BenchError
from proscale_bench.models.sampling import choose, fused, grid_sample

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
LEVELS = [
    [(3, 5), (1, 4), (7, 2)],
    [(1, 1), (2, 3)],  # the pixels beside a place are often one and the same
    [(4, 4), (8, 8), (16, 16), (2, 2)],
]


def inputs(sizes: list[tuple[int, int]], heads: int, channels: int, points: int) -> list[Tensor]:
    """Values, locations (some outside, some far outside) and logits."""
    made = torch.Generator().manual_seed(channels)
    shape = (2, 9, heads, len(sizes), points)
    values = torch.randn(2, sum(h * w for h, w in sizes), heads, channels, generator=made)
    locations = torch.rand(*shape, 2, generator=made) * 1.6 - 0.3
    locations[0, 0, 0, 0, 0] = torch.tensor([1e9, -1e9])
    return [values, locations, torch.randn(*shape[:3], len(sizes) * points, generator=made)]


def learnt(core, tensors: list[Tensor], sizes: list[tuple[int, int]]) -> list[Tensor]:  # type: ignore[no-untyped-def]
    """Output and gradients of values, locations and logits."""
    leaves = [one.clone().requires_grad_() for one in tensors]
    output = core(leaves[0], sizes, *leaves[1:])
    slope = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    return [output.detach(), *torch.autograd.grad(output, leaves, slope)]


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("sizes", LEVELS)
@pytest.mark.parametrize(("heads", "channels", "points"), [(4, 16, 4), (8, 8, 4), (1, 32, 1), (3, 5, 2), (2, 1, 3)])
def test_output_and_gradients_are_the_references(
    sizes: list[tuple[int, int]], heads: int, channels: int, points: int, threads: int
) -> None:
    tensors = inputs(sizes, heads, channels, points)

    def reference(values: Tensor, sizes: list[tuple[int, int]], locations: Tensor, logits: Tensor) -> Tensor:
        return grid_sample.sample(values, sizes, locations, logits.softmax(-1).view(locations.shape[:-1]))

    expected = learnt(reference, [one.double() for one in tensors], sizes)
    found = learnt(fused.attend, tensors, sizes)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs.float(), rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


def test_weights_may_come_as_they_are_used() -> None:
    values, locations, logits = inputs(LEVELS[0], 4, 16, 2)
    weights = logits.softmax(-1).view(locations.shape[:-1])
    torch.testing.assert_close(
        fused.sample(values, LEVELS[0], locations, weights), fused.attend(values, LEVELS[0], locations, logits)
    )


def test_the_number_of_threads_changes_no_bit() -> None:
    before, found = torch.get_num_threads(), []
    tensors = inputs(LEVELS[2], 8, 16, 4)
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(learnt(fused.attend, tensors, LEVELS[2]))
    torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_what_is_no_number_stays_none_and_reads_nothing_else() -> None:
    values, locations, logits = inputs(LEVELS[0], 4, 16, 2)
    locations[0, 1] = torch.nan
    found = learnt(fused.attend, [values, locations, logits], LEVELS[0])[0]
    assert found[0, 1].isnan().all()
    assert found[1].isfinite().all()


def test_levels_that_are_not_the_values_are_refused() -> None:
    values, locations, logits = inputs(LEVELS[0], 4, 16, 2)
    with pytest.raises(ValueError, match="3 levels have 33 pixels, and there are 32 values"):
        fused.attend(values[:, 1:], LEVELS[0], locations, logits)


@pytest.mark.parametrize(
    ("compiler", "problem"), [("no-such-compiler", "needs a C compiler"), ("false", "cannot be built")]
)
def test_without_a_compiler_that_builds_it_the_choice_says_so(
    compiler: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", compiler)
    fused._library.cache_clear()
    with pytest.raises(BenchError, match=problem):
        choose("fused", torch.device("cpu"))
    fused._library.cache_clear()


def test_a_compiler_of_the_working_folder_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cc").write_text("#!/bin/sh\ntouch EXECUTED\n")
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError):
        compile_with(["cc"], tmp_path, 10)
    assert not (tmp_path / "EXECUTED").exists()
