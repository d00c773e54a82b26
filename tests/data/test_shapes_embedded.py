"""The embedded validation split: the same everywhere, made once, whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from proscale_bench.data import embedded
from proscale_bench.data.pictures import read_id_map, read_image
from proscale_bench.data.shapes.writing import write_shapes
from proscale_bench.errors import BenchError, ExitCode

FEW = 5
# A process that makes a shorter split, says whether it had to, and dies at the image it is told to.
PROCESS = f"""
import os, signal, sys
from proscale_bench.data import embedded
embedded.IMAGES, embedded.DIGEST = {FEW}, sys.argv[1]
made = []
def progress(done, of):
    made.append(done)
    if done == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
print(embedded.embedded_validation(progress), len(made))
"""


@pytest.fixture(scope="module")
def digest_of_few(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_shapes(tmp_path_factory.mktemp("few"), FEW, embedded.SEED).digest


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digest_of_few: str) -> Path:
    """A cache folder for a split of few images."""
    monkeypatch.setenv("PROSCALE_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(embedded, "IMAGES", FEW)
    monkeypatch.setattr(embedded, "DIGEST", digest_of_few)
    return tmp_path / "cache"


def start(digest: str, die_at: int = -1) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", PROCESS, digest, str(die_at)], stdout=subprocess.PIPE, text=True)


def stale(cache: Path) -> list[Path]:
    return list(cache.glob(".shapes*"))


def test_all_256_images_are_the_same_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROSCALE_BENCH_CACHE", str(tmp_path))
    folder = embedded.embedded_validation()
    assert folder == tmp_path / "shapes-v2-val"
    # The digest again, from what is on the disk.
    digest = hashlib.sha256()
    images = sorted((folder / "val").iterdir())
    assert len(images) == 256
    for path in images:
        image, ids = read_image(path), read_id_map(folder / "panoptic_val" / path.name)
        height, width = ids.shape
        digest.update(f"{height}x{width}:".encode() + image.tobytes() + ids.astype("<u4").tobytes())
    for kind in ("panoptic", "instances"):
        document = json.loads((folder / "annotations" / f"{kind}_val.json").read_text())
        digest.update(json.dumps(document, separators=(",", ":"), sort_keys=True).encode())
    assert digest.hexdigest() == embedded.DIGEST
    assert embedded.DIGEST.startswith("d12d76c3594512ac")  # changed only with the version in the folder's name


def test_it_is_made_once(few: Path) -> None:
    done: list[tuple[int, int]] = []
    folder = embedded.embedded_validation(lambda *step: done.append(step))
    assert done == [(number, FEW) for number in range(1, FEW + 1)]
    assert embedded.embedded_validation(lambda *step: done.append(step)) == folder
    assert len(done) == FEW
    assert not stale(few)


@pytest.mark.parametrize("damage", ["cut", "gone", "annotations", "marker", "not JSON", "extra"])
def test_what_is_damaged_is_made_again(few: Path, damage: str) -> None:
    folder = embedded.embedded_validation()
    image = folder / "val" / "000000000002.png"
    whole = image.read_bytes()
    if damage == "cut":
        image.write_bytes(whole[:100])
    elif damage == "gone":
        image.unlink()
    elif damage == "annotations":
        (folder / "annotations" / "instances_val.json").write_text("{}")
    elif damage == "marker":
        (folder / embedded.MARKER).unlink()
    elif damage == "not JSON":
        (folder / embedded.MARKER).write_text("[")
    else:
        (folder / "val" / "000000000006.png").write_bytes(whole)
    done: list[int] = []
    assert embedded.embedded_validation(lambda step, _: done.append(step)) == folder
    assert done
    assert image.read_bytes() == whole
    assert len(list((folder / "val").iterdir())) == FEW
    assert not stale(few)


def test_processes_that_ask_at_once_share_one_folder(few: Path, digest_of_few: str) -> None:
    processes = [start(digest_of_few) for _ in range(3)]
    said = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert {folder for folder, _ in said} == {str(few / "shapes-v2-val")}
    assert sorted(int(made) for _, made in said) == [0, 0, FEW]
    assert not stale(few)


def test_a_killed_process_leaves_nothing_that_counts(few: Path, digest_of_few: str) -> None:
    process = start(digest_of_few, die_at=3)
    process.communicate(timeout=120)
    assert process.returncode < 0
    assert not (few / "shapes-v2-val").exists()
    assert stale(few)
    done: list[int] = []
    embedded.embedded_validation(lambda step, _: done.append(step))
    assert len(done) == FEW
    assert not stale(few)


def test_a_cache_that_cannot_be_written_is_named(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few.write_text("a file")
    with pytest.raises(BenchError, match=r"cannot write .*cache") as raised:
        embedded.embedded_validation()
    assert raised.value.hint
    assert "$PROSCALE_BENCH_CACHE" in raised.value.hint
    few.unlink()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("PIL.Image.Image.save", lambda *_, **__: full())
        with pytest.raises(BenchError, match="No space left on device"):
            embedded.embedded_validation()
    assert not (few / "shapes-v2-val").exists()
    assert not stale(few)
    assert embedded.embedded_validation().is_dir()


def test_a_machine_that_makes_other_pixels_is_told(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from proscale_bench.data.shapes import writing
    from proscale_bench.data.shapes.scene import Scene, make_scene

    def other(seed: int, index: int) -> Scene:
        scene = make_scene(seed, index)
        image = scene.image.copy()
        image[0, 0, 0] ^= np.uint8(1)  # one bit of one pixel
        return Scene(image, scene.ids, scene.segments)

    monkeypatch.setattr(writing, "make_scene", other)
    with pytest.raises(BenchError, match="everywhere else") as raised:
        embedded.embedded_validation()
    assert raised.value.exit_code == ExitCode.UNTRUSTED
    assert not (few / "shapes-v2-val").exists()
