"""Shapes, image by image: the same everywhere, and what it promises of things, stuff, crowds and void."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from proscale_bench.data import shapes
from proscale_bench.data.shapes import CATEGORIES, SIZES, STUFF, THINGS, Scene, make_scene, scene_size
from proscale_bench.data.shapes.canvas import Canvas, Paint
from proscale_bench.data.shapes.outlines import KINDS, direction, draw_outline
from proscale_bench.data.shapes.randomness import Random
from proscale_bench.data.shapes.textures import color

BY_ID = {category.id: category for category in CATEGORIES}


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_scene(11, index) for index in range(96)]


def things(scene: Scene) -> list[int]:
    """The areas of a scene's things, crowds apart."""
    return [
        int(segment.area_px)
        for segment in scene.segments
        if BY_ID[segment.category_id].is_thing and not segment.is_crowd
    ]


def test_random_words_are_those_of_splitmix64() -> None:
    random = Random()
    random._state = 1234567
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert random.words(3).tolist() == known[:3]
    assert random.below(1 << 32) == known[3] >> 32  # one by one they are the same stream
    assert random.words(1).tolist() == known[4:]


def test_random_numbers_cover_their_range_and_follow_from_the_whole_key() -> None:
    random = Random(5)
    assert {random.between(-2, 2) for _ in range(200)} == {-2, -1, 0, 1, 2}
    picked = Counter(random.weighted([1, 0, 3]) for _ in range(4000))
    assert set(picked) == {0, 2}
    assert 850 < picked[0] < 1150
    first = {Random(*key).below(1 << 32) for key in ((0,), (1,), (0, 0), (0, 1), (1, 0), (1, 1), (0, 0, 1))}
    assert len(first) == 7


def test_clouds_are_smooth_and_use_their_range() -> None:
    clouds = Random(3).clouds(200, 120, 4)
    assert clouds.shape == (200, 120)
    assert clouds.min() >= 0
    assert clouds.max() <= 255
    assert np.ptp(clouds) > 200
    assert max(np.abs(np.diff(clouds, axis=axis)).max() for axis in (0, 1)) <= 26  # 1.5 x 255 / 16, rounded up


def test_directions_have_one_length_and_go_all_round() -> None:
    random = Random(8)
    found = [direction(random) for _ in range(500)]
    for cosine, sine in found:
        assert abs(cosine * cosine + sine * sine - (1 << 28)) < 1 << 16
    assert {(cosine > 0, sine > 0) for cosine, sine in found if cosine and sine} == {
        (one, other) for one in (True, False) for other in (True, False)
    }


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_outline_covers_about_the_area_it_was_drawn_for_within_its_reach(kind: str) -> None:
    random = Random(21)
    areas = []
    for _ in range(40):
        outline = draw_outline(random, kind, 3000, 400, 400)
        u, v = outline.coordinates(-200, -200, 800, 800)
        rows, columns = np.nonzero(outline.covers(u, v))
        areas.append(len(rows))
        assert np.abs(rows - 200 - (outline.y >> 4)).max() < outline.reach_px
        assert np.abs(columns - 200 - (outline.x >> 4)).max() < outline.reach_px
    assert 0.9 < np.mean(areas) / 3000 < 1.1


def test_a_ring_has_a_hole_and_a_disc_has_none() -> None:
    for kind, inside in (("ring", False), ("disc", True)):
        outline = draw_outline(Random(1), kind, 2000, 256, 256)
        u, v = outline.coordinates(outline.y >> 4, outline.x >> 4, 1, 1)
        assert bool(outline.covers(u, v)[0, 0]) is inside


def test_colors_are_what_their_hue_says() -> None:
    assert [color(hue, 255, 200) for hue in (0, 512, 1024)] == [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    assert color(256, 255, 255) == (255, 255, 0)
    assert color(700, 0, 90) == (90, 90, 90)
    assert color(-1, 255, 255) == color(1535, 255, 255)


def test_a_canvas_refuses_to_hide_too_much() -> None:
    def square(top: int, left: int, side: int) -> Paint:
        return Paint(top, left, np.ones((side, side), np.bool_), np.zeros((side, side), np.int32), ((0,) * 3, (9,) * 3))

    canvas = Canvas(64, 64)
    assert canvas.put([square(0, 0, 64)], keep=0)
    assert canvas.put([square(10, 10, 20)], keep=50)
    before = canvas.segment.copy()
    assert not canvas.put([square(10, 16, 20)], keep=50)  # would leave 120 of 400 pixels
    assert not canvas.put([square(60, 60, 4)], keep=50)  # 16 pixels are too few to see
    assert (canvas.segment == before).all()
    assert canvas.put([square(10, 20, 20)], keep=None)  # leaves exactly half
    assert np.bincount(canvas.segment.reshape(-1)).tolist() == [400, 64 * 64 - 600, 200]


def test_an_image_follows_from_its_seed_and_index_alone(scenes: list[Scene]) -> None:
    for index in (40, 3, 17):
        again = make_scene(11, index)
        assert (again.image == scenes[index].image).all()
        assert (again.ids == scenes[index].ids).all()
        assert again.segments == scenes[index].segments
    images = {make_scene(seed, index, (96, 96)).image.tobytes() for seed in range(4) for index in range(4)}
    assert len(images) == 16


def test_a_size_can_be_asked_for() -> None:
    for size in ((64, 64), (64, 512), (200, 72)):
        for index in range(6):
            scene = make_scene(2, index, size)
            assert scene.ids.shape == size
            assert scene.image.shape == (*size, 3)
    for size in ((63, 128), (128, 513)):
        with pytest.raises(ValueError, match="sides of 64 to 512"):
            make_scene(0, 0, size)


def test_sizes_are_several_and_known_without_the_image(scenes: list[Scene]) -> None:
    assert [scene_size(11, index) for index in range(96)] == [scene.ids.shape for scene in scenes]
    known = {(height, width) for height, width, _ in SIZES}
    assert {scene.ids.shape for scene in scenes} == known
    sides = {side for size in known for side in size}
    assert (min(sides), max(sides)) == (96, 256)
    assert all(side % 8 == 0 for side in sides)
    assert len({(-height // 32, -width // 32) for height, width in known}) == 8  # shapes once padded


def test_segments_are_the_pixels(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.image.dtype == np.uint8
        assert scene.ids.dtype == np.uint32
        listed = {segment.id: segment.area_px for segment in scene.segments}
        assert len(listed) == len(scene.segments)
        ids, areas = np.unique(scene.ids[scene.ids > 0], return_counts=True)
        assert dict(zip(ids.tolist(), areas.tolist(), strict=True)) == listed
        stuff = [segment.category_id for segment in scene.segments if not BY_ID[segment.category_id].is_thing]
        assert len(set(stuff)) == len(stuff)  # one segment a class
        assert 2 <= len(stuff) <= 4
        assert all(0 < segment.id < 1 << 24 for segment in scene.segments)


def test_ids_use_all_three_bytes(scenes: list[Scene]) -> None:
    ids = np.array([segment.id for scene in scenes for segment in scene.segments])
    for shift in (0, 8, 16):
        assert len(np.unique(ids >> shift & 255)) > 100


def test_things_are_of_all_sizes_and_classes(scenes: list[Scene]) -> None:
    areas = np.array([area for scene in scenes for area in things(scene)])
    small, large = np.mean(areas < 32**2), np.mean(areas >= 96**2)
    assert 0.25 < small < 0.45
    assert 0.06 < large < 0.2
    counts = Counter(len(things(scene)) for scene in scenes)
    assert set(counts) <= {0, 2, 3, 4, 5, 6, 7}
    assert 1 <= counts[0] <= 12
    names = Counter(
        segment.category_id for scene in scenes for segment in scene.segments if BY_ID[segment.category_id].is_thing
    )
    assert set(names) == {thing.category.id for thing in THINGS}
    assert names[THINGS[0].category.id] > 1.4 * names[THINGS[-1].category.id]  # some are rarer: drawn 16 to 9


def test_every_stuff_class_has_its_share(scenes: list[Scene]) -> None:
    areas: Counter[int] = Counter()
    for scene in scenes:
        for segment in scene.segments:
            areas[segment.category_id] += int(segment.area_px)
    pixels = sum(scene.ids.size for scene in scenes)
    for stuff in STUFF:
        assert 0.05 < areas[stuff.category.id] / pixels < 0.25, stuff.category.name


def test_some_images_have_crowds_and_some_void(scenes: list[Scene]) -> None:
    crowds = [segment for scene in scenes for segment in scene.segments if segment.is_crowd]
    assert 3 <= len(crowds) <= 16
    assert all(BY_ID[crowd.category_id].is_thing for crowd in crowds)
    voids = [np.mean(scene.ids == 0) for scene in scenes if (scene.ids == 0).any()]
    assert 8 <= len(voids) <= 28
    assert 0.005 < np.median(voids) < 0.2


def test_color_alone_tells_much_and_not_all(scenes: list[Scene]) -> None:
    """The nearest mean colour of a class names far more things than chance, and leaves many to the outline."""
    means, classes = [], []
    for scene in scenes:
        for segment in scene.segments:
            if BY_ID[segment.category_id].is_thing and not segment.is_crowd:
                means.append(scene.image[scene.ids == segment.id].mean(0))
                classes.append(segment.category_id)
    seen, truth = np.array(means), np.array(classes)
    ids = np.unique(truth)
    centres = np.array([seen[truth == id_].mean(0) for id_ in ids])
    guessed = ids[((seen[:, None] - centres) ** 2).sum(-1).argmin(1)]
    assert 0.45 < np.mean(guessed == truth) < 0.75


def test_whole_numbers_decide_everything() -> None:
    """No float, no division that makes one, and nobody else's chance: what keeps pixels the same everywhere."""
    for path in Path(shapes.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            place = f"{path.name}:{getattr(node, 'lineno', 0)}"
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), place
            if isinstance(node, (ast.BinOp, ast.AugAssign)) and path.name != "writing.py":  # which joins paths
                assert not isinstance(node.op, ast.Div), place
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("random", "mean", "sqrt", "sin", "cos", "hypot"), place
                assert not node.attr.startswith("float"), place
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {getattr(node, "module", None), *(name.name for name in node.names)}
                assert not names & {"random", "scipy"}, place
