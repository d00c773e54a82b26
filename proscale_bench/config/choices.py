"""The words that flags and files choose from where no table stands behind them, and the files that ship by name.

Nothing is imported for them, since a shell asks at every tab.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

DeviceType = Literal["cpu", "cuda"]
DType = Literal["fp32", "tf32", "bf16", "fp16"]
Layout = Literal["official", "ours", "huggingface"]
Precision = Literal["fp32", "bf16", "fp16"]
Sampling = Literal["auto", "grid_sample", "embedding_bag", "embedding_bag_compiled", "dense", "triton", "deformops"]
Task = Literal["panoptic", "instance", "semantic"]


def shipped(kind: Literal["recipes", "sweeps"]) -> dict[str, Path]:
    """The YAML files of a kind that come with the tool, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parent / kind).glob("*.yaml"))}
