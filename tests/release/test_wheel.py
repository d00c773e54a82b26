"""The wheel, in a clean environment: every command and every line of Python that the README shows runs.

`make release` runs it, and so does CI; a plain `pytest` does not, since it installs torch into an environment of its
own. Where the README names a user's files, stand-ins are there; what would take minutes is told to do less.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from proscale_bench.version import __version__

pytestmark = pytest.mark.skipif("PROSCALE_RELEASE" not in os.environ, reason="installs the wheel: make release")

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = [line.partition("  #")[0].strip() for line in re.findall(r"^proscale-bench [^\n]+", README, re.MULTILINE)]
(PYTHON,) = re.findall(r"```python\n(.+?)```", README, re.DOTALL)

DATA = "/data/coco"  # in the README; the stand-in lies in the test's folder
LESS = {
    "profile": "-b tiny --size 64x64 --repeats 2",
    "eval": "--limit 2",
    "train": "-b tiny --iterations 1 --batch-size 1 --precision fp32 --device cpu",
    "flops --verify": "--size 64x96",
    "schedules --latency": "--size 64x96 --max-seconds 0.1",
    "--install-completion": "bash",
}
NAMED_SHELL = "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"  # the shell is told, not looked for
SWEEP = """\
schema_version: 1
name: my-sweep
backbones: tiny
sizes: 64x64
schedules: [baseline, "3,3,3"]
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT], check=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the programs of an environment that holds the wheel and what it asks for, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "-q", "--no-compile", wheel], check=True)
    return folder / "bin"


@pytest.fixture(scope="session")
def here(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the README takes for granted."""
    folder = tmp_path_factory.mktemp("user")
    shutil.copy(ROOT / "schedules" / "proscale-3-3-3.yaml", folder / "my-schedule.yaml")
    shutil.copy(ROOT / "budgets.yaml", folder)
    (folder / "my-sweep.yaml").write_text(SWEEP)
    for name in ("paper", "a", "b"):
        shutil.copytree(ROOT / "reports" / "paper", folder / "reports" / name)
    shutil.copytree(ROOT / "reports" / "zoo", folder / "reports" / "zoo")
    baseline = ROOT / "proscale_bench" / "weights" / "tiny-baseline.safetensors"
    for name in ("model.pth", "baseline.pth", "model_final.pkl", "mine.pth"):
        call(programs, folder, f"proscale-bench models convert {baseline} {name}")
    for split in ("val2017", "train2017"):
        call(programs, folder, f"proscale-bench data make-shapes coco --split {split} --images 4")
    shutil.copy(folder / "coco/annotations/panoptic_val2017.json", folder / "gt.json")
    shutil.copy(folder / "gt.json", folder / "predictions.json")
    for name in ("gt", "predictions"):
        shutil.copytree(folder / "coco/panoptic_val2017", folder / name)
    return folder


def call(programs: Path, folder: Path, command: str) -> str:
    """Return what a command prints, which must end with 0."""
    program, *words = shlex.split(command)
    env = {**os.environ, "HOME": str(folder), NAMED_SHELL: "1"}
    done = subprocess.run(
        [programs / program, *words], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def shortened(command: str) -> str:
    name = command.split()[1]
    flag = next((flag for flag in ("--verify", "--latency") if flag in command), None)
    less = LESS.get(f"{name} {flag}" if flag else name, "")
    return f"{command.replace(DATA, 'coco')} {less}".replace(" -b resnet50 -b tiny", " -b tiny")


def test_the_wheel_holds_the_package_and_what_it_reads_and_no_more(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    info = f"proscale_bench-{__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"proscale_bench", info}
    for folder, kind in (("schedules", "yaml"), ("weights", "safetensors"), ("config/recipes", "yaml")):
        there = {name.rpartition("/")[2] for name in names if name.startswith(f"proscale_bench/{folder}/")}
        source = ROOT / folder if folder == "schedules" else ROOT / "proscale_bench" / folder
        assert there == {path.name for path in source.glob(f"*.{kind}")}
    assert {f"{info}/licenses/{name}" for name in ("LICENSE", "NOTICE")} <= set(names)


def test_the_version_is_told(programs: Path, here: Path) -> None:
    assert call(programs, here, "proscale-bench --version") == f"proscale-bench {__version__}\n"


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "proscale-bench sweep"])
def test_every_command_of_the_readme_runs(programs: Path, here: Path, command: str) -> None:
    """In the README's order, since one reads what another wrote. `make demo` runs the sweep of the zoo to its end."""
    call(programs, here, shortened(command))


def test_completion_is_installed(here: Path) -> None:
    """By the README's command, above."""
    assert "proscale-bench" in (here / ".bash_completions" / "proscale-bench.sh").read_text()


def test_the_python_of_the_readme_runs(programs: Path, here: Path) -> None:
    images = "import torch\nimages = torch.rand(1, 3, 64, 64) * 255\n"
    (here / "readme.py").write_text(images + PYTHON + "assert pq.all.pq == 1\n")
    call(programs, here, "python readme.py")
