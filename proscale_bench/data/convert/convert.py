"""From a kind and a source to a folder in COCO's layout: the one door to this package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from proscale_bench.data.convert.cityscapes import cityscapes
from proscale_bench.data.convert.index_maps import index_pngs
from proscale_bench.data.convert.instances import coco_instances
from proscale_bench.data.convert.panoptic import ade20k
from proscale_bench.data.convert.segments_info import segments_info
from proscale_bench.data.convert.source import ConvertRequest, Kind, SourceSplit
from proscale_bench.data.convert.writing import ConvertedSplit, OnImage, write_splits
from proscale_bench.data.convert.yolo import yolo
from proscale_bench.data.whole_folder import whole_folder
from proscale_bench.errors import BenchError

COMMAND = "data convert"
READERS: dict[Kind, Callable[[ConvertRequest], list[SourceSplit]]] = {
    "cityscapes": cityscapes,
    "ade20k": ade20k,
    "coco-instances": coco_instances,
    "index-pngs": index_pngs,
    "yolo": yolo,
    "segments-info": segments_info,
}


def convert(
    kind: Kind,
    request: ConvertRequest,
    out: Path,
    *,
    force: bool = False,
    copy: bool = False,
    progress: OnImage = lambda done, total: None,
) -> list[ConvertedSplit]:
    """Write a data set of another layout as COCO's, all its splits at once or nothing.

    Raises:
        BenchError: the first of what is wrong in the source, with its place; `out` is there.
    """
    if not request.source.exists():
        raise BenchError(f"{request.source}: no such folder", "give the folder that holds the data set")
    if out.resolve() == request.source.resolve() or request.source.resolve().is_relative_to(out.resolve()):
        raise BenchError(f"{out} holds the source", "write to another folder")
    with whole_folder(out, COMMAND, force) as folder:
        splits = READERS[kind](request)
        description = f"converted by 'proscale-bench {COMMAND} {kind}'"
        return write_splits(folder, splits, description, copy=copy, progress=progress)
