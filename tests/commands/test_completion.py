"""The completions that a shell offers, asked as the shells ask."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from proscale_bench.commands import completion

ROOT = Path(__file__).parents[2]
ASK = "_PROSCALE_BENCH_COMPLETE"
# Says afterwards which large libraries were loaded.
PROGRAM = """\
import sys
from proscale_bench.cli import main
sys.argv[0] = "proscale-bench"
try:
    main()
finally:
    print(*(name for name in ("torch", "rich", "numpy") if name in sys.modules), file=sys.stderr)
"""


def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("mo", {"models"}),
        ("models w", {"warm-start"}),
        ("flops --ru", {"--rules"}),
        ("flops --schedule 3,3,3", {"3,3,3", "3,3,3+conv", "3,3,3+trc:none", "3,3,3+dw", "3,3,3+keep:0.5"}),
        ("flops --schedule 3,3,3+k", {"3,3,3+keep:0.5"}),
        ("schedules show proscale-3-3-3-n", {"proscale-3-3-3-no-trc"}),
        ("eval --tasks panoptic,", {"panoptic,instance", "panoptic,semantic", "panoptic,boxes"}),
        ("train --recipe coco-", {"coco-50ep", "coco-finetune", "coco-detection-50ep"}),
        ("train --model d", {"deformable-detr"}),
        ("train --model deformable-detr+t", {"deformable-detr+two-stage"}),
        ("flops --export-json here", set()),
    ],
)
def test_bash_is_answered_without_a_large_library(words: str, offered: set[str]) -> None:
    asked = f"proscale-bench {words}"
    done = call(**{ASK: "complete_bash", "COMP_WORDS": asked, "COMP_CWORD": str(len(asked.split()) - 1)})
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == offered
    assert done.stderr == "\n"


@pytest.mark.parametrize(
    ("shell", "environment", "answer"),
    [
        ("zsh", {}, '_arguments \'*: :(("coco-first100"\n"coco-val"))\''),
        ("fish", {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}, "coco-first100\ncoco-val"),
    ],
)
def test_zsh_and_fish_are_answered(shell: str, environment: dict[str, str], answer: str) -> None:
    asked = {ASK: f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "proscale-bench flops --size coco"}
    assert call(**asked, **environment).stdout.strip() == answer


@pytest.mark.parametrize(("shell", "file"), [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", None)])
def test_a_script_comes_out_and_is_installed(shell: str, file: str | None, tmp_path: Path) -> None:
    told = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": str(tmp_path)}
    shown = call("--show-completion", shell, **told)
    assert shown.returncode == 0, shown.stderr
    assert f"{ASK}=complete_{shell}" in shown.stdout
    installed = call("--install-completion", shell, **told)
    assert installed.returncode == 0, installed.stderr
    assert f"{shell} completion installed" in installed.stdout
    assert file is None or (tmp_path / file).is_file()
    assert any(shown.stdout.strip() in path.read_text() for path in tmp_path.rglob("*") if path.is_file())


def test_bash_itself_completes(tmp_path: Path) -> None:
    tool = tmp_path / "proscale-bench"
    tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c \'{PROGRAM}\' "$@" 2> /dev/null\n')
    tool.chmod(0o755)
    script = call("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1").stdout
    drive = "COMP_WORDS=(proscale-bench report runs --y pq); COMP_CWORD=4; _proscale_bench_completion proscale-bench\n"
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{drive}echo ${{COMPREPLY[@]}}"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["pq", "pq_things", "pq_stuff"], done.stderr


def test_what_is_offered_is_what_is_accepted() -> None:
    from proscale_bench.config.catalogue import parse_schedule
    from proscale_bench.cost.geometry import parse_size
    from proscale_bench.models.checkpoints.layouts import LAYOUTS
    from proscale_bench.models.sampling import AUTO, SAMPLERS

    assert completion.OFFERS["--sampling"]() == [AUTO, *SAMPLERS]
    assert set(completion.OFFERS["--layout"]()) == set(LAYOUTS)
    for word in (*completion.schedules(""), *completion.schedules("3,3,3+conv+trc:none+")[-3:]):
        parse_schedule(word)
    for word in completion.sizes():
        parse_size(word)
    assert {"baseline", "3,3,3"} <= set(completion.schedules(""))
    assert {"coco-first100", "coco-val", "800x1333"} <= set(completion.sizes())


def test_every_flag_that_chooses_from_a_table_offers_it() -> None:
    """By what its value is called; names of splits are the user's own."""
    declared: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "make_cli.py"))
    tables = {
        "SCHEDULE",
        "NAME",
        "SIZE",
        "HxW",
        "METRIC",
        "METRIC:PERCENT",
        "LIST",
        "SIDES",
        "BACKBONE",
        "ADDRESS",
        "RECIPE",
    }
    for _, command, _, function in declared["commands"]():
        for kind, info, _ in declared["declared"](function):
            names = declared["written"](info) if type(info).__name__ == "OptionInfo" else [info.metavar]
            is_split = {"--split", "--val-split"} & set(names)
            chosen = info.metavar in tables and not declared["choices"](kind) and not is_split
            assert bool(info.autocompletion) == (chosen or info.autocompletion is completion.sweeps), (command, names)
