"""Closed form, trace and fvcore agree to the last FLOP, whatever the schedule, backbone and size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import nn

from proscale_bench.bench.specs import count_flops
from proscale_bench.cost.closed_form import ClosedForm
from proscale_bench.cost.geometry import parse_size
from proscale_bench.cost.rules import CONVENTIONS, RULES
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.measure import verify as verifying
from proscale_bench.measure.flops import sum_flops, trace_model, trace_network
from proscale_bench.measure.fvcore_count import FUSED_ATTENTION, count_with_fvcore
from proscale_bench.models.build import build
from proscale_bench.models.inference import use_sampling
from proscale_bench.models.sampling import SAMPLERS
from proscale_bench.specs.backbones import BACKBONES
from proscale_bench.specs.encoders.staged import Schedule, parse_compact
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.specs.model import with_sums
from proscale_bench.specs.terms import Operator
from tests.specs.test_staged import schedules

torch.set_num_threads(1)
TINY = mask2former(parse_compact("1,1,1"), "tiny")

SCHEDULES = ["baseline", "3,3,3", "1,1,1+conv+trc:none", "1,2,1+trc:conv+spatial+residual", "4:1,543:1", "0,0,0"]
SCHEDULES += ["1,1,1+dw"]


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
@pytest.mark.parametrize("compact", SCHEDULES)
def test_the_trace_equals_the_closed_form_under_all_rules(backbone: str, compact: str) -> None:
    spec = mask2former(parse_compact(compact), backbone)
    size = parse_size("417x610", "97x131")
    traces = trace_model(spec, size)
    for rules in RULES.values():
        for convention in CONVENTIONS:
            expected = ClosedForm(spec, rules, convention).count(size)
            assert sum_flops(traces, rules, convention) == expected


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
@pytest.mark.parametrize("compact", SCHEDULES)
def test_the_trace_of_what_inference_executes_equals_the_closed_form(backbone: str, compact: str) -> None:
    spec = mask2former(parse_compact(compact), backbone)
    size = parse_size("417x610", "97x131")
    traces = trace_model(spec, size, as_executed=True)
    for rules in RULES.values():
        executed = ClosedForm(spec, rules, as_executed=True).count(size)
        assert sum_flops(traces, rules) == executed
        counted = ClosedForm(spec, rules).count(size)
        assert with_sums(executed, spec.parts)["encoder"] == with_sums(counted, spec.parts)["encoder"]
        assert executed["transformer_decoder"] < counted["transformer_decoder"]
        has_norms = backbone.startswith("resnet") and Operator.BATCH_NORM in rules.counted
        assert (executed["backbone"] < counted["backbone"]) == has_norms


@pytest.mark.parametrize("sampling", [name for name in SAMPLERS if name != "grid_sample"])
def test_the_trace_counts_the_same_whatever_the_sampling(sampling: str) -> None:
    spec = mask2former(parse_compact("3,3,3"), "tiny")
    model = build(spec, device="meta")
    use_sampling(model, "grid_sample")
    expected = trace_network(model, spec, 96, 160)
    use_sampling(model, sampling)
    found = trace_network(model, spec, 96, 160)
    for rules in RULES.values():
        for convention in CONVENTIONS:
            assert found.flops(rules, convention) == expected.flops(rules, convention)


@settings(max_examples=12, deadline=None, phases=[Phase.generate])  # shrinking would take minutes
@given(
    schedule=schedules,
    backbone=st.sampled_from(sorted(BACKBONES)),
    height=st.integers(1, 900),
    width=st.integers(1, 900),
)
def test_the_trace_equals_the_closed_form_anywhere(schedule: Schedule, backbone: str, height: int, width: int) -> None:
    spec, size = mask2former(schedule, backbone), parse_size((height, width))
    traces = trace_model(spec, size)
    assert sum_flops(traces, RULES["complete"]) == ClosedForm(spec, RULES["complete"]).count(size)


def test_a_coco_size_is_traced_at_every_distinct_size() -> None:
    seen: list[tuple[int, int]] = []
    count = count_flops("1,1,1", "tiny", "coco-first100")
    traces = trace_model(count.spec, count.input, lambda *step: seen.append(step))
    assert sum_flops(traces, count.rules) == count.flops
    assert len(traces) == 46
    assert (seen[0], seen[-1]) == ((0, 46), (46, 46))


@pytest.mark.parametrize(
    ("backbone", "compact", "size", "output"),
    [
        ("tiny", "baseline", "97x131", None),
        ("tiny", "3,3,3+trc:conv", "64x64", "31x77"),
        ("tiny", "1,1,1+conv+spatial+residual", "128x96", None),
        ("tiny", "1,1,1+dw", "97x131", None),
        ("resnet50", "2,1,1", "160x224", "480x640"),
        ("swin_t", "1,1,1", "160x224", None),
        ("tiny", "1,1,1", "64x64", "450x450"),  # numpy's einsum count is cut in the middle of a digit
        ("tiny", "1,1,1", "64x64", "445x500"),
    ],
)
def test_fvcore_equals_the_closed_form_with_what_it_does_not_see_itemised(
    backbone: str, compact: str, size: str, output: str | None
) -> None:
    spec = mask2former(parse_compact(compact), backbone)
    form = ClosedForm(spec, RULES["fvcore"])
    input_size = parse_size(size, output)
    found = count_with_fvcore(spec, input_size.groups[0])
    expected = form.count(input_size)
    assert found.flops == expected
    # By itself fvcore misses the fused attention: all of the decoder's attention products, and nothing else.
    attention = form.by_operator(input_size)["transformer_decoder"][Operator.BMM]
    assert found.unseen == {FUSED_ATTENTION: attention}
    assert found.seen == sum(expected.values()) - attention
    assert {"aten::softmax", "aten::max_pool2d"} & set(found.uncounted)


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
@pytest.mark.parametrize("compact", SCHEDULES)
def test_parameters_of_the_real_model(backbone: str, compact: str) -> None:
    """Those that train: a frozen batch norm has none, as in the official models."""
    spec = mask2former(parse_compact(compact), backbone)
    model = build(spec, device="meta")

    def trainable(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)

    expected = spec.parameters()
    assert trainable(model.backbone) == expected["backbone"]
    assert trainable(model.encoder) == expected["encoder"]
    assert trainable(model.decoder) == expected["transformer_decoder"]
    assert trainable(model) == sum(expected.values())


@pytest.mark.parametrize("backbone", ["resnet50", "swin_l"])
def test_layers_see_the_tokens_that_the_closed_form_counts(backbone: str) -> None:
    count = count_flops("2,1,3", backbone, "800x1333")
    model = build(count.spec, device="meta")
    lengths: list[int] = []
    for layer in model.encoder.layers:
        layer.register_forward_pre_hook(lambda module, inputs: lengths.append(inputs[0].shape[1]))
    with torch.no_grad():
        model(torch.empty(1, 3, 800, 1344, device="meta"))
    assert lengths == [layer.tokens for layer in count.layers]


class _Twice(nn.Module):
    """An innocent looking addition to a model."""

    def __init__(self, inner: nn.Module, operation) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.inner, self.operation = inner, operation

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: self.operation(feature) for name, feature in self.inner(x).items()}


@pytest.mark.parametrize(
    ("operation", "named"),
    [
        (torch.erf, "aten.erf"),
        (lambda x: torch.fft.fft2(x).real, "aten._fft"),
        (lambda x: x * x, "product of two tensors in _Twice"),
        (lambda x: nn.functional.avg_pool2d(x, 1), "aten.avg_pool2d"),
        (torch.cumsum, "aten.cumsum"),
    ],
)
def test_an_operator_without_a_rule_stops_the_count(operation, named: str) -> None:  # type: ignore[no-untyped-def]
    model = build(TINY, device="meta")
    bound = (lambda x: torch.cumsum(x, 1)) if operation is torch.cumsum else operation
    model.backbone = _Twice(model.backbone, bound)
    with pytest.raises(BenchError) as caught:
        trace_network(model, TINY, 64, 64)
    assert named in caught.value.message
    assert caught.value.exit_code == ExitCode.UNTRUSTED


def test_a_module_with_a_name_among_the_layers_is_counted_where_it_runs() -> None:
    model = build(TINY, device="meta")
    expected = trace_network(model, TINY, 64, 64).flops(RULES["fvcore"])
    extra = nn.Conv2d(64, 64, kernel_size=1, device="meta")
    model.encoder.layers.add_module("extra", extra)  # type: ignore[operator,union-attr]
    model.encoder.lateral.register_forward_hook(lambda module, inputs, output: extra(output))  # type: ignore[operator,union-attr]
    found = trace_network(model, TINY, 64, 64).flops(RULES["fvcore"])
    changed = {part: found[part] - expected[part] for part in found if found[part] != expected[part]}
    assert changed == {"pixel_embedding": 16 * 16 * 64 * 64}


def test_what_the_trace_meets_and_does_not_count_is_listed() -> None:
    model = build(TINY, device="meta")
    trace_network(model, TINY, 64, 64)
    uncounted = trace_network(model, TINY, 64, 64).uncounted  # whatever was traced before
    assert {"aten._softmax", "aten.relu", "aten.max_pool2d_with_indices", "aten.sin", "aten.add"} <= set(uncounted)
    assert "aten.view" not in uncounted


def test_verify_names_what_agreed() -> None:
    seen: list[str] = []
    result = verifying.verify(count_flops("1,1,1", "tiny", "64x96"), progress=lambda what, *_: seen.append(what))
    assert (result.traced_sizes, result.fvcore_sizes) == (1, ("64x96",))
    assert result.unseen_by_fvcore[FUSED_ATTENTION] > 0
    assert set(seen) == {"tracing", "fvcore"}


def test_verify_names_what_disagreed(monkeypatch: pytest.MonkeyPatch) -> None:
    count = count_flops("1,1,1", "tiny", "64x96")
    wrong = {**count.flops, "backbone": count.flops["backbone"] + 1}
    monkeypatch.setattr(verifying, "sum_flops", lambda *_: wrong)
    with pytest.raises(BenchError) as caught:
        verifying.verify(count)
    assert caught.value.exit_code == ExitCode.UNTRUSTED
    assert "backbone" in caught.value.message
    assert f"{count.flops['backbone']:,}" in caught.value.message


@pytest.mark.parametrize("wrong", ["backbone", "transformer_decoder"])
def test_verify_checks_fvcore_too(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    count = count_flops("1,1,1", "tiny", "64x96")
    real = verifying.count_with_fvcore

    def off_by_one(*arguments):  # type: ignore[no-untyped-def]
        found = real(*arguments)
        flops = {**found.flops, wrong: found.flops[wrong] + 1}
        return type(found)(flops, found.seen, found.unseen, found.uncounted)

    monkeypatch.setattr(verifying, "count_with_fvcore", off_by_one)
    with pytest.raises(BenchError, match=f"fvcore at 64x96.*{wrong}"):
        verifying.verify(count)
