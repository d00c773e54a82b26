"""The model that an exported file says it is. Needs no torch."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from proscale_bench.config.weights import METADATA
from proscale_bench.errors import BenchError
from proscale_bench.export.engines import load_exported, require_file, told_of
from proscale_bench.specs.backbones import ResNet, Swin
from proscale_bench.specs.box_decoder import DetectorHead
from proscale_bench.specs.deformable_detr import DeformableDetrSpec
from proscale_bench.specs.encoders.multiscale import parse_compact
from proscale_bench.specs.families import OwnSpec
from proscale_bench.specs.mask2former import Mask2FormerSpec
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.spelling import parse_encoder

BACKBONES: dict[str, type[ResNet | Swin]] = {"resnet": ResNet, "swin": Swin}
PACKAGE_METADATA = "_metadata.json"  # the end of the name of a package's own description
AnyHead = TypeVar("AnyHead", bound=Head)
MAX_BYTES = 1 << 20
MOST = 1 << 16  # of any dimension


def read_description(path: Path) -> dict[str, Any]:
    """Read what a file of ours says of itself. Executes nothing of it.

    Raises:
        BenchError: unreadable, or no export of ours.
    """
    if path.suffix != ".pt2":
        return load_exported(path).told
    require_file(path)
    try:
        with zipfile.ZipFile(path) as package:
            (name,) = [name for name in package.namelist() if name.endswith(PACKAGE_METADATA)]
            if package.getinfo(name).file_size > MAX_BYTES:
                raise ValueError("too large")
            return told_of(path, json.loads(package.read(name)).get(METADATA))
    except (zipfile.BadZipFile, ValueError, LookupError, AttributeError, OSError, RecursionError) as error:
        raise BenchError(f"{path}: no whole package of ours", "export it again") from error


def spec_of(told: Mapping[str, Any], path: Path) -> OwnSpec:
    """Read the model off what a file of ours says of itself: see `module.metadata`.

    Raises:
        BenchError: it says no such thing.
    """
    try:
        dimensions = dict(told["backbone_dimensions"])
        backbone = BACKBONES[dimensions.pop("kind")](**{key: _number(one) for key, one in dimensions.items()})
        family = told.get("family", Mask2FormerSpec.family)
        if family == DeformableDetrSpec.family:
            return DeformableDetrSpec(backbone, parse_compact(told["schedule"]), _head(DetectorHead, told["head"]))
        if family != Mask2FormerSpec.family:
            raise ValueError(f"{family!r} is no family that is known")
        return Mask2FormerSpec(backbone, parse_encoder(told["schedule"]), _head(Head, told["head"]))
    except (BenchError, ValueError, LookupError, TypeError, AttributeError) as error:
        what = error.message if isinstance(error, BenchError) else str(error)
        raise BenchError(f"{path}: does not say which model it is: {what[:200]}", "export it again") from error


def _head(kind: type[AnyHead], told: Mapping[str, Any]) -> AnyHead:
    """A head of dimensions, and of switches that are on or off."""
    given = {one.name: told[one.name] for one in fields(kind)}
    if strange := set(told) - set(given):
        raise ValueError(f"{min(strange)} is no dimension of such a head")
    switches = {one.name for one in fields(kind) if isinstance(one.default, bool)}
    if wrong := [name for name in switches if type(given[name]) is not bool]:
        raise ValueError(f"{wrong[0]} is neither true nor false")
    return kind(**{name: one if name in switches else _number(one) for name, one in given.items()})


def _number(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_number(one) for one in value)
    if type(value) is not int or not 1 <= value <= MOST:
        raise ValueError(f"{value!r} is not a number from 1 to {MOST}")
    return value
