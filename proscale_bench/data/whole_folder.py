"""Folders that are written whole or not at all: filled under another name, and moved into place by one rename."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proscale_bench.errors import BenchError

MARK = ".proscale-bench"  # in a folder that we wrote: the command's name


def refuse_folder(path: Path, command: str, force: bool) -> None:
    """Refuse to overwrite anything without `--force`, and with it anything but a folder that the same command wrote.

    Raises:
        BenchError: the path is there, and is not an empty folder.
    """
    if not os.path.lexists(path) or (path.is_dir() and not any(path.iterdir())):
        return
    if not force:
        raise BenchError(f"{path} exists", "choose another folder, or overwrite it with --force")
    try:
        ours = (path / MARK).read_text(encoding="utf-8").strip() == command
    except (OSError, ValueError):
        ours = False
    if not ours or path.is_symlink():
        raise BenchError(
            f"{path} exists, and is no folder that 'proscale-bench {command}' wrote",
            "choose another folder, or remove it yourself: --force replaces its own folders alone",
        )


@contextmanager
def whole_folder(path: Path, command: str, force: bool = False) -> Iterator[Path]:
    """A new folder beside `path`, to be filled inside the block; it takes the path's place at the end.

    Whatever ends the block otherwise leaves what was there before.

    Args:
        command: the words of the command that writes it, which may replace its own folder with `force`.

    Raises:
        BenchError: see `refuse_folder`; the folder cannot be written, or the disk is full.
    """
    temporary = None
    try:
        path = path.resolve()
        refuse_folder(path, command, force)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}"
        (temporary / "new").mkdir(parents=True)
        yield temporary / "new"
        (temporary / "new" / MARK).write_text(f"{command}\n", encoding="utf-8")
        refuse_folder(path, command, force)  # somebody may have written it meanwhile
        if force and path.exists():
            path.rename(temporary / "old")
        (temporary / "new").rename(path)
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead to each other
        raise BenchError(
            f"cannot write {path}: {getattr(error, 'strerror', None) or error}",
            "check the path, its permissions and the disk's space",
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
