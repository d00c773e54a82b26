"""The shipped schedules, and finding a schedule by what a user types."""

from __future__ import annotations

from pathlib import Path

import pytest

from proscale_bench.config.catalogue import catalogue, catalogue_dir, catalogue_names, parse_schedule
from proscale_bench.config.schedule_file import dump_schedule, read_schedule_file
from proscale_bench.errors import BenchError


def test_the_catalogue_has_the_papers_schedules_and_ablations() -> None:
    assert [schedule.compact for schedule, _ in catalogue()] == [
        "baseline",
        "1,1,1",
        "2,2,2",
        "1,3,3",
        "3,3,1",
        "3,3,3",
        "6,3,3",
        "3,3,3+conv",
        "3,3,3+trc:none",
        "2,2,1,1",
        "3,3,3+keep:0.5",
        "3,3,3+dw",
        "early-exit",
        "early-exit:3",
        "hybrid",
        "lite:(2+1)x3",
        "lite:(3+1)x2",
        "lite:(6+1)x1",
        "pem",
    ]


def test_every_entry_is_named_as_its_file_and_says_what_it_is() -> None:
    assert {schedule.name for schedule, _ in catalogue()} == set(catalogue_names())
    assert all(description for _, description in catalogue())


def test_every_entry_passes_the_strict_reader_and_reads_alike() -> None:
    for schedule, description in catalogue():
        strict = read_schedule_file(catalogue_dir() / f"{schedule.name}.yaml")
        assert strict == (schedule, description)
        assert strict[0].name == schedule.name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("schema_version: 1\nname: x\nspeed: 9", "x.yaml:3:1: speed: unknown key"),
        ("[", "not valid YAML"),
    ],
)
def test_a_broken_entry_is_named_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    (tmp_path / "x.yaml").write_text(text)
    monkeypatch.setattr("proscale_bench.config.catalogue.catalogue_dir", lambda: tmp_path)
    monkeypatch.setattr("proscale_bench.config.catalogue.catalogue_names", lambda: ("x",))
    with pytest.raises(BenchError) as caught:
        parse_schedule("x")
    assert said in caught.value.message


def test_a_schedule_is_found_by_name_path_and_compact_spelling(tmp_path: Path) -> None:
    by_name = parse_schedule("proscale-3-3-3")
    assert by_name.name == "proscale-3-3-3"
    assert by_name == parse_schedule(catalogue_dir() / "proscale-3-3-3.yaml") == parse_schedule("3,3,3")
    copy = tmp_path / "copy"
    copy.write_text((catalogue_dir() / "baseline.yaml").read_text())
    assert parse_schedule(str(copy)).compact == "baseline"


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("proscale-333", "unknown schedule 'proscale-333'", "'proscale-3-3-3'"),
        ("nothing.yaml", "No such file", "check the path"),
        ("3,3", "not three numbers", "over res5"),
        ("hybrid+fold", "unknown option '+fold'", "did you mean 'folded'? a hybrid encoder is 'hybrid' or"),
        ("early-exit:7", "there is no exit after 7 layers", "'early-exit:2' to 'early-exit:6'"),
        ("hybird", "unknown schedule 'hybird'", "did you mean 'hybrid'? a hybrid encoder is"),
        ("pem+with:64", "unknown schedule 'pem+with:64'", "half as wide as the head, or 'pem+width:64'"),
        ("lite:(2+1)x4x", "unknown schedule", "Lite-DETR's encoder is 'lite:(2+1)x3'"),
    ],
)
def test_what_is_not_found_has_a_hint(text: str, said: str, hint: str) -> None:
    with pytest.raises(BenchError) as caught:
        parse_schedule(text)
    assert said in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("99999,1,1", "99999 layers over res5, more than 100"),
        ("1,1,101", "101 layers over res5, res4, res3, more than 100"),
        ("5:100000", "100000 layers over res5, more than 100"),
        ("baseline:10000", "10000 layers over res5, res4, res3, more than 100"),
        ("1,1,10000000000", "a number of over 9 digits"),
        ("lite:(99999+1)x3", "(99999+1)x3: 299997 layers"),
        ("early-exit:99999", "there is no exit after 99999 layers"),
        ("hybrid+blocks:99999", "99999 blocks is not a number from 0 to 100"),
    ],
)
def test_too_many_layers_are_said_to_be_too_many(text: str, said: str) -> None:
    with pytest.raises(BenchError) as caught:
        parse_schedule(text)
    assert said in caught.value.message


def test_a_folder_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="it is a folder"):
        parse_schedule(str(tmp_path))


FILES = {
    "lite:(3+1)x2+kda+maxpool": "encoder: lite\nupdates: 3\nblocks: 2\nkey_aware: true\npixel_embedding: maxpool\n",
    "hybrid+folded+blocks:1": "encoder: 'hybrid'\nfolded: true\nblocks: 1\n",
    "hybrid+expansion:0.5": "encoder: hybrid\nexpansion: 0.5\n",
    "early-exit": "encoder: early-exit\n",
    "early-exit:4": "encoder: early-exit\nexit: 4\n",
    "early-exit+exits:1/2/3/2/2": "encoder: early-exit\nexits: [10, 20, 30, 20, 20]\n",
    "pem+width:64": "encoder: pem\nwidth: 64\n",
}


@pytest.mark.parametrize("spelling", FILES)
def test_a_sibling_has_a_file_too(tmp_path: Path, spelling: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"schema_version: 1\nname: mine\n{FILES[spelling]}")
    found, _ = read_schedule_file(path)
    assert (found.compact, found.name) == (spelling, "mine")
    path.write_text(dump_schedule(found, "again", "what it is"))
    assert read_schedule_file(path) == (found, "what it is")
    assert parse_schedule(path) == parse_schedule(spelling)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("encoder: lite\nupdate: 3\n", ":4:1: update: unknown key"),
        ("encoder: lite\nupdates: 0\n", ":3:1: 0 updates of coarse tokens is not a number from 1"),
        ("encoder: hybrid\nexpansion: 9.0\n", "expansion 9.0 is not from 1/32 to 8"),
        ("encoder: early-exit\nexit: 7\n", "there is no exit after 7 layers"),
        ("encoder: early-exit\nexits: [1, 2]\n", "not 5 numbers of images"),
        ("encoder: pem\nwidth: 3\n", "no even number"),
        ("encoder: pem\nstages: []\n", ":4:1: stages: unknown key"),
        ("encoder: pems\nstages: []\n", ":3:1: encoder: 'pems' is not"),
    ],
)
def test_a_fault_of_a_siblings_file_is_at_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"schema_version: 1\nname: mine\n{text}")
    with pytest.raises(BenchError) as caught:
        read_schedule_file(path)
    assert said in caught.value.message
    assert str(path) in caught.value.message
