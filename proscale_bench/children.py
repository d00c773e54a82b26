"""Starting processes, of a module of this package or of a compiler: the one place of the package that starts any.

`python -m` and `multiprocessing` put the working folder first on the path of modules, so a file named `torch.py` in
somebody's folder of data would run. Here, the path has what was installed or named in $PYTHONPATH, and this very
package (Python's own flag for that, `-P`, came with 3.11).

A node of a cluster may know nothing of the package, so this module is sent to it by value.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BOOT = (
    "import sys; sys.path[:] = [sys.argv.pop(1), *filter(None, sys.path)]; "
    "from proscale_bench.children import main; main()"
)
WHILE_STDIN_IS_OPEN = "--while-stdin-is-open"


def python_command(module: str, *arguments: str, root: Path = ROOT) -> list[str]:
    """The command line that runs a module as `python -m` does, with nothing of the working folder on its path.

    Args:
        root: the folder that the package lies in.
    """
    return [sys.executable, "-c", BOOT, str(root), module, *arguments]


def start(
    module: str, *arguments: str, ends_with_parent: bool = False, root: Path = ROOT, **options: Any
) -> subprocess.Popen[bytes]:
    """Start a module of the package in a process of its own.

    Args:
        ends_with_parent: kill it as soon as this process has ended, however that came. Its stdin is taken for that: a
            pipe that the system closes.
        options: those of `subprocess.Popen`.
    """
    life = (WHILE_STDIN_IS_OPEN,) if ends_with_parent else ()
    if ends_with_parent:
        options["stdin"] = subprocess.PIPE
    options["env"] = without_working_folder(options.get("env") or os.environ)
    return subprocess.Popen(python_command(module, *life, *arguments, root=root), **options)


def compile_with(command: Sequence[str], folder: Path, within_s: float) -> None:
    """Run a compiler in a folder of its own, so that nothing of the working folder is found by it.

    Raises:
        OSError, subprocess.SubprocessError: it is not there, fails or takes too long.
    """
    program = shutil.which(command[0])
    if program is None or not Path(program).is_absolute():  # an empty entry of $PATH would mean the working folder
        raise FileNotFoundError(command[0])
    subprocess.run(
        [program, *command[1:]],
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=within_s,
        cwd=folder,
    )


def without_working_folder(environment: Any) -> dict[str, str]:
    """The same environment; an empty entry of its $PYTHONPATH would mean the working folder."""
    paths = os.pathsep.join(filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)))
    others = {name: value for name, value in environment.items() if name != "PYTHONPATH"}
    return others | ({"PYTHONPATH": paths} if paths else {})


def main() -> None:
    """Run the module that the command line names, as its `__main__`."""
    from runpy import run_module

    module = sys.argv.pop(1)
    if sys.argv[1:2] == [WHILE_STDIN_IS_OPEN]:
        from threading import Thread

        del sys.argv[1]
        Thread(target=end_with_stdin, daemon=True).start()
    run_module(module, run_name="__main__", alter_sys=True)


def end_with_stdin() -> None:
    """Wait for the end of stdin, then kill this process."""
    while os.read(0, 1 << 10):
        pass
    os.kill(os.getpid(), signal.SIGKILL)
