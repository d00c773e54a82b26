"""Kept trainings come back to the last bit; damaged or hostile files are refused and changes nothing."""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.training.checkpoint import read_state
from proscale_bench.training.folder import STATE
from tests.training.made import Blocks, trainer
from tests.training.test_loop import losses, same, state

Tensors = dict[str, Tensor]
Metadata = dict[str, str]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state after two of four iterations."""
    run = tmp_path_factory.mktemp("run")
    made = trainer()
    steps = made.run(Blocks())
    pending = [next(steps), next(steps)]
    made.keep(run, pending)
    steps.close()  # type: ignore[attr-defined]
    return run


def test_a_training_goes_on_with_the_same_bits(kept: Path) -> None:
    whole, resumed = trainer(), trainer()
    expected = list(whole.run(Blocks()))
    resumed_state = resumed.resume(kept)
    assert resumed_state is not None
    assert losses(list(resumed_state.unlogged)) == losses(expected[:2])
    assert losses(list(resumed.run(Blocks()))) == losses(expected[2:])
    assert same(state(resumed), state(whole))
    assert whole.average is not None
    assert resumed.average is not None
    assert same(resumed.average.tensors, whole.average.tensors)
    assert resumed.average.updates == whole.average.updates == 4
    for one, other in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert same(resumed.optimizer.state[one], whole.optimizer.state[other])


def test_the_scale_of_fp16_comes_back(tmp_path: Path) -> None:
    one, other = trainer(precision="fp16", loss={"points": 8}), trainer(precision="fp16", loss={"points": 8})
    one.step([Blocks().sample(index, random()) for index in range(4)])
    one.keep(tmp_path)
    assert other.resume(tmp_path) is not None
    assert other.scaler.state_dict() == one.scaler.state_dict()
    other.step([Blocks().sample(index, random()) for index in range(4)])


def random() -> Any:
    import numpy as np

    return np.random.default_rng(0)


def test_where_nothing_is_kept_nothing_comes_back(tmp_path: Path) -> None:
    assert trainer().resume(tmp_path) is None


def test_it_is_replaced_whole_and_nothing_stays_beside_it(kept: Path, tmp_path: Path) -> None:
    made = trainer()
    made.resume(kept)
    made.keep(tmp_path)
    made.keep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [STATE]


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="limits are POSIX's here")
def test_a_full_disk_leaves_what_was_there(kept: Path, tmp_path: Path) -> None:
    made = trainer()
    made.resume(kept)
    made.keep(tmp_path)
    before = (tmp_path / STATE).read_bytes()
    made.iteration += 1
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
        with pytest.raises(BenchError, match="cannot write") as caught:
            made.keep(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "disk" in str(caught.value.hint)
    assert (tmp_path / STATE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [STATE]


# --- Damaged and hostile files ---


def told(metadata: Metadata, change: Callable[[dict[str, Any]], object]) -> None:
    state = json.loads(metadata["standing"])
    change(state)
    metadata["standing"] = json.dumps(state)


def missing(tensors: Tensors, metadata: Metadata) -> None:
    del tensors["model.decoder.class_head.bias"]


def without_average(tensors: Tensors, metadata: Metadata) -> None:
    del tensors["average.decoder.class_head.bias"]


def half_a_moment(tensors: Tensors, metadata: Metadata) -> None:
    del tensors["optimizer.exp_avg.decoder.class_head.bias"]


def reshaped(tensors: Tensors, metadata: Metadata) -> None:
    tensors["model.decoder.class_head.bias"] = torch.zeros(1)


def retyped(tensors: Tensors, metadata: Metadata) -> None:
    tensors["optimizer.step.decoder.class_head.bias"] = torch.zeros((), dtype=torch.float64)


def unformatted(tensors: Tensors, metadata: Metadata) -> None:
    metadata["format"] = "pt"


def silent(tensors: Tensors, metadata: Metadata) -> None:
    del metadata["standing"]


def no_json(tensors: Tensors, metadata: Metadata) -> None:
    metadata["standing"] = "{"


def deep(tensors: Tensors, metadata: Metadata) -> None:
    metadata["standing"] = "[" * 100_000


def backwards(tensors: Tensors, metadata: Metadata) -> None:
    told(metadata, lambda state: state.update(iteration=-1))


def beyond(tensors: Tensors, metadata: Metadata) -> None:
    told(metadata, lambda state: state.update(iteration=5))


def in_words(tensors: Tensors, metadata: Metadata) -> None:
    told(metadata, lambda state: state.update(iteration="2"))


def scaled(tensors: Tensors, metadata: Metadata) -> None:
    told(metadata, lambda state: state.update(scale={"scale": 2.0}))


def talkative(tensors: Tensors, metadata: Metadata) -> None:
    told(metadata, lambda state: state.update(more=1))


@pytest.mark.parametrize(
    "change",
    [
        *(missing, without_average, half_a_moment, reshaped, retyped, unformatted, silent, no_json, deep),
        *(backwards, beyond, in_words, scaled, talkative),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    kept: Path, tmp_path: Path, change: Callable[[Tensors, Metadata], None]
) -> None:
    tensors = load_file(kept / STATE)
    with safe_open(kept / STATE, framework="pt") as file:
        metadata = dict(file.metadata())
    change(tensors, metadata)
    save_file(tensors, tmp_path / STATE, metadata)
    refused(tmp_path)


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_what_is_cut_off_is_refused(kept: Path, tmp_path: Path, length: int) -> None:
    (tmp_path / STATE).write_bytes((kept / STATE).read_bytes()[:length])
    refused(tmp_path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / STATE).mkdir()
    refused(tmp_path)


def refused(run: Path) -> None:
    made = trainer()
    before = state(made)
    with pytest.raises(BenchError) as caught:
        made.resume(run)
    assert caught.value.message.startswith(str(run / STATE))
    assert caught.value.exit_code == ExitCode.USAGE
    assert caught.value.hint
    assert same(state(made), before)
    assert not made.optimizer.state
    assert made.iteration == 0


def test_a_pipe_in_place_of_a_state_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / STATE)
    with pytest.raises(BenchError, match=r"training\.safetensors: cannot be read: not a regular file"):
        read_state(tmp_path, {})
