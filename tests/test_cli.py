"""The whole command line: exit codes, bad input, streams. No input of a user's ends in a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from proscale_bench.version import __version__
from tests.cli import run

SCHEDULE = """\
schema_version: 1
name: mine
encoder: proscale
stages:
  - {levels: [res5], layers: 1}
"""

# (arguments, what stderr says): every one exits with 2 and prints no report. `FILE` is written from the third entry.
BAD_INPUT: list[tuple[str, str, str | bytes | None]] = [
    # schedules
    ("flops -s 3,3", "three numbers", None),
    ("flops -s 3;3;3", "unknown schedule", None),
    ("flops -s 3,3,3+fast", "unknown option '+fast'", None),
    ("flops -s 3,3,3+temp:-1", "not a positive number", None),
    ("flops -s 3,3,500", "500 layers", None),
    ("flops -s proscale-3-3-4", "did you mean", None),
    ("flops -s none.yaml", "No such file", None),
    ("flops -s FOLDER", "unknown schedule", None),
    ("flops -s FOLDER.yaml", "No such file", None),
    ("flops -s FILE", "empty", ""),
    ("flops -s FILE", "empty", "   \n# nothing\n"),
    ("flops -s FILE", "not UTF-8", b"\xff\xfe\x00"),
    ("flops -s FILE", "binary", b"a\x00b"),
    ("flops -s FILE", "over 1024 KiB", b"#" * 1_100_000),
    ("flops -s FILE", "not valid YAML", "stages: [\n"),
    ("flops -s FILE", "nested deeper", "[" * 2_000),
    ("flops -s FILE", "aliases are not supported", "a: &a 1\nb: *a\n"),
    ("flops -s FILE", "not valid YAML", "!!python/object/apply:os.system [echo]\n"),
    ("flops -s FILE", "encoder: required key is missing", SCHEDULE.replace("encoder: proscale\n", "")),
    ("flops -s FILE", "unknown key", SCHEDULE + "extra: 1\n"),
    ("flops -s FILE", "given twice", SCHEDULE + "name: again\n"),
    ("flops -s FILE", "is not 'res6', 'res5'", SCHEDULE.replace("res5", "res1")),
    ("flops -s FILE", "YAML reads 3_3_3", SCHEDULE.replace("layers: 1", "layers: 3_3_3")),
    ("flops -s FILE", "is text, not a number", SCHEDULE + "recalibration_temperature: 1e-4\n"),
    ("flops -s FILE", "stages", "schema_version: 1\nname: x\nencoder: proscale\nstages: 3,3,3\n"),
    ("schedules show 3,3", "three numbers", None),
    ("schedules show none", "unknown schedule", None),
    ("schedules show 3,3,3 --size 0x0", "a side of 0", None),
    ("schedules show 3,3,3 -b vgg", "unknown backbone", None),
    ("schedules validate none.yaml", "No such file", None),
    ("schedules validate FOLDER", "FOLDER", None),
    ("schedules validate FILE", "empty", ""),
    ("schedules validate", "Missing argument", None),
    ("schedules nothing", "No such command", None),
    # backbones
    ("flops -b resnet5O", "did you mean 'resnet50'", None),
    ("flops -b vgg16", "known: resnet50, resnet101", None),
    ("models show resnet", "did you mean", None),
    ("models show", "Missing argument", None),
    # sizes
    ("flops --size 0x640", "a side of 0", None),
    ("flops --size -1x640", "unknown size", None),
    ("flops --size 640", "800x1333", None),
    ("flops --size 40000x640", "a side of 40000", None),
    ("flops --size 99999999999999999999x1", "unknown size", None),
    ("flops --size coco-test", "unknown size", None),
    ("flops --size 640x640 --output-size 0x1", "a side of 0", None),
    ("flops --size coco-val --output-size 640x640", "cannot go with", None),
    ("flops --size ''", "unknown size", None),
    # choices
    ("flops --rules thop", "unknown rules", None),
    ("flops --rules complet", "did you mean 'complete'", None),
    ("flops --convention mack", "did you mean 'mac'", None),
    ("flops --by module", "module", None),
    ("flops --verify=yes", "--verify", None),
    ("flops --fast", "No such option", None),
    ("flop", "No such command", None),
    # profiles
    ("profile --size coco-val", "a latency is of one size", None),
    ("profile --size 0x64", "a side of 0", None),
    ("profile --size 64", "unknown size", None),
    ("profile --output-size 64", "unknown output size", None),
    ("profile -s 3,3", "three numbers", None),
    ("profile -b vgg16", "unknown backbone", None),
    ("profile --dtype fp8", "unknown dtype 'fp8'", None),
    ("profile --device tpu", "unknown device 'tpu'", None),
    ("profile --device cpu --dtype tf32", "number format of GPUs", None),
    ("profile --device cpu --cuda-graphs", "needs a GPU", None),
    ("profile --device cpu --sampling nearest", "unknown sampling 'nearest'", None),
    ("profile --device cpu --sampling triton", "needs a GPU", None),
    ("profile --batch-size 0", "--batch-size", None),
    ("profile --batch-size x", "--batch-size", None),
    ("profile --threads 0", "--threads", None),
    ("profile --seed -1", "--seed", None),
    ("profile --repeats 0", "--repeats", None),
    ("profile --max-seconds 0", "--max-seconds", None),
    ("profile --export-json FILE", "--force", "precious"),
    ("profile --export-csv - --export-json -", "same place", None),
    ("profile -b tiny --size 64x64 --out FILE", "FILE", "a file, not a folder"),
    ("profile -b tiny --size 64x64 --out /proc/nowhere", "/proc/nowhere", None),
    # outputs
    ("flops --export-json FILE", "--force", "precious"),
    ("flops --export-json FOLDER", "is a folder", None),
    ("flops --export-json FILE/x.json", "cannot write", "a file, not a folder"),
    ("flops --export-json /proc/nowhere/x.json", "cannot write", None),
    ("flops --export-csv - --export-json -", "same place", None),
    ("flops --export-csv x --export-json ./x", "same place", None),
    ("flops --export-json ''", "has no path", None),
    ("flops --export-csv x --export-markdown x", "same place", None),
    # sweeps and reports
    ("sweep none", "none", None),
    ("sweep none.yaml", "No such file", None),
    ("sweep FOLDER", "FOLDER", None),
    ("sweep FILE", "empty", ""),
    ("sweep FILE", "not UTF-8", b"\xff\xfe"),
    ("sweep FILE", "unknown key", "schema_version: 1\nnme: x\n"),
    ("sweep paper --out FILE", "FILE", "a file, not a folder"),
    ("sweep paper --out /proc/nowhere", "/proc/nowhere", None),
    ("report none", "none", None),
    ("report FILE", "FILE", "not a run"),
    ("report FOLDER", "FOLDER", None),
    ("report", "Missing argument", None),
]


@pytest.mark.parametrize(("arguments", "said", "content"), BAD_INPUT, ids=[case[0] for case in BAD_INPUT])
def test_bad_input_is_a_clear_error_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, said: str, content: str | bytes | None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")  # usage errors are boxed: keep them on one line
    (tmp_path / "FOLDER").mkdir()
    if content is not None:
        Path("FILE").write_bytes(content.encode() if isinstance(content, str) else content)
    result = run(*["" if word == "''" else word for word in arguments.split()])
    assert result.exit_code == 2, result.stdout + result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == "" or arguments.startswith("schedules validate")
    if content is not None:
        assert Path("FILE").read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert {path.name for path in tmp_path.iterdir()} <= {"FOLDER", "FILE"}  # nothing half done


def test_there_are_at_least_sixty_of_them() -> None:
    assert len(BAD_INPUT) >= 60


def test_every_error_shows_the_value_and_cannot_drive_the_terminal() -> None:
    result = run("flops", "-s", "3,3,3+\x1b[31mred")
    assert "\x1b" not in result.stderr
    assert "\\x1b[31mred" in result.stderr
    assert "[bold]" in run("flops", "-b", "[bold]x").stderr  # markup stays text


def test_version_and_help() -> None:
    assert run("--version").stdout == f"proscale-bench {__version__}\n"
    for command in ("flops", "profile", "sweep", "report", "schedules", "models"):
        assert command in run("--help").stdout


def test_no_arguments_show_help() -> None:
    assert "Usage" in run().stdout + run().stderr


def test_quiet_keeps_errors_and_reports(tmp_path: Path) -> None:
    report = run("--quiet", "flops", "-s", "1,1,1", "-b", "tiny", "--size", "32x32", "--verify")
    assert "pixel decoder" in report.stdout
    assert "verified" not in report.stderr
    assert "unknown backbone" in run("--quiet", "flops", "-b", "x").stderr


@pytest.mark.parametrize("flag", ["--quiet", "-q", "--verbose", "-v", "--no-color"])
def test_global_flags_stand_before_or_after_the_command(flag: str) -> None:
    before, after = run(flag, "schedules", "list"), run("schedules", "list", flag)
    assert before == after
    assert before.exit_code == 0


def test_no_color_is_honoured_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    colours = {"31m", "36m", "33m"}
    assert any(colour in run("flops", "-b", "x").stderr for colour in colours)
    assert not any(colour in run("flops", "-b", "x", "--no-color").stderr for colour in colours)


def test_verbose_says_what_is_done_and_where_an_error_arose(tmp_path: Path) -> None:
    assert "proscale-3-3-3 is 3,3,3: 46 distinct sizes" in run("-v", "flops", "-s", "proscale-3-3-3").stderr
    assert "Traceback" in run("-v", "flops", "-s", "3,3").stderr
    assert "Traceback" not in run("flops", "-s", "3,3").stderr
    swept = run("-v", "sweep", "paper", "--out", str(tmp_path / "run")).stderr
    assert swept.count(": found") == 36


def test_exit_code_reaches_the_shell_and_streams_are_apart() -> None:
    command = [sys.executable, "-m", "proscale_bench", "flops"]
    good = subprocess.run([*command, "--export-json", "-"], capture_output=True, text=True, check=False)
    assert (good.returncode, json.loads(good.stdout)["results"][0]["schedule"]) == (0, "3,3,3")
    bad = subprocess.run([*command, "-b", "x"], capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.startswith("error: unknown backbone 'x'\nhint: ")


@pytest.mark.parametrize("after_s", [0.3, 8.0])
def test_control_c_is_one_line_and_130(after_s: float) -> None:
    """Interrupted while it loads torch, or traces 603 sizes."""
    arguments = ["--verbose", "flops", "--size", "coco-val", "--verify"]
    # A shell starts what runs in its background deaf to Ctrl-C, and so this test's children.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{listen}; from proscale_bench.__main__ import main; main()", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "603 distinct sizes" in process.stderr.readline()  # now it has begun
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr.split() == ["interrupted"]
    assert stdout == ""


def test_a_full_disk_is_a_clear_error() -> None:
    if not os.access("/dev/full", os.W_OK):
        pytest.skip("no /dev/full on this machine")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "proscale_bench", "schedules", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize(
    "arguments",
    [
        *("flops", "flops --by layer", "flops --by operator", "flops --export-markdown -", "schedules list"),
        *("schedules show 3,3,3", "schedules show 0,0,40", "models list", "models show swin_t", "--help"),
    ],
)
def test_a_terminal_that_cannot_show_everything_still_gets_the_numbers(arguments: str, encoding: str) -> None:
    command = [sys.executable, "-m", "proscale_bench", *arguments.split()]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode(encoding)
    if arguments == "schedules show 3,3,3":
        assert b"# # #" in done.stdout
        assert b". . ." in done.stdout


@pytest.mark.parametrize("arguments", ["--help", "--version", "models list"])
def test_what_cannot_be_written_is_a_clear_error(arguments: str) -> None:
    if not os.access("/dev/full", os.W_OK):
        pytest.skip("no /dev/full on this machine")
    command = f"{sys.executable} -m proscale_bench {arguments} > /dev/full"
    done = subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: No space left on device\n"


CLOSED = [
    *(("flops >&-", 0), ("flops -b x 2>&-", 2), ("flops | true", 0), ("--help | true", 0), ("flops --help | true", 0)),
    *(
        ("--version | true", 0),
        ("flops -b x 2>/dev/full", 2),
        ("flops --nope 2>/dev/full", 2),
        ("flops 2>/dev/full", 0),
    ),
    *(("flops -b x 2> >(true)", 2), ("schedules list | head -c 1", 0)),
    ("check TOO_LOW | true", 1),  # a pipe that nobody reads makes no limit hold
]


@pytest.mark.parametrize(("arguments", "code"), CLOSED)
def test_closed_streams_are_borne(arguments: str, code: int, tmp_path: Path) -> None:
    limits = "schema_version: 1\nbudgets:\n  - schedule: 3,3,3\n    backbone: swin_t\n    total_gflops: {max: 1}\n"
    (tmp_path / "low.yaml").write_text(limits)
    arguments = arguments.replace("TOO_LOW", str(tmp_path / "low.yaml"))
    command = f"set -o pipefail; {sys.executable} -m proscale_bench {arguments}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_links_are_followed_and_devices_and_pipes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("target").write_text("old")
    Path("link").symlink_to("target")
    Path("dangling").symlink_to("nowhere")
    Path("loop").symlink_to("loop")
    os.mkfifo("pipe")
    assert run("flops", "--export-json", "link", "--force").exit_code == 0
    assert Path("link").is_symlink()
    assert json.loads(Path("target").read_text())["results"]
    assert run("flops", "--export-json", "dangling").exit_code == 2
    assert run("flops", "--export-json", "loop", "--force").exit_code == 2
    assert "not a regular file" in run("flops", "--export-json", "pipe", "--force").stderr
    assert "not a regular file" in run("schedules", "validate", "pipe", "/dev/zero").stderr


def test_a_narrow_terminal_cuts_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from proscale_bench.render import console

    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    wide = console.stdout_console()
    assert isinstance(wide, Console)
    assert wide.width == console.NARROWEST


def test_a_closed_pipe_is_quiet() -> None:
    done = subprocess.run(
        f"{sys.executable} -m proscale_bench schedules list | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr


def test_no_path_drives_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On stdout as on stderr."""
    import torch

    from proscale_bench.results.store import write_record
    from tests.models.checkpoints.samples import official, small_model, write
    from tests.results.records import record

    monkeypatch.chdir(tmp_path)
    red = "\x1b[31m"
    Path(f"{red}s.yaml").write_text(SCHEDULE)
    Path(f"{red}b.yaml").write_text(
        "schema_version: 1\nbudgets: [{schedule: '3,3,3', size: 64x64, params_m: {max: 1.0, level: warn}}]\n"
    )
    write_record(Path(f"{red}run"), record())
    write(Path(f"{red}w.pth"), official(small_model("baseline:1")) | {f"{red}x": torch.zeros(1)})
    for command in (
        ("schedules", "validate", f"{red}s.yaml"),
        ("report", f"{red}run"),
        ("check", f"{red}b.yaml", "--format", "github"),
        ("check", f"{red}b.yaml", "--update"),
        ("models", "convert", f"{red}w.pth", f"{red}o.pth"),
        ("data", "make-shapes", f"{red}d", "--images", "1"),
    ):
        result = run(*command)
        assert result.exit_code == 0, result.stderr
        assert "\\x1b[31m" in result.stdout + result.stderr, command
        assert "\x1b" not in result.stdout + result.stderr, command
