"""`flops --model`: what it finds, what it refuses, and what it says of models that it cannot count."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from proscale_bench.bench.any_model import find_model
from proscale_bench.config.model_request import read_request
from proscale_bench.cost.count import count_model
from proscale_bench.cost.rules import get_rules
from tests.cli import run
from tests.measure.families import configuration

NET = '''
import torch
from torch import nn

print("said while it is imported")

class Net(nn.Module):
    main = {"body": "the body", "tail.1": "the last"}

    def __init__(self, width: int = 8, tied: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.tail = nn.Sequential(nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1))
        if tied:
            self.tail[1].weight = self.tail[0].weight

    def forward(self, x):
        x = self.tail(self.body(x))
        return x * x.sigmoid()

class Raises(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        raise ValueError("first\\nwidth must be even")

class Unknown(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(Bessel(), nn.Conv2d(3, 2, 1))

    def forward(self, x):
        return self.inner(x)

class Bessel(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)

class Sorted(nn.Module):
    """Its shapes depend on values."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(self, x):
        return self.linear(x.flatten(2).transpose(1, 2)[0][: int((x >= 0).sum()) // 3])

class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, image, more):
        return self.conv(image) + more["bias"]

def make_inputs(size, batch_size):
    return {"image": torch.rand(batch_size, 3, *size), "more": {"bias": torch.rand(batch_size, 1, *size)}}

def two_small_images(): return torch.rand(2, 3, 8, 16)

def nothing(): return "a word"

built = Net(4)
NUMBER = 3
'''


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("models") / "net.py"
    file.write_text(NET)
    return str(file)


def exported(*arguments: str) -> dict[str, Any]:
    result = run("flops", *arguments, "--export-json", "-")
    assert result.exit_code == 0, result.stderr
    (row,) = json.loads(result.stdout)["results"]
    return row  # type: ignore[no-any-return]


def test_parts_are_the_named_children_and_what_runs_outside_them(net: str) -> None:
    row = exported("--model", f"{net}:Net", "--size", "8x16", "--rules", "complete")
    products = {"body": 128 * 8 * 27, "tail": 128 * 2 * 64}
    assert row["gflops"]["body"] * 1e9 == pytest.approx(products["body"] + 2 * 128 * 8)
    assert row["gflops"]["tail"] * 1e9 == pytest.approx(products["tail"])
    assert row["gflops"]["outside"] * 1e9 == pytest.approx(128 * 8)  # its product by elements
    assert row["gflops"]["total"] * 1e9 == pytest.approx(sum(products.values()) + 3 * 128 * 8)
    assert [part["name"] for part in row["parts"]] == ["body", "tail", "outside", "total"]
    assert row["params_m"]["total"] * 1e6 == pytest.approx(8 * 27 + 8 + 16 + 2 * (64 + 8))
    assert (row["model"], row["schedule"], row["engine"]) == ("custom", f"{net}:Net", "trace-meta")
    assert row["uncounted_ops"] == {"aten.relu": 128 * 8 / 1e9, "aten.sigmoid": 128 * 8 / 1e9}


def test_parts_may_be_those_that_the_model_names(net: str) -> None:
    row = exported("--model", f"{net}:Net", "--size", "8x16", "--depth", "main", "--rules", "products")
    assert [(part["name"], part["title"]) for part in row["parts"]] == [
        ("body", "the body"),
        ("tail.1", "the last"),
        ("outside", "outside these"),
        ("total", "total"),
    ]
    assert row["gflops"]["outside"] == row["gflops"]["tail.1"] == 128 * 64 / 1e9


def test_what_rules_leave_out_is_listed_with_its_amount(net: str) -> None:
    row = exported("--model", f"{net}:Net", "--size", "8x16", "--rules", "products")
    assert row["uncounted_ops"]["elementwise_product"] == 128 * 8 / 1e9
    assert row["uncounted_ops"]["batch_norm"] == 2 * 128 * 8 / 1e9
    shown = run("flops", "--model", f"{net}:Net", "--size", "8x16", "--by", "operator").stdout
    header = next(line for line in shown.splitlines() if "complete" in line)
    assert header.split() == ["GFLOPs", "fvcore", "*", "published", "complete", "products"]
    assert "products by elements" in shown
    assert "not counted: " in shown


def test_the_other_convention_doubles_products_alone(net: str) -> None:
    one, two = (
        exported("--model", f"{net}:Net", "--size", "8x16", "--convention", convention)
        for convention in ("mac", "flop")
    )
    norms = 2 * 128 * 8 / 1e9
    assert two["gflops"]["total"] - norms == pytest.approx(2 * (one["gflops"]["total"] - norms))


def test_shared_parameters_count_once(net: str) -> None:
    free, tied = (
        exported("--model", f"{net}:Net", "--size", "8x16", "--model-args", f"tied={tied}") for tied in (False, True)
    )
    assert (free["params_m"]["total"] - tied["params_m"]["total"]) * 1e6 == pytest.approx(64)
    assert free["gflops"] == tied["gflops"]


def test_a_model_against_another(net: str) -> None:
    result = run("flops", "--model", f"{net}:built", "--against", f"{net}:Net", "--size", "8x16")
    assert result.exit_code == 0, result.stderr
    assert "saves" in result.stdout
    row = exported("--model", f"{net}:built", "--against", f"{net}:Net", "--size", "8x16")
    assert row["baseline"]["schedule"] == f"{net}:Net"
    assert row["reduction_pct"]["total"] > 50


def test_batches_inputs_and_arguments(net: str) -> None:
    one = exported("--model", f"{net}:TwoInputs", "--inputs", f"{net}:make_inputs", "--size", "8x16", "-n", "3")
    assert one["gflops"]["total"] * 1e9 == pytest.approx(128 * 12)
    assert one["input"]["images"] == 3
    assert one["dimensions"]["inputs"] == f"{net}:make_inputs"
    wide = exported("--model", f"{net}:Net", "--model-args", "width=16", "--size", "8x16")
    assert wide["schedule"] == f"{net}:Net(width=16)"


def test_images_of_a_functions_own_size_are_never_counted_under_another(net: str) -> None:
    given = ("--model", f"{net}:Net", "--inputs", f"{net}:two_small_images")
    refused = run("flops", *given)
    assert refused.exit_code == 2
    assert "made 2 of 8x16 where 1 of 640x640 are asked for" in refused.stderr
    assert "--size 8x16 --batch-size 2" in refused.stderr
    row = exported(*given, "--size", "8x16", "-n", "2")
    assert (row["input"]["height_px"], row["input"]["width_px"], row["input"]["images"]) == (8, 16, 2)


def test_values_that_decide_shapes_are_run_for_real_and_the_record_says_so(net: str) -> None:
    row = exported("--model", f"{net}:Sorted", "--size", "8x16")
    assert row["engine"] == row["dimensions"]["engine"] == "trace-cpu"
    assert row["gflops"]["total"] * 1e9 == pytest.approx(128 * 12)


def test_an_operator_without_a_rule_stops_the_count_and_can_be_allowed(net: str) -> None:
    result = run("flops", "--model", f"{net}:Unknown", "--size", "8x8")
    assert result.exit_code == 3
    assert "aten.special_bessel_j0" in result.stderr
    assert "inner.0 (Bessel)" in result.stderr
    assert "--allow aten.special_bessel_j0=0" in result.stderr
    row = exported("--model", f"{net}:Unknown", "--size", "8x8", "--allow", "aten.special_bessel_j0=0")
    assert row["dimensions"]["allowed"] == "aten.special_bessel_j0=0"
    assert row["uncounted_ops"]["aten.special_bessel_j0"] == 3 * 64 / 1e9


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("{net}:Nothing", "there is no 'Nothing'"),
        ("{net}:Nett", "did you mean 'Net'"),
        ("{net}:NUMBER", "of type int"),
        ("{net}:nothing", "made something of type str"),
        ("{net}:Raises", "ValueError: width must be even (net.py:24)"),
        ("{net}:TwoInputs", "--inputs"),
        ("{net}x.py:Net", "there is no such file"),
        ("no.such.package:Net", "No module named 'no'"),
        ("torchvision:resnet5", "did you mean 'resnet50'"),
        ("hf:{net}", "not JSON"),
        ("hf:{net}.json", "No such file"),
        ("a word", "no model is named"),
    ],
)
def test_what_is_no_model_is_refused_in_a_line(net: str, model: str, expected: str) -> None:
    result = run("flops", "--model", model.format(net=net), "--size", "8x8")
    assert result.exit_code == 2
    assert expected in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "flags",
    [
        ("--model-args", "width"),
        ("--allow", "aten.foo"),
        ("--allow", "aten.foo=1"),
        ("--depth", "0"),
        ("--depth", "no word"),
        ("--inputs", "make_inputs"),
        ("--size", "coco-val"),
        ("--schedule", "3,3,3"),
        ("--backbone", "tiny"),
        ("--verify",),
        ("--classes", "3"),
    ],
)
def test_flags_that_say_nothing_of_a_model_are_refused(net: str, flags: tuple[str, ...]) -> None:
    assert run("flops", "--model", f"{net}:Net", *flags).exit_code == 2
    if flags[0] in ("--model-args", "--allow", "--depth", "--inputs"):
        assert run("flops", *flags).exit_code == 2


def test_a_configuration_never_downloads_and_names_its_traps(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**configuration("eomt"), "auto_map": {"AutoModel": "evil--code.Net"}}))
    result = run("flops", "--model", f"hf:{tmp_path}", "--size", "64x64")
    assert result.exit_code == 0, result.stderr
    assert "released models run without, which is --model-args attn_mask_probs=0" in result.stderr
    off = run("flops", "--model", f"hf:{file}", "--size", "64x64", "--model-args", "attn_mask_probs=0")
    assert "released models run without" not in off.stderr
    wrong = run("flops", "--model", f"hf:{file}", "--size", "64x64", "--model-args", "no_such=0")
    assert wrong.exit_code == 2
    assert "no such key or buffer" in wrong.stderr


@pytest.mark.parametrize(
    ("document", "expected"),
    [({"model_type": "my_own"}, "model_type 'my_own'"), ([], "not a configuration"), ({}, "model_type None")],
)
def test_configurations_of_others_are_refused(document: Any, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(document))
    result = run("flops", "--model", f"hf:{file}")
    assert result.exit_code == 2
    assert expected in result.stderr


def test_budgets_hold_models_that_they_name(net: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(Path(net).read_text())
    budgets = tmp_path / "budgets.yaml"
    budgets.write_text(
        "schema_version: 1\n"
        "budgets:\n"
        "  - model: net.py:Net\n"
        "    model_args: {width: 4, tied: true}\n"
        "    baseline: net.py:Net\n"
        "    size: 8x16\n"
        "    rules: products\n"
        f"    total_gflops: {{max: {128 * (4 * 27 + 32) / 1e9}, max_increase_pct: -50, against: baseline}}\n"
        f"    params_m: {{max: {(4 * 27 + 4 + 8 + 16 + 8 - 1) / 1e6}}}\n"
    )
    result = run("check", str(budgets))
    assert result.exit_code == 1
    assert "2 of 3 limits kept, 1 failed" in result.stdout
    assert "params_m of " in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("total_gflops: {max: 1}", "say size: 640x640"),
        ("size: 8x16\n    encoder_gflops: {max: 1}", "has no part 'encoder'"),
        ("size: 8x16\n    backbone: tiny\n    total_gflops: {max: 1}", "a model and backbone"),
        ("size: 8x16\n    depth: 0\n    total_gflops: {max: 1}", "--depth 0"),
    ],
)
def test_budgets_that_no_model_can_be_held_to_are_refused(net: str, tmp_path: Path, lines: str, expected: str) -> None:
    (tmp_path / "budgets.yaml").write_text(f"schema_version: 1\nbudgets:\n  - model: {net}:Net\n    {lines}\n")
    result = run("check", str(tmp_path / "budgets.yaml"))
    assert result.exit_code == 2
    assert expected in result.stderr + result.stdout


def test_models_are_timed_in_turns_with_what_they_are_held_against(net: str, tmp_path: Path) -> None:
    flags = ("--model", f"{net}:Net", "--model-args", "width=4", "--against", f"{net}:Net", "--size", "32x32")
    how = ("--repeats", "6", "--max-seconds", "5", "--device", "cpu", "--threads", "1")
    result = run("profile", *flags, *how, "--out", str(tmp_path / "run"), "--export-json", "-")
    assert result.exit_code == 0, result.stderr
    base, own = json.loads(result.stdout)["results"]
    assert (base["schedule"], own["schedule"]) == (f"{net}:Net", f"{net}:Net(width=4)")
    assert base["session"] == own["session"]
    assert set(own["stages"]) == {"body", "tail"}
    assert own["counted_saving_pct"]["counted"] > 40
    assert own["realised_saving_pct"] is not None
    assert base["realised_saving_pct"] is None
    assert own["sampling"] == "none"
    assert own["gflops"]["total"] > 0
    assert len(list((tmp_path / "run" / "records").glob("*.json"))) == 2
    assert run("report", str(tmp_path / "run")).exit_code == 0


def test_a_model_is_found_again_in_another_process(net: str) -> None:
    found = find_model(read_request(f"{net}:Net"), "8x16")
    again = pickle.loads(pickle.dumps(found.spec))
    assert again == found.spec
    assert count_model(again, found.size, get_rules("complete")).flops["body"] > 0
    assert sum(parameter.numel() for parameter in again.opener(again).build().parameters()) == 384


def test_a_record_never_leads_to_its_model(net: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(Path(net).read_text())
    out = tmp_path / "flops.json"
    assert run("flops", "--model", f"{file}:Net", "--size", "8x8", "--export-json", str(out)).exit_code == 0
    file.write_text("raise SystemExit('executed')")
    result = run("compare", str(out), str(out))
    assert result.exit_code == 0, result.stderr
    assert "executed" not in result.stdout + result.stderr


def test_a_sweep_counts_the_models_that_it_names(net: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(Path(net).read_text())
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(
        "schema_version: 1\n"
        "name: mine\n"
        'models: ["net.py:Net", {model: "net.py:Net", model_args: {width: 4}, baseline: "net.py:Net"}]\n'
        "sizes: [8x16, 40x40]\n"
        "rules: products\n"
    )
    result = run("sweep", str(sweep), "--out", str(tmp_path / "run"))
    assert result.exit_code == 0, result.stderr
    records = [json.loads(file.read_text()) for file in (tmp_path / "run" / "records").glob("*.json")]
    assert sorted(record["cost"]["gflops"]["tail"] * 1e9 for record in records) == pytest.approx(
        [128 * 2 * 16, 128 * 2 * 64, 1600 * 2 * 16, 1600 * 2 * 64]
    )
    assert {record["input"]["padded_height_px"] for record in records} == {8, 40}
    blind = "which count fused attention as 0"
    assert blind not in (tmp_path / "run" / "index.html").read_text()
    sweep.write_text(sweep.read_text().replace("rules: products", "rules: fvcore"))
    assert run("sweep", str(sweep), "--out", str(tmp_path / "seen")).exit_code == 0
    assert blind in (tmp_path / "seen" / "index.html").read_text()
    sweep.write_text(sweep.read_text().replace("8x16", "coco-val"))
    assert run("sweep", str(sweep), "--out", str(tmp_path / "other")).exit_code == 2
    sweep.write_text(sweep.read_text().replace('net.py:Net"', 'none.py:Net"', 1))
    refused = run("sweep", str(sweep), "--out", str(tmp_path / "other"))
    assert refused.exit_code == 2
    assert "sweep.yaml:3:" in refused.stderr


def test_the_peak_of_activations_is_counted_and_limited(net: str, tmp_path: Path) -> None:
    flags = ("--model", f"{net}:Net", "--size", "8x16", "--memory")
    one, four = exported(*flags), exported(*flags, "-n", "4")
    floats = 8 * 128 * 4  # of a map of the model
    assert one["activation_mib"] * 2**20 == 27 * 128 * 4 + floats  # a small convolution: its columns and its output
    last = 5 * floats  # of the last convolution: what the tail was given, its input and output, and this in 16 channels
    assert four["activation_mib"] * 2**20 == 4 * last
    assert exported(*flags, "--training")["activation_mib"] > one["activation_mib"]
    assert "peak of activations, MiB" in run("flops", *flags).stdout
    budgets = tmp_path / "budgets.yaml"
    budgets.write_text(
        f"schema_version: 1\nbudgets:\n  - model: {net}:Net\n    size: 8x16\n    activation_mib: {{max: 0.001}}\n"
    )
    assert run("check", str(budgets)).exit_code == 1
    budgets.write_text(budgets.read_text().replace("0.001", "0.1"))
    assert run("check", str(budgets)).exit_code == 0
    budgets.write_text("schema_version: 1\nbudgets:\n  - schedule: 3,3,3\n    activation_mib: {max: 0.1}\n")
    assert run("check", str(budgets)).exit_code == 2


@pytest.mark.parametrize("flags", [("--batch-size", "2"), ("--against", "torchvision:resnet18"), ("--depth", "1")])
def test_what_only_other_models_have_is_refused_for_ours(flags: tuple[str, ...]) -> None:
    assert run("flops", "-b", "tiny", "--size", "64x96", *flags).exit_code == 2


def test_a_configuration_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    for given in (tmp_path, tmp_path / "config.json"):
        assert run("flops", "--model", f"hf:{given}").exit_code == 2
