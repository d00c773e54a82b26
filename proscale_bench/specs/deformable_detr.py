"""Deformable DETR as a value: backbone, an encoder over four levels, and a head that predicts boxes.

Source: Zhu et al. 2021. The module is `models/deformable_detr.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from fractions import Fraction
from functools import cache
from typing import ClassVar

from proscale_bench.errors import BenchError, did_you_mean
from proscale_bench.specs import backbones, box_decoder
from proscale_bench.specs.backbones import BACKBONES, Backbone, Swin, get_backbone
from proscale_bench.specs.box_decoder import DetectorHead
from proscale_bench.specs.encoders.multiscale import DETECTOR_LEVELS, MultiScale
from proscale_bench.specs.levels import FEATURE_STRIDES, STRIDES
from proscale_bench.specs.masked_decoder import NORM_GROUPS
from proscale_bench.specs.model import TOTAL, EncoderSpec, LayerSpec, ModelSpec, Part
from proscale_bench.specs.tasks import Task
from proscale_bench.specs.terms import Operator, Sides, Terms, Tokens
from proscale_bench.units import printable

NAME = "deformable-detr"
DEFAULT_HEAD = DetectorHead()
# Ours: the embedded models' head, as narrow as that of their Mask2Former. The images are small and show few things.
TINY = DetectorHead(
    width=64, encoder_heads=4, encoder_ffn=128, decoder_heads=4, decoder_ffn=256, decoder_layers=6, queries=100
)
HEADS = {"tiny": TINY}
OPTIONS = ("refine", "two-stage", "ffn:2048")
GRAMMAR = f"'{NAME}', with '+refine', '+two-stage' or '+ffn:2048', as DINO's is"

BACKBONE = Part("backbone", "backbone", modules=("backbone",))
ENCODER = Part("encoder", "encoder", modules=("encoder",), quoted=True)
PROPOSALS = Part("proposals", "proposals", modules=("proposals",))
DECODER = Part("transformer_decoder", "transformer decoder", modules=("decoder",))
WHOLE_MODEL = Part(TOTAL, "total", None, quoted=True)


@dataclass(frozen=True)
class DeformableDetrSpec:
    """A Deformable DETR: which backbone, whose encoder, and a head of which dimensions. The rest is `ModelSpec`'s."""

    backbone: Backbone
    encoder: EncoderSpec
    head: DetectorHead = DEFAULT_HEAD
    against: ModelSpec | None = field(default=None, compare=False)  # see `Mask2FormerSpec`

    family = "Deformable DETR"
    tasks = frozenset[Task](("boxes",))
    carries_its_parts = True
    pads = False
    exits: ClassVar[tuple[DeformableDetrSpec, ...]] = ()
    expected_over: ClassVar[tuple[tuple[DeformableDetrSpec, Fraction], ...]] = ()

    @property
    def backbone_name(self) -> str:
        return backbones.backbone_name(self.backbone)

    @property
    def variant(self) -> str:
        return self.encoder.compact

    @property
    def parts(self) -> tuple[Part, ...]:
        proposals = (PROPOSALS,) if self.head.two_stage else ()
        return (BACKBONE, ENCODER, *self.encoder.parts, *proposals, DECODER, WHOLE_MODEL)

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        return self.encoder.layers

    def require_sides(self, height_px: int, width_px: int) -> None:
        image, least = Sides(height_px, width_px, height_px, width_px), FEATURE_STRIDES["res5"] + 1
        if max(height_px, width_px) < least:
            raise BenchError(
                f"images of {height_px}x{width_px}: res6, at stride 64, sees no more of them than res5: one place",
                f"a detector's four levels need a side of at least {least} pixels: use larger images",
            )
        tokens = sum(Tokens(STRIDES[level]).at(image) for level in DETECTOR_LEVELS)
        if self.head.two_stage and tokens < self.head.queries:
            raise BenchError(
                f"images of {height_px}x{width_px}: {self.head.queries} queries are chosen from {tokens} tokens",
                f"use larger images, or --queries {tokens} at most",
            )

    def expected(self, images: Sequence[int]) -> DeformableDetrSpec:
        return self

    @property
    def named_head(self) -> DetectorHead:
        """The head that the backbone's name stands for."""
        return HEADS.get(self.backbone_name, DEFAULT_HEAD)

    @property
    def classes(self) -> int:
        """The number of classes, always: data say 80 things of COCO, and the published models 91."""
        return self.head.num_classes

    def dimensions(self) -> dict[str, int | str | tuple[int, ...]]:
        """See `ModelSpec`. `boxes` is `refined` or `two-stage`."""
        named, told = self.named_head, ("num_classes", "refine", "two_stage")
        found: dict[str, int | str | tuple[int, ...]] = {
            one.name: getattr(self.head, one.name)
            for one in fields(DetectorHead)
            if one.name not in told and getattr(self.head, one.name) != getattr(named, one.name)
        }
        if self.head.refine:
            found["boxes"] = self.head.boxes
        if self.backbone_name not in BACKBONES:
            found |= {f"backbone_{key}": number for key, number in asdict(self.backbone).items()}
        return found

    @property
    def own_baseline(self) -> DeformableDetrSpec:
        """Deformable DETR's own encoder on the same backbone, with the same head."""
        return replace(self, encoder=MultiScale(), against=None)

    def baseline(self) -> ModelSpec:
        """Its own baseline, unless it is held `against` another."""
        return self.against or self.own_baseline

    def terms(self, as_executed: bool = False) -> dict[str, Terms]:
        """See `ModelSpec`.

        Args:
            as_executed: batch norms are folded into convolutions, and of two stages' tokens only the score is computed
                and of the chosen ones the box (see `models/inference.py`).
        """
        return {
            BACKBONE.name: _backbone_terms(self.backbone, as_executed),
            **self.encoder.terms(self.backbone.channels, self.head, as_executed),
            PROPOSALS.name: box_decoder.proposal_terms(self.head, chosen_alone=as_executed),
            DECODER.name: box_decoder.decoder_terms(self.head),
        }

    def parameters(self) -> dict[str, int]:
        found = {
            BACKBONE.name: backbones.parameters_of(self.backbone) - 2 * _res2_norm(self.backbone),
            ENCODER.name: self.encoder.parameters(self.backbone.channels, self.head),
            PROPOSALS.name: box_decoder.proposal_parameters(self.head),
            DECODER.name: box_decoder.decoder_parameters(self.head),
        }
        return {name: number for name, number in found.items() if number}

    def __str__(self) -> str:
        return f"{self.variant} on {self.backbone_name}"


@cache
def _backbone_terms(backbone: Backbone, norms_folded: bool) -> Terms:
    """A backbone's but for the norm on res2, which nothing reads."""
    table = Terms(backbones.terms_of(backbone, norms_folded))
    table.add(Operator.LAYER_NORM, -5 * _res2_norm(backbone), Tokens(4))
    return table


def _res2_norm(backbone: Backbone) -> int:
    """The channels of the norm that a Swin has on res2."""
    return backbone.width if isinstance(backbone, Swin) else 0


def deformable_detr(
    encoder: EncoderSpec | None = None,
    backbone: str = "resnet50",
    *,
    name: str = NAME,
    classes: int | None = None,
    queries: int | None = None,
    width: int | None = None,
) -> DeformableDetrSpec:
    """The Deformable DETR of an encoder on a named backbone.

    Args:
        encoder: six layers over all levels where None.
        backbone: a name of `specs.backbones.BACKBONES`.
        name: `deformable-detr` with its options: see `GRAMMAR`.
        classes: 91 where None, as published.
        queries: 300, or 100 for tiny, where None.
        width: channels of the head; 256, or 64 for tiny, where None.

    Raises:
        BenchError: an unknown name, or a number that no model can have.
    """
    known = get_backbone(backbone)
    head = _with_options(name, HEADS.get(backbone, DEFAULT_HEAD))
    for what, number in (("classes", classes), ("queries", queries), ("channels", width)):
        if number is not None and number < 1:
            raise BenchError(f"{number} {what}", "a model has at least one")
    if width is not None and (width % NORM_GROUPS or width % head.encoder_heads or width % 4):
        raise BenchError(f"width {width} is no multiple of the {NORM_GROUPS} norm groups", "as in --width 128")
    given = {"num_classes": classes, "queries": queries, "width": width}
    head = replace(head, **{key: one for key, one in given.items() if one is not None})  # type: ignore[arg-type]
    return DeformableDetrSpec(known, encoder or MultiScale(), head)


def is_ours(name: str) -> bool:
    """The words of `--model` name this family, perhaps with options."""
    return name.partition("+")[0] == NAME


def name_of(head: DetectorHead) -> str:
    """The words of `--model` that say how boxes are predicted."""
    return NAME + {"plain": "", "refined": "+refine", "two-stage": "+two-stage"}[head.boxes]


def _with_options(name: str, head: DetectorHead) -> DetectorHead:
    """The head of a name with options."""
    for option in name.split("+")[1:]:
        if found := re.fullmatch(r"ffn:([1-9][0-9]{0,4})", option):
            head = replace(head, encoder_ffn=int(found[1]), decoder_ffn=int(found[1]))
        elif option in ("refine", "two-stage"):
            head = replace(head, **{option.replace("-", "_"): True})
        else:
            hint = did_you_mean(option, OPTIONS, GRAMMAR)
            raise BenchError(f"--model {printable(name)}: unknown option '+{printable(option)}'", hint)
    return head
