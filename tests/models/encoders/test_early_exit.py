"""The early exit's module agrees with the official code at every exit, and an image is worth the same in any batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from proscale_bench.errors import BenchError
from proscale_bench.models.build import build, build_encoder
from proscale_bench.models.checkpoints.layouts import OFFICIAL
from proscale_bench.models.encoders.early_exit import EarlyExitEncoder
from proscale_bench.models.encoders.interface import EncoderOutput
from proscale_bench.specs.encoders.early_exit import DEPTH, EXITS, FIRST_EXIT, EarlyExit
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.spelling import parse_encoder

from .golden import GoldenCase, cases

CHANNELS = {"res2": 8, "res3": 16, "res4": 24, "res5": 32}
HEAD = Head(width=32, encoder_heads=4, encoder_ffn=64)


def encoder_of(case: GoldenCase, spec: EarlyExit) -> EarlyExitEncoder:
    """The encoder of a case with its weights, read by their official names."""
    given = case.arguments
    assert (given["layers"], given["gate_classes"], given["first_exit"]) == (DEPTH, len(EXITS), FIRST_EXIT)
    head = Head(given["d"], given["heads"], given["points"], given["ffn"])
    channels = dict(zip(("res2", "res3", "res4", "res5"), given["in_channels"], strict=True))
    encoder = build_encoder(spec, head, channels)
    assert isinstance(encoder, EarlyExitEncoder)
    encoder.mask_features = nn.Conv2d(given["d"], given["mask_dim"], kernel_size=1)  # ours are of the head's width
    ours = {}
    for key, tensor in case.state.items():
        found = OFFICIAL.to_ours(f"sem_seg_head.pixel_decoder.{key}")
        assert found is not None, key
        ours[found[0].removeprefix("encoder.")] = tensor
    encoder.load_state_dict(ours)
    return encoder.eval()


def named(output: EncoderOutput) -> dict[str, Tensor]:
    """The output under the golden tensors' names."""
    pyramid = {f"multi_scale.{index}": level for index, level in enumerate(output.pyramid)}
    return {"mask_features": output.mask_features, **pyramid}


@pytest.mark.parametrize("case", cases("early_exit"))
@torch.no_grad()
def test_every_exit_is_the_official_one(case: GoldenCase) -> None:
    for run in case.runs:
        expected, features = case.expected(run), case.inputs(run)
        for exit_ in EXITS:
            output = encoder_of(case, EarlyExit(exit_))(features)
            case.check({f"exit{exit_}.{name}": one for name, one in named(output).items()}, of_exit(expected, exit_))
            case.check({"gate_logits": output.gates[0]}, {"gate_logits": expected["gate_logits"]})


@pytest.mark.parametrize("case", cases("early_exit"))
@torch.no_grad()
def test_the_gate_chooses_as_the_official_one(case: GoldenCase) -> None:
    """Image by image: the official choice is one of a whole batch, so it is only known of a batch of one."""
    encoder = encoder_of(case, EarlyExit())
    for run, told in case.runs.items():
        expected, features = case.expected(run), case.inputs(run)
        chosen = (expected["gate_logits"].argmax(dim=1) + FIRST_EXIT).tolist()
        if len(chosen) == 1:
            assert chosen == [told["exit_chosen_by_the_gate"]]
        output = encoder(features)
        assert (output.gates[0].argmax(dim=1) + FIRST_EXIT).tolist() == chosen
        for index, exit_ in enumerate(chosen):
            of_image = {name: tensor[index : index + 1] for name, tensor in of_exit(expected, exit_).items()}
            found = {f"exit{exit_}.{name}": one[index : index + 1] for name, one in named(output).items()}
            case.check(found, of_image)


def of_exit(expected: dict[str, Tensor], exit_: int) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in expected.items() if name.startswith(f"exit{exit_}.")}


def features(images: int) -> dict[str, Tensor]:
    sides = {"res2": (24, 40), "res3": (12, 20), "res4": (6, 10), "res5": (3, 5)}
    torch.manual_seed(3)
    return {level: torch.randn(images, channels, *sides[level]) for level, channels in CHANNELS.items()}


@torch.no_grad()
def test_each_image_of_a_batch_leaves_at_its_own_exit_and_is_as_it_is_alone() -> None:
    torch.manual_seed(1)
    encoder = build_encoder(EarlyExit(), HEAD, CHANNELS).eval()
    batch = features(12)
    nn.init.normal_(encoder.gate.weight, std=3)  # so that images differ in their exits
    output = encoder(batch)
    exits = (output.gates[0].argmax(dim=1) + FIRST_EXIT).tolist()
    assert len(set(exits)) >= 3, exits
    for index, exit_ in enumerate(exits):
        alone = {level: one[index : index + 1] for level, one in batch.items()}
        fixed = build_encoder(EarlyExit(exit_), HEAD, CHANNELS).eval()
        fixed.load_state_dict(encoder.state_dict())
        for other in (encoder(alone), fixed(alone)):
            for name, tensor in named(other).items():
                torch.testing.assert_close(named(output)[name][index : index + 1], tensor, rtol=0, atol=1e-5)


@torch.no_grad()
def test_layers_after_the_exit_do_not_run() -> None:
    for exit_ in EXITS:
        encoder = build_encoder(EarlyExit(exit_), HEAD, CHANNELS).eval()
        ran: list[int] = []
        for number, layer in enumerate(encoder.layers, start=1):
            layer.register_forward_hook(lambda *called, ran=ran, number=number: ran.append(number))
        encoder(features(2))
        assert ran == list(range(1, exit_ + 1))


def test_in_training_every_layer_learns_to_be_the_last_and_the_seed_says_which() -> None:
    encoder = build_encoder(EarlyExit(), HEAD, CHANNELS).train()

    def masks(seed: int, batch: dict[str, Tensor]) -> Tensor:
        torch.manual_seed(seed)
        found: Tensor = encoder(batch).mask_features
        return found

    batch = features(2)
    assert torch.equal(masks(0, batch), masks(0, batch))
    assert len({masks(seed, batch)[0].sum().item() for seed in range(40)}) == len(EXITS)
    masks(0, features(16)).sum().backward()
    assert all(layer.linear1.weight.grad.abs().sum() > 0 for layer in encoder.layers)
    assert encoder.gate.weight.grad is None  # the gate learns later, from how good the exits are


def test_an_expectation_is_no_model() -> None:
    with pytest.raises(BenchError, match="expectation") as raised:
        build(mask2former(parse_encoder("early-exit+exits:1/1/1/1/1"), "tiny"))
    assert raised.value.exit_code == 2
    assert raised.value.hint
