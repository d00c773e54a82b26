"""From a word of the command line to the encoder that it stands for."""

from __future__ import annotations

import re

from proscale_bench.errors import BenchError, did_you_mean
from proscale_bench.specs.encoders import early_exit, hybrid, interleaved, pem, staged
from proscale_bench.specs.model import EncoderSpec
from proscale_bench.units import printable

GRAMMARS = {
    "baseline": staged.GRAMMAR,
    "early-exit": early_exit.GRAMMAR,
    "hybrid": hybrid.GRAMMAR,
    "lite": interleaved.GRAMMAR,
    "pem": pem.GRAMMAR,
}


def parse_encoder(text: str) -> EncoderSpec:
    """Read a compact spelling: `3,3,3+conv`, or the name of an encoder family with its options.

    A new encoder family is one line here, a case of its name.

    Raises:
        BenchError: no family has such a spelling; with the nearest one, or the grammar.
    """
    match name := _family(text):
        case "early-exit":
            return early_exit.parse_compact(text)
        case "pem":
            return pem.parse_compact(text)
        case "lite":
            return interleaved.parse_compact(text)
        case "hybrid":
            return hybrid.parse_compact(text)
        case _:
            _refuse_misspelt(text, name)
            return staged.parse_compact(text)


def names_family(text: str) -> bool:
    """True if a spelling begins with the name of a family, or nearly, so that its grammar is the best hint."""
    name = _family(text)
    return name in GRAMMARS or did_you_mean(name, tuple(GRAMMARS)) is not None


def _family(text: str) -> str:
    return re.split(r"[:+]", text.strip(), maxsplit=1)[0]


def _refuse_misspelt(text: str, name: str) -> None:
    """Refuse a word that is nearly the name of a family, with that and its grammar."""
    known = name in GRAMMARS or not name[:1].isalpha()
    if not known and (near := did_you_mean(name, tuple(GRAMMARS))):
        family = near.split("'")[1]
        raise BenchError(f"unknown schedule '{printable(text)}'", f"{near} {GRAMMARS[family]}")
