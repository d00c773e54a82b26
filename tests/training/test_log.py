"""The log has a line for every few iterations, once each, whatever stopped the training."""

from __future__ import annotations

from pathlib import Path

import pytest

from proscale_bench.errors import BenchError
from proscale_bench.results.training import LogLine, TrainingStep, read_log
from proscale_bench.training.log import EVERY, LogWriter, TensorBoardWriter, summed_up


def step(iteration: int, norm: float | None = 3.0) -> TrainingStep:
    return TrainingStep(
        iteration=iteration,
        total=float(iteration),
        class_loss=2.0 * iteration,
        mask_loss=3.0 * iteration,
        dice_loss=4.0 * iteration,
        gradient_norm=norm,
        learning_rate=0.1 / iteration,
        seconds=0.5,
    )


def write(path: Path, first: int, last: int, unlogged: list[TrainingStep] | None = None, end: int = 100) -> LogWriter:
    writer = LogWriter(path, done=first - 1, unlogged=unlogged or [], seconds=0.5 * (first - 1), batch_size=8, last=end)
    for iteration in range(first, last + 1):
        writer.add(step(iteration))
    writer.keep()
    writer.close()
    return writer


def test_a_line_is_the_mean_of_its_iterations() -> None:
    line = summed_up([step(11, norm=None), step(12), step(13, norm=5.0)], 6.5, 8)
    assert (line.iteration, line.loss, line.loss_class, line.loss_mask, line.loss_dice) == (13, 12, 24, 36, 48)
    assert (line.gradient_norm, line.learning_rate, line.images_per_second, line.seconds) == (4.0, 0.1 / 13, 16.0, 6.5)
    assert summed_up([step(1, norm=None)], 0.5, 8).gradient_norm is None


def test_there_is_a_line_every_so_many_iterations_and_at_the_end(tmp_path: Path) -> None:
    write(tmp_path / "log.jsonl", 1, 2 * EVERY + 3, end=2 * EVERY + 3)
    assert [line.iteration for line in read_log(tmp_path / "log.jsonl")] == [EVERY, 2 * EVERY, 2 * EVERY + 3]


@pytest.mark.parametrize("kept", [3, EVERY, EVERY + 4])
def test_what_is_trained_again_is_logged_once(tmp_path: Path, kept: int) -> None:
    whole, path = tmp_path / "whole.jsonl", tmp_path / "log.jsonl"
    write(whole, 1, 3 * EVERY)
    unlogged = write(path, 1, kept).unlogged
    write(path, kept + 1, 2 * EVERY + 5, list(unlogged))  # killed here, with the state of `kept`
    with path.open("a") as file:
        file.write('{"iteration": 9')
    write(path, kept + 1, 3 * EVERY, list(unlogged))
    assert read_log(path) == read_log(whole)


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(path, 1, 2 * EVERY)
    raw = path.read_bytes()
    first = raw.index(b"\n") + 1
    for end in range(first, len(raw)):
        path.write_bytes(raw[:end])
        assert [line.iteration for line in read_log(path)] == [EVERY]


def test_no_log_has_no_lines(tmp_path: Path) -> None:
    assert read_log(tmp_path / "log.jsonl") == ()


@pytest.mark.parametrize("bad", [b"\xff\xfe\n", b"{}\n", b"[1]\n", b'{"iteration": NaN}\n'])
def test_what_is_no_log_is_named(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "log.jsonl"
    write(path, 1, EVERY)
    path.write_bytes(path.read_bytes() + bad)
    with pytest.raises(BenchError, match=r"log.jsonl:2: not a line"):
        read_log(path)


def test_the_reader_needs_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys; import proscale_bench.results.training, proscale_bench.render.training; "
    code += "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_tensorboard_is_given_every_line(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    line = LogLine.model_validate(summed_up([step(10, norm=None)], 5.0, 8).model_dump())
    board = TensorBoardWriter(tmp_path, 0)
    board.add(line)
    board.close()
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["scalars"]) == set(LogLine.model_fields) - {
        *("iteration", "gradient_norm", "validation"),
        *("loss_box", "loss_giou"),
    }
    (found,) = events.Scalars("loss")
    assert (found.step, found.value) == (10, 10.0)
