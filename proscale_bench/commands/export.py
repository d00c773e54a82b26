"""`proscale-bench models export`: a model as a file that runs without Python, proved to be the same model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from proscale_bench.commands import completion
from proscale_bench.commands.options import (
    ANY_MODEL,
    EXPORT_JSON,
    FORCE,
    SCHEDULE_HELP,
    WHICH,
    MaybePath,
    MaybeStr,
    MaybeStrs,
    Options,
    flag,
    seed_in_range,
    takes,
)
from proscale_bench.errors import BenchError, one_of

if TYPE_CHECKING:
    from proscale_bench.commands.exporting import Exports
    from proscale_bench.export.any_model import ExportedAny
    from proscale_bench.export.export import Exported
    from proscale_bench.export.settings import ExportSettings
    from proscale_bench.specs.families import OwnSpec
    from proscale_bench.specs.model import EncoderSpec

Sampling = Literal["grid_sample", "gather"]
InputType = Literal["uint8", "float32"]
Quantized = Literal["int8"]
FORMATS = (".onnx", ".xml", ".pt2")
WHAT, PROOF = "What the file takes", "Proof"


class ModelExportOptions(Options):
    """The flags of `models export`."""

    paths: list[Path] = typer.Argument(
        metavar="[WEIGHTS] OUT",
        help="Checkpoint, and the file to write: .onnx, .xml for OpenVINO, or .pt2 for compiled code.",
        show_default=False,
    )
    schedule: MaybeStr = flag(
        "--schedule, -s SCHEDULE", f"{SCHEDULE_HELP} Without WEIGHTS: an untrained model of it.", WHICH
    )
    backbone: str = flag("--backbone, -b NAME", "Backbone of an untrained model.", WHICH, default="resnet50")
    seed: int = flag("--seed N", "Seed of an untrained model.", WHICH, default=0, callback=seed_in_range)
    model: MaybeStr = flag(
        "--model MODEL",
        "Any model: deformable-detr (also +refine, +two-stage, +ffn:2048), which goes with the flags of ours; "
        "my_file.py:Net, package.module:factory, hf:CONFIG.json or torchvision:NAME. Executes the file or package.",
        ANY_MODEL,
    )
    model_args: MaybeStrs = flag(
        "--model-args KEY=VALUE", "Argument of the model's constructor. Repeat for several.", ANY_MODEL
    )
    inputs: MaybeStr = flag(
        "--inputs FILE:NAME", "Function that makes the model's inputs, as in my_file.py:inputs.", ANY_MODEL
    )
    size: str = flag("--size HxW", "Size of the images, height x width.", WHAT, default="640x640")
    batch_size: int = flag("--batch-size, -n N", "Number of images in a batch.", WHAT, default=1, min=1, max=64)
    dynamic: bool = flag(
        "--dynamic",
        "Take any batch size, and sides of any multiple of 32 from 64; a detector's, of 64 from 128.",
        WHAT,
    )
    input_type: str = flag(
        "--input-type NAME", "Type of the images, 0 to 255: uint8 or float32.", WHAT, default="uint8"
    )
    sampling: str = flag(
        "--sampling NAME",
        "Deformable attention by grid_sample, the faster on CPUs, or by gather, for engines whose GridSample is wrong.",
        WHAT,
        default="grid_sample",
    )
    quantize: MaybeStr = flag(
        "--quantize NAME",
        "Quantise the weights and activations of convolutions and linear layers after training: int8. .onnx and .xml.",
        WHAT,
        values=completion.precisions_of_exports,
    )
    calibrate: MaybePath = flag(
        "--calibrate DIR",
        "Folder of pictures that --quantize takes the ranges of activations from, 32 at most. [default: drawn ones]",
        WHAT,
    )
    images: int = flag(
        "--images N", "Number of synthetic images to prove the file on.", PROOF, default=8, min=1, max=5000
    )
    export_json: MaybePath = EXPORT_JSON
    force: bool = FORCE

    def read(self) -> tuple[Path | None, Path]:
        """The checkpoint, if there is one, and the file to write; everything is checked before torch is loaded.

        Raises:
            BenchError: paths or values that do not fit.
        """
        from proscale_bench.cost.geometry import parse_size
        from proscale_bench.files import refuse_overwrite

        if len(self.paths) > 2:
            raise BenchError(f"{len(self.paths)} paths", "give [WEIGHTS] OUT")
        *weights, out = self.paths
        if not weights and self.schedule is None and self.other is None:
            raise BenchError(f"{out}: of which model?", "give WEIGHTS OUT, or OUT with --schedule or --model")
        self.refuse_two_models(weights)
        if out.suffix not in FORMATS:
            raise BenchError(f"{out}: '{out.suffix}' is no format to export to", f"known: {', '.join(FORMATS)}")
        if self.schedule is not None:
            self.encoder()
        one_of(Sampling, self.sampling, "sampling")
        one_of(InputType, self.input_type, "input type")
        if self.quantize is not None:
            one_of(Quantized, self.quantize, "quantization")
            if out.suffix == ".pt2":
                raise BenchError(f"{out}: compiled code is not quantised", "write .onnx or .xml")
        self.pictures()
        size = parse_size(self.size)
        if not size.is_single:
            raise BenchError(f"--size {self.size}: a set of sizes", "an exported file takes one, or --dynamic")
        if self.other is None:
            self.refuse_unexportable(weights[0] if weights else None)
        for path in (out, out.with_suffix(".bin")) if out.suffix == ".xml" else (out,):
            refuse_overwrite(path, self.force)
            if path.exists() and not path.is_file():
                raise BenchError(f"{path}: not a regular file", "give another path")
        return (weights[0] if weights else None), out

    @property
    def other(self) -> str | None:
        """The model of somebody else's that is named."""
        from proscale_bench.specs.families import is_own

        return None if self.model is None or is_own(self.model) else self.model

    def encoder(self) -> EncoderSpec:
        """The schedule, as the family that is named spells it."""
        from proscale_bench.config.catalogue import parse_runnable_of

        return parse_runnable_of(self.model or "", self.schedule or "")

    def untrained(self) -> OwnSpec:
        """The model of ours that flags name."""
        from proscale_bench.specs.families import MASK2FORMER, own_model

        return own_model(self.model or MASK2FORMER, self.encoder(), self.backbone)

    def pictures(self) -> tuple[Path, ...] | None:
        """The pictures of `--calibrate`.

        Raises:
            BenchError: nothing is quantised, or there are none.
        """
        from proscale_bench.data.image_files import find_pictures

        if self.calibrate is None:
            return None
        if self.quantize is None:
            raise BenchError("--calibrate is of a quantised file", "add --quantize int8")
        return find_pictures([str(self.calibrate)])[1]

    def refuse_two_models(self, weights: list[Path]) -> None:
        """Refuse what says something of ours together with `--model`, and the other way round.

        Raises:
            BenchError: such a flag is given.
        """
        from proscale_bench.config.model_request import read_request

        if self.other is None:
            if self.model is not None and weights:
                raise BenchError(f"--model {self.model}: WEIGHTS say what they are of", "leave out --model")
            if self.model_args or self.inputs:
                hint = "name one of somebody else's" if self.model else "name one"
                raise BenchError("--model-args and --inputs are of a model that --model names", hint)
            return
        ours = {
            "WEIGHTS": bool(weights),
            "--schedule": self.schedule is not None,
            "--dynamic": self.dynamic,
            "--quantize": self.quantize is not None,
            "--input-type": self.input_type != "uint8",
            "--sampling": self.sampling != "grid_sample",
        }
        for flag_, given in ours.items():
            if given:
                raise BenchError(f"{flag_} is of the tool's own models, not of --model", "leave it out")
        read_request(self.other, self.model_args or (), self.inputs)

    def refuse_unexportable(self, weights: Path | None) -> None:
        """Refuse what follows from the model and the flags alone.

        Raises:
            BenchError: such a model cannot be exported so, or a package is not installed.
        """
        from proscale_bench.bench.specs import read_spec
        from proscale_bench.export.engines import FORMATS
        from proscale_bench.export.extras import require_engines
        from proscale_bench.export.settings import refuse_unexportable

        settings = self.settings()
        require_engines([FORMATS[self.paths[-1].suffix]])
        spec: OwnSpec
        if weights is None:
            spec = self.untrained()
        elif weights.suffix == ".safetensors" and weights.is_file() and self.schedule is None:
            spec = read_spec(weights)
        else:
            return  # only torch can tell
        refuse_unexportable(spec, settings)

    def settings(self) -> ExportSettings:
        """The input of the file."""
        from proscale_bench.export.settings import ExportSettings, size_of

        return ExportSettings(
            size=size_of(self.size),
            batch_size=self.batch_size,
            dynamic=self.dynamic,
            sampling=one_of(Sampling, self.sampling, "sampling"),
            floating=self.input_type == "float32",
            precision="int8" if self.quantize else "fp32",
        )


@takes(ModelExportOptions)
def export(options: ModelExportOptions) -> None:
    """Export a model to ONNX, OpenVINO or compiled code, and prove that the file computes what torch does.

    Example: proscale-bench models export weights.pth model.onnx --size 640x640
    """
    from proscale_bench.bench.weights import random_weights, read_weights
    from proscale_bench.commands.exporting import Exports, print_lines
    from proscale_bench.commands.progress import progress_bar, uninterrupted
    from proscale_bench.render.console import warn

    weights_path, out = options.read()
    exports = Exports(json=options.export_json, force=options.force)
    if options.other is not None:
        export_of_model(options, out, exports)
        return None
    with progress_bar("loading torch") as bar:
        with uninterrupted():
            from proscale_bench.bench.export import export_weights
        if weights_path is not None:
            weights = read_weights(weights_path, None if options.schedule is None else options.encoder())
        else:
            weights = random_weights(options.untrained(), options.seed)
        for caution in weights.cautions:
            warn(caution, "'models inspect' lists what is unexpected")

        def show(what: str, done: int, total: int) -> None:
            bar.show(f"{weights.spec.variant}: {what}", done, total if total > 1 else None, line=lambda: what)

        found = export_weights(
            weights,
            out,
            options.settings(),
            images=options.images,
            calibration=options.pictures(),
            overwrite=options.force,
            progress=show,
        )
    print_lines(exports.console, lines(found), style="")
    return exports.write([found.row()], lambda: "")


def export_of_model(options: ModelExportOptions, out: Path, exports: Exports) -> None:
    """Export a model that `--model` names.

    Raises:
        BenchError: it cannot be built, called or exported, or the file is not the same model (exit code 3).
    """
    from proscale_bench.commands.progress import progress_bar, uninterrupted
    from proscale_bench.config.model_request import read_request
    from proscale_bench.export.engines import FORMATS
    from proscale_bench.export.extras import require_engines

    require_engines([FORMATS[out.suffix]])
    request = read_request(options.model or "", options.model_args or (), options.inputs)
    with progress_bar("loading torch") as bar:
        with uninterrupted():
            from proscale_bench.bench.export import export_request

        def show(what: str, done: int, total: int) -> None:
            bar.show(f"{request}: {what}", done, None, line=lambda: what)

        found = export_request(request, out, options.size, options.batch_size, overwrite=options.force, progress=show)
    told(found, out, exports)


def told(found: ExportedAny, out: Path, exports: Exports) -> None:
    """Say what was written, and how it was proven."""
    from proscale_bench.commands.exporting import print_lines

    said = [
        f"{found.path}: {out.suffix[1:]}, {found.bytes / 1e6:.1f} MB, in {found.seconds:.0f} s",
        *(f"takes        {name} {list(shape)}" for name, shape in found.inputs.items()),
        *(f"gives        {name} {list(shape)}" for name, shape in found.outputs.items()),
        f"beside torch in {found.engine} {found.engine_version}: largest difference {found.largest_difference:.1e} "
        "of the largest value, at most 1e-04 is rounding",
    ]
    if found.graph_gflops is not None:
        said.append(f"its nodes    {found.graph_gflops:.4g} GFLOPs (1 MAC = 1, rules complete)")
    print_lines(exports.console, said, style="")
    exports.write([found.row()], lambda: "")


def lines(found: Exported) -> list[str]:
    """Sentences on what was written, and on what the proof found."""
    proof, settings = found.proof, found.settings
    has_boxes = proof.equal_maps is None
    takes = (
        f"B x 3 x H x W: any batch, H and W multiples of {'64 from 128' if has_boxes else '32 from 64'}"
        if settings.dynamic
        else (f"{settings.batch_size} x 3 x {settings.size[0]} x {settings.size[1]}")
    )
    exact = settings.precision == "fp32"
    rounding = (
        f"at most {proof.tolerance:.0e} is rounding" if exact else "quantised: 'eval --weights' says what it costs"
    )
    maps = "" if has_boxes else f"; {proof.equal_maps} of {proof.images} panoptic maps equal"
    said = [
        f"{found.path}: {found.format}, {found.bytes / 1e6:.1f} MB, in {found.seconds:.0f} s",
        f"takes        images [{takes}], {'float32' if settings.floating else 'uint8'}, RGB, 0 to 255",
        "gives        class_logits [B, queries, classes], boxes [B, queries, 4]: x, y, width, height, from 0 to 1"
        if has_boxes
        else "gives        pred_logits [B, queries, classes + 1], pred_masks [B, queries, H/4, W/4]",
        f"beside torch {proof.images} images in {found.engine} {found.engine_version}: largest difference of a logit "
        f"{proof.largest_difference:.1e}, {rounding}{maps}",
    ]
    flips = "queries come in another order" if has_boxes else "a mask of attention flips at zero"
    if proof.flipped_images or proof.rounded_images:
        said.append(
            f"             up to {proof.largest_explained_difference:.1e} in {proof.flipped_images} where {flips}, "
            f"and {proof.rounded_images} where torch itself lies that far from float64"
        )
    if found.graph is not None:
        apart = found.graph_difference
        equal = (
            "equal to the closed form as executed, to the last FLOP"
            if not apart
            else "; ".join(f"{operator} {flops:+,} FLOPs" for operator, flops in apart.items())
        )
        gflops = found.row()["graph_gflops"]
        said.append(f"its nodes    {gflops:.4g} GFLOPs (1 MAC = 1, rules complete), {equal}")
    return said
