"""Golden sets: those that ship, unpacked, and those of the shared folder."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SHARED = PROJECT.parent / "shared"
FIXTURES = PROJECT / "tests" / "fixtures" / "evaluation"


def unpack(name: str, folder: Path) -> Path:
    """The files of `NAME.zip`, put into a folder."""
    with zipfile.ZipFile(FIXTURES / f"{name}.zip") as archive:
        archive.extractall(folder)
    return folder


def shared(path: str) -> Path:
    """A golden set that ships, else of the folder beside the project; skips the test where it is in neither."""
    shipped = PROJECT / "tests" / "fixtures" / "golden" / path
    if shipped.exists():
        return shipped
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"the golden set {path} does not ship: see tests/fixtures/README.md")
    return found
