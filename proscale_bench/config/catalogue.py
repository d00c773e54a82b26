"""Schedules by name, by file and by compact spelling.

The catalogue is the folder `schedules/` of the project, shipped inside the wheel.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from proscale_bench.errors import BenchError, did_you_mean
from proscale_bench.specs.encoders import multiscale
from proscale_bench.specs.encoders.staged import Schedule, from_fields
from proscale_bench.specs.families import is_detector
from proscale_bench.specs.model import EncoderSpec
from proscale_bench.specs.spelling import parse_encoder


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
def catalogue() -> tuple[tuple[Schedule, str], ...]:
    """Every shipped schedule with its description: the baseline, few layers to many, ablations, and what is ours."""
    return tuple(
        sorted(
            (_read_shipped(catalogue_dir() / f"{name}.yaml") for name in catalogue_names()),
            key=lambda entry: (
                entry[0].encoder != "mask2former",
                entry[0].is_ours,
                (entry[0].pixel_embedding, entry[0].recalibration) != ("maxpool", "linear"),
                len(entry[0].layers),
                entry[0].compact,
            ),
        )
    )


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
    try:
        return parse_encoder(word)
    except BenchError as error:
        hint = did_you_mean(word, catalogue_names(), error.hint) if word[:1].isalpha() else error.hint
        raise BenchError(error.lines, hint) from None


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
    if Path(text).suffix in (".yaml", ".yml") or (word in catalogue_names() and word != "baseline"):
        raise BenchError(
            f"{word}: files and the catalogue hold Mask2Former's schedules, and a detector has levels of its own",
            multiscale.GRAMMAR,
        )
    return multiscale.parse_compact(word)


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


def parse_staged(text: str | Path) -> Schedule:
    """Read a schedule where nothing else will do: files of schedules hold encoders with stages alone.

    Raises:
        BenchError: see `parse_schedule`; or it is an encoder of another family.
    """
    encoder = parse_schedule(text)
    if not isinstance(encoder, Schedule):
        hint = "name it by its spelling wherever a schedule is asked for; files hold stages of token layers"
        raise BenchError(f"{encoder.compact}: an encoder without stages, which no schedule file holds", hint)
    return encoder


def _read_shipped(path: Path) -> tuple[Schedule, str]:
    """A shipped file's schedule and description.

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
