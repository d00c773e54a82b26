"""The costs of a segmentation encoder's schedule on paper and on the machine, and its accuracy.

The public functions are imported when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proscale_bench.version import __version__

if TYPE_CHECKING:
    from proscale_bench.api import (
        BenchError,
        Schedule,
        build_model,
        count_flops,
        evaluate,
        evaluate_instances,
        evaluate_panoptic,
        evaluate_semantic,
        export_model,
        load_checkpoint,
        load_exported,
        parse_schedule,
        predict,
        profile,
        read_run,
        sweep,
    )

__all__ = [
    "BenchError",
    "Schedule",
    "__version__",
    "build_model",
    "count_flops",
    "evaluate",
    "evaluate_instances",
    "evaluate_panoptic",
    "evaluate_semantic",
    "export_model",
    "load_checkpoint",
    "load_exported",
    "parse_schedule",
    "predict",
    "profile",
    "read_run",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from proscale_bench import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
