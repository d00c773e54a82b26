"""A sweep's file: what it stands for, and where each mistake in it is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from proscale_bench.bench.count import Configuration
from proscale_bench.config.choices import Sampling, find_shipped, shipped
from proscale_bench.config.weights import METADATA
from proscale_bench.errors import BenchError
from proscale_bench.sweeps.plan import measurements, plan, read_sweep, shipped_sweep_of

GOOD = """\
schema_version: 1
name: mine
backbones: [resnet50, tiny]
schedules:
  - baseline
  - "3,3,3"
sizes: [64x64, 64x96]
rules: fvcore
"""


def read(tmp_path: Path, text: str | bytes) -> list[Configuration]:
    path = tmp_path / "s.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    spec = read_sweep(path)
    measurements(spec, tmp_path)
    return plan(spec)


def test_the_plan_is_the_product_in_order(tmp_path: Path) -> None:
    assert [str(one) for one in read(tmp_path, GOOD)] == [
        "baseline on resnet50 at 64x64",
        "proscale-3-3-3 on resnet50 at 64x64",
        "baseline on tiny at 64x64",
        "proscale-3-3-3 on tiny at 64x64",
        "baseline on resnet50 at 64x96",
        "proscale-3-3-3 on resnet50 at 64x96",
        "baseline on tiny at 64x96",
        "proscale-3-3-3 on tiny at 64x96",
    ]


def test_what_is_named_twice_is_there_once(tmp_path: Path) -> None:
    text = GOOD.replace('"3,3,3"', '"0,0,6+conv+trc:none"\n  - catalogue').replace("64x96", "64x64")
    once = [configuration.spec.variant for configuration in read(tmp_path, text)[:22]]
    assert len(read(tmp_path, text)) == 2 * len(set(once)) == 2 * 22  # 18 schedules, and 4 exits that none names


def test_a_single_word_is_a_list_of_one(tmp_path: Path) -> None:
    text = GOOD.replace("[64x64, 64x96]", "64x64").replace('\n  - baseline\n  - "3,3,3"', " 2,2,2")
    assert [one.spec.variant for one in read(tmp_path, text)] == ["2,2,2", "2,2,2"]


def test_schedule_files_are_found_beside_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.yaml").write_text(
        "schema_version: 1\nname: own\nencoder: proscale\nstages:\n  - {levels: [res5], layers: 9}\n"
    )
    monkeypatch.chdir("/")
    plan_ = read(tmp_path, GOOD.replace('"3,3,3"', "own.yaml"))
    assert {one.identity.label for one in plan_} == {"baseline", "own"}


def test_the_shipped_sweep_is_the_default_of_the_paper() -> None:
    configurations = plan(read_sweep(find_shipped("sweeps", "paper")))
    assert len(configurations) == 2 * 2 * 9
    assert {one.spec.backbone_name for one in configurations} == {"resnet50", "swin_t"}
    assert [str(one.size) for one in configurations[::18]] == ["coco-first100", "800x1333"]
    assert shipped_sweep_of({one.digest for one in configurations}) == "paper"
    assert shipped_sweep_of({one.digest for one in configurations[1:]}) is None


def test_the_shipped_sweeps_are_called_as_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proscale_bench.config.weights.FOLDER", tmp_path / "shipped")
    with pytest.raises(BenchError, match=r"zoo\.yaml:6:1: no weights ship"):
        read_sweep(shipped("sweeps")["zoo"])
    story = json.dumps({METADATA: json.dumps({"schedule": "1,1,1"})})
    header = f'{{"__metadata__": {story}}}'.encode()
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped" / "tiny-1-1-1.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    for name, path in shipped("sweeps").items():
        assert read_sweep(path).name == name
    (models,) = read_sweep(shipped("sweeps")["zoo"]).models
    assert [spec.variant for spec in models] == ["1,1,1"]


# text, where, what, hint
PROBLEMS = {
    "unknown key": (GOOD + "colour: red\n", "9:1", "unknown key", "known keys"),
    "misspelt key": (GOOD.replace("backbones", "backbone"), "3:1", "unknown key", "backbones"),
    "missing key": (GOOD.replace("sizes: [64x64, 64x96]\n", ""), "1:1", "required key is missing", ""),
    "key twice": (GOOD + "name: other\n", "9:1", "given twice", "keep one"),
    "other version": (GOOD.replace("version: 1", "version: 2"), "1:1", "2 is not 1", ""),
    "version as text": (GOOD.replace("version: 1", "version: '1'"), "1:1", "whole number 1", ""),
    "unknown backbone": (GOOD.replace("tiny", "resnet51"), "3:23", "'resnet51'", "resnet50"),
    "no backbone": (GOOD.replace("[resnet50, tiny]", "[]"), "3:1", "at least 1", ""),
    "a number for a backbone": (GOOD.replace("tiny", "50"), "3:23", "50", ""),
    "unknown schedule": (GOOD.replace('"3,3,3"', "proscale-3-3-4"), "6:5", "unknown schedule", "proscale-3-3-"),
    "two numbers of layers": (GOOD.replace('"3,3,3"', '"3,3"'), "6:5", "not three numbers", "3,3,3"),
    "unknown option": (GOOD.replace('"3,3,3"', '"3,3,3+cnv"'), "6:5", "unknown option '+cnv'", "conv"),
    "no such schedule file": (GOOD.replace('"3,3,3"', "none.yaml"), "6:5", "none.yaml", "path"),
    "misspelt catalogue": (GOOD.replace('"3,3,3"', "catalog"), "6:5", "unknown schedule", "catalogue"),
    "3_3_3": (GOOD.replace('"3,3,3"', "3_3_3"), "6:5", "333", "3,3,3"),
    "a mapping for a schedule": (GOOD.replace('"3,3,3"', "{a: 1}"), "6:5", "string", ""),
    "no schedule": (GOOD.replace('\n  - baseline\n  - "3,3,3"', " []"), "4:1", "at least 1", ""),
    "unknown size": (GOOD.replace("64x96", "coco-vall"), "7:16", "unknown size", "coco-val"),
    "size 0": (GOOD.replace("64x96", "'0x96'"), "7:16", "0x96", "1 to 32,768"),
    "size 0, which YAML reads as a hexadecimal": (GOOD.replace("64x96", "0x96"), "7:16", "150", ""),
    "negative size": (GOOD.replace("64x96", "-1x96"), "7:16", "-1x96", "800x1333"),
    "absurd size": (GOOD.replace("64x96", "64x99999"), "7:16", "99999", "1 to 32,768"),
    "a number for a size": (GOOD.replace("64x96", "64"), "7:16", "64", ""),
    "unknown rules": (GOOD.replace("fvcore", "fvcor"), "8:1", "'fvcor'", "fvcore"),
    "unknown convention": (GOOD + "convention: macs\n", "9:1", "'macs'", "mac"),
    "a name that is a path": (GOOD.replace("name: mine", "name: ../mine"), "2:1", "../mine", ""),
    "an empty name": (GOOD.replace("name: mine", 'name: ""'), "2:1", "name", ""),
    "a list": ("- 1\n", "1:1", "", ""),
    "not YAML": (GOOD + "a: [\n", "10:1", "not valid YAML", ""),
    "a tab": (GOOD + "\tx: 1\n", "9:1", "not valid YAML", ""),
    "an alias": (GOOD.replace("[64x64, 64x96]", "[&a 64x64, *a]"), "7:19", "aliases", ""),
}


STEPS = """\
schema_version: 1
name: mine
backbones: tiny
sizes: 64x64
devices: cpu
weights: [model.safetensors]
count:
profile: {threads: 1, repeats: 3}
evaluate:
  data: coco
  limit: 4
"""
PROBLEMS |= {
    "a schedule of two lines": (
        GOOD.replace("baseline", '"a\\nerror: b"'),
        "5:5",
        "unknown schedule 'a\\nerror: b'",
        "",
    ),
    "a schedule's path with a zero byte": (
        GOOD.replace("baseline", '"a\\0.yaml"'),
        "5:5",
        "embedded null byte",
        "path",
    ),
    "weights of a name too long": (STEPS.replace("model.", "m" * 300 + "."), "6:11", "no such file", "own folder"),
    "a folder of a name too long": (
        STEPS.replace("data: coco", "data: " + "d" * 300),
        "10:3",
        "no such folder",
        "as COCO's",
    ),
    "an unknown device": (STEPS.replace("cpu", "tpu"), "5:1", "'tpu'", ""),
    "an unknown key of a step": (STEPS.replace("repeats", "rounds"), "8:23", "unknown key", "known keys"),
    "no threads": (STEPS.replace("threads: 1", "threads: 0"), "8:11", "greater than or equal to 1", ""),
    "threads as text": (STEPS.replace("threads: 1", "threads: '1'"), "8:11", "text, not a number", ""),
    "a batch of none": (STEPS.replace("threads: 1", "batch_sizes: [1, 0]"), "8:28", "greater than or equal to 1", ""),
    "graphs on a CPU": (STEPS.replace("threads: 1", "cuda_graphs: true"), "8:11", "not on a CPU", "cuda"),
    "an unknown sampling": (STEPS.replace("threads: 1", "sampling: fast"), "8:11", "'fast'", ""),
    "an unknown task": (STEPS.replace("limit: 4", "tasks: depth"), "11:3", "'depth'", ""),
    "sides in the wrong order": (
        STEPS.replace("limit: 4", "resize: 9,8"),
        "11:3",
        "the short side and the longest",
        "",
    ),
    "one side": (STEPS.replace("limit: 4", "resize: '9'"), "11:3", "the short side and the longest", ""),
    "no class": (STEPS + "classes: 0\n", "12:1", "greater than or equal to 1", ""),
    "queries as text": (STEPS + "queries: '50'\n", "12:1", "text, not a number", ""),
    "too many channels": (STEPS + "width: 1000000\n", "12:1", "less than or equal to", ""),
    "sides as a list": (STEPS.replace("limit: 4", "resize: [8, 9]"), "11:3", "resize", ""),
    "a step that is a word": (STEPS.replace("count:", "count: yes"), "7:1", "count", ""),
    "no weights to evaluate": (STEPS.replace("weights: [model.safetensors]\n", ""), "8:1", "no weights", "zoo"),
    "weights that are not there": (STEPS.replace("model.", "modle."), "6:11", "no such file", "sweep's own folder"),
    "data that are not there": (STEPS.replace("coco", "shapes-vall"), "10:3", "no such folder", "shapes-val"),
    "data that are no data": (STEPS.replace("coco", "."), "10:3", "no folder annotations", ""),
    "a latency of many sizes": (STEPS.replace("64x64", "[64x64, coco-val]"), "4:16", "one size", "800x1333"),
}


@pytest.fixture(autouse=True)
def weights(tmp_path: Path) -> None:
    """Make the files that `STEPS` names."""
    (tmp_path / "model.safetensors").write_bytes(b"no weights, and nobody looks yet")
    (tmp_path / "coco" / "annotations").mkdir(parents=True)
    (tmp_path / "coco" / "annotations" / "panoptic_val.json").write_text("{}")


def test_steps_are_taken_only_where_they_are_named(tmp_path: Path) -> None:
    def steps(text: str) -> tuple[bool, list[str]]:
        (tmp_path / "s.yaml").write_text(text)
        spec = read_sweep(tmp_path / "s.yaml")
        return spec.counts, [str(one) for one in measurements(spec, tmp_path)]

    profile, evaluate = "tiny at 64x64 on cpu", "model on coco"
    assert steps(STEPS) == (True, [profile, evaluate])
    assert steps(STEPS.replace("count:\n", "")) == (False, [profile, evaluate])
    assert steps(STEPS.partition("evaluate")[0]) == (True, [profile])
    assert steps(STEPS.partition("count")[0]) == (True, [])
    assert steps(STEPS.replace("threads: 1", "batch_sizes: [1, 2]"))[1][1] == f"{profile}, batch 2"
    assert steps(STEPS.replace("devices: cpu", "devices: [cpu, cuda]"))[1] == [
        profile,
        profile.replace("cpu", "cuda"),
        evaluate,
        evaluate,
    ]


def test_weights_of_other_schedules_are_left_out(tmp_path: Path) -> None:
    for name, schedule in (("threes", "3,3,3"), ("ones", "1,1,1")):
        story = json.dumps({METADATA: json.dumps({"schedule": schedule})})
        header = f'{{"__metadata__": {story}}}'.encode()
        (tmp_path / f"{name}.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    text = STEPS.replace("[model.", "[threes.safetensors, ones.safetensors, model.")

    def evaluated(schedules: str) -> tuple[list[str], list[str]]:
        (tmp_path / "s.yaml").write_text(text + schedules)
        spec = read_sweep(tmp_path / "s.yaml")
        tasks = [str(one) for one in measurements(spec, tmp_path) if one.step == "evaluate"]
        return tasks, [one.path.stem for one in spec.left_out]

    assert evaluated("") == (["threes on coco", "ones on coco", "model on coco"], [])
    assert evaluated('schedules: ["3,3,3"]\n') == (["threes on coco", "model on coco"], ["ones"])
    text = text.replace(", model.safetensors", "")
    with pytest.raises(BenchError, match=r"s\.yaml:6:1: weights: none are of the schedules") as caught:
        evaluated('schedules: ["2,2,2"]\n')
    assert caught.value.exit_code == 2


def test_what_is_measured_has_the_same_name_whenever_it_is_asked(tmp_path: Path) -> None:
    def keys(text: str) -> list[tuple[str, str]]:
        (tmp_path / "s.yaml").write_text(text)
        return [(one.group, one.key) for one in measurements(read_sweep(tmp_path / "s.yaml"), tmp_path)]

    first = keys(STEPS)
    assert keys(STEPS.replace("name: mine", "name: other")) == first
    (tmp_path / "model.safetensors").rename(tmp_path / "moved.safetensors")
    assert keys(STEPS.replace("model.", "moved.")) == first
    more = keys(STEPS.replace("model.", "moved.") + 'schedules: ["1,1,1"]\n')
    assert more[0][0] == first[0][0]
    assert more[0][1] != first[0][1]
    assert more[1] == first[1]
    (tmp_path / "moved.safetensors").write_bytes(b"other weights")
    assert keys(STEPS.replace("model.", "moved."))[1][1] != first[1][1]


def test_the_samplings_are_those_that_there_are() -> None:
    from proscale_bench.models.sampling import AUTO, SAMPLERS

    assert set(get_args(Sampling)) == {AUTO, *SAMPLERS}


@pytest.mark.parametrize(("text", "where", "what", "hint"), PROBLEMS.values(), ids=PROBLEMS)
def test_a_mistake_is_shown_at_its_place(tmp_path: Path, text: str, where: str, what: str, hint: str) -> None:
    with pytest.raises(BenchError) as caught:
        read(tmp_path, text)
    assert f"s.yaml:{where}" in caught.value.message
    assert what in caught.value.message
    assert hint in (caught.value.hint or "")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"# only words\n", bytes(3 << 20), b"a: \x00"])
def test_what_is_no_yaml_at_all_is_an_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BenchError, match=r"s\.yaml"):
        read(tmp_path, content)


@pytest.mark.parametrize(("word", "hint"), [("papr", "paper"), ("nothing-like-it", "YAML file or one of: paper")])
def test_an_unknown_sweep_has_a_hint(word: str, hint: str) -> None:
    with pytest.raises(BenchError, match=f"unknown sweep '{word}'") as caught:
        find_shipped("sweeps", word)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("path", ["nowhere.yaml", "."])
def test_a_sweep_that_cannot_be_read_is_an_error(tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError):
        read_sweep(find_shipped("sweeps", path))


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("profile: {engines: [torch, onnx]}", "engines"),
        ("profile: {engines: []}", "engines"),
        ("profile: {engines: onnxruntime, dtype: bf16}", "6:11: engines: onnxruntime runs exported files"),
        ("profile: {engines: [torch, openvino]}\ndevices: cuda", "on the CPU"),
    ],
)
def test_engines_that_a_sweep_cannot_have_are_named_where_they_stand(tmp_path: Path, step: str, said: str) -> None:
    text = GOOD.replace("rules: fvcore\n", f"{step}\n").replace('\n  - baseline\n  - "3,3,3"', " 1,1,1")
    with pytest.raises(BenchError, match=re.escape(said)):
        read(tmp_path, text)


def test_a_sweep_profiles_in_engines_and_torch_alone_is_what_it_was(tmp_path: Path) -> None:
    def keys(step: str) -> list[str]:
        path = tmp_path / "s.yaml"
        path.write_text(GOOD.replace("rules: fvcore\n", f"{step}\n"))
        return [one.key for one in measurements(read_sweep(path), tmp_path)]

    assert keys("profile:") == keys("profile: {engines: torch}")
    assert not set(keys("profile:")) & set(keys("profile: {engines: [torch, onnxruntime]}"))
