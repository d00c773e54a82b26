"""Writers of Shapes that are killed, or two at once: a split is one seed's and whole, or it is none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from proscale_bench.data.check import check_dataset
from proscale_bench.data.coco import open_dataset
from proscale_bench.data.shapes.writing import write_shapes
from proscale_bench.errors import BenchError

KILLED = 9
WRITER = """
import os, sys
from pathlib import Path
from proscale_bench.data.shapes.writing import write_shapes
from proscale_bench.errors import BenchError
folder, images, seed, force, last = sys.argv[1], *map(int, sys.argv[2:])
left = last
rename = Path.rename

def dies(path, target):
    global left
    left -= 1
    if left == 0:
        os._exit(9)
    return rename(path, target)

Path.rename = dies
try:
    write_shapes(Path(folder), images, seed, force=bool(force))
except BenchError as error:
    sys.exit(error.message)
"""


def writer(folder: Path, images: int, seed: int, force: bool, dies_at: int = 0) -> subprocess.Popen[str]:
    """A process that writes a split, and is gone before its rename of that number."""
    words = [str(folder), *map(str, (images, seed, int(force), dies_at))]
    return subprocess.Popen([sys.executable, "-c", WRITER, *words], stderr=subprocess.PIPE, text=True)


def seed_of(folder: Path) -> int:
    """The seed of a split that is whole: nothing is wrong with it, and all of it is one seed's."""
    check = check_dataset(folder, "val")
    assert check.findings == ()
    assert check.tasks == ("panoptic", "instance", "semantic")
    seeds = {json.loads(path.read_text())["info"]["seed"] for path in (folder / "annotations").iterdir()}
    assert len(seeds) == 1
    (seed,) = seeds
    alone = folder.parent / f"alone-{seed}"
    if not alone.exists():
        write_shapes(alone, check.images, seed)
    for name in ("val", "panoptic_val"):
        for path in (alone / name).iterdir():
            assert (folder / name / path.name).read_bytes() == path.read_bytes()
    return seed


@pytest.mark.parametrize("there", [False, True])
def test_a_writer_killed_at_any_rename_leaves_no_half_split(tmp_path: Path, there: bool) -> None:
    for number in range(1, 9 if there else 5):
        folder = tmp_path / f"killed-{number}"
        if there:
            write_shapes(folder, 2, 0)
        process = writer(folder, 2, 1, there, number)
        process.communicate()
        assert process.returncode == KILLED
        with pytest.raises(BenchError):
            open_dataset(folder, "val")
        with pytest.raises(BenchError):
            check_dataset(folder, "val")
        write_shapes(folder, 2, 1, force=there)  # the same command
        assert seed_of(folder) == 1
        assert not list(folder.glob(".*"))


@pytest.mark.parametrize("force", [False, True])
def test_two_writers_at_once_never_mix(tmp_path: Path, force: bool) -> None:
    folder = tmp_path / "both"
    writers = [writer(folder, 3, seed, force) for seed in (1, 2)]
    said = [process.communicate()[1] for process in writers]
    codes = [process.returncode for process in writers]
    assert seed_of(folder) in (1, 2)
    assert not list(folder.glob(".*"))
    assert sorted(codes) == ([0, 0] if force else [0, 1]), said
    assert force or "val exists" in "".join(said)


def test_a_living_writer_keeps_its_hidden_folder(tmp_path: Path) -> None:
    folder = tmp_path / "shapes"
    done: list[int] = []

    def meanwhile(image: int, images: int) -> None:
        if not done:
            done.append(image)
            write_shapes(folder, 1, 7)

    with pytest.raises(BenchError, match="val exists"):
        write_shapes(folder, 2, 1, progress=meanwhile)
    assert open_dataset(folder).name == "val"
    assert not list(folder.glob(".*"))
