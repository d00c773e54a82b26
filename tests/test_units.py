"""Names as a person is shown them."""

from __future__ import annotations

import json
import re
import sys
import unicodedata

import pytest

from proscale_bench.results.export import to_json
from proscale_bench.units import printable, printable_lines

UNSEEN = {"Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn"}  # controls, formats, separators, and what no font has


def test_a_name_stays_as_it_is_where_it_can_be_read() -> None:
    for name in ("a b.yaml", "ünï😀", "3,3,3+conv", "日本語", "a::b", "C:\\x", "### x", "x:1:2: y", "[bold]"):
        assert printable(name) == name


def test_nothing_unseen_is_left() -> None:
    text = "".join(map(chr, range(sys.maxunicode + 1)))
    shown = printable(text)
    assert not {char for char in shown if unicodedata.category(char) in UNSEEN}
    assert printable(shown) == shown
    assert printable("a\n\r\x85\u2028\u2029\x1b[31m\x9b\u202e\u200b\ufeff\xa0") == (
        r"a\n\r\x85\u2028\u2029\x1b[31m\x9b\u202e\u200b\ufeff\xa0"
    )


@pytest.mark.parametrize("name", ["::error::x", "  ::x", "a##[group]x", "##[error]x", "x ##vso[task.complete]"])
def test_no_name_is_a_command_of_ci(name: str) -> None:
    for shown in (printable(name), *printable_lines(f"{name}\n{name}").split("\n")):
        assert not shown.strip().startswith("::")
        assert not re.search(r"##(vso)?\[", shown)


def test_json_shows_no_more_and_says_the_same() -> None:
    names = ["\x7f\x85\x9b\u2028\u202e\u200b\ufeff", "##[x]", "é😀", "\ud800"]
    text = to_json({"names": names})
    assert json.loads(text)["names"] == names
    assert printable_lines(text) == text
    assert "é😀" in text
