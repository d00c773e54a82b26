"""YAML errors point at file:line:column and say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from proscale_bench.config.schedule_file import read_schedule_file
from proscale_bench.errors import BenchError

GOOD = """\
schema_version: 1
name: mine
encoder: proscale
stages:
  - {levels: [res5], layers: 3}
  - {levels: [res5, res4], layers: 3}
  - levels: [res5, res4, res3]
    layers: 3
recalibration: linear
recalibration_temperature: 0.1
pixel_embedding: maxpool
"""


def problem(tmp_path: Path, text: str | bytes) -> BenchError:
    path = tmp_path / "x.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(BenchError) as caught:
        read_schedule_file(path)
    assert caught.value.exit_code == 2
    assert caught.value.message.startswith(str(path))
    return caught.value


def test_the_good_file_is_good(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(GOOD)
    assert read_schedule_file(path)[0].compact == "3,3,3"


@pytest.mark.parametrize(
    ("old", "new", "place", "said", "hint"),
    [
        ("recalibration: linear", "recalibratoin: linear", ":9:1", "recalibratoin: unknown key", "'recalibration'"),
        ("layers: 3}", "layerz: 3}", ":5:22", "layerz: unknown key", "'layers'"),
        ("layers: 3}", "layers: 3_3_3}", ":5:30", "YAML reads 3_3_3 as the number 333", "'3,3,3'"),
        ("layers: 3}", "layers: 1:30}", ":5:30", "YAML reads 1:30 as the number 90", "plain digits"),
        ("layers: 3}", "layers: 0x3}", ":5:30", "YAML reads 0x3 as the number 3", "plain digits"),
        ("layers: 3}", "layers: 010}", ":5:30", "YAML reads 010 as the number 8", "plain digits"),
        ("temperature: 0.1", "temperature: 1e-4", ":10:1", "'1e-4' is text", "1.0e-4"),
        ("temperature: 0.1", "temperature: -0.1", ":10:1", "greater than 0", None),
        ("temperature: 0.1", "temperature: .nan", ":10:1", "nan", None),
        ("temperature: 0.1", "temperature: hot", ":10:1", "valid number", None),
        ("layers: 3}", "layers: -1}", ":5:22", "greater than or equal to 0", None),
        ("layers: 3}", "layers: 3.0}", ":5:22", "valid integer", None),
        ("layers: 3}", "layers: !!int abc}", ":5:30", "abc is no int", "without a tag"),
        ("layers: 3}", "layers: !!bool maybe}", ":5:30", "maybe is no bool", "without a tag"),
        ("name: mine", "name: !!timestamp foo", ":2:7", "foo is no timestamp", "without a tag"),
        ("layers: 3}", "layers: !!int '3'}", ":5:30", "3 is text with the tag of a number", "leave quotes and tag out"),
        ("layers: 3}", "layers: " + "1:" * 300 + "1.5}", ":5:30", "is no float", "plainly"),
        ("name: mine", '"a\\nerror: b": mine', ":2:1", "a\\nerror: b: unknown key", None),
        ("name: mine", '"a\\nb": 1\n"a\\nb": 1', ":3:1", "a\\nb: this key is given twice", "keep one"),
        ("temperature: 0.1", f"temperature: '{'1' * 999}'", ":10:1", "...", None),
        ("name: mine", "name: 12", ":2:1", "12 is a number, not text", "quotes"),
        ("layers: 3}", "layers: " + "9" * 5000 + "}", ":5:30", "999...", None),
        ("schema_version: 1", "schema_version: true", ":1:1", "whole number 1", None),
        ("schema_version: 1", "schema_version: 1.0", ":1:1", "whole number 1", None),
        ("layers: 3}", "layers: yes}", ":5:22", "valid integer", None),
        ("layers: 3}", "layers: 1000}", ":5:22", "less than or equal to 100", None),
        ("[res5], layers", "[rse5], layers", ":5:15", "levels[0]: 'rse5'", "'res5'"),
        ("[res5], layers", "[], layers", ":5:6", "at least 1 item", None),
        ("[res5], layers", "res5, layers", ":5:6", "valid list", None),
        ("[res5], layers", "[res5, res5], layers", ":5:5", "different ones", None),
        ("[res5, res4], layers", "[res4], layers", ":6:5", "do not contain", "nested"),
        ("linear", "liner", ":9:1", "'liner'", "'linear'"),
        ("name: mine\n", "name: mine\nname: yours\n", ":3:1", "name: this key is given twice", "keep one"),
        ("name: mine\n", "", ":1:1", "name: required key is missing", None),
        ("name: mine", "name: ../mine", ":2:1", "pattern", None),
        ("name: mine", "name: 2024-01-01", ":2:1", "valid string", None),
        ("name: mine", "name: 2024-13-41", ":2:7", "2024-13-41", None),
        ("schema_version: 1", "schema_version: 2", ":1:1", "2 is not 1", None),
        ("schema_version: 1", "schema_version: '1'", ":1:1", "whole number 1", None),
        ("encoder: proscale", "encoder: detr", ":3:1", "'detr'", None),
        ("encoder: proscale", "encoder: mask2former", ":3:1", "full stages", "encoder: proscale"),
        ("maxpool", "*pool", ":11:18", "aliases are not supported", "write the value out"),
        ("maxpool", "!!python/object/apply:os.system ['true']", ":11:18", "not valid YAML", None),
        ("maxpool", "!secret x", ":11:18", "not valid YAML", None),
        ("maxpool", "[max", ":12:1", "not valid YAML", "indentation"),
        ("maxpool", "'maxpool", ":12:1", "not valid YAML", "quotes"),
        ("name: mine", "1: mine", ":2:1", "a key must be plain text", "quotes"),
        ("name: mine", "? [a]\n: mine", ":2:3", "a key must be plain text", None),
        ("name: mine", "\tname: mine", ":2:1", "not valid YAML", None),
        ("name: mine", "<<: {name: mine}", ":2:1", "a key must be plain text", None),
        (GOOD, GOOD + "---\n" + GOOD, ":12:1", "not valid YAML", None),
        (GOOD, "just text", ":1:1", "just text", None),
        (GOOD, "[1, 2]", ":1:1", "[1, 2]", None),
        (GOOD, "a: " * 300 + "b", ":1:", "not valid YAML", None),
    ],
)
def test_a_problem_is_shown_at_its_place(
    tmp_path: Path, old: str, new: str, place: str, said: str, hint: str | None
) -> None:
    assert old in GOOD
    error = problem(tmp_path, GOOD.replace(old, new, 1))
    assert f"x.yaml{place}" in error.message, error.message
    assert said in error.message
    assert hint is None or hint in (error.hint or ""), error.hint


def test_every_problem_is_listed(tmp_path: Path) -> None:
    error = problem(tmp_path, GOOD.replace("linear", "liner").replace("maxpool", "pool"))
    assert len(error.message.splitlines()) == 2


def test_no_more_problems_are_listed_than_are_read(tmp_path: Path) -> None:
    error = problem(tmp_path, GOOD + "".join(f"key{i}: 1\n" for i in range(40)))
    assert error.message.splitlines()[-1].endswith("and 30 more problems")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"# only a comment\n", "empty"),
        (b"\x89PNG\r\n\x1a\n\xff", "not UTF-8"),
        (b"name: a\0b", "binary"),
        (b"\x01\x02", "not valid YAML"),
        (b"a: 1\n" * 300_000, "over 1024 KiB"),
        (b"[" * 100_000, "nested deeper"),
        (b"{a: " * 5_000, "nested deeper"),
        (b"- " * 5_000, "nested deeper"),
        (b"x: &a [1]\ny: &b [*a, *a]\n", "aliases"),
    ],
)
def test_what_is_no_schedule_at_all(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in problem(tmp_path, content).message


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(BenchError) as caught:
            read_schedule_file(path)
        assert str(path) in caught.value.message
