"""Closed form, trace and fvcore held against each other, for the tests of every encoder family."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from proscale_bench.cost.closed_form import ClosedForm
from proscale_bench.cost.geometry import InputSize
from proscale_bench.cost.rules import CONVENTIONS, RULES
from proscale_bench.measure.flops import trace_network
from proscale_bench.measure.fvcore_count import FvcoreCount, count_with_fvcore
from proscale_bench.models.build import build
from proscale_bench.models.inference import prepare_for_inference
from proscale_bench.specs.mask2former import Mask2FormerSpec
from proscale_bench.specs.model import POSTPROCESSING

# Random sizes that an engine is held to: a few in every run, twenty in `make slow`.
NUMBERS = [4, pytest.param(20, marks=pytest.mark.slow)]
TIMES = [1, pytest.param(4, marks=pytest.mark.slow)]  # of all spellings or exits, which are five or more


def check_trace(spec: Mask2FormerSpec, sizes: Iterable[InputSize], as_executed: bool) -> None:
    """Hold the trace of the network to the closed form, under all rules and both conventions."""
    model = build(spec, device="meta")
    if as_executed:
        prepare_for_inference(model)
    for size in sizes:
        trace = trace_network(model, spec, *size.groups[0].padded)
        for rules in RULES.values():
            for convention in CONVENTIONS:
                expected = ClosedForm(spec, rules, convention, as_executed).count(size)
                found = trace.flops(rules, convention) | {POSTPROCESSING: expected[POSTPROCESSING]}
                assert found == expected, (spec, size, rules.name, convention)


def check_fvcore(spec: Mask2FormerSpec, size: InputSize) -> FvcoreCount:
    """Hold fvcore to the closed form; its count, for what it does not see."""
    found = count_with_fvcore(spec, size.groups[0])
    assert found.flops == ClosedForm(spec, RULES["fvcore"]).count(size), (spec, size)
    return found
