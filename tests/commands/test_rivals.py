"""Somebody else's models and this tool's own in one session: turns, the one baseline, and what a pass contains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proscale_bench.results.store import load
from tests.cli import run
from tests.measure.families import configuration

HOW = ("--repeats", "6", "--max-seconds", "5", "--device", "cpu", "--threads", "1")
NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.backbone = nn.Conv2d(3, width, 3, padding=1)

    def forward(self, x):
        return self.backbone(x)
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("models")
    (folder / "net.py").write_text(NET)
    (folder / "m2f.json").write_text(json.dumps(configuration("mask2former")))
    return f"{folder}/net.py:Net", f"hf:{folder}/m2f.json"


@pytest.fixture(scope="module")
def session(models: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, str]:
    folder = tmp_path_factory.mktemp("run")
    own = ("-s", "3,3,3", "-b", "tiny", "--size", "70x96")
    theirs = (word for model in models for word in ("--model", model))
    result = run("profile", *own, *theirs, *HOW, "--out", str(folder), "--export-json", f"{folder}.json")
    assert result.exit_code == 0, result.stderr
    return json.loads(Path(f"{folder}.json").read_text())["results"], folder, result.stdout


def test_all_take_turns_with_our_baseline(session: Any, models: tuple[str, str]) -> None:
    rows, folder, shown = session
    assert [row["schedule"] for row in rows] == ["baseline", "3,3,3", *models]
    assert len({row["session"] for row in rows}) == 1
    assert {len(row["samples_ms"]) for row in rows} == {6}
    for row in rows[1:]:
        assert row["baseline"]["schedule"] == "baseline"
        assert row["realised_saving_pct"] is not None
        assert row["baseline"]["gflops"]["total"] == rows[0]["gflops"]["total"]
    assert [row["sampling"] == "none" for row in rows] == [False, False, True, True]
    assert [row["rewrites"] for row in rows] == [True, True, False, False]
    assert [row["input"]["padded_height_px"] for row in rows] == [96, 96, 70, 70]  # ours are padded
    assert "models in turns at 70x96, batch 1" in shown
    assert "3,3,3 on tiny Swin, batch 1 ran" in shown
    assert load(folder)[1] == []


def test_parts_of_one_name_in_two_families_are_no_match(session: Any) -> None:
    rows, *_ = session
    net = rows[2]
    assert set(net["baseline"]["gflops"]) == set(net["reduction_pct"]) == {"total"}
    assert net["stages"]["backbone"]["counted_saving_pct"] is None
    assert net["stages"]["backbone"]["realised_saving_pct"] is None
    assert net["counted_saving_pct"]["counted"] == pytest.approx(net["reduction_pct"]["total"])


def test_what_a_pass_contains_is_in_table_record_and_page(session: Any) -> None:
    rows, folder, shown = session
    own = ["pre-processing", "network"]
    assert [row["contains"] for row in rows] == [own, own, ["forward"], ["network"]]
    for words in ("a pass", "pre, network", "forward: all that the model's forward does"):
        assert words in shown
    assert run("report", str(folder)).exit_code == 0
    for name in ("report.md", "index.html"):
        assert "a pass" in (folder / name).read_text()
    assert "pre-processing, network" in (folder / "index.html").read_text()


def test_another_baseline_is_that_of_all(models: tuple[str, str], tmp_path: Path) -> None:
    net, m2f = models
    flags = ("-s", "3,3,3", "-b", "tiny", "--model", m2f, "--against", net, "--size", "64x64")
    result = run("profile", *flags, *HOW, "--out", str(tmp_path / "run"), "--export-json", "-")
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)["results"]
    assert [row["schedule"] for row in rows] == [net, "3,3,3", m2f]
    assert [row["baseline"]["schedule"] for row in rows] == [net] * 3
    assert [row["realised_saving_pct"] is None for row in rows] == [True, False, False]
    assert f"as fast as {net}" in result.stderr


def test_sessions_merge_what_took_turns(models: tuple[str, str], tmp_path: Path) -> None:
    flags = ("-s", "baseline", "-b", "tiny", "--model", models[0], "--size", "64x64", "--sessions", "2")
    how = ("--repeats", "3", "--device", "cpu", "--threads", "1", "--out", str(tmp_path))
    result = run("profile", *flags, *how, "--export-json", "-")
    assert result.exit_code == 0, result.stderr
    base, net = json.loads(result.stdout)["results"]
    assert len(net["sessions"]) == len(base["sessions"]) == 2
    assert net["realised_saving_pct"] is not None


@pytest.mark.parametrize("flags", [("-b", "tiny"), ("--queries", "3"), ("--output-size", "32x32")])
def test_flags_of_our_models_need_one(models: tuple[str, str], flags: tuple[str, ...]) -> None:
    result = run("profile", "--model", models[0], *flags)
    assert result.exit_code == 2
    assert "models that --schedule names" in result.stderr


@pytest.mark.parametrize(
    ("name", "contains"),
    [
        ("resnet18", ("network",)),
        ("fcos_resnet50_fpn", ("pre-processing", "network", "post-processing")),
    ],
)
def test_a_pass_of_torchvision(name: str, contains: tuple[str, ...]) -> None:
    from proscale_bench.bench.loader import load
    from proscale_bench.config.model_request import read_request

    assert load(read_request(f"torchvision:{name}")).contains == contains


def test_arguments_stand_in_a_model_s_words() -> None:
    from proscale_bench.config.model_request import read_request
    from proscale_bench.errors import BenchError

    found = read_request("net.py:Net(sizes=[1, 2], name='a,b', deep.key=true)")
    assert found.source == "net.py:Net"
    assert dict(found.arguments) == {"sizes": "[1, 2]", "name": "'a,b'", "deep.key": "True"}
    assert read_request(str(found)) == found
    assert read_request("folder (copy)/net.py:Net").source == "folder (copy)/net.py:Net"
    for words, arguments in (("net.py:Net", ("width=1", "width=2")), ("net.py:Net(width=1)", ("width=2",))):
        with pytest.raises(BenchError, match="width has a value already"):
            read_request(words, arguments)
