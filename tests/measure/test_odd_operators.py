"""Operators and constructs that a user's file may have, each against torch's own count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from proscale_bench.bench import any_model
from proscale_bench.bench.any_model import children_of
from proscale_bench.bench.loader import load
from proscale_bench.config.model_request import read_request
from proscale_bench.cost.count import count_model
from proscale_bench.cost.rules import get_rules
from proscale_bench.errors import BenchError
from proscale_bench.measure.any_model import Inputs, ModelTrace, trace_any
from proscale_bench.specs.custom import ModelRequest, parts_of

IMAGES = torch.rand(2, 3, 8, 8)


class Of(nn.Module):
    """A function of the images."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> Any:
        return self.function(images)


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, given: Tensor, weight: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(given, weight)
        return given @ weight

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        given, weight = ctx.saved_tensors
        return gradient @ weight.T, given.flatten(0, -2).T @ gradient.flatten(0, -2)


class OwnGradient(nn.Module):
    """A custom autograd function, and outputs in a dictionary of tuples."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.convolution = nn.Parameter(torch.rand(8, 5)), nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Any:
        return {"product": Product.apply(images, self.weight), "more": (self.convolution(images), [images])}


class Decides(nn.Module):
    """Values decide what runs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 16)

    def forward(self, images: Tensor) -> Tensor:
        found = self.first(images)
        return self.second(found) if found.sum() > -1e9 else found


class Kept(Decides):
    """Activations that are computed again on the way back."""

    def forward(self, images: Tensor) -> Tensor:
        return self.second(checkpoint(self.first, images, use_reentrant=False) if self.training else images)


class Inference(nn.Module):
    """An inference mode of its own, where composite operators come as one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 1), nn.Linear(8, 8)

    def forward(self, images: Tensor) -> Tensor:
        with torch.inference_mode():
            tokens = self.second(self.first(images).movedim(1, -1))
            return (
                F.scaled_dot_product_attention(tokens, tokens, tokens)
                + torch.einsum("bhwc,c->bhw", tokens, tokens[0, 0, 0])[..., None]
            )


class Tries(nn.Module):
    """A layer that fails, and another in its place."""

    def __init__(self) -> None:
        super().__init__()
        self.fails, self.works = nn.Conv2d(5, 4, 1), nn.Conv2d(3, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        try:
            return self.fails(images)  # type: ignore[no-any-return]
        except RuntimeError:
            return F.conv2d(self.works(images), torch.ones(4, 4, 1, 1, device=images.device))


def normed() -> nn.Module:
    return nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 1)),
        nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)),
    )


def recurrent(kind: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        model: nn.Module = getattr(nn, kind)(8, 16, 2, batch_first=True, bidirectional=True)
        return nn.Sequential(Of(lambda images: images[:, 0]), model)

    return build


def traced(build: Callable[[], nn.Module], training: bool = False, memory: bool = False, depth: int = 2) -> ModelTrace:
    return trace_any(
        lambda: build().eval(),
        lambda model: Inputs((IMAGES,)),
        lambda model: parts_of(children_of(model, ModelRequest("any.py:Net", depth=depth)), training),
        training=training,
        memory=memory,
    )


def products(found: ModelTrace, rules: str = "products") -> int:
    return sum(found.trace.flops(get_rules(rules)).values())


def by_torch(build: Callable[[], nn.Module], training: bool = False) -> int:
    model = build().train(training)
    with sdpa_kernel(SDPBackend.MATH), torch.set_grad_enabled(training), FlopCounterMode(display=False) as counter:
        outputs = model(IMAGES)
        if training:
            wanted = [one for one in tree_leaves(outputs) if isinstance(one, Tensor) and one.requires_grad]
            torch.autograd.backward([one.sum() for one in wanted])
    return counter.get_total_flops() // 2


FUNCTIONS: dict[str, Callable[[Tensor], Any]] = {
    "running extremes": lambda x: x.flatten(2).cummax(-1)[0] + x.flatten(2).cummin(-1)[0],
    "running sums": lambda x: x.cumsum(-1).logcumsumexp(-1).cumprod(-1),
    "spectra": lambda x: (
        torch.fft.irfft2(torch.fft.rfft2(x)) + torch.fft.ifft2(torch.fft.fftshift(torch.fft.fft2(x))).angle()
    ),
    "short spectra": lambda x: torch.stft(
        x.flatten(1), 16, window=torch.hann_window(16, device=x.device), return_complex=True
    ).abs(),
    "complex products": lambda x: torch.view_as_real(torch.polar(x, x) @ torch.complex(x, x).conj().mT),
    "einsum of three": lambda x: torch.einsum("bchw,bdhw,cd->bhw", x, x, x[0, :3, :3, 0]),
    "tensordot": lambda x: torch.tensordot(x, x, dims=([2, 3], [2, 3])),
    "scatter": lambda x: torch.zeros_like(x).scatter_add(1, torch.zeros_like(x, dtype=torch.int64), x),
    "scatter maxima": lambda x: torch.zeros_like(x).scatter_reduce(
        1, torch.zeros_like(x, dtype=torch.int64), x, "amax"
    ),
    "by index": lambda x: (
        torch.zeros_like(x)
        .index_reduce(1, torch.arange(3, device=x.device), x, "amax")
        .put(torch.arange(3, device=x.device), x[0, 0, 0, :3])
    ),
    "what is where": lambda x: x[x > 0.5].sum() + x.masked_select(x > 0.5).mean(),
    "vmap": torch.vmap(lambda one: one @ one.mT),
    "solvers": lambda x: torch.linalg.solve(x[0, :, :4, :4] + 9 * torch.eye(4, device=x.device), x[0, :, :4, :2]),
    "decompositions": lambda x: torch.linalg.svd(x)[1].sum() + torch.linalg.eigvalsh(x).sum() + torch.linalg.qr(x)[0],
    "in place": lambda x: x.clone().round_().floor_().reciprocal_().exp2().asin().sinh_().logaddexp(x).copysign_(x),
    "statistics": lambda x: torch.std_mean(x, 1)[0] + x.quantile(0.5, 1) + x.nanmean(1) + x.mode(1)[0],
    "losses": lambda x: F.binary_cross_entropy_with_logits(x, x) + F.huber_loss(x, x) + F.mse_loss(x, x),
    "class losses": lambda x: F.cross_entropy(x, torch.zeros_like(x[:, 0], dtype=torch.int64)) + F.kl_div(x, x),
    "pools": lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
    "activations": lambda x: F.softshrink(F.hardshrink(F.rrelu(F.celu(x)))),
    "a note for profilers": lambda x: torch.profiler.record_function("mine").__enter__() or x,
    "a bias of its own": lambda x: torch.baddbmm(x[0, :, :3, :3], x[0, :, :3, :5], x[0, :, :5, :3]),
    "kernels of the image": lambda x: F.conv2d(x, x[:, :, :3, :3]),
}
MODELS: dict[str, Callable[[], nn.Module]] = {
    "custom autograd": OwnGradient,
    "decides": Decides,
    "checkpointed": Kept,
    "normed weights": normed,
    "gru": recurrent("GRU"),
    "compiled": lambda: torch.compile(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())),  # type: ignore[dict-item,return-value]
    "scripted": lambda: torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())),
    "in parallel": lambda: nn.DataParallel(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_products_of_functions_equal_torchs_own_count(name: str) -> None:
    def build() -> nn.Module:
        return Of(FUNCTIONS[name])

    assert products(traced(build)) == by_torch(build)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_products_of_constructs_equal_torchs_own_count(name: str, training: bool) -> None:
    assert products(traced(MODELS[name], training)) == by_torch(MODELS[name], training) > 0


@pytest.mark.parametrize(
    ("function", "rules", "expected"),
    [  # products that torch's own counter leaves out
        (lambda x: torch.addbmm(x[0, 0, :3, :3], x[0, :, :3, :5], x[0, :, :5, :3]), "products", 3 * 3 * 5 * 3),
        (lambda x: F.affine_grid(x[:, :2, 0, :3], [2, 3, 4, 5]), "products", 2 * 4 * 5 * 2 * 3),
        (lambda x: F.bilinear(x[..., :4], x[..., :5], x[:1, 0, :4, :5]), "complete", 2 * (2 * 3 * 8) * 4 * 5),
        (lambda x: torch.addr(x[0, 0, :4, :5], x[0, 0, 0, :4], x[0, 0, 1, :5]), "complete", 20),
    ],
)
def test_what_torch_leaves_out(function: Callable[[Tensor], Any], rules: str, expected: int) -> None:
    assert products(traced(lambda: Of(function)), rules) == expected


@pytest.mark.parametrize("training", [False, True])
def test_a_lstm_is_its_products_on_every_engine(training: bool) -> None:
    """On a CPU it is one operator of oneDNN's, which torch's own counter leaves out."""
    forward = 2 * (2 * 8 * 64 * (8 + 16) + 2 * 8 * 64 * (32 + 16))  # directions, (batch, steps, gates, inputs) a layer
    found = [traced(recurrent("LSTM"), training, memory) for memory in (False, True)]
    assert [one.engine for one in found] == ["trace-meta", "trace-fake"]
    unasked = 2 * 2 * 8 * 64 * 8 + 4 * 2 * 64 * 16  # gradients of the images and of the first hidden states
    assert {products(one) for one in found} == {3 * forward - unasked if training else forward}


def test_an_inference_mode_inside_changes_nothing() -> None:
    expected = 2 * 64 * (3 * 8 + 8 * 8) + 2 * 8 * 2 * 8 * 8 * 8  # pixels; attention within rows
    found = traced(Inference)
    assert products(found) - expected in (0, 2 * 64 * 8)  # a product with a vector, as torch takes it
    assert products(found) == by_torch(Inference)


def test_what_runs_after_a_layer_that_failed_is_not_booked_under_it() -> None:
    found = traced(Tries).trace.flops(get_rules("products"))
    assert found == {"fails": 0, "works": 128 * 12, "outside": 128 * 16}


def test_what_has_no_rule_stops_the_count() -> None:
    for function, name in ((torch.matrix_exp, "linalg_matrix_exp"), (lambda x: x.to_sparse(), "_to_sparse")):
        with pytest.raises(BenchError, match=name):
            traced(lambda function=function: Of(function))  # type: ignore[misc]


class Holds(nn.Module):
    """Parts that run no forward of their own: their children are called from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.by_name = nn.ModuleDict({"first": nn.Conv2d(3, 4, 1)})
        self.in_turns = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1))

    def forward(self, images: Tensor) -> Tensor:
        found = self.by_name["first"](images)
        for layer in self.in_turns:
            found = layer(found)
        return found


def test_what_a_part_only_holds_is_booked_under_it() -> None:
    expected = {"by_name": 128 * 12, "in_turns": 128 * (16 + 8), "outside": 0}
    assert traced(Holds, depth=1).trace.flops(get_rules("products")) == expected


CHOOSES = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.score, self.head = nn.Conv2d(3, 1, 1), nn.Linear(3, 5)

    def forward(self, images):
        return self.head(images.movedim(1, -1)[self.score(images)[:, 0] > 0])
"""


def test_what_depends_on_random_weights_is_the_same_in_every_run(tmp_path: Path) -> None:
    """A detector's heads run on as many boxes as it finds, and that follows from its weights."""
    (tmp_path / "chooses.py").write_text(CHOOSES)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        any_model._traced.cache_clear()
        model = any_model.find_model(read_request(f"{tmp_path}/chooses.py:Net"), "16x16")
        assert model.spec.engine == "trace-cpu"
        assert torch.equal(torch.get_rng_state(), before)
        found.append(count_model(model.spec, model.size, get_rules("products")).flops)
    assert found[0] == found[1]
    loaded = load(read_request(f"{tmp_path}/chooses.py:Net"))
    torch.manual_seed(0)
    one = loaded.build()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        loaded.inputs(one, (16, 16), 1).call(one)
    assert 2 * sum(found[0].values()) == counter.get_total_flops()
