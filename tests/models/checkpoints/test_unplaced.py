"""Files whose tensors lie under wrappers' names or entries of their own, or have no place: read right, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from proscale_bench.bench.specs import read_spec
from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.formats import read_stored
from proscale_bench.models.checkpoints.key_map import unwrapped
from proscale_bench.models.checkpoints.load import load_checkpoint, open_checkpoint
from proscale_bench.models.checkpoints.save import convert_checkpoint, save_checkpoint
from tests.cli import run

from .samples import hugging_face, official, same, small_model, write

State = dict[str, Tensor]
TOKENS = "sem_seg_head.pixel_decoder.transformer.encoder."
DETR = "model.pixel_level_module.decoder.encoder."


def renamed(state: State, old: str, new: str) -> State:
    assert any(old in key for key in state)
    return {key.replace(old, new): tensor for key, tensor in state.items()}


def of_ours(model: Any) -> State:
    return dict(model.state_dict())


# --- Wrappers' names ---


@pytest.mark.parametrize("name", ["_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module", "module"])
@pytest.mark.parametrize(
    ("to_layout", "inside"),
    [(official, TOKENS), (official, f"{TOKENS}layers.1."), (hugging_face, DETR), (of_ours, "encoder.")],
)
def test_names_of_wrappers_are_taken_out_wherever_they_stand(
    tmp_path: Path, name: str, to_layout: Callable[[Any], State], inside: str
) -> None:
    model = small_model("baseline:2")
    state = renamed(to_layout(model), inside, f"{inside}{name}.")
    path = write(tmp_path / "weights.safetensors", {f"{name}.{key}": tensor for key, tensor in state.items()})
    checkpoint = open_checkpoint(path)
    checkpoint.require_complete()
    assert checkpoint.unplaced == ()
    assert checkpoint.inferred.schedule.compact == "baseline:2"
    assert same(load_checkpoint(path).state_dict(), model.state_dict())
    assert read_spec(path).variant == "baseline:2"


def test_wrapped_keys_are_converted_to_bare_ones(tmp_path: Path) -> None:
    state = official(small_model())
    path = write(tmp_path / "weights.pth", {f"module._orig_mod.{key}": tensor for key, tensor in state.items()})
    convert_checkpoint(open_checkpoint(path), tmp_path / "bare.pth")
    assert same(read_stored(tmp_path / "bare.pth").tensors, state)


def test_names_that_only_contain_a_wrappers_are_left_alone() -> None:
    for key in ("model.pixel_level_module.x", "a.my_orig_mod.x", "a.modules.x", "a.module"):
        assert unwrapped(key) == key


def test_several_models_under_prefixes_are_not_chosen_from(tmp_path: Path) -> None:
    state = official(small_model())
    both = {f"{who}.{key}": tensor.clone() for who in ("student", "teacher") for key, tensor in state.items()}
    with pytest.raises(BenchError, match=r"several models in it, under student\., teacher\."):
        open_checkpoint(write(tmp_path / "weights.safetensors", both))


# --- Tensors of the encoder without a place ---


@pytest.mark.parametrize(
    ("state", "first"),
    [
        (renamed(official(small_model()), f"{TOKENS}layers.", f"{TOKENS}blocks."), f"{TOKENS}blocks.0."),
        (renamed(official(small_model()), f"{TOKENS}layers.3.", f"{TOKENS}last.0."), f"{TOKENS}last.0."),
        (
            renamed(official(small_model()), f"{TOKENS}layers.", "sem_seg_head.transformer.encoder._wrapped.layers."),
            "sem_seg_head.transformer.encoder._wrapped.layers.0.",
        ),
        (renamed(hugging_face(small_model("baseline:2")), f"{DETR}layers.", f"{DETR}blocks."), f"{DETR}blocks.0."),
        (renamed(of_ours(small_model()), "encoder.layers.", "encoder.blocks."), "encoder.blocks.0."),
        (official(small_model()) | {"sem_seg_head.pixel_decoder.adapter_2.weight": torch.zeros(1)}, "sem_seg_head.pix"),
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_an_encoder_with_tensors_that_have_no_place_is_refused(
    tmp_path: Path, state: State, first: str, suffix: str
) -> None:
    path = write(tmp_path / f"weights{suffix}", state)
    for read in (load_checkpoint, read_spec):
        with pytest.raises(BenchError, match="has no place in schedule") as caught:
            read(path)
        assert caught.value.message.startswith(f"{path}: {first}")
    listed = run("models", "inspect", str(path))
    assert (listed.exit_code, f"unexpected  {first}" in listed.stdout) == (2, True)
    for command in (["convert", str(path), str(tmp_path / "out.pth")], ["warm-start", str(path), "out.safetensors"]):
        refused = run("models", *command)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert first in refused.stderr


@pytest.mark.parametrize("to_layout", [official, hugging_face, of_ours])
def test_no_token_layers_at_all_are_believed_where_somebody_says_so(
    tmp_path: Path, to_layout: Callable[[Any], State]
) -> None:
    path = write(tmp_path / "weights.safetensors", to_layout(small_model("baseline:0")))
    for read in (load_checkpoint, read_spec):
        with pytest.raises(BenchError, match=r"no token layers in it: .*layers\.0\..* is missing") as caught:
            read(path)
        assert caught.value.hint is not None
        assert "--schedule baseline:0" in caught.value.hint
    open_checkpoint(path, small_model("baseline:0").encoder.schedule).require_complete()  # type: ignore[union-attr]
    counted = run("flops", "--weights", str(path), "--schedule", "3,3,3", "--size", "64x64")
    assert counted.exit_code == 0
    save_checkpoint(small_model("baseline:0"), tmp_path / "ours.safetensors")
    open_checkpoint(tmp_path / "ours.safetensors").require_complete()
    assert read_spec(tmp_path / "ours.safetensors").variant == "baseline:0"


@pytest.mark.parametrize("command", ["convert", "warm-start"])
def test_commands_say_what_has_no_place(tmp_path: Path, command: str) -> None:
    state = official(small_model("baseline:2")) | {"val_map.mean": torch.zeros(1), "val_map.std\n": torch.ones(1)}
    path = write(tmp_path / "weights.pth", state)
    with pytest.warns(UserWarning, match="2 tensors have no place in the model; the first is val_map.mean"):
        load_checkpoint(path)
    result = run("models", command, str(path), str(tmp_path / "out.safetensors"))
    assert result.exit_code == 0
    assert f"{path}: 2 tensors have no place in the model; the first is val_map.mean" in result.stderr


# --- Hugging Face's configuration ---


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoder_layers": 6}, "encoder_layers is 6, and the tensors are of 2"),
        ({"decoder_layers": 10}, "decoder_layers is 10, and the tensors are of 3"),
        ({"num_queries": 100}, "num_queries is 100, and the tensors are of 5"),
        ({"hidden_dim": 256}, "hidden_dim is 256, and the tensors are of 32"),
        ({"backbone_config": {"depths": [2, 2, 6, 2]}}, r"backbone_config.depths is \[2, 2, 6, 2\], and the tensors"),
        ({"id2label": {"0": "cat"}}, "id2label is of 1 classes, and the tensors are of 7"),
    ],
)
def test_a_configuration_that_contradicts_the_tensors_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = write(tmp_path / "weights.safetensors", hugging_face(small_model("baseline:2")))
    convert_checkpoint(open_checkpoint(path), tmp_path / "folder", "huggingface")
    told = tmp_path / "folder" / "config.json"
    config = json.loads(told.read_text())
    backbone = config["backbone_config"] | change.pop("backbone_config", {})
    told.write_text(json.dumps(config | change | {"backbone_config": backbone}))
    with pytest.raises(BenchError, match=said):
        open_checkpoint(tmp_path / "folder")


# --- Entries of a file ---

BOOKKEEPING = {"decay": torch.tensor(0.999), "num_updates": torch.tensor(7)}


@pytest.mark.parametrize(
    ("wrap", "entry"),
    [
        (lambda new, old: {"module": new, "optimizer": None, "ds_version": "0.14"}, "module"),
        (lambda new, old: {"model_state_dict": new, "optimizer_state_dict": {}, "epoch": 1}, "model_state_dict"),
        (lambda new, old: {"net": new}, "net"),
        (lambda new, old: {"network": new}, "network"),
        (lambda new, old: {"params": old, "params_ema": new}, "params_ema"),
        (lambda new, old: {"anything": new, "epoch": 1}, "anything"),
        (lambda new, old: {"model": new, "ema": BOOKKEEPING}, "model"),
        (lambda new, old: {"model": old, "ema": {**BOOKKEEPING, "shadow": new}}, "ema.shadow"),
        (lambda new, old: {"model_state_dict": old, "model_ema_state_dict": new}, "model_ema_state_dict"),
        (lambda new, old: {"model": old, "ema_weights": new}, "ema_weights"),
        (lambda new, old: {"state_dict": new, "callbacks": {"ema": {"mean": torch.ones(1)}}}, "state_dict"),
        (lambda new, old: {"model": new, "optimizer": {"state": {"x": {"exp_avg": torch.ones(1)}}}}, "model"),
    ],
)
def test_weights_are_found_under_the_entries_of_others(tmp_path: Path, wrap: Any, entry: str) -> None:
    new, old = small_model("baseline:1", seed=1), small_model("baseline:1", seed=2)
    torch.save(wrap(official(new), official(old)), tmp_path / "weights.pth")
    assert open_checkpoint(tmp_path / "weights.pth").inspect().entry == entry
    assert same(load_checkpoint(tmp_path / "weights.pth").state_dict(), new.state_dict())


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"decay": 0.9, "shadow_params": [torch.ones(2)]}, r"no tensors .* \(entries: decay, shadow_params\)"),
        ({"state_dict": {}, "epoch": 3}, r"\(entries: state_dict, epoch\)"),
        ([torch.ones(1)], r"no tensors in it under names \(a list\)"),
        ({str(number): 0 for number in range(20)}, "entries: 0, 1, .* 11, and 8 more"),
        (
            {"teacher": {"a.b": torch.ones(1)}, "student": {"a.b": torch.ones(1)}},
            r"weights under teacher and student, and nothing chooses \(entries: teacher, student\)",
        ),
        ({"epoch": 3, "weights": {"fc": torch.ones(1)}}, r"no Mask2Former in it.*entries: weights, epoch"),
    ],
)
def test_a_file_without_weights_is_refused_with_its_entries(tmp_path: Path, document: Any, said: str) -> None:
    torch.save(document, tmp_path / "weights.pth")
    with pytest.raises(BenchError, match=said):
        open_checkpoint(tmp_path / "weights.pth")
