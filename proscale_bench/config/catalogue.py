"""Schedules by name, by file and by compact spelling.

The catalogue is the folder `schedules/` of the project, shipped inside the wheel.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from proscale_bench.errors import BenchError, did_you_mean
from proscale_bench.specs.encoders import multiscale
from proscale_bench.specs.encoders.staged import Schedule
from proscale_bench.specs.families import is_detector
from proscale_bench.specs.fields import from_fields
from proscale_bench.specs.model import EncoderSpec
from proscale_bench.specs.spelling import names_family, parse_encoder
from proscale_bench.units import printable


@cache
def catalogue_dir() -> Path:
    """Find the folder of the shipped schedules: inside an installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "schedules"
    return installed if installed.is_dir() else package.parent / "schedules"


@cache
def catalogue_names() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in catalogue_dir().glob("*.yaml")))


@cache
def catalogue() -> tuple[tuple[EncoderSpec, str], ...]:
    """Every shipped encoder with its description: baseline, few layers to many, ablations, what is ours, siblings."""
    entries = (_read_shipped(catalogue_dir() / f"{name}.yaml") for name in catalogue_names())
    return tuple(sorted(entries, key=lambda entry: _order(entry[0])))


def _order(encoder: EncoderSpec) -> tuple[object, ...]:
    if not isinstance(encoder, Schedule):
        return 2, encoder.encoder, encoder.compact
    plain = (encoder.pixel_embedding, encoder.recalibration) == ("maxpool", "linear")
    return encoder.encoder != "mask2former", encoder.is_ours, not plain, len(encoder.layers), encoder.compact


def parse_schedule(text: str | Path) -> EncoderSpec:
    """Read a schedule from a YAML file's path, a name in the catalogue, or its compact spelling.

    Raises:
        BenchError: it is none of these, or not valid.
    """
    path, word = Path(text), str(text)
    if word in catalogue_names():
        return _read_shipped(catalogue_dir() / f"{word}.yaml")[0]
    if path.suffix in (".yaml", ".yml") or os.path.isfile(word):  # noqa: PTH113 - pathlib raises on what cannot be a path
        from proscale_bench.config.schedule_file import read_schedule_file

        return read_schedule_file(path)[0]
    if os.path.isdir(word):  # noqa: PTH112 - as above
        hint = "give the path of a schedule's YAML file, as in schedules/mine.yaml"
        raise BenchError(f"unknown schedule '{printable(word)}': it is a folder", hint)
    try:
        return parse_encoder(word)
    except BenchError as error:
        if names_family(word) or not word[:1].isalpha():
            raise
        raise BenchError(error.lines, did_you_mean(word, catalogue_names(), error.hint)) from None


def parse_schedule_of(model: str, text: str | Path) -> EncoderSpec:
    """Read a schedule as a family of models spells it.

    Args:
        model: words of `--model` that name a model of ours. A detector's encoder has its spelling alone.

    Raises:
        BenchError: see `parse_schedule`.
    """
    if not is_detector(model):
        return parse_schedule(text)
    word = str(text)
    try:
        return multiscale.parse_compact(word)
    except BenchError as error:
        if Path(text).suffix not in (".yaml", ".yml") and word not in catalogue_names():
            raise
        message = f"{word}: an encoder of Mask2Former's, and a detector has encoders of its own"
        raise BenchError(message, multiscale.GRAMMAR) from error


def parse_runnable_of(model: str, text: str | Path) -> EncoderSpec:
    """Read a schedule that a model of this family can have; see `parse_schedule_of` and `parse_runnable`."""
    return parse_schedule_of(model, text) if is_detector(model) else parse_runnable(text)


def parse_runnable(text: str | Path) -> EncoderSpec:
    """Read a schedule that a model can have.

    Raises:
        BenchError: see `parse_schedule`; or it is an expectation over the exits of a gate.
    """
    encoder = parse_schedule(text)
    if getattr(encoder, "expected_over", ()):
        hint = "name the schedule with its gate, 'early-exit', or one exit: 'early-exit:3'"
        raise BenchError(f"{encoder.compact} is an expectation, and no model", hint)
    return encoder


def _read_shipped(path: Path) -> tuple[EncoderSpec, str]:
    """A shipped file's encoder and description.

    The tests hold the shipped files to the strict reader, so here they are read without it: its library costs as much
    start-up as all the rest of `schedules list`. A file that does not fit goes to the strict reader all the same, which
    says what is wrong with it, and where.
    """
    import yaml

    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        fields = yaml.load(path.read_text("utf-8"), loader)
        del fields["schema_version"]
        return from_fields(**{key: fields[key] for key in fields if key != "description"}), fields["description"]
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError, BenchError):
        from proscale_bench.config.schedule_file import read_schedule_file

        return read_schedule_file(path)
