"""The words that flags and files choose from where no table stands behind them, and the files that ship by name.

Nothing is imported for them, since a shell asks at every tab.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DeviceType = Literal["cpu", "cuda"]
DType = Literal["fp32", "tf32", "bf16", "fp16"]
Layout = Literal["official", "ours", "huggingface"]
Precision = Literal["fp32", "bf16", "fp16"]
Sampling = Literal["auto", "grid_sample", "embedding_bag", "embedding_bag_compiled", "dense", "triton", "deformops"]
Task = Literal["panoptic", "instance", "semantic"]
Mode = Literal["eager", "compiled", "cuda_graphs", "compiled_cuda_graphs"]
EMBEDDED = "shapes-val"  # the data that come with the tool


@dataclass(frozen=True)
class PostprocessingThresholds:
    """What a query must reach to be seen in a prediction; the defaults are the official code's.

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


OFFICIAL_THRESHOLDS = PostprocessingThresholds()


def shipped(kind: Literal["recipes", "sweeps"]) -> dict[str, Path]:
    """The YAML files of a kind that come with the tool, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parent / kind).glob("*.yaml"))}
