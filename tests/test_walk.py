"""Every command and flag, found by walking the app: help, bad usage, and one real and cheap run of each."""

from __future__ import annotations

import re
import runpy
import shlex
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.cli import COMMANDS, EVERY, GROUPS, run

ROOT = Path(__file__).parents[1]
DECLARED: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "make_cli.py"))
# What a command needs before it looks at the words of its flags. No file is there.
BEFORE = {
    "compare": [str(ROOT / "reports/cpu")] * 2,
    "predict": ["a.png", "--weights", "a.pth", "--out", "out"],
    "report": [str(ROOT / "reports/paper"), "--out", "report"],
    "schedules show": ["3,3,3"],
    "recipes show": ["shapes"],
    "models inspect": ["a.pth"],
    "models convert": ["a.pth", "b.pth"],
    "models warm-start": ["a.pth", "b.safetensors"],
    "models export": ["b.onnx", "--schedule", "3,3,3"],
    "models train-gate": ["a.pth", "b.safetensors"],
    "data make-shapes": ["data"],
    "data convert": ["yolo", "data", "out"],
    "data check": ["data"],
}


def options(command: str) -> list[Any]:
    """The flags of a command that are shown, as the parser has them."""
    return [one for one in EVERY[command].params if one.param_type_name == "option" and not one.hidden]


@cache
def wrong_values() -> list[tuple[str, str, str]]:
    """Return a value that does not fit for every flag with a type or a table: (command, flag, value)."""
    found = []
    for _, command, _, function in DECLARED["commands"]():
        for kind, info, _ in DECLARED["declared"](function):
            if type(info).__name__ != "OptionInfo" or kind is bool or info.metavar == "ADDRESS":
                continue
            flag = DECLARED["written"](info)[0]
            a_number = any(number in str(kind) for number in ("int", "float"))
            if a_number or info.autocompletion or (isinstance(kind, type) and issubclass(kind, Enum)):
                found.append((command, flag, "no-such-value"))
            if info.min is not None:
                found.append((command, flag, str(info.min - 1)))
            if info.max is not None:
                found.append((command, flag, str(info.max + 1)))
    return found


def test_the_walk_finds_them_all() -> None:
    assert GROUPS == ["", "data", "schedules", "models", "recipes"]
    assert {"flops", "profile", "eval", "train", "sweep", "models warm-start", "data make-shapes"} <= set(COMMANDS)
    assert [name for _, name, _, _ in DECLARED["commands"]()] == COMMANDS
    assert len(wrong_values()) > 60


@pytest.mark.parametrize("command", EVERY)
def test_help_has_an_example_and_fits_the_terminal(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for width in (80, 140):
        monkeypatch.setenv("COLUMNS", str(width))
        shown, short = run(*command.split(), "--help"), run(*command.split(), "-h")
        assert shown == short
        assert (shown.exit_code, shown.stderr) == (0, "")
        widest = max(len(line.rstrip()) for line in shown.stdout.splitlines())
        assert 80 < widest <= width or widest <= width == 80
        assert not re.search(r"<\w[\w\[\]| ]*>|\bINTEGER\b|\bTEXT\b", shown.stdout)
        assert f"Example: proscale-bench {command}".strip() in " ".join(shown.stdout.split())
        words = set(re.split(r"[\s│]+", shown.stdout))
        for option in options(command):
            told = option.help.replace("\\[", "[").split()
            assert set(told) <= words, f"{option.opts[0]} at {width}: {set(told) - words}"


@pytest.mark.parametrize("command", EVERY)
def test_the_example_is_a_whole_command(command: str) -> None:
    (example,) = re.findall(r"Example: (proscale-bench .+)", EVERY[command].help)
    _, *words = shlex.split(example)
    named = max((name for name in COMMANDS if words[: len(name.split())] == name.split()), key=len)
    assert command in ("", named, named.split()[0])
    EVERY[named].make_context(named, words[len(named.split()) :])  # parsed, not run


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_alone_shows_its_help(group: str) -> None:
    alone = run(*group.split())
    assert alone.exit_code in (0, 2)  # as Click does it: 2 since 8.2
    assert "Usage: proscale-bench" in alone.stdout + alone.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_says_what_it_does_and_what_it_takes(command: str) -> None:
    for option in options(command):
        assert option.help
        assert option.is_flag or option.metavar, option.opts
        assert not re.search(r"(?<!\\)\[", option.help), f"{option.opts[0]}: Rich would read this as markup"


@pytest.mark.parametrize("command", ["profile", "eval"])
def test_earlier_spellings_are_understood_and_not_shown(command: str) -> None:
    for flag, wanted in (("--rewrites", True), ("--no-rewrites", False), ("--no-optimizations", False)):
        assert EVERY[command].make_context(command, [flag]).params["optimizations"] is wanted
    shown = run(command, "--help").stdout
    assert "--no-optimizations" in shown
    assert "rewrites" not in shown


@pytest.mark.parametrize("command", EVERY)
def test_an_unknown_flag_is_refused(command: str) -> None:
    result = run(*command.split(), "--no-such-flag")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--no-such-flag" in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_flag_without_its_value_is_refused(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    for option in options(command):
        for flag in () if option.is_flag else option.opts:
            result = run(*command.split(), flag)
            assert (result.exit_code, result.stdout) == (2, ""), flag
            assert f"'{flag}' requires an argument" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", sorted({command for command, _, _ in wrong_values()}))
def test_a_wrong_value_is_refused(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    for flag, value in ((flag, value) for name, flag, value in wrong_values() if name == command):
        result = run(*command.split(), *BEFORE.get(command, ()), f"{flag}={value}")
        assert (result.exit_code, result.stdout) == (2, ""), f"{flag}={value}"
        assert value in result.stderr or f"'{flag}'" in result.stderr, f"{flag}={value}: {result.stderr}"
        assert "Traceback" not in result.stderr
        assert not list(tmp_path.iterdir()), f"{flag}={value}"
