"""Sessions merged to one record a configuration."""

from __future__ import annotations

import pytest

from proscale_bench.bench.profile import records
from proscale_bench.bench.sessions import merged
from proscale_bench.results.record import Record
from tests.sweeps.profiles import MACHINE, execution, measured, request, slowed


def in_two_engines() -> list[Record]:
    """The baseline and 3,3,3 in torch, and in an engine that is twice as fast with both."""
    asked = request("3,3,3")
    other = execution(inference_engine="onnxruntime", inference_engine_version="1.0", sampling="graph")
    in_torch = [measured(spec) for spec in asked.in_turns]
    exported = [slowed(measured(spec, other), 0.5) for spec in asked.in_turns]
    return list(records(asked, [*in_torch, *exported], MACHINE, None))


def test_a_saving_is_against_the_baseline_in_the_same_engine() -> None:
    single = in_two_engines()
    together = merged([in_two_engines() for _ in range(3)])
    savings = [
        [one.profile.realised_saving_pct.value for one in found if one.profile and one.profile.realised_saving_pct]
        for found in (single, together)
    ]
    assert len(savings[0]) == 2
    assert savings[1] == pytest.approx(savings[0])
