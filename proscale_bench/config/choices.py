"""The words that flags and files choose from where no table stands behind them, and the files that ship by name.

No library is imported for them, since a shell asks at every tab.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from proscale_bench.errors import BenchError, did_you_mean
from proscale_bench.specs import tasks
from proscale_bench.units import printable

DeviceType = Literal["cpu", "cuda"]
DType = Literal["fp32", "tf32", "bf16", "fp16"]
ExecutedDType = Literal["fp32", "tf32", "bf16", "fp16", "int8"]  # int8: of an exported file that was quantised
ExportPrecision = Literal["fp32", "int8"]
ClassesBy = Literal["name", "order"]  # how classes of weights meet the categories of data
Layout = Literal["official", "ours", "huggingface"]
Precision = Literal["fp32", "bf16", "fp16"]
Sampling = Literal[
    "auto", "grid_sample", "embedding_bag", "embedding_bag_compiled", "dense", "fused", "gather", "triton", "deformops"
]
PostProcessing = Literal["ours", "theirs"]
Task = tasks.Task
Mode = Literal["eager", "compiled", "cuda_graphs", "compiled_cuda_graphs", "exported"]
EngineName = Literal["torch", "aot", "onnxruntime", "openvino", "tensorrt"]  # all but torch run an exported file
EMBEDDED = "shapes-val"  # the data that come with the tool


@dataclass(frozen=True)
class PostprocessingThresholds:
    """The thresholds that a query must reach to be seen in a prediction; the defaults are the official code's.

    Args:
        score: class probability above which a query can become a panoptic segment.
        mask: mask probability from which a pixel is inside a query's own mask.
        overlap: share of its own mask that a query must win against the others to become a segment.
        instances: pairs of query and class that are taken per image, best first.
    """

    score: float = 0.8
    mask: float = 0.5
    overlap: float = 0.8
    instances: int = 100

    def unreached(self, best_score: float | None) -> str:
        """The reason why no panoptic segment is in any image; the best score of any query is None where nobody says."""
        if best_score is not None and best_score > self.score:
            dropped = (
                f"every query is dropped by the thresholds of overlap, {self.overlap:g}, and of masks, {self.mask:g}"
            )
            return f"no panoptic segment: {dropped}; --overlap-threshold and --mask-threshold lower them"
        best = "" if best_score is None else f", the surest has {best_score:.2f}"
        return f"no panoptic segment: no query exceeds the score {self.score:g}{best}; --score-threshold lowers it"


OFFICIAL_THRESHOLDS = PostprocessingThresholds()


def shipped(kind: Literal["recipes", "sweeps", "zoos"]) -> dict[str, Path]:
    """The YAML files of a kind that come with the tool, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parent / kind).glob("*.yaml"))}


def find_shipped(kind: Literal["recipes", "sweeps", "zoos"], word: str) -> Path:
    """The YAML file of a kind given by name or path.

    Raises:
        BenchError: neither a name that ships nor a file.
    """
    known, path, what = shipped(kind), Path(word), kind.removesuffix("s")
    if word in known:
        return known[word]
    if path.suffix in (".yaml", ".yml") or os.path.exists(word):  # noqa: PTH110 - pathlib raises on what cannot be a path
        return path
    hint = did_you_mean(word, tuple(known), f"a {what} is a YAML file or one of: {', '.join(known)}")
    raise BenchError(f"unknown {what} '{printable(word)}'", hint)
