"""Stochastic depth: Swin's rates, and no trace of it where it is not asked for."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import swin_t
from torchvision.ops import StochasticDepth

from proscale_bench.models.backbones import SwinBackbone, build_backbone
from proscale_bench.specs.backbones import get_backbone
from proscale_bench.specs.encoders.staged import baseline
from tests.built import build_model

TINY = get_backbone("tiny")


def rates(backbone: torch.nn.Module) -> list[float]:
    return [module.p for module in backbone.modules() if isinstance(module, StochasticDepth)]


def test_rates_rise_as_torchvisions() -> None:
    ours = build_backbone(get_backbone("swin_t"), drop_path=0.2)
    theirs = swin_t()  # it is built with a rate of 0.2
    assert rates(ours) == pytest.approx(rates(theirs), abs=1e-12)
    assert len(rates(ours)) == 12
    assert (rates(ours)[0], rates(ours)[-1]) == (0.0, 0.2)


def test_build_model_hands_it_on_and_gives_none_by_default() -> None:
    assert rates(build_model(baseline(), "tiny", device="meta", drop_path=0.4)) == pytest.approx(
        [0, 0.1, 0.2, 0.3, 0.4]
    )
    assert rates(build_model(baseline(), "tiny", device="meta")) == [0.0] * 5
    assert rates(build_model(baseline(), "resnet50", device="meta", drop_path=0.4)) == []


def test_it_changes_training_alone() -> None:
    images = torch.randn(2, 3, 64, 96)
    torch.manual_seed(0)
    plain = SwinBackbone(TINY)
    torch.manual_seed(0)
    dropping = SwinBackbone(TINY, drop_path=0.5)
    assert {key: value.shape for key, value in plain.state_dict().items()} == {
        key: value.shape for key, value in dropping.state_dict().items()
    }
    assert all(torch.equal(one, dropping.state_dict()[key]) for key, one in plain.state_dict().items())
    with torch.no_grad():
        for one, other in zip(plain.eval()(images).values(), dropping.eval()(images).values(), strict=True):
            assert torch.equal(one, other)
        before = torch.get_rng_state()
        trained = plain.train()(images)
        assert torch.equal(torch.get_rng_state(), before)  # a rate of 0 draws nothing
        assert torch.equal(trained["res5"], plain.eval()(images)["res5"])
        outputs = {dropping.train()(images)["res5"].sum().item() for _ in range(10)}
    assert len(outputs) > 1


def test_images_are_dropped_one_by_one() -> None:
    """Each block's step leaves some images of a batch as they are, and others larger by what is missing."""
    torch.manual_seed(0)
    image = torch.randn(1, 3, 32, 32).expand(64, -1, -1, -1)
    backbone = SwinBackbone(TINY, drop_path=0.5).train()
    with torch.no_grad():
        result = backbone(image)["res5"].flatten(1)
    assert len(torch.unique(result, dim=0)) > 2


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_is_a_rate(rate: float) -> None:
    with pytest.raises(ValueError, match="drop_path"):
        SwinBackbone(TINY, drop_path=rate)
