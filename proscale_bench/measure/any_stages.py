"""A model of somebody else's taken apart: its children as calls that can be repeated, on what they are given in it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from proscale_bench.measure.any_model import Inputs
from proscale_bench.measure.latency import Subject, TimedStage
from proscale_bench.measure.stages import Around, Recorded, captured
from proscale_bench.measure.timers import Call
from proscale_bench.specs.model import TOTAL, ModelSpec


def take_any_apart(
    model: nn.Module, spec: ModelSpec, inputs: Inputs, around: Around, *, graphs: bool = False
) -> Subject:
    """A model as a subject for `run_rounds`, whole and by its top parts, as far as they are modules that it calls.

    Args:
        model: in eval mode; compiled or not.
        spec: of the model; the subject is called by its variant.
        inputs: on the model's device.
        around: the context that every call runs in.
        graphs: capture every call in a CUDA graph; one that cannot be captured stays as it is and says why.
    """
    tops = {part.name for part in spec.parts if part.of == TOTAL}
    recorded: dict[str, list[Recorded]] = {}
    hooks: list[Any] = []
    for name, module in model.named_children():
        if name in tops:

            def end(module: nn.Module, args: Any, kwargs: Any, output: Any, name: str = name) -> None:
                recorded.setdefault(name, []).append(Recorded(module, args, kwargs, output))

            hooks.append(module.register_forward_hook(end, with_kwargs=True))
    try:
        with torch.inference_mode(), around(), torch.compiler.set_stance("force_eager"):
            inputs.call(model)
    finally:
        for hook in hooks:
            hook.remove()

    def inside(call: Call) -> Call:
        def run() -> object:
            with torch.inference_mode(), around():
                return call()

        return run

    def all_of(calls: list[Recorded]) -> Call:
        return lambda: [call() for call in calls]

    whole = TimedStage("total", inside(lambda: inputs.call(model)))
    stages = [
        TimedStage(name, inside(all_of(calls)), sum(call.min_bytes for call in calls))
        for name, calls in recorded.items()
    ]
    if graphs:
        pool = torch.cuda.graph_pool_handle()
        whole, *stages = (captured(stage, pool) for stage in (whole, *stages))
    return Subject(spec.variant, whole, tuple(stages))
