"""Fifty iterations of `shapes`, by the rate that it had, are, but for rounding, those of the code before it was fast.

The fixture holds what that code gave (commit 2c84834, torch 2.14): losses and the gradient's norm of every iteration,
and of the first each parameter's gradient as its norm and its product with fixed random numbers. Rounding grows as a
training goes on, as it does between two machines: the first ten iterations agree to five digits, the last ones to one
or two. The sampling in C adds up in another order, and AdamW's first steps have the size of the rate however small a
gradient is, so that of rounding's too: its first ten agree to four.
`python -m tests.training.test_equivalence FILE` writes such a file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from proscale_bench.config.choices import find_shipped
from proscale_bench.config.recipe import PolynomialSchedule, read_recipe
from proscale_bench.models.build import build
from proscale_bench.models.inference import use_sampling
from proscale_bench.models.sampling import obstacle
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.specs.spelling import parse_encoder
from proscale_bench.training.loop import Trainer
from proscale_bench.training.samples import ShapesTraining

FIXTURE = Path(__file__).parents[1] / "fixtures" / "training" / "shapes-baseline.json"
IMAGES, ITERATIONS = 8, 50


def measured(sampling: str = "dense") -> dict[str, Any]:
    """Losses of fifty iterations of the baseline, tiny, seed 0, on one thread, and the gradients of the first."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    shipped, encoder = read_recipe(find_shipped("recipes", "shapes")), parse_encoder("baseline")
    falling = PolynomialSchedule(kind="polynomial", power=0.9, warmup_iterations=100, warmup_factor=0.01)
    recipe = shipped.model_copy(update={"iterations": 6000, "schedule": falling})  # as it was then
    images = ShapesTraining(IMAGES, 1, recipe.augmentation)
    torch.manual_seed(0)
    model = build(mask2former(encoder, recipe.backbone, classes=len(images.classes)))
    use_sampling(model, sampling)
    trainer = Trainer(model, recipe, 0, {})
    gradients: list[list[float]] = []
    update = trainer._update

    def spy(*arguments: Any) -> Any:
        if trainer.iteration == 0:
            generator = torch.Generator().manual_seed(0)
            for parameter in model.parameters():
                assert parameter.grad is not None
                slope = parameter.grad.double()
                fixed = torch.randn(slope.shape, generator=generator, dtype=torch.float64)
                gradients.append([rounded(slope.norm().item()), rounded((slope * fixed).sum().item())])
        return update(*arguments)

    trainer._update = spy  # type: ignore[method-assign]
    losses = []
    for step in trainer.run(images, 1):
        found = (step.total, step.class_loss, step.mask_loss, step.dice_loss, step.gradient_norm or 0.0)
        losses.append([rounded(one) for one in found])
        if step.iteration == ITERATIONS:
            break
    torch.set_num_threads(threads)
    return {"losses": losses, "gradients": gradients}


def rounded(value: float) -> float:
    return float(f"{value:.7g}")


@pytest.mark.parametrize(("sampling", "digits"), [("dense", 1e-5), ("fused", 1e-4)])
def test_fifty_iterations_are_as_before(
    sampling: str, digits: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if obstacle(sampling, torch.device("cpu")):
        pytest.skip("needs a C compiler")
    monkeypatch.setenv("PROSCALE_BENCH_CACHE", str(tmp_path))
    expected, found = json.loads(FIXTURE.read_text()), measured(sampling)
    for (norm, product), (norm_before, product_before) in zip(found["gradients"], expected["gradients"], strict=True):
        assert norm == pytest.approx(norm_before, rel=1e-4)
        assert product == pytest.approx(product_before, abs=1e-4 * norm_before)
    assert len(found["losses"]) == len(expected["losses"]) == ITERATIONS
    for index, (step, before) in enumerate(zip(found["losses"], expected["losses"], strict=True)):
        if index < 10:
            assert step == pytest.approx(before, rel=digits), index
        else:
            assert step[0] == pytest.approx(before[0], rel=0.1), index
    means, means_before = (torch.tensor(one["losses"]).mean(0)[:4].tolist() for one in (found, expected))
    assert means == pytest.approx(means_before, rel=0.02)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(measured(), separators=(",", ":")))
