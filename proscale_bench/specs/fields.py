"""Encoders as the fields of a file: the options of each family under their names."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from proscale_bench.specs.encoders import staged
from proscale_bench.specs.encoders.early_exit import EarlyExit
from proscale_bench.specs.encoders.hybrid import Hybrid
from proscale_bench.specs.encoders.interleaved import Interleaving, Lite
from proscale_bench.specs.encoders.pem import Pem
from proscale_bench.specs.encoders.staged import Schedule
from proscale_bench.specs.model import EncoderSpec


def from_fields(*, encoder: str, name: str, **fields: Any) -> EncoderSpec:
    """The encoder of a file's fields; what the file leaves out is as the family has it.

    Raises:
        BenchError: a value that there is not.
    """
    match encoder:
        case "lite":
            embedding = fields.pop("pixel_embedding", Lite.pixel_embedding)
            return Lite(Interleaving(**fields), embedding, name)
        case "hybrid":
            return Hybrid(**fields, name=name)
        case "early-exit":
            shares = fields.pop("exits", None)
            return EarlyExit(**fields, shares=shares and tuple(shares), name=name)
        case "pem":
            return Pem(**fields, name=name)
        case _:
            return staged.from_fields(encoder=encoder, name=name, **fields)


def fields_of(encoder: EncoderSpec) -> dict[str, Any]:
    """The fields that `from_fields` reads back as this encoder, but for its name."""
    match encoder:
        case Lite():
            fields = {**asdict(encoder.interleaving), "pixel_embedding": encoder.pixel_embedding}
        case Hybrid() | Pem():
            fields = {key: value for key, value in asdict(encoder).items() if key not in ("name", "layers")}
        case EarlyExit():
            fields = {"exit": encoder.exit, "exits": encoder.shares and list(encoder.shares)}
        case Schedule():
            fields = _fields_of_schedule(encoder)
        case _:
            raise TypeError(f"no file holds a {type(encoder).__name__}")
    return {"encoder": encoder.encoder, **{key: value for key, value in fields.items() if value is not None}}


def _fields_of_schedule(schedule: Schedule) -> dict[str, Any]:
    gated = schedule.recalibration != "none"
    return {
        "stages": [{"levels": list(stage.levels), "layers": stage.layers} for stage in schedule.stages],
        "recalibration": schedule.recalibration,
        "recalibration_layout": schedule.recalibration_layout if gated else None,
        "recalibration_temperature": schedule.recalibration_temperature if gated else None,
        "pixel_embedding": schedule.pixel_embedding,
        "residual": schedule.residual,
        "keep": schedule.keep if schedule.keep < 1 else None,
    }
