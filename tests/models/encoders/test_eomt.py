"""EoMT by a configuration of `transformers` agrees with the official code, from weights of its official names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from proscale_bench.bench.other_weights import fill
from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.eomt import of_eomt

from .golden import GoldenCase, cases

transformers = pytest.importorskip("transformers")


def model_of(case: GoldenCase) -> torch.nn.Module:
    """The module of a case's arguments, with its weights; those that are missing or left over are an error."""
    arguments = case.arguments
    config = transformers.EomtConfig(
        hidden_size=arguments["embed_dim"],
        num_hidden_layers=arguments["depth"],
        num_attention_heads=arguments["heads"],
        image_size=arguments["image_size"],
        patch_size=arguments["patch_size"],
        num_queries=arguments["queries"],
        num_labels=arguments["classes"],
        num_blocks=arguments["blocks_with_queries"],
        num_upscale_blocks=arguments["patch_size"].bit_length() - 3,  # to stride 4, a block an octave
        num_register_tokens=arguments["register_tokens"],
        layer_norm_eps=arguments["ln_eps"],
    )
    model: torch.nn.Module = transformers.EomtForUniversalSegmentation(config)
    made_by_its_loss = {key: one for key, one in model.state_dict().items() if key.startswith("criterion.")}
    model.load_state_dict(of_eomt(case.state) | made_by_its_loss)
    return model.eval()


@pytest.mark.parametrize("case", cases("eomt"))
@torch.no_grad()
def test_every_prediction_is_the_official_one(case: GoldenCase) -> None:
    mean, deviation = (case.state[f"encoder.pixel_{one}"] for one in ("mean", "std"))
    image = (case.tensors["in.image"] - mean) / deviation
    for run in case.runs:
        model = model_of(case)
        if run == "plain":
            model.get_buffer("attn_mask_probs").zero_()  # as released: it keeps its masks on otherwise
        found: dict[str, Tensor] = {}
        predict = model.predict

        def kept(tokens: Tensor, found: dict[str, Tensor] = found, predict=predict) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
            masks, classes = predict(tokens)
            found |= {f"masks.{len(found) // 2}": masks, f"classes.{len(found) // 2}": classes}
            return masks, classes

        model.predict = kept  # type: ignore[assignment]
        model(image)
        case.check(found, case.expected(run))
        assert found.keys() == case.expected(run).keys()


@pytest.mark.parametrize("prefix", ["", "network."])
def test_an_official_file_fills_the_model_of_a_configuration(prefix: str, tmp_path: Path) -> None:
    (case,) = (one.values[0] for one in cases("eomt") if str(one.id).startswith("shipped"))
    assert isinstance(case, GoldenCase)
    state = {f"{prefix}{name}": tensor for name, tensor in case.state.items()}
    torch.save(state | {"criterion.empty_weight": torch.ones(case.arguments["classes"] + 1)}, tmp_path / "eomt.pth")
    wanted, model = model_of(case), type(model_of(case))(model_of(case).config)  # type: ignore[call-arg,arg-type]
    fill(model, tmp_path / "eomt.pth")
    for name, tensor in wanted.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    del state[f"{prefix}q.weight"]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(BenchError, match=r"query\.weight is missing"):
        fill(model, tmp_path / "less.pth")


def test_a_tensor_without_a_place_is_refused() -> None:
    with pytest.raises(BenchError, match=r"neck\.weight has no place"):
        of_eomt({"neck.weight": torch.zeros(1)})
