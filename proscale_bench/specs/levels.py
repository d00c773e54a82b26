"""The levels of a feature pyramid: their names, strides and order."""

from __future__ import annotations

from typing import Literal, get_args

Level = Literal["res6", "res5", "res4", "res3", "res2"]

TOKEN_LEVELS: tuple[Level, ...] = get_args(Level)  # all that token layers can see; coarse to fine, as tokens are always
LEVELS: tuple[Level, ...] = ("res5", "res4", "res3")  # of Mask2Former's token layers, and of the decoder's pyramid
FEATURE_STRIDES = {"res2": 4, "res3": 8, "res4": 16, "res5": 32}  # of a backbone's outputs
STRIDES = {**FEATURE_STRIDES, "res6": 64}  # the last is made from res5: C6 in Deformable DETR (Zhu et al. 2021)
SIZE_DIVISOR = 32  # inputs are padded to a multiple of the backbone's coarsest stride

Channels = tuple[int, int, int, int]  # of res2, res3, res4, res5
