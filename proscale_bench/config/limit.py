"""One limit of a budget file, with all that the file's defaults fill in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from proscale_bench.config import choices
from proscale_bench.specs.custom import CUSTOM
from proscale_bench.specs.model import EncoderSpec, ModelSpec, model_words

Level = Literal["error", "warn", "off"]
Bound = Literal["max", "min", "max_increase_pct", "max_decrease_pct"]


@dataclass(frozen=True)
class LimitedWeights:
    """Weights that a budget is on.

    Args:
        digest, data: of the weights, and what they were trained on; None where the file does not say.
    """

    file: Path
    spec: ModelSpec
    digest: str | None = None
    data: str | None = None


@dataclass(frozen=True)
class Limit:
    """One bound on one metric of one configuration, with all that its file's defaults fill in.

    Args:
        spec: the model; its classes are open to what was measured where the file names none: see `classes`.
        written: the schedule, or the file of weights, as the file has it.
        key: where the bound's number stands in the document.
        line, column: of the metric's key, from 1; `size_at` is `file:line:column` of the size.
        against: `baseline`, `record`, or the path of a run; None where the bound is absolute.
        min_change: an excess below so many percent of the bound (metrics in percent: points) does not count.
    """

    file: str
    line: int
    column: int
    key: tuple[str | int, ...]
    metric: str
    bound: Bound
    value: float
    level: Level
    min_change: float
    spec: ModelSpec
    weights: LimitedWeights | None
    classes: int | None
    written: str
    size: str
    size_at: str
    rules: str
    convention: Literal["mac", "flop"]
    device: str | None
    dtype: str | None
    batch_size: int | None
    mode: str | None
    engine: choices.EngineName | None
    threads: int | None
    sampling: str | None
    optimizations: bool | None
    dataset: str | None
    split: str | None
    images: int | None
    tasks: tuple[choices.Task, ...] | None
    published: bool
    against: str | None

    @property
    def at(self) -> str:
        """`file:line:column` of the metric's key."""
        return f"{self.file}:{self.line}:{self.column}"

    @property
    def schedule(self) -> EncoderSpec:
        return self.spec.encoder

    @property
    def backbone(self) -> str:
        return self.spec.backbone_name

    @property
    def model(self) -> str:
        """The model in words: `3,3,3 on tiny, 20 queries`."""
        if self.spec.family == CUSTOM:
            return self.written
        own = dict(self.spec.dimensions()) | ({"classes": self.classes} if self.classes else {})
        return f"{self.written} on {model_words(self.backbone, own)}"
