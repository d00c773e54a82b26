"""Values that a shell offers for a flag: a function for each kind, from the tables that validate it.

Typer leaves out what does not begin with what is written, and where nothing is left the shell offers files. Tables are
imported when they are asked for, and none needs a large library: a tab is no slower than `--help`.
"""

from __future__ import annotations

from typing import get_args

from proscale_bench.config import choices


def schedules(incomplete: str) -> list[str]:
    """Names of the catalogue and their compact spellings; after a `+` the options."""
    from proscale_bench.config.catalogue import catalogue
    from proscale_bench.specs.encoders.staged import OPTIONS

    if "+" in incomplete:
        begun = incomplete.rpartition("+")[0]
        return [f"{begun}+{option}" for option in OPTIONS]
    known = [schedule for schedule, _ in catalogue()]
    return list(dict.fromkeys([*(one.compact for one in known), *(one.name for one in known if one.name)]))


def backbones() -> list[str]:
    from proscale_bench.specs.backbones import BACKBONES

    return list(BACKBONES)


def sizes() -> list[str]:
    from proscale_bench.cost.geometry import COCO_SIZES

    return [*COCO_SIZES, *single_sizes()]


def single_sizes() -> list[str]:
    """The default sizes; any other is possible."""
    return ["800x1333", "640x640"]


def rules() -> list[str]:
    from proscale_bench.cost.rules import RULES

    return list(RULES)


def conventions() -> list[str]:
    from proscale_bench.cost.rules import CONVENTIONS

    return list(CONVENTIONS)


def devices() -> list[str]:
    return list(get_args(choices.DeviceType))


def dtypes() -> list[str]:
    return list(get_args(choices.DType))


def precisions() -> list[str]:
    return list(get_args(choices.Precision))


def samplings() -> list[str]:
    return list(get_args(choices.Sampling))


def layouts() -> list[str]:
    return list(get_args(choices.Layout))


def tasks(incomplete: str) -> list[str]:
    """The tasks that are not in the list yet."""
    begun, comma, _ = incomplete.rpartition(",")
    return [f"{begun}{comma}{task}" for task in get_args(choices.Task) if task not in begun.split(",")]


def resizes() -> list[str]:
    return ["800,1333", "none"]


def recipes() -> list[str]:
    return list(choices.shipped("recipes"))


def sweeps() -> list[str]:
    return list(choices.shipped("sweeps"))


def clusters() -> list[str]:
    return ["local", "auto"]


def metrics() -> list[str]:
    from proscale_bench.results.metrics import METRICS

    return list(METRICS)


def gates() -> list[str]:
    """Every metric with a limit of 1, to be changed."""
    return [f"{metric}:1" for metric in metrics()]
