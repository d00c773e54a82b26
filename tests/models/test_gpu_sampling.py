"""The cores for GPUs against the reference in float64: output and gradients.

With a GPU they run on it. Without one, deformops runs its form for the CPU, and our kernels run in Triton's
interpreter; that is decided when Triton is imported, so a process of its own runs this file again.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from proscale_bench.models.deformable_attention import DeformableAttention
from proscale_bench.models.position import level_extents, pixel_centres
from proscale_bench.models.sampling import SAMPLERS, Sampler, gpu, grid_sample

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
ON_GPU = torch.cuda.is_available() and not INTERPRETED
DEVICE = torch.device("cuda" if ON_GPU else "cpu")
CORES = ["triton", "deformops"]

needs_gpu = [pytest.mark.gpu, pytest.mark.skipif(not ON_GPU, reason="needs a GPU")]
needs_triton = pytest.mark.skipif(not gpu.INSTALLED["triton"], reason="needs Triton")


class Case(NamedTuple):
    """The sizes of one sampling: a block has 1024 / channels queries, so some cases fill one, others one and a bit."""

    channels: int
    queries: int
    points: int = 1
    sizes: tuple[tuple[int, int], ...] = ((3, 5), (1, 1))
    batch: int = 2
    heads: int = 2


CASES = [Case(channels=5, queries=4, points=2), Case(channels=32, queries=33), Case(channels=40, queries=16)]


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest) -> Sampler:
    """A core that runs here."""
    name: str = request.param
    if ON_GPU and (found := gpu.obstacle(name, DEVICE)) is not None:
        pytest.skip(f"{name} {found[0]}")
    if not gpu.INSTALLED[name]:
        pytest.skip(f"{name} is not installed")
    if name == "triton" and not (ON_GPU or INTERPRETED):
        pytest.skip("no GPU: the kernels are interpreted in a process of their own")
    return SAMPLERS[name]


def inputs(case: Case, *kinds: torch.dtype) -> list[Tensor]:
    """Values, locations (some outside, one far outside) and weights, in these types."""
    torch.manual_seed(0)
    value = torch.randn(case.batch, sum(h * w for h, w in case.sizes), case.heads, case.channels, dtype=torch.float64)
    points = (case.batch, case.queries, case.heads, len(case.sizes), case.points)
    locations = torch.rand(*points, 2, dtype=torch.float64) * 1.6 - 0.3
    locations[0, 0, 0, 0, 0] = torch.tensor([1e4, -1e4])
    tensors = (value, locations, torch.rand(points, dtype=torch.float64))
    return [tensor.to(DEVICE, kind).requires_grad_() for tensor, kind in zip(tensors, kinds, strict=True)]


def results(sample: Sampler, case: Case, leaves: list[Tensor]) -> list[Tensor]:
    """The output, and the gradients of what went in."""
    output = sample(leaves[0], case.sizes, *leaves[1:])
    slope = torch.linspace(-1, 1, output.numel(), dtype=output.dtype, device=DEVICE).view_as(output)
    return [output, *torch.autograd.grad(output, leaves, slope)]


def assert_agreement(sample: Sampler, case: Case, leaves: list[Tensor], tolerance: float) -> None:
    """All results are the reference's in float64, to a share of each tensor's largest magnitude."""
    found = results(sample, case, leaves)
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    for got, want, kind in zip(found, results(grid_sample.sample, case, exact), [leaves[0], *leaves], strict=True):
        assert (got.shape, got.dtype) == (want.shape, kind.dtype)
        assert (got - want).abs().max() <= tolerance * want.abs().max()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_core_agrees_with_the_reference(core: Sampler, case: Case) -> None:
    assert_agreement(core, case, inputs(case, *[torch.float64] * 3), tolerance=1e-10)
    assert_agreement(core, case, inputs(case, *[torch.float32] * 3), tolerance=1e-4)


@pytest.mark.parametrize(("kind", "rest"), [(torch.float16, torch.float16), (torch.bfloat16, torch.float32)])
def test_half_precision_and_what_autocast_makes_of_it(core: Sampler, kind: torch.dtype, rest: torch.dtype) -> None:
    """Under autocast the values come in half precision, locations and weights in float32."""
    if core is gpu.sample_by_deformops and not ON_GPU:
        pytest.skip("needs a GPU: its form for the CPU rounds the locations")
    assert_agreement(core, CASES[0], inputs(CASES[0], kind, rest, rest), tolerance=4 * torch.finfo(kind).eps)


def test_strides_do_not_matter(core: Sampler) -> None:
    leaves = inputs(CASES[0], *[torch.float64] * 3)
    strided = [leaf.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_() for leaf in leaves]
    assert not strided[0].is_contiguous()
    assert_agreement(core, CASES[0], strided, tolerance=1e-10)


def test_what_lies_nowhere_is_zero(core: Sampler) -> None:
    if core is not gpu.sample_by_triton:
        pytest.skip("a promise of ours alone")
    leaves = inputs(CASES[0], *[torch.float32] * 3)
    with torch.no_grad():
        for query, place in enumerate((float("inf"), float("nan"), -1e30)):
            leaves[1][:, query] = place
    output, *gradients = results(core, CASES[0], leaves)
    assert not output[:, :3].any()
    assert not gradients[1][:, :3].any()
    assert all(tensor.isfinite().all() for tensor in (output, *gradients))


def test_the_operators_keep_their_promises_to_pytorch(core: Sampler) -> None:
    if core is not gpu.sample_by_triton:
        pytest.skip("the operators are ours")
    case = Case(channels=3, queries=2, sizes=((2, 3),), batch=1, heads=1)
    value, locations, weights = inputs(case, torch.float32, torch.float32, torch.float32)
    torch.library.opcheck(gpu.deformable_sampling, (value, [2, 3], locations, weights))
    inside = [tensor.detach() for tensor in (value, locations, weights)]
    slope = torch.ones(1, 2, 3, device=DEVICE)
    torch.library.opcheck(gpu.deformable_sampling_backward, (slope, inside[0], [2, 3], *inside[1:]))


def test_a_core_compiles_as_a_whole(core: Sampler) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(core, fullgraph=True, backend="inductor" if ON_GPU else "aot_eager")
    assert_agreement(compiled, CASES[0], inputs(CASES[0], *[torch.float32] * 3), tolerance=1e-4)


def test_training_may_follow_inference(core: Sampler) -> None:
    """Nothing that was kept from one is in the way of the other."""
    case = Case(channels=2, queries=1, sizes=((2, 7),), batch=1, heads=1)
    with torch.inference_mode():
        leaves = [leaf.detach() for leaf in inputs(case, *[torch.float32] * 3)]
        core(leaves[0], case.sizes, *leaves[1:])
    assert_agreement(core, case, inputs(case, *[torch.float32] * 3), tolerance=1e-4)


def test_the_levels_must_hold_the_values() -> None:
    value, locations, weights = inputs(CASES[0], *[torch.float32] * 3)
    with pytest.raises(ValueError, match="1 levels have 6 pixels, and there are 16 values"):
        gpu.sample_by_triton(value, [(2, 3)], locations, weights)
    giant = torch.empty(1, 4097 * 4096, 1, 1, device="meta")
    with pytest.raises(ValueError, match="16781312 values an image are more than 16777216"):
        gpu.sample_by_triton(giant, [(4097, 4096)], locations, weights)


@needs_triton
@pytest.mark.skipif(ON_GPU or INTERPRETED, reason="the kernels run in this process")
def test_our_kernels_in_the_interpreter() -> None:
    """This file again, where Triton interprets."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-k", "not deformops", __file__]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (passed,) = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) >= 11, done.stdout


@needs_triton
@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled where Triton interprets")
@pytest.mark.parametrize("kernel", ["forward", "backward"])
@pytest.mark.parametrize(
    ("capability", "value", "others", "precision"),
    [(80, "fp32", "fp32", "fp32"), (90, "bf16", "fp32", "fp32"), (80, "fp64", "fp64", "fp64")],
)
def test_our_kernels_compile_for_gpus(  # which takes none
    kernel: str,
    capability: int,
    value: str,
    others: str,
    precision: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    import triton
    import triton.language as tl
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from proscale_bench.models.sampling import triton_kernels

    kernels = {"forward": triton_kernels.forward, "backward": triton_kernels.backward}
    constants = {"heads": 8, "channels": 32, "levels": 1, "points": 4, "block_queries": 32, "block_channels": 32}
    signature = {
        **dict.fromkeys(("value", "output", "slope"), f"*{value}"),
        **dict.fromkeys(("locations", "weights", "locations_slope", "weights_slope"), f"*{others}"),
        "value_slope": f"*{precision}",
        "sizes": ("fp32",) * 2,
        **dict.fromkeys(("tokens", "queries"), "i32"),
        **dict.fromkeys((*constants, "precision"), "constexpr"),
    }
    source = ASTSource(
        kernels[kernel],
        {name: signature[name] for name in kernels[kernel].arg_names},
        constexprs={**constants, "precision": tl.dtype(precision)},
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32))
    assert len(compiled.asm["cubin"]) > 0
    atomic_additions = re.findall(rf"atom\S+add\S*\.f{precision[2:]}\b", compiled.asm["ptx"])
    assert bool(atomic_additions) == (kernel == "backward")


class TestOnGpu:
    """Checks that no interpreter can make."""

    pytestmark = needs_gpu

    def test_a_core_agrees_at_the_size_of_a_photograph(self, core: Sampler) -> None:
        case = Case(32, 22_050, points=4, sizes=((25, 42), (50, 84), (100, 168)), batch=1, heads=8)
        leaves = inputs(case, *[torch.float32] * 3)
        with torch.no_grad():  # away from where a pixel ends: there the gradient jumps, and rounding chooses the side
            sides = torch.tensor([(w, h) for h, w in case.sizes], device=DEVICE)[:, None]
            shares = (leaves[1].double() * sides - 0.5).frac().abs()
            leaves[1] += torch.where((shares < 0.01) | (shares > 0.99), 0.05 / sides, 0)
        assert_agreement(core, case, leaves, tolerance=1e-4)

    def test_a_core_is_captured_in_a_cuda_graph(self, core: Sampler) -> None:
        case = CASES[1]
        tensors = [leaf.detach() for leaf in inputs(case, *[torch.float32] * 3)]
        stream = torch.cuda.Stream()  # a capture wants a warm start elsewhere
        with torch.cuda.stream(stream):
            core(tensors[0], case.sizes, *tensors[1:])
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = core(tensors[0], case.sizes, *tensors[1:])
        tensors[0].mul_(2)
        graph.replay()
        expected = core(tensors[0], case.sizes, *tensors[1:])
        assert torch.equal(output, expected)
        assert output.any()

    def test_attention_trains_under_autocast(self, core: Sampler) -> None:
        torch.manual_seed(0)
        sizes = [(6, 8), (12, 16)]
        attention = DeformableAttention(width=64, heads=4, levels=2, points=4).to(DEVICE)
        tokens = torch.randn(2, 48 + 192, 64, device=DEVICE)
        reference = torch.cat([pixel_centres(size, DEVICE) for size in sizes])
        outputs = []
        for name in ("grid_sample", next(name for name in CORES if SAMPLERS[name] is core)):
            attention.sampling = name
            attention.zero_grad()
            with torch.autocast("cuda", torch.bfloat16):
                output = attention(tokens, reference, tokens, sizes, level_extents(sizes, DEVICE))
            output.float().square().mean().backward()
            gradient = attention.value_proj.weight.grad
            assert gradient is not None
            outputs.append((output.float(), gradient.clone()))
        for found, expected in zip(outputs[1], outputs[0], strict=True):
            assert (found - expected).abs().max() <= 0.05 * expected.abs().max()
