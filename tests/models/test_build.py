"""The models that `build_model` gives: sizes, names, devices, and a model that counters can trace."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from proscale_bench.errors import BenchError
from proscale_bench.specs.backbones import BACKBONES
from proscale_bench.specs.encoders.staged import Schedule, baseline, parse_compact
from tests.built import build_model

from .golden import shared

SMALL = (1, 3, 64, 96)


def parameters(module: nn.Module | nn.Parameter | None) -> int:
    if module is None:
        return 0
    return module.numel() if isinstance(module, nn.Parameter) else sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_runs_on_the_meta_device(backbone: str) -> None:
    model = build_model(parse_compact("3,3,3"), backbone, device="meta")
    assert all(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])
    assert not model.training
    predictions = model(torch.empty(2, 3, 800, 1333, device="meta"), auxiliary=True)
    queries = 200 if backbone == "swin_l" else 100
    assert predictions.pred_logits.shape == (2, queries, 134)
    assert predictions.pred_masks.shape == (2, queries, 200, 336)
    assert predictions.pred_masks.is_meta
    assert len(predictions.auxiliary) == len(model.decoder.layers)


def test_classes_and_queries_can_be_chosen() -> None:
    model = build_model(baseline(), "tiny", num_classes=7, num_queries=11, device="meta")
    assert model(torch.empty(SMALL, device="meta")).pred_logits.shape == (1, 11, 8)


def test_an_unknown_backbone_is_a_users_error() -> None:
    with pytest.raises(BenchError, match="unknown backbone 'resnet51'") as caught:
        build_model(baseline(), "resnet51")
    assert "resnet50" in str(caught.value.hint)


@pytest.mark.parametrize("schedule", ["baseline", "3,3,3", "6,3,3"])
def test_the_embedded_model_is_small(schedule: str) -> None:
    assert parameters(build_model(parse_compact(schedule), "tiny", device="meta")) <= 1_200_000


def test_parameters_equal_the_official_ones_module_by_module() -> None:
    records = json.loads(shared("reference/official_flops.json").read_text())["records"]
    seen = set()
    for record in records:
        schedule = official_schedule(record)
        if (record["backbone"], schedule) in seen:
            continue
        seen.add((record["backbone"], schedule))
        model = build_model(schedule, record["backbone"], device="meta")
        encoder = model.encoder
        layers = {
            f"transformer.encoder.layers.{index}": parameters(layer) for index, layer in enumerate(encoder.layers)
        }
        token_layers = sum(layers.values()) + parameters(encoder.recalibration)
        expected = {
            "total": parameters(model),
            "backbone": parameters(model.backbone),
            "sem_seg_head": parameters(encoder) + parameters(model.decoder),
            "sem_seg_head.predictor": parameters(model.decoder),
            "sem_seg_head.pixel_decoder": parameters(encoder),
        }
        pixel_decoder = layers | {
            "input_proj": parameters(encoder.projections),
            "pe_layer": 0,
            "transformer": token_layers + parameters(encoder.level_embedding),
            "transformer.encoder": token_layers,
            "adapter_1": parameters(encoder.lateral),
            "layer_1": parameters(encoder.pixel_embedding),
            "mask_features": parameters(encoder.mask_features),
        }
        expected |= {f"sem_seg_head.pixel_decoder.{name}": count for name, count in pixel_decoder.items()}
        gate = "sem_seg_head.pixel_decoder.transformer.encoder.token_excite"
        expected[gate] = parameters(encoder.recalibration)
        assert {gate: 0, **record["params"]} == expected
    assert len(seen) >= 16


def official_schedule(record: dict[str, str]) -> Schedule:
    if record["schedule"] == "baseline":
        return baseline()
    return parse_compact(f"{record['schedule']}+{record['pixel_embedding']}+trc:{record['recalibration']}")


# --- What counters rely on ---


class Functions(TorchFunctionMode):
    """Counts calls of torch functions by name."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_function__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.calls[getattr(function, "__name__", "")] += 1
        return function(*args, **(kwargs or {}))


class Products(TorchDispatchMode):
    """Counts elementwise products of two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if function is torch.ops.aten.mul.Tensor and all(isinstance(arg, Tensor) for arg in args[:2]):
            self.count += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(("schedule", "gates"), [("baseline", 0), ("3,3,3", 2), ("1,2,3+trc:conv+spatial", 2)])
def test_only_weighted_sums_and_gates_multiply_two_tensors(schedule: str, gates: int) -> None:
    for backbone in ("tiny", "resnet50"):
        model = build_model(parse_compact(schedule), backbone, device="meta")
        with Products() as products:
            model(torch.empty(SMALL, device="meta"))
        assert products.count == len(model.encoder.layers) + gates


def test_the_decoder_computes_what_published_counts_assume() -> None:
    model = build_model(baseline(), "tiny", device="meta")
    encoded = model.encoder(model.backbone(torch.empty(SMALL, device="meta")))
    with Functions() as functions:
        model.decoder(encoded)
    layers = len(model.decoder.layers)
    assert functions.calls["einsum"] == layers + 1  # mask products
    assert functions.calls["interpolate"] == layers  # none after the last
    assert functions.calls["scaled_dot_product_attention"] == 2 * layers
    assert functions.calls["layer_norm"] == 3 * layers + layers + 1
    # queries, keys, values and outputs of two attentions, two of the FFN; mask MLPs; one class head
    assert functions.calls["linear"] == layers * (4 + 4 + 2) + 3 * (layers + 1) + 1


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch.jit is deprecated; fvcore traces with it
@pytest.mark.parametrize("backbone", ["tiny", "resnet50"])
@torch.no_grad()
def test_a_traced_model_gives_the_same(backbone: str) -> None:
    model = build_model(parse_compact("1,1,1"), backbone)
    images = torch.rand(SMALL) * 255
    with pytest.warns(torch.jit.TracerWarning):  # sizes become constants, which is what counters want
        traced = torch.jit.trace(model, (images,), check_trace=False)
    logits, masks, *others = traced(images)
    expected = model(images)
    assert torch.equal(logits, expected.pred_logits)
    assert torch.equal(masks, expected.pred_masks)
    assert others == [(), (), ()]  # auxiliary, gates, factors of masks


def test_modules_draw_their_initial_weights_in_forward_order() -> None:
    """A training from a seed follows from that order: a decoder of another size leaves what comes before it."""
    found = []
    for queries in (20, 100):
        torch.manual_seed(0)
        model = build_model(parse_compact("3,3,3"), "tiny", num_queries=queries)
        found.append({**model.backbone.state_dict(), **model.encoder.state_dict()})
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(tensor, found[1][key]) for key, tensor in found[0].items())
