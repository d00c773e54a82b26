"""The YAML form of an encoder: stages of token layers, or the options of a sibling family.

schema_version: 1
name: proscale-3-3-3
encoder: proscale
stages:
  - {levels: [res5], layers: 3}
  - {levels: [res5, res4], layers: 3}
  - {levels: [res5, res4, res3], layers: 3}
recalibration: linear
recalibration_temperature: 0.1
pixel_embedding: maxpool
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from proscale_bench.config.yaml_file import Document, SchemaVersion, StrictModel, parse_yaml, read_text
from proscale_bench.errors import BenchError
from proscale_bench.specs.encoders.hybrid import PositionOrder
from proscale_bench.specs.encoders.parts import PixelEmbedding
from proscale_bench.specs.encoders.staged import (
    DEFAULT_TEMPERATURE,
    MAX_LAYERS,
    Recalibration,
    RecalibrationLayout,
    StageError,
)
from proscale_bench.specs.fields import fields_of, from_fields
from proscale_bench.specs.levels import TOKEN_LEVELS, Level
from proscale_bench.specs.model import EncoderSpec


class StageEntry(StrictModel):
    levels: Annotated[list[Level], Field(min_length=1, max_length=len(TOKEN_LEVELS))]
    layers: Annotated[int, Field(ge=0, le=MAX_LAYERS)]


class EncoderFile(StrictModel):
    schema_version: SchemaVersion
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    description: Annotated[str, Field(max_length=200)] = ""


class ScheduleFile(EncoderFile):
    encoder: Literal["mask2former", "proscale"]
    stages: Annotated[list[StageEntry], Field(min_length=1, max_length=64)]
    recalibration: Recalibration | None = None
    recalibration_layout: RecalibrationLayout = "official"
    recalibration_temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = DEFAULT_TEMPERATURE
    pixel_embedding: PixelEmbedding | None = None
    residual: bool = False
    keep: Annotated[float, Field(gt=0, le=1)] = 1.0


class LiteFile(EncoderFile):
    encoder: Literal["lite"]
    updates: int = 2
    blocks: int = 3
    key_aware: bool = False
    project_keys: bool = False
    same_locations: bool = False
    small_ffn: bool = True
    pixel_embedding: PixelEmbedding = "conv"


class HybridFile(EncoderFile):
    encoder: Literal["hybrid"]
    folded: bool = False
    position_order: PositionOrder = "token"
    pixel_embedding: PixelEmbedding = "conv"
    expansion: float = 1.0
    blocks: int = 3


class EarlyExitFile(EncoderFile):
    """`exit`: the fixed one; `exits`: how many images leave after 2, 3, 4, 5, 6 layers; neither: the gate chooses."""

    encoder: Literal["early-exit"]
    exit: int | None = None
    exits: list[int] | None = None


class PemFile(EncoderFile):
    encoder: Literal["pem"]
    width: int | None = None


ENCODER_KEY = re.compile(r"""(?:^|[{,]\s*)encoder\s*:\s*["']?([a-z-]+)""", re.MULTILINE)
# Those with options of their own in place of stages.
SIBLINGS: dict[str, type[EncoderFile]] = {
    "lite": LiteFile,
    "hybrid": HybridFile,
    "early-exit": EarlyExitFile,
    "pem": PemFile,
}


def read_schedule_file(path: Path) -> tuple[EncoderSpec, str]:
    """Read a schedule file's encoder and description.

    Raises:
        BenchError: each problem at its `file:line:column`.
    """
    text = read_text(path)
    named = ENCODER_KEY.search(text)
    kind: type[Any] = SIBLINGS.get(named[1] if named else "", ScheduleFile)
    document = parse_yaml(text, str(path), kind)
    return _to_encoder(document), document.value.description


def dump_schedule(encoder: EncoderSpec, name: str, description: str = "") -> str:
    """Write the YAML file that reads back as this encoder."""
    import yaml

    data: dict[str, Any] = {"schema_version": 1, "name": name}
    if description:
        data["description"] = description
    data |= fields_of(encoder)
    return yaml.safe_dump(data, sort_keys=False, default_flow_style=None if "stages" in data else False)


def _to_encoder(document: Document[Any]) -> EncoderSpec:
    """The file's encoder in canonical form."""
    try:
        schedule = from_fields(**document.value.model_dump(exclude={"schema_version", "description"}))
    except StageError as error:
        raise document.error(("stages", error.stage), error.message, error.hint) from error
    except BenchError as error:
        raise document.error(("encoder",), error.message, error.hint) from error
    if document.value.encoder == "mask2former" and schedule.encoder != "mask2former":
        what = "encoder 'mask2former' has full stages, a conv embedding and no re-calibration"
        raise document.error(("encoder",), f"{what}, and this is {schedule.compact}", "write 'encoder: proscale'")
    return schedule
