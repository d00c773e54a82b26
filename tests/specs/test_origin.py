"""Every encoder with something that no paper has says so, by its spelling too."""

from __future__ import annotations

import pytest

from proscale_bench.config.catalogue import catalogue
from proscale_bench.specs.encoders.staged import Schedule
from proscale_bench.specs.origin import ours_in, ours_in_spelling


@pytest.mark.parametrize(
    ("spelling", "said"),
    [
        ("2,2,1,1", "tokens of res6 are our mapping, not the paper's"),
        ("6:1,65432:1", "tokens of res6 and res2 are our mapping, not the paper's"),
        ("3,3,3+dw", "the depth-wise convolution is ours, not the paper's"),
        ("3,3,3+keep:0.5", "token retention is ours, not the paper's"),
        (
            "0,0,0,1+dw+keep:0.5",
            "tokens of res6 are our mapping, not the paper's; "
            "the depth-wise convolution and token retention are ours, not the paper's",
        ),
        ("lite:(2+1)x3", "Lite-DETR's encoder as Mask2Former's pixel decoder is our mapping: no code of it is public"),
        ("hybrid", "RT-DETR's encoder as Mask2Former's pixel decoder is our mapping: no code of it is public"),
        ("3,3,3+conv+spatial", ""),
        ("early-exit:3", ""),
        ("my.module:Net", ""),
    ],
)
def test_what_is_ours_is_said(spelling: str, said: str) -> None:
    assert ours_in_spelling(spelling) == said


def test_the_catalogue_says_so_too() -> None:
    for schedule, description in catalogue():
        assert bool(ours_in(schedule)) == description.startswith("Our")
        assert not isinstance(schedule, Schedule) or schedule.is_ours == bool(ours_in(schedule))
