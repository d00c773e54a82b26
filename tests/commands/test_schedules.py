"""`schedules list|show|validate`."""

from __future__ import annotations

from pathlib import Path

import pytest

from proscale_bench.bench.specs import count_flops
from proscale_bench.config.catalogue import catalogue, catalogue_dir
from proscale_bench.config.schedule_file import read_schedule_file
from tests.cli import run


def test_list_names_every_schedule_that_ships() -> None:
    result = run("schedules", "list")
    assert result.exit_code == 0
    for schedule, description in catalogue():
        assert (schedule.name or "") in result.stdout
        assert description in result.stdout


def test_list_says_what_each_costs_and_saves() -> None:
    stdout = run("schedules", "list", "--backbone", "swin_t", "--size", "800x1333").stdout
    lines = {line.split()[0]: line.split()[1:] for line in stdout.splitlines() if line.strip()}
    count = count_flops("3,3,3", "swin_t", "800x1333")
    expected = [f"{count.gflops[part]:.2f}" for part in ("encoder", "total")]
    assert lines["proscale-3-3-3"][0::2] == expected
    assert lines["proscale-3-3-3"][1::2] == [f"-{count.reduction_pct[part]:.2f}%" for part in ("encoder", "total")]
    assert len(lines["baseline"]) == 2
    first, last = (count_flops(f"early-exit:{exit_}", "swin_t", "800x1333").gflops["encoder"] for exit_ in (2, 6))
    assert lines["early-exit"][0] == f"{first:.2f}"
    assert lines["at"][:2] == ["most", f"{last:.2f}"]  # the line below it
    assert {"hybrid", "pem", "lite-2-1-x3", "proscale-2-2-1-1", "proscale-3-3-3-keep-50"} <= lines.keys()


@pytest.mark.parametrize("name", ["lite-2-1-x3", "hybrid", "early-exit", "early-exit-3", "pem", "proscale-2-2-1-1"])
def test_every_family_is_shown_and_printed_as_a_file(name: str, tmp_path: Path) -> None:
    shown = run("schedules", "show", name)
    assert shown.exit_code == 0, shown.stderr
    assert "res5  1/32" in shown.stdout
    path = tmp_path / "again.yaml"
    path.write_text(run("schedules", "show", name, "--yaml").stdout)
    assert read_schedule_file(path)[0] == read_schedule_file(catalogue_dir() / f"{name}.yaml")[0]


def test_show_draws_levels_against_layers() -> None:
    lines = [" ".join(line.split()) for line in run("schedules", "show", "3,2,1").stdout.splitlines()]
    assert "res5 1/32 ■ ■ ■ ■ ■ ■ 1,050" in lines
    assert "res4 1/16 · · · ■ ■ ■ 4,200" in lines
    assert "res3 1/8 · · · · · ■ 16,800" in lines
    assert "tokens a layer 1,050 5,250 22,050" in lines


def test_show_marks_the_level_of_which_a_share_is_refined() -> None:
    lines = [" ".join(line.split()) for line in run("schedules", "show", "1,1,2+keep:0.5").stdout.splitlines()]
    assert "res4 1/16 · ■ ■ ■ 4,200" in lines
    assert "res3 1/8 · · ◧ ◧ 16,800" in lines
    assert "tokens a layer 1,050 5,250 13,650" in lines
    assert "50 % of res3's tokens are refined in layers that see all levels (ours, not the paper's)" in " ".join(lines)


def test_show_draws_the_levels_that_there_are() -> None:
    def drawn(schedule: str) -> list[str]:
        return [line.split()[0] for line in run("schedules", "show", schedule).stdout.splitlines() if " 1/" in line]

    assert drawn("2,2,1,1") == ["res6", "res5", "res4", "res3"]
    assert drawn("6:1,65432:1") == ["res6", "res5", "res4", "res3", "res2"]
    assert drawn("3,3,3") == ["res5", "res4", "res3"]


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("baseline", "3x3 convolution"),
        ("3,3,3+trc:conv+spatial+temp:2.0", "1x1 convolution on res3, temperature 2, gates res5 and res4 (spatial"),
        ("3,3,3+residual", "after every layer that does not see res3"),
        ("0,0,0", "1,050"),
        ("4:2,543:1", "stage 2"),
        ("2,2,1,1", "res6, res5, res4, res3 (our mapping, not the paper's)"),
        ("2,2,1,1", "gates res6, res5 and res4 (official layout)"),
        ("5:1,5432:1+residual", "after every layer that does not see res2"),
        ("3,3,3+dw", "depth-wise 3x3 convolution (ours, not the paper's)"),
        ("0,0,40", "■ × 40"),
    ],
)
def test_show_says_what_else_a_schedule_does(schedule: str, said: str) -> None:
    assert said in run("schedules", "show", schedule).stdout


def test_show_takes_other_sizes_and_backbones() -> None:
    assert "400" in run("schedules", "show", "3,3,3", "--size", "640x640", "-b", "tiny").stdout
    assert "882" in run("schedules", "show", "3,3,3", "--size", "coco-first100").stdout.replace("883", "882")


def test_show_yaml_is_a_schedule_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(run("schedules", "show", "4:2,543:1+residual", "--yaml").stdout)
    assert read_schedule_file(path)[0].compact == "4:2,543:1+residual"


def test_validate_passes_what_ships_and_names_what_is_wrong(tmp_path: Path) -> None:
    good = sorted(str(path) for path in catalogue_dir().glob("*.yaml"))
    assert run("schedules", "validate", *good).exit_code == 0
    bad = tmp_path / "bad.yaml"
    bad.write_text("schema_version: 1\nname: bad\nencoder: proscale\nstagse: []\n")
    result = run("schedules", "validate", *good, str(bad), str(tmp_path / "none.yaml"))
    assert result.exit_code == 2
    assert result.stdout.count(": ok, ") == len(good)
    assert f"{bad}:4:1: stagse: unknown key" in result.stderr
    assert "did you mean 'stages'?" in result.stderr
    assert "none.yaml" in result.stderr
