"""Training reads what the data set holds: every segment that is learnt, once, where it is."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from proscale_bench.config.recipe import Augmentation
from proscale_bench.data import embedded
from proscale_bench.data.coco import open_dataset
from proscale_bench.data.embedded import SCENES, TABLE, training_shapes
from proscale_bench.data.embedded import SEED as VALIDATION_SEED
from proscale_bench.data.shapes import CATEGORIES, make_scene
from proscale_bench.data.truth import panoptic_truth
from proscale_bench.errors import BenchError
from proscale_bench.training.augment import draw_variation
from proscale_bench.training.samples import CocoTraining, Sample, ShapesTraining
from tests.data.made import Made, make_dataset

JITTER = Augmentation(resize=(0.3, 1.6), crop=(96, 128), vertical_flip=True, color=True)
FEW = 100  # two parts, so that processes share them
CROWDED = 23  # a scene of seed 1 with a crowd
# A process that asks for scenes, says how often it made one, and dies after the part that it is told to.
PROCESS = f"""
import os, signal, sys
from pathlib import Path
from proscale_bench.data.embedded import training_shapes
made = []
def progress(done, of):
    made.append(done)
    if len(made) == int(sys.argv[1]):
        print(*Path(f"/proc/self/task/{{os.getpid()}}/children").read_text().split(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
if __name__ == "__main__":
    print(len(training_shapes({FEW}, 1, progress, int(sys.argv[2]))), len(made))
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def few(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder that tests share and leave whole."""
    monkeypatch.setenv("PROSCALE_BENCH_CACHE", str(cache))
    return cache


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("PROSCALE_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def random(index: int = 0) -> np.random.Generator:
    return np.random.default_rng([9, index])


def expected(
    ids: NDArray[np.uint32], wanted: list[tuple[int, int]], image: NDArray[np.uint8], generator: np.random.Generator
) -> Sample:
    """A sample, from one mask after the other."""
    variation = draw_variation(JITTER, ids.shape, generator)
    masks = [(label, variation.of_map(ids == np.uint32(id_))) for id_, label in wanted]
    kept = [(label, mask) for label, mask in masks if mask.any()]
    return Sample(
        variation.of_image(image),
        np.array([label for label, _ in kept], np.int64),
        np.array([mask for _, mask in kept], np.bool_).reshape(-1, *JITTER.crop),
    )


def assert_same(found: Sample, wanted: Sample) -> None:
    assert (found.image.dtype, found.labels.dtype, found.masks.dtype) == (np.uint8, np.int64, np.bool_)
    assert (found.image == wanted.image).all()
    assert found.labels.tolist() == wanted.labels.tolist()
    assert found.masks.shape == wanted.masks.shape
    assert (found.masks == wanted.masks).all()


def start(die_at: int = -1, processes: int = 1) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROCESS, str(die_at), str(processes)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


# --- Shapes ---


@pytest.mark.parametrize("index", [0, 1, 63, 64, CROWDED, FEW - 1])
def test_a_sample_of_shapes_is_its_scene_varied(few: Path, index: int) -> None:
    training = ShapesTraining(FEW, 1, JITTER)
    scene = make_scene(1, index)
    class_of = {category.id: place for place, category in enumerate(training.classes)}
    wanted = [(segment.id, class_of[segment.category_id]) for segment in scene.segments if not segment.is_crowd]
    assert len(wanted) < len(scene.segments) or index != CROWDED
    for draw in range(5):
        assert_same(training.sample(index, random(draw)), expected(scene.ids, wanted, scene.image, random(draw)))
    assert len(training) == FEW
    assert training.classes == CATEGORIES
    assert training.name(index) == f"scene {index} of seed 1"


def test_masks_do_not_overlap_and_none_is_empty(few: Path) -> None:
    training = ShapesTraining(FEW, 1, Augmentation(resize=(2.0, 2.0), crop=(32, 32)))
    cropped_away = 0
    for index in range(FEW):
        sample = training.sample(index, random(index))
        assert sample.masks.any((1, 2)).all()
        assert sample.masks.sum(0).max(initial=0) <= 1
        cropped_away += len(sample.labels) < sum(not segment.is_crowd for segment in make_scene(1, index).segments)
    assert cropped_away > FEW // 2


def test_processes_make_what_one_makes(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    together = training_shapes(FEW, 1, lambda done, of: seen.append((done, of)), processes=2)
    assert seen[-1] == (FEW, FEW)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    monkeypatch.setenv("PROSCALE_BENCH_CACHE", str(fresh.parent / "other"))
    alone = training_shapes(FEW, 1, processes=1)
    for name in (SCENES, TABLE):
        assert (together.folder / name).read_bytes() == (alone.folder / name).read_bytes()


def test_they_are_made_once(few: Path) -> None:
    training_shapes(FEW, 1)
    before = {path: path.stat().st_mtime_ns for path in few.rglob("*")}
    training_shapes(FEW, 1, lambda *_: pytest.fail("made again"))
    assert {path: path.stat().st_mtime_ns for path in few.rglob("*")} == before


def test_the_validation_split_is_not_trained_on(fresh: Path) -> None:
    with pytest.raises(BenchError, match="validation"):
        ShapesTraining(FEW, VALIDATION_SEED, JITTER)
    assert not fresh.exists()


@pytest.mark.parametrize("name", [SCENES, TABLE, "made.json"])
def test_what_is_cut_off_is_made_again(fresh: Path, name: str) -> None:
    folder = training_shapes(3, 2).folder
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:-1])
    made: list[int] = []
    training_shapes(3, 2, lambda done, _: made.append(done))
    assert made == [3]
    assert (folder / name).read_bytes() == whole
    (folder / name).unlink()
    training_shapes(3, 2)
    assert (folder / name).read_bytes() == whole


def test_a_changed_byte_is_found_in_its_scene(fresh: Path) -> None:
    folder = training_shapes(3, 2).folder
    with (folder / SCENES).open("rb+") as file:
        file.seek(100)
        byte = file.read(1)[0]
        file.seek(100)
        file.write(bytes([byte ^ 1]))
    training = ShapesTraining(3, 2, JITTER)
    training.sample(1, random())
    with pytest.raises(BenchError, match="scene 0 is damaged") as caught:
        training.sample(0, random())
    assert str(folder) in str(caught.value.hint)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's here")
def test_a_killed_maker_leaves_nothing_and_waiting_processes_make_it_once(fresh: Path) -> None:
    assert start(die_at=1).wait(timeout=120) != 0
    assert list(fresh.glob(".shapes*"))
    told = sorted(process.communicate(timeout=240)[0].split() for process in [start(), start()])
    assert told == [[str(FEW), "0"], [str(FEW), "2"]]
    assert not list(fresh.glob(".shapes*"))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")
def test_who_makes_parts_ends_with_the_killed_process_that_asked(fresh: Path) -> None:
    children = start(die_at=1, processes=2).communicate(timeout=240)[0].split()
    assert len(children) == 2
    until = time.monotonic() + 60
    while any(is_running(child) for child in children):
        assert time.monotonic() < until
        time.sleep(0.05)


def is_running(process: str) -> bool:
    """Tell whether the process is there, and is no zombie that nobody asked for its end."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_cache_that_cannot_be_written_is_a_users_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PROSCALE_BENCH_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(BenchError, match="cannot write") as caught:
        training_shapes(8192, 1)
    assert "1.0 GB" in str(caught.value.hint)


def test_no_scene_has_more_segments_than_there_is_room_for() -> None:
    """Four kinds of stuff, seven things and a crowd."""
    assert embedded.MAX_SEGMENTS >= 4 + 7 + 1
    assert max(len(make_scene(1, index).segments) for index in range(60)) <= 12


# --- COCO ---


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make_dataset(tmp_path / "coco")


@pytest.mark.parametrize("index", range(3))
def test_a_sample_of_coco_is_its_panoptic_truth_varied(made: Made, index: int) -> None:
    dataset = open_dataset(made.root)
    training = CocoTraining(dataset, JITTER)
    entry = dataset.images[index]
    ids, truth = panoptic_truth(dataset, entry)
    image = np.asarray(Image.open(dataset.image_dir / entry.file_name).convert("RGB"))
    wanted = [(segment.id, dataset.class_of[segment.category_id]) for segment in truth.segments if not segment.is_crowd]
    assert len(wanted) == 3
    for draw in range(10):
        assert_same(training.sample(index, random(draw)), expected(ids, wanted, image, random(draw)))
    assert [category.name for category in training.classes] == ["person", "dog", "grass", "sky"]
    assert training.name(index) == f"{made.images}/{entry.file_name} (image {entry.id})"


def overlapping(document: dict[str, Any]) -> None:
    """Two dogs behind the person of image 10: an RLE, and one compressed."""
    counts = [5 * 24, 10 * 24, 24 * 32 - 15 * 24]  # columns 5 to 14 of 24 x 32
    common = {"image_id": 10, "category_id": 18, "iscrowd": 0, "area": 240, "bbox": [5, 0, 10, 24]}
    from pycocotools import mask as coco

    compressed = coco.frPyObjects({"size": [24, 32], "counts": counts}, 24, 32)["counts"].decode()
    for id_, told in ((7001, counts), (7002, compressed)):
        document["annotations"].append({**common, "id": id_, "segmentation": {"size": [24, 32], "counts": told}})


def test_where_there_are_only_instances_things_are_learnt_and_may_overlap(tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "coco", panoptic=False)
    made.edit_instances(overlapping)
    training = CocoTraining(open_dataset(made.root), JITTER)
    assert [category.name for category in training.classes] == ["person", "dog"]
    dogs = np.zeros((24, 32), np.bool_)
    dogs[:, 5:15] = True
    person = np.zeros((24, 32), np.bool_)
    person[6:12, 4:10] = True  # as pycocotools draws the polygon around it
    for draw in range(10):
        sample = training.sample(0, random(draw))
        variation = draw_variation(JITTER, (24, 32), random(draw))
        wanted = [(0, variation.of_map(person)), (1, variation.of_map(dogs)), (1, variation.of_map(dogs))]
        wanted = [(label, mask) for label, mask in wanted if mask.any()]
        assert sample.labels.tolist() == [label for label, _ in wanted]
        assert all((mask == want).all() for mask, (_, want) in zip(sample.masks, wanted, strict=True))


def test_an_image_without_things_has_no_segments(tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "coco", panoptic=False)
    made.edit_instances(lambda document: document["annotations"].clear())
    sample = CocoTraining(open_dataset(made.root), JITTER).sample(0, random())
    assert (sample.labels.shape, sample.masks.shape) == ((0,), (0, *JITTER.crop))
    assert (sample.labels.dtype, sample.masks.dtype) == (np.int64, np.bool_)


def test_a_mask_that_is_none_is_named_and_never_reaches_c(tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "coco", panoptic=False)
    dataset = open_dataset(made.root)
    assert dataset.instances is not None
    thing = dataset.instances[10][0]
    thing["segmentation"] = {"size": [24, 32], "counts": [10**9]}
    with pytest.raises(BenchError, match=f"annotation {thing['id']}.*counts"):
        CocoTraining(dataset, JITTER).sample(0, random())


def test_files_that_do_not_belong_together_are_named(made: Made) -> None:
    training = CocoTraining(open_dataset(made.root), JITTER)
    (made.images / "000000000010.jpg").write_bytes((made.images / "000000000011.jpg").read_bytes())
    with pytest.raises(BenchError, match=r"000000000010.jpg \(image 10\): 32 x 24"):
        training.sample(0, random())
    (made.images / "000000000011.jpg").write_bytes(b"no image")
    with pytest.raises(BenchError, match=r"000000000011.jpg"):
        training.sample(1, random())
