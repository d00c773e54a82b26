"""Damage to files: to their bytes, and to what YAML and JSON say with them. All chance is of the generator given."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.soak.values import ESCAPE, FORGED, JSON_SPELLINGS, PIECES, VALUES, YAML_SPELLINGS

MARK = "RAW{}SPELLING"


# --- Bytes ---


def damage(raw: bytes, chance: random.Random, *, within: int | None = None) -> bytes:
    """A file with one to three changes to its bytes, of which most lie in the first `within`."""
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(min(len(raw), within or len(raw)) + 1)
        end = min(len(raw), at + chance.choice((1, 1, 2, 8, 60, 1000)))
        match chance.randrange(9):
            case 0 if at < len(raw):
                raw = raw[:at] + bytes([raw[at] ^ 1 << chance.randrange(8)]) + raw[at + 1 :]
            case 1:
                raw = raw[:at] + raw[end:]
            case 2:
                raw = raw[:end] + raw[at:end] * chance.choice((1, 1, 3)) + raw[end:]
            case 3:
                raw = raw[: chance.randrange(len(raw) + 1)]
            case 4:
                raw = raw[:at] + chance.choice((b"x", b" ", b"9", b"\0", b"[")) * 20_000 + raw[at:]
            case 5:
                lines = raw.split(b"\n")
                one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
                lines[one], lines[other] = lines[other], lines[one]
                raw = b"\n".join(lines)
            case 6 if len(raw) < 100_000:
                raw = raw.decode("latin1").encode("utf-16")
            case _:
                piece = chance.choice(PIECES)
                raw = raw[:at] + (piece.encode() if isinstance(piece, str) else piece) + raw[at:]
    return raw


# --- Structure ---


def damage_yaml(text: str, chance: random.Random) -> str:
    """The document with one to three changes to its tree, written in either style."""
    tree, raw = change_tree(yaml.safe_load(text), YAML_SPELLINGS, chance)
    written = yaml.safe_dump(tree, sort_keys=False, default_flow_style=chance.choice((None, False, True)), width=10_000)
    for mark, spelling in raw.items():
        written = written.replace(mark, spelling)
    return _twice(written, chance)


def damage_json(text: str, chance: random.Random) -> str:
    tree, raw = change_tree(json.loads(text), JSON_SPELLINGS, chance)
    written = json.dumps(tree, indent=chance.choice((None, 1)), ensure_ascii=chance.random() < 0.5)
    for mark, spelling in raw.items():
        written = written.replace(f'"{mark}"', spelling)
    return _twice(written, chance)


def _twice(text: str, chance: random.Random) -> str:
    """One time in ten a line, and with it most often a key, is there twice."""
    lines = text.splitlines(keepends=True)
    if lines and chance.random() < 0.1:
        at = chance.randrange(len(lines))
        lines.insert(at, lines[at])
    return "".join(lines)


def change_tree(tree: Any, spellings: tuple[str, ...], chance: random.Random) -> tuple[Any, dict[str, str]]:
    """A tree with one to three changes, and how its marks are spelt, which no writer would write."""
    root = [copy.deepcopy(tree)]
    raw: dict[str, str] = {}
    for _ in range(chance.choice((1, 1, 2, 3))):
        places = list(_places(root))
        holder, key = chance.choice(places)
        value = holder[key]
        match chance.randrange(8):
            case 0:
                del holder[key]
                if not root:
                    root = [None]
            case 1 if isinstance(holder, dict):
                new = chance.choice(
                    (f"{key}s", str(key).upper(), str(key)[:-1], *(v for v in VALUES if isinstance(v, str)))
                )
                holder[new] = holder.pop(key)
            case 2 if isinstance(holder, list):
                holder.insert(chance.randrange(len(holder) + 1), copy.deepcopy(value))
            case 3:
                other, name = chance.choice(places)
                if (name in other) if isinstance(other, dict) else name < len(other):
                    holder[key] = copy.deepcopy(other[name])
            case 4:
                holder[key] = _other_type(value, chance)
            case 5:
                mark = MARK.format(len(raw))
                raw[mark] = chance.choice(spellings)
                holder[key] = mark
            case _:
                alike = [one for one in VALUES if type(one) is type(value)]
                holder[key] = copy.deepcopy(chance.choice(alike if alike and chance.random() < 0.5 else VALUES))
    return (root[0] if root else None), raw


def _places(node: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key) of a tree."""
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    return [place for key in keys for place in ((node, key), *_places(node[key]))]


def _other_type(value: Any, chance: random.Random) -> Any:
    """Nearly the same, of another type or size."""
    ways: list[Callable[[], Any]] = [lambda: [value], lambda: {"x": value}, lambda: str(value), lambda: None]
    if isinstance(value, (int, float)):
        ways += [
            lambda: -value,
            lambda: value * 10**6,
            lambda: value + 0.5,
            lambda: float(value),
            lambda: value + 1,
            lambda: 0,
        ]
    elif isinstance(value, str):
        ways += [
            lambda: value + ESCAPE,
            lambda: value * 40,
            lambda: value[:-1],
            value.upper,
        ]
    elif value:
        items = value if isinstance(value, list) else list(value.values())
        ways += [lambda: items[0], lambda: items * 3, lambda: items, lambda: items[::-1]]
    return chance.choice(ways)()


# --- Command lines and what surrounds them ---


def damage_words(line: str, chance: random.Random) -> list[str]:
    """A command line with one to three changes to its words."""
    words = line.split()
    for _ in range(chance.choice((1, 1, 2, 3))):
        at = chance.randrange(len(words) + 1)
        strange = chance.choice((*FORGED, *FORGED, ESCAPE, "--help", "--no-color", "--", "-", "", "--nope", "y" * 5000))
        match chance.randrange(5):
            case 0:
                words.insert(at, strange)
            case 1:
                words[at : at + 1] = [strange]
            case 2:
                words[at : at + 1] = [f"{word}={strange}" for word in words[at : at + 1]]
            case 3:
                words[at : at + 1] = [f"{word}{strange}" for word in words[at : at + 1]]
            case _:
                chance.shuffle(words)
    return words


def surroundings(chance: random.Random, folder: Path) -> dict[str, str]:
    """Variables as jobs, notebooks and containers have them, and as nobody should: none of them stops the tool."""
    strange = ("abc", "", "0", "-1", "9" * 5000, "nowhere/x", ESCAPE, "::error::x")
    known = {
        "TERMINAL_WIDTH": strange,
        "SOURCE_DATE_EPOCH": strange,
        "MPLBACKEND": ("module://matplotlib_inline.backend_inline", *strange),
        "NO_COLOR": ("1",),
        "GITHUB_ACTIONS": ("true",),
        "GITHUB_WORKSPACE": (str(folder), str(folder / "here"), *strange),
        "GITHUB_STEP_SUMMARY": (str(folder / "page.md"), str(folder), "/dev/full", *strange[5:]),
        "PYTHONUTF8": ("0", "1"),
    }
    return {name: chance.choice(values) for name, values in known.items() if chance.random() < 0.2}
