"""The weights that are loaded of a file, the names that may wrap them, and the words for the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

import proscale_bench as psb
from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.load import load_checkpoint, open_checkpoint
from proscale_bench.specs.encoders.staged import parse_compact

from .samples import HEAD, RESNET, SWIN, hugging_face, official, same, small_model, write


def test_the_public_function_takes_paths_and_spellings(tmp_path: Path) -> None:
    path = write(tmp_path / "weights.pth", official(small_model("2,1,1")))
    model = psb.load_checkpoint(str(path), schedule="2,1,1+residual+temp:1.0")
    assert not model.training
    assert model.encoder.schedule == parse_compact("2,1,1+residual+temp:1.0")
    assert model.encoder.recalibration.temperature == 1.0
    assert psb.load_checkpoint(path).encoder.recalibration.temperature == 0.1
    assert torch.equal(model.pixel_mean.flatten(), torch.tensor((123.675, 116.28, 103.53)))


@pytest.mark.parametrize("backbone", [SWIN, RESNET])
def test_a_loaded_model_predicts_as_the_saved_one(tmp_path: Path, backbone: object) -> None:
    model = small_model("1,1,1", backbone)  # type: ignore[arg-type]
    loaded = load_checkpoint(write(tmp_path / "weights.pkl", official(model)))
    images = torch.rand(1, 3, 64, 96) * 255
    with torch.no_grad():
        assert torch.equal(model(images).pred_masks, loaded(images).pred_masks)


# --- Wrappers ---


@pytest.mark.parametrize(
    ("wrap", "entry", "left_behind"),
    [
        (lambda new, old: new, "", ()),
        (lambda new, old: {"model": new}, "model", ()),
        (lambda new, old: {"state_dict": new, "epoch": 3}, "state_dict", ("epoch",)),
        (lambda new, old: {"model": old, "model_ema": new}, "model_ema", ("model",)),
        (
            lambda new, old: {"model": old, "ema_state_dict": new, "optimizer": {}},
            "ema_state_dict",
            ("model", "optimizer"),
        ),
        (
            lambda new, old: {"ema": {"module": new, "updates": 9}, "model": old},
            "ema.module",
            ("model", "ema.updates"),
        ),
        (lambda new, old: {f"module.{key}": value for key, value in new.items()}, "module", ()),
        (
            lambda new, old: {"state_dict": {f"model.{key}": value for key, value in new.items()}, "pytorch": "2"},
            "state_dict",
            ("pytorch",),
        ),
        (lambda new, old: {"model": {f"module.{key}": value for key, value in new.items()}}, "model", ()),
        (lambda new, old: {f"model_ema.module.{key}": value for key, value in new.items()}, "model_ema.module", ()),
    ],
)
@pytest.mark.parametrize("to_layout", [official, lambda model: dict(model.state_dict()), hugging_face])
def test_wrappers_are_taken_off(
    tmp_path: Path, wrap: object, entry: str, left_behind: tuple[str, ...], to_layout: object
) -> None:
    new, old = small_model("baseline:1", seed=1), small_model("baseline:1", seed=2)
    torch.save(wrap(to_layout(new), to_layout(old)), tmp_path / "weights.pth")  # type: ignore[operator]
    checkpoint = open_checkpoint(tmp_path / "weights.pth")
    assert checkpoint.inspect().entry == entry
    assert checkpoint.translation.stored.left_behind == left_behind
    assert same(load_checkpoint(tmp_path / "weights.pth").state_dict(), new.state_dict())


@pytest.mark.parametrize(("plain", "averaged"), [("model.", "ema_model."), ("", "ema."), ("model.", "model_ema.")])
def test_averaged_weights_in_the_same_mapping_are_preferred(tmp_path: Path, plain: str, averaged: str) -> None:
    new, old = official(small_model(seed=1)), official(small_model(seed=2))
    both = {f"{plain}{key}": value for key, value in old.items()} | {
        f"{averaged}{key}": value for key, value in new.items()
    }
    with pytest.warns(UserWarning, match="no place in the model"):
        loaded = load_checkpoint(write(tmp_path / "weights.pth", both))
    assert same(loaded.state_dict(), small_model(seed=1).state_dict())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pkl"])
def test_mask2formers_first_version_is_read(tmp_path: Path, suffix: str) -> None:
    model = small_model("baseline:1")
    state = {
        key.replace("pixel_decoder.", "").replace("query_feat", "static_query"): value
        for key, value in official(model).items()
    }
    checkpoint = open_checkpoint(write(tmp_path / f"old{suffix}", state))
    assert {entry.status for entry in checkpoint.entries} == {"converted", "unused"}
    assert same(load_checkpoint(checkpoint.path).state_dict(), model.state_dict())


# --- A head alone ---


@pytest.mark.parametrize("prefix", ["", "sem_seg_head."])
def test_a_head_alone_predicts_from_features(tmp_path: Path, prefix: str) -> None:
    model = small_model("2,1,1")
    state = {
        prefix + key.removeprefix("sem_seg_head."): value
        for key, value in official(model).items()
        if key.startswith("sem_seg_head.")
    }
    head = psb.load_checkpoint(write(tmp_path / "head.safetensors", state))
    features = {
        f"res{level}": torch.randn(1, 8 * 2 ** (level - 2), 2 ** (6 - level), 2 ** (6 - level)) for level in range(2, 6)
    }
    with torch.no_grad():
        assert torch.equal(head.head(features).pred_masks, model.head(features).pred_masks)
    with pytest.raises(BenchError, match="without a backbone"):
        head(torch.zeros(1, 3, 32, 32))


# --- What is missing, and what is too much ---


def test_missing_tensors_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    state = official(small_model())
    for key in ("sem_seg_head.predictor.decoder_norm.bias", "backbone.norm1.weight"):
        del state[key]
    checkpoint = open_checkpoint(write(tmp_path / "weights.pth", state))
    assert [entry.key for entry in checkpoint.entries if entry.status == "missing"] == [
        "backbone.norm1.weight",
        "sem_seg_head.predictor.decoder_norm.bias",
    ]
    with pytest.raises(BenchError, match=r"backbone\.norm1\.weight is missing, and 1 more"):
        psb.load_checkpoint(checkpoint.path)


def test_a_third_of_what_is_joined_is_missing(tmp_path: Path) -> None:
    state = hugging_face(small_model("baseline:1"))
    del state["model.transformer_module.decoder.layers.0.self_attn.k_proj.bias"]
    with pytest.raises(BenchError, match=r"self_attn\.q_proj\.bias is missing"):
        psb.load_checkpoint(write(tmp_path / "weights.pth", state))


def test_thirds_that_do_not_go_together(tmp_path: Path) -> None:
    key = "model.transformer_module.decoder.layers.0.self_attn.k_proj.weight"
    state = hugging_face(small_model("baseline:1")) | {key: torch.zeros(32, 31)}
    with pytest.raises(BenchError, match="does not go with"):
        psb.load_checkpoint(write(tmp_path / "weights.pth", state))


def test_tensors_without_a_place_are_warned_of(tmp_path: Path) -> None:
    state = official(small_model()) | {"sem_seg_head.predictor.reid.weight": torch.zeros(1)}
    with pytest.warns(UserWarning, match="1 tensor has no place in the model; the first is sem_seg_head.predictor.r"):
        psb.load_checkpoint(write(tmp_path / "weights.pth", state))


def test_every_tensor_is_accounted_for_once(tmp_path: Path) -> None:
    state = official(small_model()) | {"stranger": torch.zeros(1), "x.num_batches_tracked": torch.tensor(1)}
    state = {key: value for key, value in state.items() if not key.endswith("relative_position_index")}
    checkpoint = open_checkpoint(write(tmp_path / "weights.pth", state))
    of_file = [entry.key for entry in checkpoint.entries if entry.status not in ("missing", "derived")]
    assert sorted(of_file) == sorted(state)
    of_model = [entry.model_key for entry in checkpoint.entries if entry.model_key]
    assert sorted(of_model) == sorted(small_model().state_dict())
    assert checkpoint.inspect().count() == {"converted": len(state) - 3, "unused": 2, "unexpected": 1, "derived": 5}


# --- Schedules that contradict the file ---

SAMPLING = "sem_seg_head.pixel_decoder.transformer.encoder.layers.{}.self_attn.sampling_offsets.weight"


@pytest.mark.parametrize(
    ("stored", "told", "named"),
    [
        ("2,1,1", "1,1,1", SAMPLING.format(1)),
        ("2,1,1", "2,1,2", SAMPLING.format(4)),
        ("2,1,1", "1,2,1", SAMPLING.format(1)),
        ("2,1,1", "baseline", SAMPLING.format(0)),
        ("2,1,2", "2,1,1", SAMPLING.format(4)),
        ("2,1,1", "2,1,1+conv", "sem_seg_head.pixel_decoder.layer_1.weight"),
        ("2,1,1+conv", "2,1,1", "sem_seg_head.pixel_decoder.layer_1.weight"),
        ("2,1,1", "2,1,1+trc:none", "sem_seg_head.pixel_decoder.transformer.encoder.token_excite.ops.weight"),
        ("2,1,1", "2,1,1+trc:conv", "sem_seg_head.pixel_decoder.transformer.encoder.token_excite.ops.weight"),
        ("2,1,1+trc:none", "2,1,1", "sem_seg_head.pixel_decoder.transformer.encoder.token_excite.ops.weight"),
        ("baseline:2", "baseline:3", SAMPLING.format(2)),
        ("0,0,0", "0,0,1", SAMPLING.format(0)),
        ("1,1,1", "1,1,1,1", "sem_seg_head.pixel_decoder.transformer.level_embed"),
        ("1,1,1,1", "1,1,1", "sem_seg_head.pixel_decoder.transformer.level_embed"),
        ("1,1,1+dw", "1,1,1+conv", "sem_seg_head.pixel_decoder.layer_1.weight"),
    ],
)
def test_a_schedule_that_contradicts_the_file_names_the_first_tensor(
    tmp_path: Path, stored: str, told: str, named: str
) -> None:
    path = write(tmp_path / "weights.pth", official(small_model(stored)))
    with pytest.raises(BenchError, match="contradicts schedule") as caught:
        psb.load_checkpoint(path, schedule=told)
    assert f" {named} " in caught.value.message
    assert parse_compact(told).compact in caught.value.message


@pytest.mark.parametrize("told", ["2,1,1+residual", "2,1,1+temp:0.5", "2,1,1+spatial", "4:2,54:1,543:1"])
def test_what_tensors_cannot_tell_does_not_contradict_them(tmp_path: Path, told: str) -> None:
    path = write(tmp_path / "weights.pth", official(small_model("2,1,1")))
    assert psb.load_checkpoint(path, schedule=told).encoder.schedule == parse_compact(told)


def test_metadata_that_contradict_the_tensors(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(save(official(small_model("2,1,1")), {"proscale_bench": '{"schedule": "3,3,3"}'}))
    with pytest.raises(BenchError, match="contradicts its own metadata, schedule 3,3,3"):
        psb.load_checkpoint(path)
    assert psb.load_checkpoint(path, schedule="2,1,1").encoder.schedule.compact == "2,1,1"  # the given one goes first


def test_numbers_are_read_off_the_file(tmp_path: Path) -> None:
    model = psb.load_checkpoint(write(tmp_path / "weights.pth", official(small_model())))
    assert model.decoder.query_features.shape == (HEAD.queries, HEAD.width)
    assert model.decoder.class_head.out_features == HEAD.num_classes + 1
    assert [layer.attention.heads for layer in model.encoder.layers] == [4] * 4
    assert {layer.cross_attention.heads for layer in model.decoder.layers} == {4}
