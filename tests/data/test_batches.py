"""Batches of one padded size, and loading ahead: order, bounds, errors, ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proscale_bench.cost.geometry import resized_size
from proscale_bench.data.batches import Batch, form_batches, load_ahead, padded_size
from proscale_bench.data.dataset import ImageEntry

SIZES = ((480, 640), (640, 480), (427, 640), (500, 333))


def images(*sizes: tuple[int, int]) -> list[ImageEntry]:
    return [ImageEntry(index, f"{index}.jpg", *size) for index, size in enumerate(sizes)]


def ids(batches: tuple[Batch, ...]) -> list[list[int]]:
    return [[image.id for image in batch.images] for batch in batches]


def test_an_image_waits_for_its_size() -> None:
    wide, tall = SIZES[:2]
    batches = form_batches(images(wide, tall, wide, wide, tall, wide, wide), 2)
    assert ids(batches) == [[0, 2], [1, 4], [3, 5], [6]]
    assert [batch.index for batch in batches] == [0, 1, 2, 3]
    assert [(batch.padded_height_px, batch.padded_width_px) for batch in batches] == [
        (800, 1088), (1088, 800), (800, 1088), (800, 1088),
    ]  # fmt: skip


def test_a_batch_of_one_keeps_the_order() -> None:
    assert ids(form_batches(images(*SIZES, *SIZES), 1)) == [[index] for index in range(8)]


def test_images_may_stay_as_they_are() -> None:
    batches = form_batches(images((96, 128), (97, 128), (90, 100), (96, 97)), 3, short_px=None)
    assert ids(batches) == [[0, 2, 3], [1]]
    assert (batches[1].padded_height_px, batches[1].padded_width_px) == (128, 128)


def test_no_images_make_no_batch() -> None:
    assert form_batches([], 4) == ()


def test_a_batch_holds_something() -> None:
    with pytest.raises(ValueError, match="batch_size"):
        form_batches([], 0)


@settings(deadline=None)
@given(st.lists(st.sampled_from(SIZES), max_size=40), st.integers(1, 6))
def test_every_image_is_in_one_batch_of_its_size(sizes: list[tuple[int, int]], batch_size: int) -> None:
    batches = form_batches(images(*sizes), batch_size)
    assert sorted(chain.from_iterable(ids(batches))) == list(range(len(sizes)))
    firsts = [batch.images[0].id for batch in batches]
    assert firsts == sorted(firsts)
    unfilled: Counter[tuple[int, int]] = Counter()
    for batch in batches:
        padded = (batch.padded_height_px, batch.padded_width_px)
        assert all(padded_size(resized_size(image.height_px, image.width_px)) == padded for image in batch.images)
        assert list(batch.images) == sorted(batch.images, key=lambda image: image.id)
        assert len(batch.images) <= batch_size
        unfilled[padded] += len(batch.images) < batch_size
    assert max(unfilled.values(), default=0) <= 1


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_the_same_batches(processes: int) -> None:
    batches = form_batches(images(*SIZES * 7), 3)
    shares = [batches[rank::processes] for rank in range(processes)]
    assert sorted((batch for share in shares for batch in share), key=lambda batch: batch.index) == list(batches)


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (1, 5), (4, 4), (3, 50), (8, 2)])
def test_items_come_in_order_however_long_each_takes(workers: int, ahead: int) -> None:
    def load(item: int) -> int:
        time.sleep(0.003 * (item % 3 == 0))
        return item * item

    assert list(load_ahead(range(30), load, workers, ahead)) == [item * item for item in range(30)]


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_no_more_than_ahead_are_in_memory(ahead: int) -> None:
    lock, begun, done, most = threading.Lock(), 0, 0, 0

    def load(item: int) -> int:
        nonlocal begun, most
        with lock:
            begun += 1
            most = max(most, begun - done)
        return item

    for _ in load_ahead(range(200), load, 4, ahead):
        time.sleep(0.0005)  # the loaders could run far ahead
        done += 1
    assert begun == 200
    assert most <= ahead


def test_loading_goes_on_while_the_consumer_is_busy() -> None:
    third = threading.Event()

    def load(item: int) -> int:
        if item == 2:
            third.set()
        return item

    loaded = load_ahead(range(9), load, 1, 4)
    assert next(loaded) == 0
    assert third.wait(10)
    loaded.close()


def test_items_are_taken_as_they_are_needed() -> None:
    taken = []

    def endless() -> object:
        item = 0
        while True:
            taken.append(item)
            yield item
            item += 1

    loaded = load_ahead(endless(), str, 2, 3)  # type: ignore[arg-type]
    assert [next(loaded) for _ in range(5)] == ["0", "1", "2", "3", "4"]
    loaded.close()
    assert len(taken) == 7


def test_an_error_comes_in_its_items_place() -> None:
    def load(item: int) -> int:
        if item in (3, 4):
            raise OSError(f"item {item}")
        time.sleep(0.01)
        return item

    seen = []
    with pytest.raises(OSError, match="item 3"):
        seen.extend(_each(seen, load_ahead(range(10), load, 4, 8)))
    assert seen == [0, 1, 2]
    assert not _loaders()


@pytest.mark.parametrize("seen", [0, 1, 4])
def test_closing_ends_the_threads(seen: int) -> None:
    begun = []

    def load(item: int) -> int:
        begun.append(item)
        time.sleep(0.01)
        return item

    loaded = load_ahead(range(1000), load, 3, 6)
    for _ in range(seen):
        next(loaded)
    loaded.close()
    assert not _loaders()
    so_far = len(begun)
    assert so_far <= seen + 6
    time.sleep(0.05)
    assert len(begun) == so_far


def test_nothing_to_load_is_loaded() -> None:
    assert list(load_ahead([], str)) == []


@pytest.mark.parametrize(("workers", "ahead"), [(0, 1), (1, 0)])
def test_a_window_holds_something(workers: int, ahead: int) -> None:
    with pytest.raises(ValueError, match="workers"):
        next(load_ahead([1], str, workers, ahead))


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's here")
def test_ctrl_c_does_not_hang() -> None:
    script = """if True:
        import time
        from proscale_bench.data.batches import load_ahead
        def load(item):
            time.sleep(0.05)
            return item
        for item in load_ahead(range(10**6), load, 4, 16):
            print(item, flush=True)
    """
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert b"KeyboardInterrupt" in errors


def _each(seen: list[int], loaded: object) -> list[int]:
    for item in loaded:  # type: ignore[attr-defined]
        seen.append(item)
    return []


def _loaders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("load")]
