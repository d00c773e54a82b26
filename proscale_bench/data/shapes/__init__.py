"""Shapes, the embedded data set: procedural, seeded, free of licences, and the same everywhere to the last pixel."""

from proscale_bench.data.shapes.categories import CATEGORIES, STUFF, THINGS
from proscale_bench.data.shapes.scene import SIZES, Scene, make_scene, scene_size

__all__ = ["CATEGORIES", "SIZES", "STUFF", "THINGS", "Scene", "make_scene", "scene_size"]
