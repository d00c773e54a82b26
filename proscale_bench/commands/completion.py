"""Values that a shell offers for a flag: a function for each kind, from the tables that validate it; `OFFERS` by flag.

Typer leaves out what does not begin with what is written, and where nothing is left the shell offers files. Tables are
imported when they are asked for, and none needs a large library: a tab is no slower than `--help`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import get_args

from proscale_bench.config import choices, graph_meaning


def _words(words: Iterable[str]) -> Callable[[], list[str]]:
    return lambda: list(words)


def _table(module: str, name: str) -> Callable[[], list[str]]:
    return lambda: list(getattr(import_module(f"proscale_bench.{module}"), name))


backbones = _table("specs.backbones", "BACKBONES")
metrics = _table("results.metrics", "METRICS")
precisions_of_exports = _words(["int8"])
single_sizes = _words(["800x1333", "640x640"])  # the default ones; any other is possible


def schedules(incomplete: str) -> list[str]:
    """Names of the catalogue and their compact spellings; after a `+` the options."""
    from proscale_bench.config.catalogue import catalogue
    from proscale_bench.specs.encoders.staged import OPTIONS

    if "+" in incomplete:
        begun = incomplete.rpartition("+")[0]
        return [f"{begun}+{option}" for option in (*OPTIONS, "temp:0.1", "keep:0.5")]
    known = [schedule for schedule, _ in catalogue()]
    return list(dict.fromkeys([*(one.compact for one in known), *(one.name for one in known if one.name)]))


def sizes() -> list[str]:
    from proscale_bench.cost.geometry import COCO_SIZES

    return [*COCO_SIZES, *single_sizes()]


def tasks(incomplete: str) -> list[str]:
    """The tasks that are not in the list yet."""
    begun, comma, _ = incomplete.rpartition(",")
    return [f"{begun}{comma}{task}" for task in get_args(choices.Task) if task not in begun.split(",")]


def recipes() -> list[str]:
    return list(choices.shipped("recipes"))


def sweeps() -> list[str]:
    return list(choices.shipped("sweeps"))


def accuracies() -> list[str]:
    from proscale_bench.results.metrics import METRICS

    return [name for name, metric in METRICS.items() if metric.section == "accuracy"]


def gates() -> list[str]:
    """Every metric with a limit of 1, to be changed."""
    return [f"{metric}:1" for metric in metrics()]


def published_families() -> list[str]:
    from proscale_bench.results.registry import families, shipped_registry

    return families(shipped_registry())


def families_and_all() -> list[str]:
    return [*published_families(), "all"]


def own_models(incomplete: str = "") -> list[str]:
    """The families that are built here; a detector's options once its name stands there."""
    from proscale_bench.specs import deformable_detr
    from proscale_bench.specs.families import NAMES

    if not incomplete.startswith(f"{deformable_detr.NAME}+"):
        return list(NAMES)
    return [f"{deformable_detr.NAME}+{option}" for option in ("refine", "two-stage", "ffn:2048")]


OFFERS: dict[str, Callable[..., list[str]]] = {
    "--backbone": backbones,
    "--classes-by": _words(get_args(choices.ClassesBy)),
    "--convention": _table("cost.rules", "CONVENTIONS"),
    "--device": _words(get_args(choices.DeviceType)),
    "--dtype": _words(get_args(choices.DType)),
    "--fail": gates,
    "--families": _table("specs.candidates", "FAMILIES"),
    "--engine": _words(get_args(choices.EngineName)),
    "--family": published_families,
    "--input-type": _words(["uint8", "float32"]),
    "--layout": _words(get_args(choices.Layout)),
    "--metric": accuracies,
    "--new": schedules,
    "--normalize": _words(get_args(graph_meaning.Normalization)),
    "--old": schedules,
    "--output-size": single_sizes,
    "--postprocess": _words(get_args(choices.PostProcessing)),
    "--precision": _words(get_args(choices.Precision)),
    "--published": families_and_all,
    "--ray": _words(["local", "auto"]),
    "--recipe": recipes,
    "--resize": _words(["800,1333", "none"]),
    "--rules": _table("cost.rules", "RULES"),
    "--sampling": _words(get_args(choices.Sampling)),
    "--schedule": schedules,
    "--scores": _words(get_args(graph_meaning.Scores)),
    "--size": sizes,
    "--task": _words(get_args(choices.Task)),
    "--tasks": tasks,
    "--x": metrics,
    "--y": metrics,
}
