"""The parts of an encoder that no paper and no public code has, in words for the readers of its numbers."""

from __future__ import annotations

from functools import cache

from proscale_bench.errors import BenchError
from proscale_bench.specs.deformable_detr import DeformableDetrSpec
from proscale_bench.specs.encoders import multiscale
from proscale_bench.specs.encoders.hybrid import Hybrid
from proscale_bench.specs.encoders.interleaved import Lite
from proscale_bench.specs.encoders.multiscale import MultiScale
from proscale_bench.specs.encoders.staged import Schedule
from proscale_bench.specs.levels import LEVELS
from proscale_bench.specs.mask2former import Mask2FormerSpec
from proscale_bench.specs.model import EncoderSpec
from proscale_bench.specs.spelling import parse_encoder

MAPPED = "as Mask2Former's pixel decoder is our mapping: no code of it is public"


def ours_in(encoder: EncoderSpec) -> str:
    """Say what is ours in an encoder: "tokens of res6 are our mapping, not the paper's". Empty where nothing is."""
    match encoder:
        case Schedule():
            levels = " and ".join(level for level in encoder.levels if level not in LEVELS)
            own = ["the depth-wise convolution"] if encoder.pixel_embedding == "depthwise" else []
            own += ["token retention"] if encoder.keep < 1 else []
            found = [f"tokens of {levels} are our mapping, not the paper's"] if levels else []
            found += [f"{' and '.join(own)} {'are' if len(own) > 1 else 'is'} ours, not the paper's"] if own else []
            return "; ".join(found)
        case MultiScale():
            found = ["PRO-SCALE's stages in a detector are our mapping: no code of it is public"]
            retention = ["the score of token retention is ours"] if encoder.keep < 1 else []
            return "; ".join([*(found if any(encoder.stages[:-1]) else []), *retention])
        case Lite():
            return f"Lite-DETR's encoder {MAPPED}"
        case Hybrid():
            return f"RT-DETR's encoder {MAPPED}"
    return ""


@cache
def ours_in_spelling(text: str, family: str = Mask2FormerSpec.family) -> str:
    """The same of the spelling in a record; empty too where it is no encoder's that we know."""
    parse = multiscale.parse_compact if family == DeformableDetrSpec.family else parse_encoder
    try:
        return ours_in(parse(text))
    except BenchError:
        return ""
