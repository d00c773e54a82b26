"""Mask2Former as a value: backbone, encoder and head.

Source: Cheng et al. 2022. The module is `models/mask2former.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from fractions import Fraction

from proscale_bench.errors import BenchError
from proscale_bench.specs import backbones, masked_decoder
from proscale_bench.specs.backbones import BACKBONES, Backbone, get_backbone
from proscale_bench.specs.encoders import staged
from proscale_bench.specs.masked_decoder import NORM_GROUPS, Head
from proscale_bench.specs.model import (
    POSTPROCESSING,
    TOTAL,
    WHOLE,
    EncoderSpec,
    LayerSpec,
    ModelSpec,
    Part,
    pyramid_width,
)
from proscale_bench.specs.tasks import Task
from proscale_bench.specs.terms import Terms

DEFAULT_HEAD = Head()
# The heads that are not as Mask2Former's paper has them for the other backbones, by backbone.
HEADS = {
    "swin_l": Head(queries=200),
    # Ours: the embedded models. Every schedule of the catalogue stays below 1.2 million parameters.
    # The head's width is a multiple of its 32 norm groups.
    "tiny": Head(width=64, encoder_heads=4, encoder_ffn=128, decoder_heads=4, decoder_ffn=256, decoder_layers=6),
}

BEFORE_ENCODER = (
    Part("backbone", "backbone", modules=("backbone",)),
    Part("encoder", "encoder (pixel decoder)", modules=("encoder",), quoted=True),
)
AFTER_ENCODER = (
    Part("transformer_decoder", "transformer decoder", modules=("decoder",)),
    Part(TOTAL, "total", WHOLE, quoted=True),
    Part(POSTPROCESSING, "post-processing", WHOLE),
    Part(WHOLE, "total with post-processing", None, quoted=True),
)


@dataclass(frozen=True)
class Mask2FormerSpec:
    """A Mask2Former: which backbone, whose pixel decoder, and a head of which dimensions. The rest is `ModelSpec`'s.

    Args:
        against: the model that it is held against, where that is not Mask2Former's own; no part of what it is.
    """

    backbone: Backbone
    encoder: EncoderSpec
    head: Head = DEFAULT_HEAD
    against: ModelSpec | None = field(default=None, compare=False)

    family = "Mask2Former"
    tasks = frozenset[Task](("panoptic", "instance", "semantic"))
    pads = True

    @property
    def backbone_name(self) -> str:
        return backbones.backbone_name(self.backbone)

    @property
    def variant(self) -> str:
        return self.encoder.compact

    @property
    def parts(self) -> tuple[Part, ...]:
        return (*BEFORE_ENCODER, *self.encoder.parts, *AFTER_ENCODER)

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        return self.encoder.layers

    @property
    def carries_its_parts(self) -> bool:
        return not isinstance(self.encoder, staged.Schedule)

    @property
    def exits(self) -> tuple[Mask2FormerSpec, ...]:
        """The models that this one is for one image or another; empty where all images run the same."""
        return tuple(replace(self, encoder=encoder) for encoder in getattr(self.encoder, "exits", ()))

    def require_sides(self, height_px: int, width_px: int) -> None:
        """None are too small: they are padded."""

    def expected(self, images: Sequence[int]) -> Mask2FormerSpec:
        """The model whose cost is the mean of one with `exits`, where so many images take each of them."""
        return replace(self, encoder=self.encoder.expected(images))  # type: ignore[attr-defined] # it has exits

    @property
    def expected_over(self) -> tuple[tuple[Mask2FormerSpec, Fraction], ...]:
        """The models that its cost is the expectation over, with their shares; empty where an image costs that."""
        found = getattr(self.encoder, "expected_over", ())
        return tuple((replace(self, encoder=encoder), share) for encoder, share in found)

    @property
    def named_head(self) -> Head:
        """The head that the backbone's name stands for."""
        return HEADS.get(self.backbone_name, DEFAULT_HEAD)

    @property
    def classes(self) -> int | None:
        """The number of classes, where it is not COCO's."""
        return None if self.head.num_classes == self.named_head.num_classes else self.head.num_classes

    def dimensions(self) -> dict[str, int | str | tuple[int, ...]]:
        """See `ModelSpec`. The classes have a name of their own: see `classes`."""
        named = self.named_head
        found: dict[str, int | str | tuple[int, ...]] = {
            one.name: getattr(self.head, one.name)
            for one in fields(Head)
            if one.name != "num_classes" and getattr(self.head, one.name) != getattr(named, one.name)
        }
        if self.backbone_name not in BACKBONES:
            found |= {f"backbone_{key}": number for key, number in asdict(self.backbone).items()}
        return found

    @property
    def own_baseline(self) -> Mask2FormerSpec:
        """Mask2Former's own encoder on the same backbone, with the same head."""
        return replace(self, encoder=staged.baseline(), against=None)

    def baseline(self) -> ModelSpec:
        """Its own baseline, unless it is held `against` another."""
        return self.against or self.own_baseline

    def terms(self, as_executed: bool = False) -> dict[str, Terms]:
        """See `ModelSpec`.

        Args:
            as_executed: batch norms are folded into convolutions, and masks that serve only as attention masks are
                predicted at their level's resolution (see `models/inference.py`).
        """
        return {
            "backbone": backbones.terms_of(self.backbone, norms_folded=as_executed),
            **self.encoder.terms(self.backbone.channels, self.head, as_executed),
            "transformer_decoder": masked_decoder.decoder_terms(
                self.head, pyramid_width(self.encoder, self.head), masks_at_levels=as_executed
            ),
            POSTPROCESSING: masked_decoder.postprocessing_terms(self.head),
        }

    def parameters(self) -> dict[str, int]:
        return {
            "backbone": backbones.parameters_of(self.backbone),
            "encoder": self.encoder.parameters(self.backbone.channels, self.head),
            "transformer_decoder": masked_decoder.decoder_parameters(self.head, pyramid_width(self.encoder, self.head)),
        }

    def __str__(self) -> str:
        return f"{self.variant} on {self.backbone_name}"


def mask2former(
    encoder: EncoderSpec,
    backbone: str = "resnet50",
    *,
    classes: int | None = None,
    queries: int | None = None,
    width: int | None = None,
) -> Mask2FormerSpec:
    """The Mask2Former of an encoder on a named backbone.

    Args:
        encoder: the pixel decoder.
        backbone: a name of `specs.backbones.BACKBONES`.
        classes: without "no object"; 133 where None.
        queries: 100, or 200 for swin_l, where None.
        width: channels of the head; 256, or 64 for tiny, where None.

    Raises:
        BenchError: an unknown backbone, or a number that no model can have.
    """
    known = get_backbone(backbone)
    head = HEADS.get(backbone, DEFAULT_HEAD)
    for what, number in (("classes", classes), ("queries", queries), ("channels", width)):
        if number is not None and number < 1:
            raise BenchError(f"{number} {what}", "a model has at least one")
    if width is not None:
        for what, divisor in (
            ("norm groups", NORM_GROUPS),
            ("encoder heads", head.encoder_heads),
            ("decoder heads", head.decoder_heads),
        ):
            if width % divisor:
                raise BenchError(f"width {width} is no multiple of the {divisor} {what}", "as in --width 128")
    given = {"num_classes": classes, "queries": queries, "width": width}
    return Mask2FormerSpec(known, encoder, replace(head, **{key: one for key, one in given.items() if one is not None}))
