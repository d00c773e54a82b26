"""The shipped schedules, and finding a schedule by what a user types."""

from __future__ import annotations

from pathlib import Path

import pytest

from proscale_bench.config.catalogue import catalogue, catalogue_dir, catalogue_names, parse_schedule
from proscale_bench.config.schedule_file import read_schedule_file
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
    ],
)
def test_what_is_not_found_has_a_hint(text: str, said: str, hint: str) -> None:
    with pytest.raises(BenchError) as caught:
        parse_schedule(text)
    assert said in caught.value.message
    assert hint in (caught.value.hint or "")
