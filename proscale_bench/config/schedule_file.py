"""The YAML form of a schedule.

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

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from proscale_bench.config.yaml_file import Document, SchemaVersion, StrictModel, load_yaml
from proscale_bench.specs.encoders.parts import PixelEmbedding
from proscale_bench.specs.encoders.staged import (
    DEFAULT_TEMPERATURE,
    MAX_LAYERS,
    Recalibration,
    RecalibrationLayout,
    Schedule,
    StageError,
    from_fields,
)
from proscale_bench.specs.levels import TOKEN_LEVELS, Level


class StageEntry(StrictModel):
    levels: Annotated[list[Level], Field(min_length=1, max_length=len(TOKEN_LEVELS))]
    layers: Annotated[int, Field(ge=0, le=MAX_LAYERS)]


class ScheduleFile(StrictModel):
    schema_version: SchemaVersion
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    description: Annotated[str, Field(max_length=200)] = ""
    encoder: Literal["mask2former", "proscale"]
    stages: Annotated[list[StageEntry], Field(min_length=1, max_length=64)]
    recalibration: Recalibration | None = None
    recalibration_layout: RecalibrationLayout = "official"
    recalibration_temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = DEFAULT_TEMPERATURE
    pixel_embedding: PixelEmbedding | None = None
    residual: bool = False
    keep: Annotated[float, Field(gt=0, le=1)] = 1.0


def read_schedule_file(path: Path) -> tuple[Schedule, str]:
    """Read a schedule file's schedule and description.

    Raises:
        BenchError: each problem at its `file:line:column`.
    """
    document = load_yaml(path, ScheduleFile)
    return _to_schedule(document), document.value.description


def dump_schedule(schedule: Schedule, name: str, description: str = "") -> str:
    """Write the YAML file that reads back as this schedule."""
    import yaml

    data: dict[str, Any] = {"schema_version": 1, "name": name}
    if description:
        data["description"] = description
    data["encoder"] = schedule.encoder
    data["stages"] = [{"levels": list(stage.levels), "layers": stage.layers} for stage in schedule.stages]
    data["recalibration"] = schedule.recalibration
    if schedule.recalibration != "none":
        data["recalibration_layout"] = schedule.recalibration_layout
        data["recalibration_temperature"] = schedule.recalibration_temperature
    data["pixel_embedding"] = schedule.pixel_embedding
    data["residual"] = schedule.residual
    if schedule.keep < 1:
        data["keep"] = schedule.keep
    return yaml.safe_dump(data, sort_keys=False, default_flow_style=None)


def _to_schedule(document: Document[ScheduleFile]) -> Schedule:
    """The file's schedule in canonical form."""
    try:
        schedule = from_fields(**document.value.model_dump(exclude={"schema_version", "description"}))
    except StageError as error:
        raise document.error(("stages", error.stage), error.message, error.hint) from error
    if document.value.encoder == "mask2former" and schedule.encoder != "mask2former":
        what = "encoder 'mask2former' has full stages, a conv embedding and no re-calibration"
        raise document.error(("encoder",), f"{what}, and this is {schedule.compact}", "write 'encoder: proscale'")
    return schedule
