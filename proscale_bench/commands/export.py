"""`proscale-bench models export`: a model as a file that runs without Python, proved to be the same model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from proscale_bench.commands.options import (
    EXPORT_JSON,
    FORCE,
    SCHEDULE_HELP,
    WHICH,
    MaybePath,
    MaybeStr,
    Options,
    flag,
    seed_in_range,
    takes,
)
from proscale_bench.errors import BenchError, one_of

if TYPE_CHECKING:
    from proscale_bench.export.export import Exported
    from proscale_bench.export.module import ExportSettings

Sampling = Literal["grid_sample", "gather"]
InputType = Literal["uint8", "float32"]
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
    size: str = flag("--size HxW", "Size of the images, height x width.", WHAT, default="640x640")
    batch_size: int = flag("--batch-size, -n N", "Number of images in a run.", WHAT, default=1, min=1, max=64)
    dynamic: bool = flag("--dynamic", "Take any multiples of 32 from 64 as sides, and any batch; not for a Swin.", WHAT)
    input_type: str = flag(
        "--input-type NAME", "Type of the images, 0 to 255: uint8 or float32.", WHAT, default="uint8"
    )
    sampling: str = flag(
        "--sampling NAME",
        "Deformable attention by grid_sample, the faster on CPUs, or by gather, for engines whose GridSample is wrong.",
        WHAT,
        default="grid_sample",
    )
    images: int = flag(
        "--images N", "Number of drawn images that the file is proved on.", PROOF, default=8, min=1, max=5000
    )
    export_json: MaybePath = EXPORT_JSON
    force: bool = FORCE

    def read(self) -> tuple[Path | None, Path]:
        """The checkpoint, if there is one, and the file to write; everything is checked before torch is loaded.

        Raises:
            BenchError: paths or values that do not fit.
        """
        from proscale_bench.config.catalogue import parse_runnable
        from proscale_bench.cost.geometry import parse_size
        from proscale_bench.files import refuse_overwrite

        if len(self.paths) > 2:
            raise BenchError(f"{len(self.paths)} paths", "give [WEIGHTS] OUT")
        *weights, out = self.paths
        if not weights and self.schedule is None:
            raise BenchError(f"{out}: of which model?", "give WEIGHTS OUT, or OUT with --schedule")
        if out.suffix not in FORMATS:
            raise BenchError(f"{out}: '{out.suffix}' is no format to export to", f"known: {', '.join(FORMATS)}")
        if self.schedule is not None:
            parse_runnable(self.schedule)
        one_of(Sampling, self.sampling, "sampling")
        one_of(InputType, self.input_type, "input type")
        size = parse_size(self.size)
        if not size.is_single:
            raise BenchError(f"--size {self.size}: a set of sizes", "an exported file takes one, or --dynamic")
        for path in (out, out.with_suffix(".bin")) if out.suffix == ".xml" else (out,):
            refuse_overwrite(path, self.force)
            if path.exists() and not path.is_file():
                raise BenchError(f"{path}: not a regular file", "give another path")
        return (weights[0] if weights else None), out

    def settings(self) -> ExportSettings:
        """The input of the file. Loads torch."""
        from proscale_bench.export.module import ExportSettings, size_of

        return ExportSettings(
            size=size_of(self.size),
            batch_size=self.batch_size,
            dynamic=self.dynamic,
            sampling=one_of(Sampling, self.sampling, "sampling"),
            floating=self.input_type == "float32",
        )


@takes(ModelExportOptions)
def export(options: ModelExportOptions) -> None:
    """Write a model as ONNX, for OpenVINO, or compiled, and prove the file beside torch.

    Example: proscale-bench models export weights.pth model.onnx --size 640x640
    """
    from proscale_bench.bench.weights import random_weights, read_weights
    from proscale_bench.commands.exporting import Exports, print_lines
    from proscale_bench.commands.progress import progress_bar, uninterrupted
    from proscale_bench.config.catalogue import parse_runnable
    from proscale_bench.render.console import warn
    from proscale_bench.specs.mask2former import mask2former

    weights_path, out = options.read()
    exports = Exports(json=options.export_json, force=options.force)
    with progress_bar("loading torch") as bar:
        with uninterrupted():
            from proscale_bench.bench.export import export_weights
        if weights_path is not None:
            weights = read_weights(weights_path, None if options.schedule is None else parse_runnable(options.schedule))
        else:
            weights = random_weights(
                mask2former(parse_runnable(options.schedule or ""), options.backbone), options.seed
            )
        for caution in weights.cautions:
            warn(caution, "'models inspect' lists what is unexpected")

        def show(what: str, done: int, total: int) -> None:
            bar.show(f"{weights.spec.variant}: {what}", done, total if total > 1 else None, line=lambda: what)

        found = export_weights(
            weights, out, options.settings(), images=options.images, overwrite=options.force, progress=show
        )
    print_lines(exports.console, lines(found), style="")
    exports.write([found.row()], lambda: "")


def lines(found: Exported) -> list[str]:
    """Sentences on what was written, and on what the proof found."""
    proof, settings = found.proof, found.settings
    takes = (
        "B x 3 x H x W: any batch, H and W multiples of 32 from 64"
        if settings.dynamic
        else (f"{settings.batch_size} x 3 x {settings.size[0]} x {settings.size[1]}")
    )
    said = [
        f"{found.path}: {found.format}, {found.bytes / 1e6:.1f} MB, in {found.seconds:.0f} s",
        f"takes        images [{takes}], {'float32' if settings.floating else 'uint8'}, RGB, 0 to 255",
        "gives        pred_logits [B, queries, classes + 1], pred_masks [B, queries, H/4, W/4]",
        f"beside torch {proof.images} images in {found.engine} {found.engine_version}: largest difference of a logit "
        f"{proof.largest_difference:.1e}, at most {proof.tolerance:.0e} is rounding; "
        f"{proof.equal_maps} of {proof.images} panoptic maps equal",
    ]
    if proof.flipped_images or proof.rounded_images:
        said.append(
            f"             up to {proof.largest_explained_difference:.1e} in {proof.flipped_images} where a mask of "
            f"attention flips at zero, and {proof.rounded_images} where torch itself lies that far from float64"
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
