"""The statistics of batch norms are state: shared by parts, kept, and come back to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.training.batch_norms import running_statistics
from proscale_bench.training.folder import STATE
from proscale_bench.training.samples import Sample
from proscale_bench.training.validation import trained_model
from tests.training.made import Blocks, small, trainer
from tests.training.test_loop import losses, same, state

WITH_NORMS = "pem+width:16"


def batch() -> list[Sample]:
    return [Blocks().sample(index, np.random.default_rng(index)) for index in range(4)]


def test_parts_move_the_statistics_from_where_the_iteration_began() -> None:
    """Each by its own images, and what is left is their mean."""
    start = running_statistics(small(WITH_NORMS))
    moved = []
    for images in (batch()[0::2], batch()[1::2]):
        alone = trainer(WITH_NORMS, batch_size=2)
        alone.step(images)
        moved.append(running_statistics(alone.model))
    together_ = trainer(WITH_NORMS, accumulate=2)
    together_.step(batch())
    for name, found in running_statistics(together_.model).items():
        torch.testing.assert_close(
            found, (moved[0][name] + moved[1][name]) / 2, rtol=1e-6, atol=1e-7, check_dtype=False
        )
        assert not torch.equal(found, start[name]), name
        if name.endswith("num_batches_tracked"):
            assert found == 1


def test_frozen_norms_have_no_statistics() -> None:
    assert running_statistics(small("1,1,1")) == {}


@pytest.mark.parametrize("encoder", [WITH_NORMS, "hybrid", "hybrid+folded"])
def test_a_training_goes_on_with_the_same_bits(tmp_path: Path, encoder: str) -> None:
    whole, first, resumed = (trainer(encoder) for _ in range(3))
    expected = list(whole.run(Blocks()))
    steps = first.run(Blocks())
    next(steps), next(steps)
    first.keep(tmp_path)
    steps.close()  # type: ignore[attr-defined]
    assert resumed.resume(tmp_path) is not None
    assert same(running_statistics(resumed.model), running_statistics(first.model))
    assert losses(list(resumed.run(Blocks()))) == losses(expected[2:])
    assert same(state(resumed), state(whole))
    assert same(running_statistics(resumed.model), running_statistics(whole.model))
    with safe_open(tmp_path / STATE, framework="pt") as file:
        kept = set(file.keys())
    assert {f"model.{name}" for name in running_statistics(whole.model)} <= kept
    assert whole.average is not None
    assert resumed.average is not None
    assert same(resumed.average.tensors, whole.average.tensors)


def test_statistics_are_averaged_with_the_weights() -> None:
    """They belong to the weights that they were taken with. A count of batches has no average."""
    made = trainer("hybrid", ema=0.9)
    name, decay = "encoder.projections.0.1.running_mean", 1 / 10  # of a first update
    start = running_statistics(made.model)[name].clone()
    made.step(batch())
    moved = running_statistics(made.model)[name]
    assert not torch.equal(moved, start)
    expected = decay * start + (1 - decay) * moved
    model = trained_model(made)
    torch.testing.assert_close(running_statistics(model)[name], expected)
    torch.testing.assert_close(running_statistics(made.model)[name], moved)
    assert running_statistics(model)["encoder.projections.0.1.num_batches_tracked"] == 1


def test_one_image_of_one_token_at_res5_is_refused() -> None:
    small = {"augmentation": {"crop": [32, 32]}}
    with pytest.raises(BenchError, match="4 images in 4 parts: the encoder's batch norms need 2 in each"):
        trainer("hybrid", accumulate=4, **small)
    trainer("hybrid", accumulate=2, **small)
    trainer("hybrid", accumulate=4)


def test_a_part_of_one_image_is_refused() -> None:
    """After a mean over the whole map one image has one value, which no norm can be taken of."""
    with pytest.raises(BenchError, match="4 images in 4 parts: the encoder's batch norms need 2 in each") as caught:
        trainer("pem", accumulate=4)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "--batch-size" in (caught.value.hint or "")
