"""Energy of an image: the board's own counter over enough passes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from proscale_bench.measure.nvml import Board

SECONDS = 2.0  # the counter moves every few tens of milliseconds
MIN_PASSES = 5


@dataclass(frozen=True)
class Energy:
    """Joules of one image, or None; `note` says how it was measured, or why not."""

    per_image_j: float | None
    note: str


def pass_energy(
    run: Callable[[], object],
    synchronize: Callable[[], None],
    board: Board | str,
    batch_size: int,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Energy:
    """Measure passes for a while.

    Args:
        run: one pass over a batch.
        synchronize: waits until the device has done what was asked.
        board: or the reason why there is none.
        batch_size: images of a pass.
        clock: seconds.
    """
    if isinstance(board, str):
        return Energy(None, board)
    synchronize()
    start_mj, start = board.energy_mj(), clock()
    if start_mj is None:
        return Energy(None, "this GPU has no energy counter (Volta and later do)")
    passes = 0
    while passes < MIN_PASSES or clock() - start < SECONDS:
        run()
        synchronize()
        passes += 1
    end_mj = board.energy_mj()
    if end_mj is None or end_mj <= start_mj:
        return Energy(None, "the GPU's energy counter did not move")
    joules = (end_mj - start_mj) / 1000 / (passes * batch_size)
    return Energy(joules, f"NVML's counter of the whole board over {passes} passes, its idle power included")
