"""The Python API: imported lazily, typed, and without torch until a model is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import proscale_bench as psb
from proscale_bench.config.weights import shipped_weights


def test_count_flops_is_the_json_row_as_an_object() -> None:
    cost = psb.count_flops(psb.parse_schedule("3,3,3"), backbone="swin_t", size=(800, 1333), rules="fvcore")
    assert cost.gflops["total_with_postprocessing"] == 214.150487776
    assert cost.gflops.encoder == cost.gflops["encoder"] == cost.row()["gflops"]["encoder"]
    assert cost.schedule == psb.parse_schedule("3,3,3")
    with pytest.raises(AttributeError, match="no part 'encodr'"):
        _ = cost.gflops.encodr
    assert cost.params_m["total"] == 48.820225
    assert round(cost.reduction_pct["encoder"] or 0, 2) == 51.74
    assert [layer.tokens for layer in cost.layers] == [1050] * 3 + [5250] * 3 + [22050] * 3
    assert cost.baseline.gflops["total"] > cost.gflops["total"]


def test_build_model_takes_spellings_classes_and_queries() -> None:
    model = psb.build_model("1,1,1", backbone="tiny", num_classes=7, num_queries=11)
    assert not model.training
    assert model.decoder.class_head.out_features == 8
    assert model.decoder.query_features.shape[0] == 11


@pytest.mark.parametrize("arguments", [{"num_classes": 0}, {"num_queries": -1}, {"backbone": "vgg"}])
def test_a_model_that_cannot_be_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(psb.BenchError):
        psb.build_model("1,1,1", **{"backbone": "tiny", **arguments})  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["a" * 5000, "x\0y", ""])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(psb.BenchError, match="unknown schedule"):
        psb.parse_schedule(text)


def test_a_schedule_is_checked_however_it_is_made() -> None:
    from proscale_bench.specs.encoders.staged import Stage

    for stage, options in [
        (Stage(("res5",), 3), {"recalibration": "foo"}),
        (Stage(("res5",), 3.5), {}),  # type: ignore[arg-type]
        (Stage(("res9",), 3), {}),  # type: ignore[arg-type]
        (Stage(("res5",), 3), {"pixel_embedding": "deconv"}),
        (Stage(("res5",), 3), {"recalibration_temperature": "hot"}),
        (Stage(("res5",), 3), {"recalibration_temperature": True}),
    ]:
        with pytest.raises(psb.BenchError):
            psb.Schedule((stage,), **options)


def test_what_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        psb.nothing  # noqa: B018
    assert set(psb.__all__) <= set(dir(psb))


@pytest.mark.parametrize(
    "code",
    [
        "import proscale_bench; proscale_bench.count_flops('3,3,3')",
        "import proscale_bench.cli",
        "from typer.testing import CliRunner; from proscale_bench.cli import app; CliRunner().invoke(app, ['--help'])",
        "from typer.testing import CliRunner; from proscale_bench.cli import app; CliRunner().invoke(app, ['flops'])",
        "from typer.testing import CliRunner; from proscale_bench.cli import app; "
        "CliRunner().invoke(app, ['schedules', 'list'])",
        "from typer.testing import CliRunner; from proscale_bench.cli import app; "
        "CliRunner().invoke(app, ['models', 'show', 'swin_t'])",
        "import proscale_bench.render.markdown, proscale_bench.render.figure, proscale_bench.analysis.pareto",
        "import proscale_bench.sweeps.runner, proscale_bench.results.store",
    ],
)
def test_the_paper_wing_never_imports_torch(code: str) -> None:
    heavy = ("torch", "torchvision", "fvcore")
    check = f"{code}\nimport sys\nassert not set(sys.modules) & {set(heavy)}, 'torch was imported'"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_imports_no_pandas_matplotlib_or_yaml_of_ours() -> None:
    code = (
        "from typer.testing import CliRunner; from proscale_bench.cli import app; CliRunner().invoke(app, ['--help'])\n"
        "import sys; assert not set(sys.modules) & {'pandas', 'matplotlib', 'numpy', 'yaml'}, sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_profile_evaluate_and_sweep_give_a_row_a_configuration(tmp_path: Path) -> None:
    profiled = psb.profile("1,1,1", backbone="tiny", size="64x64", threads=1, repeats=2, out=tmp_path / "profiled")
    assert list(profiled["schedule"]) == ["baseline", "1,1,1"]
    assert (profiled["latency_median_ms"] > 0).all()
    assert list(psb.read_run(tmp_path / "profiled")["latency_median_ms"]) == list(profiled["latency_median_ms"])
    weights = next(path for name, path in shipped_weights().items() if "1-1-1" in name)
    (judged,) = psb.evaluate(weights, limit=2, bootstrap=0).to_dict("records")
    assert (judged["schedule"], judged["images"]) == ("1,1,1", 2)
    (tmp_path / "two.yaml").write_text(
        "schema_version: 1\nname: two\nbackbones: tiny\nsizes: 64x64\nschedules: '1,1,1'\n"
    )
    assert list(psb.sweep(tmp_path / "two.yaml", tmp_path / "two")["schedule"]) == ["1,1,1"]


@pytest.mark.parametrize(
    ("function", "keys", "named"),
    [("profile", {"repeat": 3}, "repeat"), ("profile", {"repeats": 0}, "repeats"), ("evaluate", {"limit": 0}, "limit")],
)
def test_a_key_that_is_not_there_names_those_that_are(function: str, keys: dict[str, int], named: str) -> None:
    with pytest.raises(psb.BenchError, match=named):
        getattr(psb, function)(**keys)


def test_weights_give_a_model_its_dimensions() -> None:
    weights = next(iter(shipped_weights().values()))
    model = psb.build_model("2,1,1", weights=weights)
    assert model.decoder.class_head.out_features == 14
    assert psb.count_flops("2,1,1", weights=weights).spec.classes == 13
    with pytest.raises(psb.BenchError, match="--queries 7"):
        psb.build_model("2,1,1", num_queries=7, weights=weights)
