"""A sweep with a user's own weights is about models of their dimensions, whatever wrote the file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from proscale_bench.config.catalogue import catalogue_names, parse_schedule
from proscale_bench.errors import BenchError
from proscale_bench.models.build import build
from proscale_bench.models.checkpoints.load import open_checkpoint
from proscale_bench.models.checkpoints.save import convert_checkpoint, save_checkpoint
from proscale_bench.specs.mask2former import Mask2FormerSpec, mask2former
from proscale_bench.specs.model import by_exit
from proscale_bench.sweeps.measurements import ProfileTask
from proscale_bench.sweeps.plan import Sweep, measurements, plan, read_sweep

ROOT = Path(__file__).parents[2]
SPEC = """\
schema_version: 1
name: own
sizes: 64x64
count:
profile: {repeats: 2}
evaluate:
"""
TINY = mask2former(parse_schedule("3,3,3"), "tiny")


def own(schedule: str = "3,3,3", **head: int) -> Mask2FormerSpec:
    """A tiny model with other dimensions than its name stands for."""
    small = replace(TINY.head, **{"width": 96, "decoder_layers": 2, "num_classes": 3, "queries": 50, **head})
    return Mask2FormerSpec(TINY.backbone, parse_schedule(schedule), small)


def save(path: Path, spec: Mask2FormerSpec) -> None:
    torch.manual_seed(0)
    save_checkpoint(build(spec).half(), path)


def sweep(folder: Path, *lines: str, text: str = SPEC) -> Sweep:
    (folder / "s.yaml").write_text(text + "".join(f"{line}\n" for line in lines))
    return read_sweep(folder / "s.yaml")


def counted(read: Sweep) -> list[Mask2FormerSpec]:
    return [one.spec for one in plan(read)]  # type: ignore[misc]


def test_all_that_is_counted_and_profiled_is_of_the_weights_dimensions(tmp_path: Path) -> None:
    save(tmp_path / "a.safetensors", own(decoder_heads=8))  # as many heads as no shape tells
    read = sweep(tmp_path, "weights: a.safetensors", 'schedules: [baseline, "3,3,3"]', "backbones: tiny")
    assert counted(read) == [own("baseline", decoder_heads=8), own(decoder_heads=8)]
    profile, evaluation = measurements(read, tmp_path)
    assert isinstance(profile, ProfileTask)
    assert profile.models == tuple(counted(read))
    assert len(
        {one.digest for one in plan(read)}
        | {one.digest for one in plan(sweep(tmp_path, "backbones: tiny", text=SPEC.replace("evaluate:\n", "")))}
    ) == 2 + len(by_exit(own(name) for name in catalogue_names() if name != "early-exit-3"))  # an exit of the gate's
    assert evaluation.step == "evaluate"


def test_backbones_and_schedules_are_those_of_the_weights_where_none_are_named(tmp_path: Path) -> None:
    unnamed = replace(own("1,1,1"), backbone=replace(TINY.backbone, depths=(1, 1, 1, 1)))
    save(tmp_path / "a.safetensors", own())
    save(tmp_path / "b.safetensors", unnamed)
    assert counted(sweep(tmp_path, "weights: [a.safetensors, b.safetensors]")) == [own(), unnamed]


def test_weights_of_other_dimensions_are_models_of_their_own(tmp_path: Path) -> None:
    save(tmp_path / "a.safetensors", own())
    save(tmp_path / "b.safetensors", own("1,1,1", queries=20))
    files = "weights: [a.safetensors, b.safetensors]"
    assert counted(sweep(tmp_path, files)) == [own(), own("1,1,1", queries=20)]
    both = sweep(tmp_path, files, 'schedules: ["3,3,3", "1,1,1"]')
    assert counted(both) == [own(), own("1,1,1"), own(queries=20), own("1,1,1", queries=20)]
    first, second, *_ = measurements(both, tmp_path)
    assert first.group != second.group
    assert str(first) != str(second)


def test_dimensions_can_be_named_without_weights(tmp_path: Path) -> None:
    text = SPEC.partition("count")[0]
    lines = ("backbones: [tiny, resnet50]", 'schedules: ["3,3,3"]', "classes: 3", "queries: 50", "width: 128")
    dimensions = {"classes": 3, "queries": 50, "width": 128}
    assert counted(sweep(tmp_path, *lines, text=text)) == [
        mask2former(TINY.encoder, name, **dimensions)  # type: ignore[arg-type]
        for name in ("tiny", "resnet50")
    ]


def test_a_backbone_without_weights_has_as_many_classes_as_those_of_others(tmp_path: Path) -> None:
    save(tmp_path / "a.safetensors", own())
    read = sweep(tmp_path, "weights: a.safetensors", "backbones: [resnet50, tiny]")
    assert counted(read) == [mask2former(TINY.encoder, "resnet50", classes=3), own()]


WRITERS: dict[str, Callable[[Path, Path], object]] = {
    "official.safetensors": lambda ours, path: convert_checkpoint(open_checkpoint(ours), path, "official"),
    "official.pth": lambda ours, path: convert_checkpoint(open_checkpoint(ours), path, "official"),
    "official.pkl": lambda ours, path: convert_checkpoint(open_checkpoint(ours), path, "official"),
    "folder": lambda ours, path: convert_checkpoint(open_checkpoint(ours), path, "huggingface"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_layout_tells_its_dimensions(tmp_path: Path, name: str) -> None:
    save(tmp_path / "ours.safetensors", own("baseline"))
    WRITERS[name](tmp_path / "ours.safetensors", tmp_path / name)
    read = sweep(tmp_path, f"weights: {name}")
    assert counted(read) == [own("baseline")]
    assert [one.identity.dimensions for one in plan(read)] == [own().dimensions()]


def test_a_header_is_read_without_torch(tmp_path: Path) -> None:
    save(tmp_path / "ours.safetensors", own())
    WRITERS["official.safetensors"](tmp_path / "ours.safetensors", tmp_path / "official.safetensors")
    sweep(tmp_path, "weights: [ours.safetensors, official.safetensors]")
    code = (
        "import sys; from pathlib import Path; from proscale_bench.sweeps.plan import plan, read_sweep\n"
        "print([one.spec.head.queries for one in plan(read_sweep(Path('s.yaml')))], 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[50] False\n"


@pytest.mark.parametrize(
    ("lines", "where", "what"),
    [
        (["width: 128"], "7:1", "width: 128, and a.safetensors has 96"),
        (["queries: 100"], "7:1", "queries: 100, and a.safetensors has 50"),
        (["classes: 133"], "7:1", "classes: 133, and a.safetensors has 3"),
        (["backbones: resnet50"], "8:1", "none are of the schedules and backbones"),
        (['schedules: ["1,1,1"]'], "8:1", "none are of the schedules and backbones"),
    ],
)
def test_what_contradicts_the_weights_is_an_error_at_its_place(
    tmp_path: Path, lines: list[str], where: str, what: str
) -> None:
    save(tmp_path / "a.safetensors", own())
    with pytest.raises(BenchError) as caught:
        sweep(tmp_path, *lines, "weights: a.safetensors")
    assert f"s.yaml:{where}" in caught.value.message
    assert what in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("lines", "where", "what"),
    [
        (["backbones: tiny", "width: 100"], "5:1", "width 100 is no multiple"),
        (["rules: fvcore"], "1:1", "backbones: required key is missing"),
        (["weights: none.safetensors"], "4:1", "none of them tells its backbone"),
    ],
)
def test_what_no_model_can_be_is_an_error_at_its_place(tmp_path: Path, lines: list[str], where: str, what: str) -> None:
    (tmp_path / "none.safetensors").write_bytes(b"no weights")
    with pytest.raises(BenchError) as caught:
        sweep(tmp_path, *lines, text=SPEC.partition("count")[0])
    assert f"s.yaml:{where}" in caught.value.message
    assert what in caught.value.message
    assert caught.value.hint


def test_weights_of_another_backbone_are_left_out_and_said(tmp_path: Path) -> None:
    save(tmp_path / "a.safetensors", own())
    (tmp_path / "b.safetensors").write_bytes(b"what nobody can read is tried, and its failure a row")
    read = sweep(tmp_path, "weights: [a.safetensors, b.safetensors]", "backbones: resnet50")
    assert [one.path.name for one in read.weights] == ["b.safetensors"]
    assert [one.path.name for one in read.left_out] == ["a.safetensors"]
    assert {one.backbone_name for one in counted(read)} == {"resnet50"}
