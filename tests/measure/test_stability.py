"""Cautions: each case is noticed, says what to do, and quiet samples give none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from proscale_bench.measure.stability import of_clocks, of_environment, of_note, of_samples, of_stages
from proscale_bench.results.profile import Caution
from tests.sweeps.profiles import MACHINE

QUIET = replace(MACHINE, governor="performance", turbo=False)
STEADY = list(np.random.default_rng(0).normal(100, 0.5, size=40))


def kinds(cautions: list[Caution]) -> list[str]:
    assert all(caution.advice for caution in cautions)
    return [caution.kind for caution in cautions]


@pytest.mark.parametrize(
    ("samples", "warm", "expected"),
    [
        (STEADY, True, []),
        (STEADY, False, ["warm-up"]),
        (STEADY[:3], True, ["few samples"]),
        ([*STEADY, 300.0, 310.0], True, ["outliers"]),
        ([sample + index for index, sample in enumerate(STEADY)], True, ["wide interval", "drift"]),
        ([50.0, 150.0] * 10, True, ["wide interval"]),
    ],
)
def test_samples(samples: list[float], warm: bool, expected: list[str]) -> None:
    assert kinds(of_samples(samples, warm)) == expected


def test_outliers_alone_do_not_make_a_median_unstable() -> None:
    assert [caution.unstable for caution in of_samples([*STEADY, 300.0], True)] == [False]
    assert all(caution.unstable for caution in of_samples(STEADY[:3], False))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"load": 4.2}, []),
        ({"load": 5.0}, ["load"]),
        ({"load": None}, []),
        ({"threads": 16, "load": None}, ["threads"]),
        ({"governor": "powersave"}, ["clock"]),
        ({"governor": None}, []),
        ({"device": "cuda", "threads": 8, "load": 5.0, "governor": "powersave"}, []),
        ({"device": "cuda", "load": 9.0}, ["load"]),
        ({"device": "cuda", "other_gpu_processes": 2}, ["shared"]),
    ],
)
def test_the_machine(change: dict[str, object], expected: list[str]) -> None:
    assert kinds(of_environment(replace(QUIET, **change))) == expected  # type: ignore[arg-type]


def test_what_else_there_is_to_beware_of() -> None:
    assert kinds(of_stages(98.0, None)) == []
    assert kinds(of_stages(70.0, None)) == ["isolation"]
    assert kinds(of_stages(100.0, 95.0)) == ["launch-bound"]
    assert kinds(of_clocks(("heat", "its power cap"))) == ["throttled"]
    assert of_clocks(()) == of_note("") == []
    assert "heat and its power cap" in of_clocks(("heat", "its power cap"))[0].message
    assert kinds(of_note("not captured in a CUDA graph: no")) == ["not as asked"]


def test_only_what_is_known_becomes_a_string() -> None:
    strings = QUIET.strings()
    assert strings["cpu"] == strings["device"] == "a CPU"
    assert (strings["threads"], strings["cores"], strings["load"], strings["turbo"]) == ("4", "8", "0.20", "off")
    assert "driver" not in strings
    assert "cuda" not in strings
    gpu = replace(QUIET, device="cuda", driver="580.1", clocks_mhz={"sm": 1980})
    assert gpu.strings()["clocks"] == "sm 1980 MHz"
