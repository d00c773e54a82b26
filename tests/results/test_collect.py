"""Records from runs, folders of runs and exported files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proscale_bench.errors import BenchError
from proscale_bench.results.collect import SourcedRecord, collect, incomplete, newest, read_export
from proscale_bench.results.record import Failure, Origin, Record
from proscale_bench.results.store import has_records, load, record_path, write_record
from tests.cli import run as run_command
from tests.results.evaluations import by_an_older_version, evaluated
from tests.results.records import record, renamed
from tests.sweeps.profiles import profiled_records


def aged(one: Record, created: str) -> Record:
    return one.model_copy(update={"provenance": Origin(tool_version="0.1.0", created=created)})


def export(path: Path, *rows: dict[str, object]) -> Path:
    document = {"tool_version": "0.1.0", "created": "2026-11-22T08:00:00Z", "environment": {}, "results": rows}
    path.write_text(json.dumps(document))
    return path


def test_a_run_and_a_folder_of_runs(tmp_path: Path) -> None:
    for name, schedule in (("a", "3,3,3"), ("b", "1,1,1")):
        write_record(tmp_path / name, record(schedule))
    (tmp_path / "c").mkdir()
    assert [sourced.source for sourced in collect([tmp_path])[0]] == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert [sourced.record.identity.schedule for sourced in collect([tmp_path / "b"])[0]] == ["1,1,1"]


def test_what_is_damaged_is_named_and_left_aside(tmp_path: Path) -> None:
    write_record(tmp_path, record())
    record_path(tmp_path, "0" * 64).write_text("{")
    sourced, (problem,) = collect([tmp_path])
    assert len(sourced) == 1
    assert "not a record" in problem.message


def test_the_newest_of_a_configuration() -> None:
    ages = [aged(record(), f"2026-11-{day}T00:00:00Z") for day in (10, 30, 20)]
    (one,) = newest(SourcedRecord(one, "run") for one in ages)
    assert one.record.provenance.created == "2026-11-30T00:00:00Z"


@pytest.mark.parametrize(
    "one",
    [
        record(),
        *profiled_records("3,3,3"),
        evaluated(),
        by_an_older_version(evaluated()),
        renamed(record(), classes=3, model="Another", dimensions={"queries": 20, "depths": (1, 1, 2, 1)}),
        record().model_copy(update={"cost": None, "error": Failure(message="no", hint="none", exit_code=3)}),
    ],
)
def test_an_exported_row_is_the_record_that_it_was(one: Record, tmp_path: Path) -> None:
    (again,) = read_export(export(tmp_path / "x.json", one.row()))
    assert again.model_copy(update={"environment": one.environment}) == one
    assert again.digest == one.digest


COMMITTED = Path(__file__).parents[2] / "reports"


@pytest.mark.parametrize("run", sorted(path.name for path in COMMITTED.iterdir() if has_records(path)))
def test_an_exported_run_is_the_run(run: str, tmp_path: Path) -> None:
    """The same digests, whatever the order of rows, from the folder and from the file."""
    records, problems = load(COMMITTED / run)
    assert not problems
    again = read_export(export(tmp_path / "x.json", *(one.row() for one in reversed(records))))
    assert [one.digest for one in reversed(again)] == [one.digest for one in records]
    assert [one.model_copy(update={"environment": {}}) for one in reversed(again)] == [
        one.model_copy(update={"environment": {}}) for one in records
    ]


def test_the_newest_does_not_depend_on_the_order() -> None:
    ages = [SourcedRecord(aged(record(), f"2026-11-{day}T00:00:00Z"), f"run{n}") for n, day in enumerate((10, 30, 30))]
    assert newest(ages) == newest(reversed(ages)) == [ages[2]]


def test_what_an_older_version_did_not_write_is_named() -> None:
    whole = evaluated()
    assert incomplete([record(), whole]) is None
    said = incomplete([record(), whole, by_an_older_version(whole)])
    assert said is not None
    assert said.startswith("1 evaluation by an older version does not say split, thresholds")


def test_what_flops_exports(tmp_path: Path) -> None:
    path = tmp_path / "flops.json"
    run_command("flops", "-s", "3,3,3", "--size", "64x64", "--as-executed", "--export-json", str(path))
    (one,) = read_export(path)
    assert one.cost == record().cost


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not an exported result"),
        ("[]", "not an exported result"),
        ('{"results": []}', "no result of a known model"),
        ('{"results": [{}]}', "not an exported result"),
        ('{"results": [{"schedule": null}]}', "no result of a known model"),
        ('{"results": [1]}', "not an exported result"),
        ("[" * 100_000, "not an exported result"),
        ('{"results": NaN}', "not an exported result"),
    ],
)
def test_what_is_no_export(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(BenchError, match=said):
        read_export(path)


def test_a_row_that_is_no_record(tmp_path: Path) -> None:
    row = record().row() | {"backbone": 3}
    with pytest.raises(BenchError, match=r"identity\.backbone"):
        read_export(export(tmp_path / "x.json", row))
