"""The families of models that are built here, by the words of `--model` that name them."""

from __future__ import annotations

from proscale_bench.errors import BenchError, did_you_mean
from proscale_bench.specs import deformable_detr
from proscale_bench.specs.deformable_detr import DeformableDetrSpec
from proscale_bench.specs.encoders.multiscale import MultiScale, MultiScaleLite, parse_compact
from proscale_bench.specs.mask2former import Mask2FormerSpec, mask2former
from proscale_bench.specs.model import EncoderSpec
from proscale_bench.units import printable

OwnSpec = Mask2FormerSpec | DeformableDetrSpec

MASK2FORMER = "mask2former"  # what is meant where no model is named
NAMES = (MASK2FORMER, deformable_detr.NAME)
GRAMMAR = f"{MASK2FORMER}, or {deformable_detr.GRAMMAR}"


def is_own(name: str) -> bool:
    """The words of `--model` name a family of ours, perhaps with options."""
    return name.partition("+")[0] in NAMES


def own_name(name: str) -> str:
    """The name itself, of a family of ours.

    Raises:
        BenchError: it is none.
    """
    if not is_own(name):
        raise BenchError(f"--model {printable(name)}: no model of this name", nearest(name, GRAMMAR))
    return name


def nearest(name: str, otherwise: str) -> str | None:
    """A hint at the family that a word is nearly the name of, else the one given."""
    return did_you_mean(name.partition("+")[0], NAMES, otherwise)


def is_detector(name: str) -> bool:
    """The words of `--model` name a model that predicts boxes and no masks."""
    return deformable_detr.is_ours(name)


def own_model(
    name: str,
    encoder: EncoderSpec,
    backbone: str,
    *,
    classes: int | None = None,
    queries: int | None = None,
    width: int | None = None,
) -> OwnSpec:
    """The model of a family with an encoder on a named backbone; dimensions of None are the published model's.

    Raises:
        BenchError: an unknown name or option, or a number that no model can have.
    """
    if is_detector(name):
        return deformable_detr.deformable_detr(
            encoder, backbone, name=name, classes=classes, queries=queries, width=width
        )
    return mask2former(encoder, backbone, classes=classes, queries=queries, width=width)


def require_masks(spec: OwnSpec, what: str) -> Mask2FormerSpec:
    """The model itself, which predicts masks.

    Args:
        what: the thing that asks for it, as in "schedules search".

    Raises:
        BenchError: it is a detector.
    """
    if isinstance(spec, DeformableDetrSpec):
        raise BenchError(f"{what}: of models with masks, and this is a {spec.family}", "give a Mask2Former's")
    return spec


def as_encoder_of(spec: OwnSpec, encoder: EncoderSpec) -> EncoderSpec:
    """An encoder that was read without knowing whose it is, as the model's family spells it.

    Raises:
        BenchError: the family has none of this spelling.
    """
    is_detectors = isinstance(encoder, MultiScale | MultiScaleLite)
    if isinstance(spec, DeformableDetrSpec):
        return encoder if is_detectors else parse_compact(encoder.compact)
    if is_detectors:
        raise BenchError(f"{encoder.compact}: a detector's encoder, and this is a {spec.family}", "give a detector's")
    return encoder


def name_of(spec: OwnSpec) -> str:
    """The words of `--model` that name a model, but for its dimensions."""
    return deformable_detr.name_of(spec.head) if isinstance(spec, DeformableDetrSpec) else MASK2FORMER
