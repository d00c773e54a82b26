"""Where the cache lies, and that it never gets in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from proscale_bench.cache import cache_dir, read_cache, write_cache


@pytest.mark.parametrize(
    ("own", "xdg", "expected"),
    [
        ("/own", "/xdg", "/own"),
        ("", "/xdg", "/xdg/proscale-bench"),
        ("", "", "/home/me/.cache/proscale-bench"),
        ("", "relative", "/home/me/.cache/proscale-bench"),
    ],
)
def test_the_folder(monkeypatch: pytest.MonkeyPatch, own: str, xdg: str, expected: str) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("PROSCALE_BENCH_CACHE", own)
    monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    assert cache_dir() == Path(expected)


def test_what_is_written_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROSCALE_BENCH_CACHE", str(tmp_path / "a" / "b"))
    assert read_cache("x") == {}
    path = write_cache("x", {"b": 1, "a": [1.5, "ü"]})
    assert path == tmp_path / "a" / "b" / "x.json"
    assert read_cache("x") == {"b": 1, "a": [1.5, "ü"]}
