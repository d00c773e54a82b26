"""Training and memory of models of ours: what torch's own counter finds, and what a pass takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from proscale_bench.bench.own_pass import traced_pass
from proscale_bench.bench.specs import ModelChoice
from proscale_bench.cost.count import FlopCount, count_model
from proscale_bench.cost.geometry import in_batch, parse_size
from proscale_bench.cost.rules import get_rules
from proscale_bench.errors import BenchError
from proscale_bench.models.build import build
from proscale_bench.models.inference import use_sampling
from proscale_bench.specs.model import ModelSpec
from tests.cli import run

ROOT = Path(__file__).parents[2]
MODELS = [
    *(("mask2former", schedule) for schedule in ("baseline:2", "2,1,1+conv", "1,1,1+spatial+keep:0.5", "lite:(1+1)x1")),
    *(("mask2former", schedule) for schedule in ("hybrid", "pem", "early-exit:2")),
    *((f"deformable-detr{options}", "baseline:2") for options in ("", "+refine", "+two-stage")),
]


def spec_of(model: str, schedule: str) -> ModelSpec:
    return ModelChoice(schedules=(schedule,), models=(model,), backbone="tiny").specs()[0]


def counted(spec: ModelSpec, size: str, batch: int, rules: str = "products") -> FlopCount:
    return count_model(spec, in_batch(parse_size(size), batch), get_rules(rules))


def by_torch(spec: ModelSpec, size: tuple[int, int], batch: int) -> int:
    """Products of a pass and its way back, by torch's own counter."""
    model = build(spec).train()
    use_sampling(model, "grid_sample")
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        output = model(torch.rand(batch, 3, *size))
        values = output if isinstance(output, tuple) else vars(output)
        wanted = [one for one in tree_leaves(values) if isinstance(one, Tensor) and one.requires_grad]
        torch.autograd.backward([one.sum() for one in wanted])
    return counter.get_total_flops() // 2


@pytest.mark.parametrize(("model", "schedule"), MODELS)
def test_training_equals_torchs_own_count(model: str, schedule: str) -> None:
    spec, batch = spec_of(model, schedule), 2
    found = counted(traced_pass(spec, training=True), "96x128", batch)
    assert sum(found.flops.values()) == by_torch(spec, (96, 128), batch)
    alone = counted(spec, "96x128", batch)
    assert found.gflops["encoder"] == pytest.approx(alone.gflops["encoder"], rel=1e-3)
    assert found.gflops["total"] > 2 * alone.gflops["total"]


def test_a_batch_is_told_by_the_image_and_rows_say_what_the_pass_is() -> None:
    spec = spec_of("mask2former", "1,1,1")
    one, two = (counted(traced_pass(spec, training=True), "90x100", batch).row() for batch in (1, 2))
    assert one["gflops"] == pytest.approx(two["gflops"], rel=1e-3)  # what is made once for a batch is half as much
    assert [layer["tokens"] for layer in one["layers"]] == [layer["tokens"] for layer in two["layers"]]
    assert one["dimensions"]["pass"] == "forward and backward"
    assert one["input"]["padded_height_px"] == 96
    assert two["input"]["images"] == 2
    assert one["baseline"]["gflops"]["total"] > one["gflops"]["total"]
    assert [part["name"] for part in one["parts"]][-2:] == ["backward", "total"]


def test_memory_changes_nothing_else_of_a_row() -> None:
    spec = spec_of("mask2former", "1,1,1")
    plain = count_model(spec, parse_size("90x100"), get_rules("fvcore")).row()
    weighed = counted(traced_pass(spec, memory=True), "90x100", 1, "fvcore").row()
    assert weighed.pop("activation_mib") > 0
    assert weighed == plain


@pytest.mark.parametrize("schedule", ["early-exit", "early-exit+exits:1/1/1/1/1"])
def test_what_has_no_one_pass_is_refused(schedule: str) -> None:
    with pytest.raises(BenchError, match="no one pass"):
        traced_pass(spec_of("mask2former", schedule), training=True)


def test_flags_and_rows_of_the_command() -> None:
    flags = ("flops", "-s", "1,1,1", "-b", "tiny", "--size", "64x64", "--training", "--memory", "-n", "2")
    result = run(*flags, "--export-json", "-")
    assert result.exit_code == 0, result.stderr
    (row,) = json.loads(result.stdout)["results"]
    assert row["gflops"]["backward"] > 0
    assert row["activation_mib"] > 0
    shown = run(*flags).stdout
    assert "backward pass" in shown
    assert "peak of activations, MiB" in shown
    assert "post-processing" not in shown
    detector = run("flops", "--model", "deformable-detr", "-b", "tiny", "--size", "64x96", "--training")
    assert "backward pass" in detector.stdout
    for more in (("--verify",), ("--as-executed",), ("--size", "coco-val")):
        assert run(*flags, *more).exit_code == 2


def test_budgets_hold_training_and_memory_without_a_gpu(tmp_path: Path) -> None:
    file = tmp_path / "budgets.yaml"

    def check(lines: str) -> tuple[int, str]:
        head = "schema_version: 1\ndefaults: {backbone: tiny, size: 64x64}\nbudgets:\n  - schedule: 1,1,1\n    "
        file.write_text(head + lines + "\n")
        result = run("check", str(file))
        return result.exit_code, result.stdout + result.stderr

    assert check("activation_mib: {max: 0.1}")[0] == 1
    assert check("activation_mib: {max: 50}")[0] == 0
    assert check("total_gflops: {max: 0.2}")[0] == 0
    code, shown = check("training: true\n    total_gflops: {max: 0.2, max_increase_pct: -1, against: baseline}")
    assert code == 1
    assert "pass forward and backward" in shown
    assert "say size: 640x640" in check("size: coco-val\n    activation_mib: {max: 50}")[1]
    code, shown = check("model_args: {width: 3}\n    total_gflops: {max: 1}")
    assert code == 2
    assert "model_args: is of a model of somebody else's" in shown


MEASURE = """
import gc, json, sys
import torch
from proscale_bench.bench.own_pass import traced_pass
from proscale_bench.bench.specs import ModelChoice
from proscale_bench.cost.count import count_model
from proscale_bench.cost.geometry import in_batch, parse_size
from proscale_bench.cost.rules import get_rules
from proscale_bench.measure.memory import pass_memory
from proscale_bench.models.build import build
from proscale_bench.models.inference import prepare_for_inference

torch.set_num_threads(2)
for backbone, size, batch in json.loads(sys.argv[1]):
    (spec,) = ModelChoice(schedules=("3,3,3",), backbone=backbone).specs()
    given = in_batch(parse_size(tuple(size)), batch)
    expected = count_model(traced_pass(spec, memory=True), given, get_rules("fvcore")).activation_mib
    model = build(spec)
    prepare_for_inference(model)
    images = 255 * torch.rand(batch, 3, *size)

    def run():
        with torch.inference_mode():
            model(images)

    run()
    gc.collect()
    gc.disable()  # what is given back while a pass is measured would be taken from it
    memory = pass_memory(model, run, torch.device("cpu"))
    print(json.dumps([expected, None if memory is None else memory.allocated_mib - memory.before_mib]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a pass")
@pytest.mark.parametrize(
    ("sizes", "batches"),
    [(((320, 320),), (1,)), pytest.param(((224, 224), (384, 512), (640, 640)), (1, 2), marks=pytest.mark.slow)],
)
def test_the_peak_of_a_pass(sizes: tuple[tuple[int, int], ...], batches: tuple[int, ...]) -> None:
    cases = [(name, size, batch) for name in ("resnet50", "swin_t") for size in sizes for batch in batches]
    command = [sys.executable, "-c", MEASURE, json.dumps(cases)]
    passive = {**os.environ, "OMP_WAIT_POLICY": "passive"}  # threads that wait take nothing from each other
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=900, env=passive)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    for case, (expected, measured) in zip(cases, found, strict=True):
        if measured is None:
            pytest.skip("this system does not tell the peak of a pass")
        assert expected == pytest.approx(measured, rel=0.1), case
