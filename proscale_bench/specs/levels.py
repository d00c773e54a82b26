"""The levels of a feature pyramid: their names, strides and order."""

from __future__ import annotations

from typing import Literal

Level = Literal["res5", "res4", "res3"]

LEVELS: tuple[Level, ...] = ("res5", "res4", "res3")  # coarse to fine: the order of tokens everywhere
FEATURE_STRIDES = {"res2": 4, "res3": 8, "res4": 16, "res5": 32}  # of a backbone's outputs
SIZE_DIVISOR = 32  # inputs are padded to a multiple of the coarsest stride

Channels = tuple[int, int, int, int]  # of res2, res3, res4, res5
