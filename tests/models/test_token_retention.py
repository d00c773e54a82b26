"""Token retention: a full layer refines the share of the finest tokens with the highest scores, and passes the rest."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from proscale_bench.models.build import build
from proscale_bench.models.encoders.parts import TokenGrid, TokenLayer
from proscale_bench.models.encoders.staged import RetainingLayer
from proscale_bench.models.position import pixel_centres, sine_position
from proscale_bench.specs.encoders.staged import parse_compact
from proscale_bench.specs.mask2former import mask2former

SIZES = ((3, 5), (6, 10), (12, 20))
COARSE, FINEST = 15 + 60, 240
SHAPE = {"width": 64, "heads": 4, "levels": 3, "points": 4, "ffn": 128}
CPU = torch.device("cpu")


def grid() -> TokenGrid:
    return TokenGrid.join((size, sine_position(size, 64, CPU), pixel_centres(size, CPU)) for size in SIZES)


def layers(keep: float) -> tuple[TokenLayer, RetainingLayer]:
    """A plain layer and one with retention, of the same random weights."""
    torch.manual_seed(0)
    plain, retaining = TokenLayer(**SHAPE), RetainingLayer(**SHAPE, keep=keep)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.normal_(std=0.1)
        retaining.load_state_dict(plain.state_dict(), strict=False)
    return plain.eval(), retaining.eval()


def tokens(batch: int = 2) -> Tensor:
    return torch.randn(batch, COARSE + FINEST, 64, generator=torch.Generator().manual_seed(1))


def kept_places(layer: RetainingLayer, given: Tensor, number: int) -> list[set[int]]:
    scores = layer.score(given[:, COARSE:]).squeeze(-1)
    return [set(one.argsort(descending=True)[:number].tolist()) for one in scores]


@pytest.mark.parametrize(("keep", "number"), [(0.5, 120), (0.1, 24), (0.001, 1), (0.3, 72), (0.999, 240)])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_kept_tokens_are_refined_as_without_retention_and_the_others_pass(keep, number, mode) -> None:  # type: ignore[no-untyped-def]
    plain, retaining = layers(keep)
    given = tokens()
    with mode():
        expected, found = plain(given, grid()), retaining(given, grid())
    assert (found[:, :COARSE] - expected[:, :COARSE]).abs().max() <= 1e-5
    for image, kept in enumerate(kept_places(retaining, given, number)):
        assert len(kept) == number
        for place in range(FINEST):
            token = found[image, COARSE + place]
            if place in kept:
                assert (token - expected[image, COARSE + place]).abs().max() <= 1e-5
            else:
                assert torch.equal(token, given[image, COARSE + place])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_keeping_all_is_no_retention_bit_for_bit(mode) -> None:  # type: ignore[no-untyped-def]
    plain, retaining = layers(1.0)
    with mode():
        assert torch.equal(plain(tokens(), grid()), retaining(tokens(), grid()))


@torch.no_grad()
def test_keep_1_is_the_encoder_without_retention_bit_for_bit() -> None:
    images = torch.randint(0, 256, (1, 3, 96, 160), generator=torch.Generator().manual_seed(0))
    found = []
    for spelling in ("1,1,2", "1,1,2+keep:1"):
        torch.manual_seed(0)
        found.append(build(mask2former(parse_compact(spelling), "tiny"))(images.float()))
    assert torch.equal(found[0].pred_masks, found[1].pred_masks)
    assert torch.equal(found[0].pred_logits, found[1].pred_logits)


@torch.no_grad()
def test_a_batch_is_its_images() -> None:
    _, retaining = layers(0.25)
    given = tokens(3)
    alone = torch.cat([retaining(one[None], grid()) for one in given])
    assert (retaining(given, grid()) - alone).abs().max() <= 1e-5


def test_a_score_rises_where_refining_its_token_lowers_the_loss() -> None:
    """A score's gradient is the slope of its sigmoid times what the refinement adds to the loss, to first order."""
    plain, retaining = layers(0.5)
    given, direction = tokens(1), torch.randn(1, COARSE + FINEST, 64, generator=torch.Generator().manual_seed(2))
    scores: list[Tensor] = []

    def watch(module: object, inputs: object, output: Tensor) -> None:
        output.retain_grad()
        scores.append(output)

    hook = retaining.score.register_forward_hook(watch)
    (retaining(given, grid()) * direction).sum().backward()
    hook.remove()
    with torch.no_grad():
        change = ((plain(given, grid()) - given) * direction)[0, COARSE:].sum(dim=-1)
        slope = torch.sigmoid(scores[0]) * (1 - torch.sigmoid(scores[0]))
        found = scores[0].grad[0, :, 0]  # type: ignore[index]
        (kept,) = kept_places(retaining, given, 120)
    for place in range(FINEST):
        expected = change[place] * slope[0, place, 0] if place in kept else 0.0
        assert abs(found[place] - expected) <= 1e-4


def test_a_loss_trains_every_parameter_of_the_encoder() -> None:
    torch.manual_seed(0)
    model = build(mask2former(parse_compact("1,1,2+keep:0.5"), "tiny")).train()
    predictions = model(torch.rand(1, 3, 64, 96) * 255)
    (predictions.pred_masks.square().mean() + predictions.pred_logits.square().mean()).backward()
    gradients = {name: one.grad for name, one in model.encoder.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    for layer in (2, 3):  # after one over res5 and one over res5 and res4
        assert bool(gradients[f"layers.{layer}.score.weight"].any())  # type: ignore[union-attr]


@torch.no_grad()
def test_it_compiles_as_a_whole() -> None:
    _, retaining = layers(0.3)
    expected = retaining(tokens(), grid())
    compiled = torch.compile(retaining, backend="eager", fullgraph=True)
    assert (compiled(tokens(), grid()) - expected).abs().max() <= 1e-5
