"""Folders that are written whole or not at all: filled under another name, and moved into place by one rename."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from proscale_bench.errors import BenchError
from proscale_bench.files import LOCK, unwritable

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

    Whatever ends the block otherwise leaves what was there before. What a killed process left beside `path` is removed
    by the next one.

    Args:
        command: the words of the command that writes it, which may replace its own folder with `force`.

    Raises:
        BenchError: see `refuse_folder`; the folder cannot be written, or the disk is full.
    """
    with ExitStack() as held:
        yield from _filled(path, command, force, held)


def _filled(path: Path, command: str, force: bool, held: ExitStack) -> Iterator[Path]:
    temporary = None
    try:
        path = path.resolve()
        refuse_folder(path, command, force)
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        temporary = _held_folder(path, held)
        (temporary / "new").mkdir()
        yield temporary / "new"
        (temporary / "new" / MARK).write_text(f"{command}\n", encoding="utf-8")
        refuse_folder(path, command, force)  # somebody may have written it meanwhile
        if force and path.exists():
            path.rename(temporary / "old")
        (temporary / "new").rename(path)
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead to each other
        raise unwritable(path, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _held_folder(path: Path, held: ExitStack) -> Path:
    """A new folder beside `path` with a lock that ends with the process; it is held before it has its final name."""
    from filelock import FileLock

    name = f".{path.name}.{secrets.token_hex(4)}"
    begun, temporary = path.with_name(f"{name}~"), path.with_name(name)
    begun.mkdir()
    held.enter_context(FileLock(begun / LOCK))
    return begun.rename(temporary)


def _remove_leftovers(path: Path) -> None:
    from filelock import FileLock, Timeout

    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}")
    for other in list(path.parent.iterdir()):
        if pattern.fullmatch(other.name) and (other / LOCK).is_file():
            with suppress(Timeout, OSError), FileLock(other / LOCK, timeout=0):
                shutil.rmtree(other, ignore_errors=True)
