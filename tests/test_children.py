"""Where processes are started, and that nothing of the working folder runs in them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from proscale_bench.children import ROOT, python_command, start

STARTERS = {
    *("Popen", "run", "call", "check_call", "check_output", "getoutput", "getstatusoutput"),
    *("system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp", "startfile"),
    *(f"{kind}{how}" for kind in ("exec", "spawn") for how in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")),
    *("create_subprocess_exec", "create_subprocess_shell", "ProcessPoolExecutor", "get_context", "set_start_method"),
}
MODULES = {"subprocess", "os", "asyncio", "concurrent", "multiprocessing", "torch.multiprocessing"}
HARMLESS = {"multiprocessing.Pipe", "multiprocessing.connection"}  # a connection alone


def started_in(source: str) -> list[str]:
    """Whatever in a module's text starts a process: calls by name, and imports of what does."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in STARTERS and isinstance(node.value, ast.Name):
            if node.value.id in MODULES:
                found.append(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [
                name for name in names if name.split(".")[-1] in STARTERS and node.module.split(".")[0] in MODULES
            ]
            if "multiprocessing" in node.module and node.module not in HARMLESS:
                found += [name for name in names if name not in HARMLESS]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if "multiprocessing" in alias.name]
        elif isinstance(node, ast.keyword) and node.arg == "num_workers":
            found.append("num_workers")
    return found


def test_the_whole_package_starts_processes_in_one_place() -> None:
    """`subprocess.Popen` as a type is no call, so annotations are taken out first."""
    found = {}
    for path in sorted((ROOT / "proscale_bench").rglob("*.py")):
        source = path.read_text().replace("subprocess.Popen[bytes]", "Child")
        if starts := started_in(source):
            found[path.relative_to(ROOT).as_posix()] = starts
    assert found == {"proscale_bench/children.py": ["subprocess.Popen", "subprocess.run"]}


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess\nsubprocess.run([])",
        "from subprocess import Popen",
        "import os\nos.system('')",
        "import multiprocessing",
        "from multiprocessing import get_context",
        "from concurrent.futures import ProcessPoolExecutor",
        "import torch.multiprocessing as mp",
        "DataLoader(data, num_workers=2)",
    ],
)
def test_the_test_sees_what_starts_one(source: str) -> None:
    assert started_in(source)


HIJACK = "open('EXECUTED', 'w').write('the working folder ran')\nraise ImportError('hijacked')\n"
NAMES = (
    "torch",
    "numpy",
    "pickle",
    "socket",
    "runpy",
    "subprocess",
    "multiprocessing",
    "proscale_bench",
    "ray",
    "typer",
)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A folder of data with modules of the names that are imported."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(HIJACK)
    return tmp_path


@pytest.mark.parametrize("path", [None, "", os.pathsep, f"{os.pathsep}/nowhere"])
def test_nothing_of_the_working_folder_is_imported(trap: Path, path: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = path
    child = start(
        "proscale_bench",
        "flops",
        "-s",
        "3,3,3",
        cwd=trap,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    said, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors.decode()
    assert b"3,3,3" in said
    assert not (trap / "EXECUTED").exists()


def test_a_helper_for_shapes_imports_nothing_of_it(trap: Path) -> None:
    code = (
        "from pathlib import Path; from proscale_bench.data.embedded import _make_scenes;"
        "_make_scenes(Path('scenes'), 70, 1, None, 2)"
    )
    path = f"import sys; sys.path[0] = {str(ROOT)!r}; "  # in place of the working folder, as the command has it
    done = subprocess.run([sys.executable, "-c", path + code], cwd=trap, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (trap / "EXECUTED").exists()
    assert (trap / "scenes" / "table.npy").is_file()


def test_python_m_imports_nothing_of_it_either(trap: Path) -> None:
    """Torchrun starts the package so. What Python itself imports before our first line is beyond us."""
    for name in ("runpy", "proscale_bench"):
        (trap / f"{name}.py").unlink()
    command = [sys.executable, "-m", "proscale_bench", "flops", "-s", "3,3,3"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=trap, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (trap / "EXECUTED").exists()


PARENT = """
import sys, time
from proscale_bench.children import start
child = start("this_waits", root=sys.argv[1], ends_with_parent=True)
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_child_ends_with_a_killed_parent(tmp_path: Path) -> None:
    (tmp_path / "this_waits.py").write_text("while True: pass\n")  # it never looks at its stdin
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(tmp_path)))}
    command = [sys.executable, "-c", PARENT, str(ROOT)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        time.sleep(0.5)
        os.kill(pid, 0)
        parent.kill()
    until = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_alive(pid)


def is_alive(pid: int) -> bool:
    """Running: not gone, and no zombie that nobody has waited for."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_the_command_line_names_the_module_and_the_place_of_the_package() -> None:
    assert python_command("some.module", "-x")[-3:] == [str(ROOT), "some.module", "-x"]
