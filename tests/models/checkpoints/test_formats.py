"""Every format gives the same weights, and every conversion gives back what was there."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from torch import Tensor

from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.formats import read_stored
from proscale_bench.models.checkpoints.load import load_checkpoint, model_of, open_checkpoint
from proscale_bench.models.checkpoints.save import convert_checkpoint, save_checkpoint
from proscale_bench.specs.encoders.staged import Schedule

from .samples import RESNET, SWIN, hugging_face, official, same, schedules, small_model, write

SUFFIXES = (".safetensors", ".pth", ".pkl")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("backbone", [SWIN, RESNET])
def test_a_model_is_read_from_every_format(tmp_path: Path, suffix: str, backbone: object) -> None:
    model = small_model("2,1,1+conv+trc:conv", backbone)  # type: ignore[arg-type]
    path = write(tmp_path / f"weights{suffix}", official(model))
    assert same(load_checkpoint(path).state_dict(), model.state_dict())


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_of_pickle_is_read(tmp_path: Path, protocol: int) -> None:
    model = small_model()
    arrays = OrderedDict((key, value.numpy()) for key, value in official(model).items())
    document = {
        "model": arrays,
        "matching_heuristics": True,
        "__author__": "x",
        "n": np.float32(3),
        "t": (1, [2, b"3"]),
    }
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps(document, protocol))
    assert same(load_checkpoint(path).state_dict(), model.state_dict())
    assert "matching_heuristics" in read_stored(path).left_behind


def test_arrays_of_the_other_byte_order_and_of_columns_are_read(tmp_path: Path) -> None:
    model = small_model()
    arrays = {}
    for key, tensor in official(model).items():
        array = tensor.numpy()
        arrays[key] = np.asfortranarray(array.astype(array.dtype.newbyteorder(">")))
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps({"model": arrays}, protocol=2))
    assert same(load_checkpoint(path).state_dict(), model.state_dict())


def test_torch_files_before_1_6_are_read(tmp_path: Path) -> None:
    model = small_model()
    torch.save({"model": official(model)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    stored = read_stored(tmp_path / "old.pth")
    assert (stored.format, stored.entry) == ("torch, legacy", "model")
    assert same(load_checkpoint(tmp_path / "old.pth").state_dict(), model.state_dict())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_become_float32_and_are_accounted_for(tmp_path: Path, dtype: torch.dtype) -> None:
    state = {
        key: value.to(dtype) if value.is_floating_point() else value for key, value in official(small_model()).items()
    }
    checkpoint = open_checkpoint(write(tmp_path / "half.pth", state))
    name = str(dtype).removeprefix("torch.")
    assert set(checkpoint.dtypes) == {name}
    assert {entry.how for entry in checkpoint.entries if entry.key.endswith("norm1.weight")} == {f"{name} to float32"}
    assert {tensor.dtype for tensor in model_of(checkpoint).parameters()} == {torch.float32}


@given(
    schedules(0), st.sampled_from([SWIN, RESNET]), st.sampled_from(SUFFIXES), st.sampled_from(SUFFIXES), st.booleans()
)
@settings(max_examples=8, deadline=None)
def test_official_to_ours_and_back_is_bit_identical(
    tmp_path_factory: pytest.TempPathFactory, schedule: Schedule, backbone: object, first: str, second: str, half: bool
) -> None:
    """Keys, types, shapes and values, of what the model does not use too."""
    folder = tmp_path_factory.mktemp("round")
    state = official(small_model(schedule, backbone))  # type: ignore[arg-type]
    state |= {"sem_seg_head.unknown": torch.arange(3), "backbone.relative.num_batches_tracked": torch.tensor(7)}
    if half:
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    start = write(folder / f"official{first}", state)
    convert_checkpoint(open_checkpoint(start, schedule), folder / f"ours{second}", "ours")
    ours = open_checkpoint(folder / f"ours{second}")  # heads and schedule now come from the metadata
    assert ours.inferred.schedule == schedule
    convert_checkpoint(ours, folder / f"back{first}")
    assert same(read_stored(folder / f"back{first}").tensors, state)
    assert ours.digest == open_checkpoint(folder / f"back{first}").digest


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_official_layouts_are_written_back_from_each_format(tmp_path: Path, suffix: str) -> None:
    state = official(small_model("0,0,6+conv+trc:none", RESNET))
    checkpoint = open_checkpoint(write(tmp_path / "in.pth", state, iteration=7, optimizer={"state": {}}))
    written = convert_checkpoint(checkpoint, tmp_path / f"out{suffix}")
    assert same(read_stored(tmp_path / f"out{suffix}").tensors, state)
    assert written.left_out == ("iteration", "optimizer")


@pytest.mark.parametrize("backbone", [SWIN, RESNET])
def test_hugging_face_to_ours_and_back(tmp_path: Path, backbone: object) -> None:
    state = hugging_face(small_model("baseline:2", backbone))  # type: ignore[arg-type]
    state["model.pixel_level_module.encoder.embedder.embedder.normalization.num_batches_tracked"] = torch.tensor(3)
    checkpoint = open_checkpoint(write(tmp_path / "in.safetensors", state))
    convert_checkpoint(checkpoint, tmp_path / "ours.safetensors", "ours")
    ours = open_checkpoint(tmp_path / "ours.safetensors")
    if backbone is RESNET:  # of expansion 2, which transformers does not build
        with pytest.raises(BenchError, match="no backbone of these dimensions"):
            convert_checkpoint(ours, tmp_path / "folder", "huggingface")
        return
    convert_checkpoint(ours, tmp_path / "folder", "huggingface")
    assert same(read_stored(tmp_path / "folder").tensors, state)
    assert open_checkpoint(tmp_path / "folder").digest == checkpoint.digest


def test_what_a_layout_or_container_cannot_hold_is_refused(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write(tmp_path / "in.pth", official(small_model())))
    for out, layout, said in [
        ("x", "huggingface", "no model of schedule 2,1,1"),
        ("x.onnx", "official", "no container"),
        ("x.pth", "huggingface", "is a folder"),
        ("x.pth", "mmdet", "unknown layout"),
    ]:
        with pytest.raises(BenchError, match=said):
            convert_checkpoint(checkpoint, tmp_path / out, layout)
    state = {
        key: value.bfloat16() if value.is_floating_point() else value for key, value in official(small_model()).items()
    }
    with pytest.raises(BenchError, match="numpy has no bfloat16"):
        convert_checkpoint(open_checkpoint(write(tmp_path / "b.pth", state)), tmp_path / "b.pkl")
    assert {path.name for path in tmp_path.iterdir()} == {"in.pth", "b.pth"}


# --- Saving ---


@pytest.mark.parametrize("schedule", ["3,0,0", "1,1,1+spatial+residual+temp:1.0", "4:2,543:1", "0,0,0", "baseline"])
def test_saving_keeps_what_shapes_cannot_tell(tmp_path: Path, schedule: str) -> None:
    model = small_model(schedule)
    save_checkpoint(model, tmp_path / "saved.safetensors", {"recipe": "none"})
    loaded = open_checkpoint(tmp_path / "saved.safetensors")
    assert loaded.inferred.schedule.compact == schedule
    assert (loaded.inferred.head.encoder_heads, loaded.inferred.head.decoder_heads) == (4, 4)
    assert same(model_of(loaded).state_dict(), model.state_dict())
    with safe_open(tmp_path / "saved.safetensors", framework="pt") as file:
        assert file.metadata()["format"] == "pt"
        assert '"recipe": "none"' in file.metadata()["proscale_bench"]


def test_saving_replaces_whole_files_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from proscale_bench.models.checkpoints import save

    path = tmp_path / "saved.safetensors"
    path.write_bytes(b"old")

    def fail(state: dict[str, Tensor], temporary: Path, metadata: dict[str, str]) -> None:
        temporary.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(save, "save_file", fail)
    with pytest.raises(BenchError, match="No space left"):
        save_checkpoint(small_model(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_digest_is_of_the_weights_alone(tmp_path: Path) -> None:
    first, second = small_model(seed=0), small_model(seed=1)
    digests = {
        open_checkpoint(write(tmp_path / f"{name}{suffix}", state)).digest
        for suffix in SUFFIXES
        for name, state in [("official", official(first)), ("ours", dict(first.state_dict()))]
    }
    assert len(digests) == 1
    assert open_checkpoint(write(tmp_path / "second.pth", official(second))).digest not in digests
