"""From what a user names to models and their counts: schedules on a backbone, or with the dimensions of weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from proscale_bench.config.catalogue import parse_schedule_of
from proscale_bench.cost.count import FlopCount, count_model
from proscale_bench.cost.geometry import DEFAULT_SIZE, parse_size
from proscale_bench.cost.rules import CONVENTIONS, get_rules
from proscale_bench.errors import BenchError, look_up
from proscale_bench.specs.encoders.staged import Schedule
from proscale_bench.specs.families import MASK2FORMER, OwnSpec, is_detector, name_of, own_model
from proscale_bench.specs.model import EncoderSpec

DEFAULT_SCHEDULES = ("3,3,3", "baseline")  # the released Mask2Formers and detectors
DEFAULT_BACKBONE = "resnet50"


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """The models that a command is about.

    Args:
        schedules: spellings, catalogue names or files; empty: that of the weights, else `3,3,3`, or a detector's
            baseline.
        backbone: a name; None: that of the weights, else resnet50.
        models: families with their options, as in `deformable-detr+refine`; empty: that of the weights, else
            Mask2Former.
        weights: a checkpoint whose dimensions all of the models have.
        classes, queries, width: of the head, where they are not the published model's.
    """

    schedules: Sequence[str | EncoderSpec] = ()
    models: Sequence[str] = ()
    backbone: str | None = None
    weights: Path | None = None
    classes: int | None = None
    queries: int | None = None
    width: int | None = None

    def specs(self) -> tuple[OwnSpec, ...]:
        """The models by family, in the order of the schedules. Loads torch for weights whose header does not tell.

        Raises:
            BenchError: an unknown name, a number that no model can have, weights that cannot be read or are of a head
                alone, or a flag that contradicts the weights.
        """
        if self.weights is not None:
            found = read_spec(self.weights, any_depth=bool(self.schedules))
            self._check_against(found)
            encoders = self._encoders(name_of(found))
            return tuple(replace(found, encoder=encoder) for encoder in encoders) or (found,)
        return tuple(
            own_model(
                name,
                encoder,
                DEFAULT_BACKBONE if self.backbone is None else self.backbone,
                classes=self.classes,
                queries=self.queries,
                width=self.width,
            )
            for name in self.models or (MASK2FORMER,)
            for encoder in self._encoders(name) or [parse_schedule_of(name, DEFAULT_SCHEDULES[is_detector(name)])]
        )

    def _encoders(self, model: str) -> list[EncoderSpec]:
        """The encoders that are named, as a family spells them."""
        return [parse_schedule_of(model, one) if isinstance(one, str) else one for one in self.schedules]

    def _check_against(self, found: OwnSpec) -> None:
        head = found.head
        for name in self.models:
            named = own_model(name, found.encoder, DEFAULT_BACKBONE)
            if name_of(named) != name_of(found):
                hint = "leave out --model: weights say it themselves; or leave out --weights to count another model"
                raise BenchError(f"--model {name}, and {self.weights} is of {name_of(found)}", hint)
        for flag, given, told in (
            ("--backbone", self.backbone, found.backbone_name),
            ("--classes", self.classes, head.num_classes),
            ("--queries", self.queries, head.queries),
            ("--width", self.width, head.width),
        ):
            if given is not None and given != told:
                hint = f"leave out {flag}: weights say it themselves; or leave out --weights to count another model"
                raise BenchError(f"{flag} {given}, and {self.weights} has {told}", hint)


def read_spec(path: Path, cut_short: bool = False, *, any_depth: bool = False) -> OwnSpec:
    """The model that a checkpoint holds: off the header of a safetensors file, else off its tensors, which loads torch.
    An exported file says it itself.

    Args:
        cut_short: take a file that lacks the end of its tensors, which whoever evaluates it will refuse.
        any_depth: take one without token layers that does not say so: its dimensions are wanted, not its schedule.

    Raises:
        BenchError: unreadable, hostile, damaged, of no model that we know, with tensors of the encoder that have no
            place, or of a head alone.
    """
    from proscale_bench.config.weights import METADATA, TOLD_DIMENSIONS, read_header, read_shapes, require_whole
    from proscale_bench.export.description import read_description, spec_of
    from proscale_bench.export.engines import FORMATS
    from proscale_bench.models.checkpoints.infer import infer
    from proscale_bench.models.checkpoints.key_map import shapes_under_our_keys
    from proscale_bench.models.checkpoints.layouts import NOT_STAGED
    from proscale_bench.models.checkpoints.shapes import Hints

    if path.suffix in FORMATS:
        return spec_of(read_description(path), path)
    try:
        shapes, metadata = read_shapes(path)
        if not cut_short:
            require_whole(path)
        hints = Hints()
        if METADATA in metadata:
            header = read_header(path)
            hints = Hints(header.schedule, *(getattr(header, key) for key in TOLD_DIMENSIONS))
        shapes = shapes_under_our_keys(shapes)
        spec = infer(shapes, hints=hints).spec
        if spec and isinstance(spec.encoder, Schedule) and any(map(NOT_STAGED.match, shapes)):
            raise BenchError(f"{path}: tensors of the encoder without a place")
        if spec is not None and not spec.layers and hints.schedule is None and not any_depth:
            raise BenchError(f"{path}: no token layers")
    except BenchError:
        from proscale_bench.models.checkpoints.vetting import vet

        vet(path)
        from proscale_bench.models.checkpoints.load import open_checkpoint

        checkpoint = open_checkpoint(path)
        checkpoint.require_complete(any_depth=any_depth)
        spec = checkpoint.inferred.spec
    if spec is None:
        raise BenchError(f"{path}: holds a head without a backbone", "give the checkpoint of a whole model")
    return spec


def count_flops(
    schedule: EncoderSpec | str | Path,
    backbone: str | None = None,
    size: str | tuple[int, int] = DEFAULT_SIZE,
    output_size: str | tuple[int, int] | None = None,
    rules: str = "fvcore",
    convention: str = "mac",
    *,
    weights: str | Path | None = None,
    classes: int | None = None,
    queries: int | None = None,
    width: int | None = None,
) -> FlopCount:
    """Count the whole model in closed form, without torch.

    Args:
        schedule: a `Schedule`, a YAML file, a catalogue name, or compact as `3,3,3`.
        backbone: one of `resnet50 resnet101 swin_t swin_s swin_b swin_l tiny`; None: the weights', else resnet50.
        size: (height, width) in pixels, `"800x1333"`, `"coco-first100"` or `"coco-val"`.
        output_size: what masks are resized to; the input's size where None. Not with the COCO sizes.
        rules: `fvcore`, `published` or `complete` (see `cost.rules`).
        convention: `mac` counts a multiply-accumulate once, `flop` twice.
        weights: a checkpoint of whose dimensions the model is; loads torch only where its header does not tell them.
        classes, queries, width: of the head, where they are not the published model's.

    Raises:
        BenchError: any of these unknown or out of range.
    """
    known = look_up({known: known for known in CONVENTIONS}, convention, "convention")
    choice = ModelChoice(
        schedules=[str(schedule) if isinstance(schedule, Path) else schedule],
        backbone=backbone,
        weights=None if weights is None else Path(weights),
        classes=classes,
        queries=queries,
        width=width,
    )
    (spec,) = choice.specs()
    return count_model(spec, parse_size(size, output_size), get_rules(rules), known)
