"""Every command run once for real, each on what the ones before it left; and as a terminal shows them."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
import yaml

from tests.cli import COMMANDS, EVERY, Result, run

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "proscale_bench" / "weights"
JSON = ("--export-json", "-")
SMALL = ("-b", "tiny", "--size", "32x32")
RUNS: dict[str, tuple[str, ...]] = {
    "data make-shapes": ("shapes", "--images", "2"),
    "data check": ("shapes", *JSON),
    "data convert": ("coco-instances", "shapes", "converted"),
    "train": (
        *("--recipe", "recipe.yaml", "--coco", "shapes", "-s", "1,1,1", "--iterations", "1", "--threads", "1"),
        *("--out", "trained", *JSON),
    ),
    "models inspect": ("trained/model.safetensors", "--brief", *JSON),
    "models convert": ("trained/model.safetensors", "converted.pth"),
    "models export": ("trained/model.safetensors", "exported.onnx", "--size", "64x64", "--images", "1", *JSON),
    "models warm-start": (str(SHIPPED / "tiny-baseline.safetensors"), "start.safetensors", "-s", "early-exit"),
    "models train-gate": ("start.safetensors", "gated.safetensors", "--coco", "shapes", "--threads", "1"),
    "eval": (
        *("--weights", str(SHIPPED / "tiny-3-3-3.safetensors"), "--coco", "shapes", "--resize", "none", "--limit", "2"),
        *("--bootstrap", "10", "--threads", "1", "--out", "evaluated", *JSON),
    ),
    "predict": ("shapes/val", "--weights", str(SHIPPED / "tiny-1-1-1.safetensors"), "--threads", "1", "--out", "seen"),
    "profile": (*SMALL, "--repeats", "2", "--threads", "1", "--device", "cpu", "--out", "profiled", *JSON),
    "sweep": ("sweep.yaml", "--out", "swept", *JSON),
    "report": ("swept", "--out", "reported", "--x", "params_m"),
    "compare": ("profiled", "profiled", "--old", "baseline", "--new", "3,3,3", *JSON),
    "check": ("budgets.yaml", "--records", "profiled", "--format", "json"),
    "zoo": ("--list", "--out", "zoo"),
    "flops": (*SMALL, *JSON),
    "schedules list": (),
    "schedules show": ("3,3,3",),
    "schedules search": (*SMALL, "--families", "pem", *JSON),
    "schedules validate": (str(ROOT / "schedules" / "proscale-3-3-3.yaml"),),
    "models list": (),
    "models show": ("tiny",),
    "models published": ("--family", "EoMT", *JSON),
    "models recount": ("--family", "ECO-M2F", *JSON),
    "recipes list": (),
    "recipes show": ("own-tiny",),
}
FILES = {
    "recipe.yaml": {
        "schema_version": 1,
        "name": "short",
        "data": {"source": "coco", "split": "val"},
        "backbone": "tiny",
        "iterations": 1,
        "batch_size": 2,
        "augmentation": {"crop": [32, 32]},
        "optimizer": {"learning_rate": 1.0e-3, "backbone_multiplier": 1.0},
        "schedule": {"kind": "polynomial", "warmup_iterations": 0},
        "loss": {"points": 64},
    },
    "sweep.yaml": {
        "schema_version": 1,
        "name": "short",
        "backbones": "tiny",
        "sizes": "32x32",
        "schedules": ["baseline", "1,1,1"],
    },
    "budgets.yaml": {
        "schema_version": 1,
        "budgets": [{"schedule": "3,3,3", "backbone": "tiny", "size": "32x32", "encoder_gflops": {"max": 1000}}],
    },
}
# What takes no time, as a terminal shows it; each is a table or a drawing.
SHOWN = [
    *(["flops", *SMALL], ["flops", "-s", "3,3,3", "-s", "1,1,1", "--by", "operator"], ["schedules", "show", "3,3,3"]),
    *(["schedules", "list"], ["models", "list"], ["models", "show", "swin_t"], ["zoo", "--list", "--out", "zoo"]),
    ["schedules", "search", *SMALL, "--families", "pem"],
    *(["compare", "profiled", "profiled", "--old", "baseline", "--new", "3,3,3"], ["check", "budgets.yaml"]),
]
DRIVER = """\
import json, sys
from proscale_bench.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["proscale-bench", *words]
    print("$", *words, flush=True)
    try:
        main()
    except SystemExit as done:
        assert not done.code, words
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    for name, content in FILES.items():
        (folder / name).write_text(yaml.safe_dump(content))
    return folder


@pytest.fixture(scope="module")
def results(world: Path) -> dict[str, Result]:
    """Output of every command. Neither stream is a terminal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(world)
        return {command: run(*command.split(), *words) for command, words in RUNS.items()}


@pytest.mark.parametrize("command", COMMANDS)
def test_it_runs_without_an_escape_sequence(command: str, results: dict[str, Result]) -> None:
    result = results[command]
    assert result.exit_code == 0, result.stderr
    assert result.stdout
    assert "\x1b" not in result.stdout + result.stderr
    assert "\r" not in result.stdout + result.stderr  # no bar was drawn


def test_with_export_json_stdout_is_one_document(results: dict[str, Result]) -> None:
    exporting = {name for name in COMMANDS if any("--export-json" in one.opts for one in EVERY[name].params)}
    assert exporting == {name for name, words in RUNS.items() if JSON[0] in words}
    for command in exporting | {"check"}:
        document = json.loads(results[command].stdout)
        assert document["schema_version"] == 1
        assert document["results"], command
        assert command == "check" or results[command].stderr, command  # the table


def on_terminal(folder: Path, width: int, *commands: list[str], **environment: str) -> str:
    """Return what commands, one after another in one process, write to a terminal of the given width."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, json.dumps(commands)],
        cwd=folder,
        env={**kept, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **environment},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    written = b""
    while True:
        try:
            block = os.read(master, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not block:
            break
        written += block
    os.close(master)
    text = written.decode("utf-8").replace("\r\n", "\n")
    assert process.wait() == 0, text
    return text


def test_a_terminal_gets_colours(world: Path) -> None:
    shown = on_terminal(world, 80, *SHOWN[:1], ["schedules", "show", "3,3,3"], ["flops", "--help"])
    assert all("\x1b[" in part for part in shown.split("$ ")[1:])


@pytest.mark.parametrize(("width", "flags", "environment"), [(80, (), {"NO_COLOR": "1"}), (140, ("--no-color",), {})])
def test_a_terminal_without_colours_gets_tables_of_its_width(
    width: int, flags: tuple[str, ...], environment: dict[str, str], world: Path, results: dict[str, Result]
) -> None:
    assert results["profile"].exit_code == 0
    commands = [[*words, *flags] for words in SHOWN]
    shown = on_terminal(world, width, *commands, ["flops", "--help", *flags], **environment)
    assert not re.search(r"\x1b\[(\d+;)*(3|4|9|10)[0-7](;\d+)*m", shown)  # Typer's help may be bold all the same
    for part in shown.split("$ ")[1:-1]:
        assert "\x1b" not in part
        for line in part.splitlines():
            assert len(line) <= width, line
