"""From a word of the command line to the encoder that it stands for."""

from __future__ import annotations

import re

from proscale_bench.specs.encoders import early_exit, hybrid, interleaved, pem, staged
from proscale_bench.specs.model import EncoderSpec


def parse_encoder(text: str) -> EncoderSpec:
    """Read a compact spelling: `3,3,3+conv`, or the name of an encoder family with its options.

    A new encoder family is one line here, a case of its name.

    Raises:
        BenchError: no family has such a spelling; with the nearest one, or the grammar.
    """
    match re.split(r"[:+]", text.strip(), maxsplit=1)[0]:
        case "early-exit":
            return early_exit.parse_compact(text)
        case "pem":
            return pem.parse_compact(text)
        case "lite":
            return interleaved.parse_compact(text)
        case "hybrid":
            return hybrid.parse_compact(text)
        case _:
            return staged.parse_compact(text)
