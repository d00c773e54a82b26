"""Training and memory of models of ours on paper, which have no closed form: a pass is traced."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from proscale_bench.bench.loader import faults_of
from proscale_bench.cost.count import Traced
from proscale_bench.cost.geometry import BatchInput
from proscale_bench.errors import BenchError
from proscale_bench.specs.model import ModelSpec
from proscale_bench.specs.terms import Terms
from proscale_bench.specs.traced_pass import TracedPass, as_spec

if TYPE_CHECKING:
    from torch import nn

    from proscale_bench.measure.any_model import ModelTrace


def traced_pass(spec: ModelSpec, *, training: bool = False, memory: bool = False) -> ModelSpec:
    """The model with its backward pass, or the peak of its activations.

    Raises:
        BenchError: it is an expectation, which no model runs.
    """
    if spec.expected_over or spec.exits:
        raise BenchError(f"{spec}: no one pass: what runs depends on the image", "fix an exit, as in early-exit:3")
    return as_spec(TracedPass(spec, training, memory, trace_pass))


def trace_pass(spec: TracedPass, size: BatchInput) -> Traced:
    """The tracer of every model that `traced_pass` made. Loads torch.

    Raises:
        BenchError: it could not be run, or an operator has no rule (exit code 3).
    """
    peak = _trace(spec, size, memory=True).peak_bytes if spec.memory else None
    if spec.training:
        found = _trace(spec, size)
        return Traced(found.tables(), dict(found.trace.left_out.most_common()), found.engine, peak)
    tables = {
        part: Terms({key: size.images * amount for key, amount in table.items()})
        for part, table in (spec.model.terms() or {}).items()
    }
    return Traced(tables, {}, "closed_form", peak)


@lru_cache(maxsize=256)  # several schedules share a baseline
def _trace(spec: TracedPass, size: BatchInput, memory: bool = False) -> ModelTrace:
    """A pass as it is counted: with the reference's sampling; of its memory, as a CPU runs it."""
    import torch

    from proscale_bench.measure.any_model import Inputs, trace_any
    from proscale_bench.measure.operators import RULE_TABLE, aten
    from proscale_bench.models.build import build
    from proscale_bench.models.inference import prepare_for_inference, use_sampling
    from proscale_bench.models.sampling import AUTO

    def made() -> nn.Module:
        model = build(spec.model)
        if not spec.training:
            prepare_for_inference(model)
        else:
            use_sampling(model, AUTO if memory else "grid_sample")
        return model

    images = torch.zeros(size.images, 3, *size.sides)
    with faults_of(f"{spec} at {size}"):
        return trace_any(
            made,
            lambda model: Inputs((images,)),
            lambda model: spec.parts,
            training=spec.training,
            memory=memory,
            rules={aten.bmm: RULE_TABLE[aten.bmm]},  # which knows what is one call in the official code
        )
