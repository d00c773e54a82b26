"""A model of ours as one pass of it is traced: for its backward pass, or its memory, which have no closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

from proscale_bench.specs.custom import BACKWARD
from proscale_bench.specs.model import POSTPROCESSING, TOTAL, WHOLE, ModelSpec, Part


@dataclass(frozen=True)
class TracedPass:
    """All that is not said here is the model's.

    Args:
        model: the model, whose forward pass has a closed form.
        training: a forward and a backward pass, in training mode, and not a forward pass alone.
        memory: the peak of activations is traced.
        tracer: makes a `cost.count.Traced` of it and a size.
    """

    model: ModelSpec
    training: bool
    memory: bool
    tracer: Callable[..., Any] = field(compare=False, repr=False)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # of copies and pickles, which ask before there is a model
            raise AttributeError(name)
        return getattr(self.model, name)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The model's, or in training those without post-processing, and the backward pass."""
        if not self.training:
            return self.model.parts
        kept = [part for part in self.model.parts if part.name not in (TOTAL, POSTPROCESSING, WHOLE)]
        return (*kept, Part(BACKWARD, "backward pass"), Part(TOTAL, "total", None, quoted=True))

    @property
    def carries_its_parts(self) -> bool:
        return self.training or self.model.carries_its_parts

    def dimensions(self) -> dict[str, int | str | tuple[int, ...]]:
        own = self.model.dimensions()
        return {**own, "pass": "forward and backward"} if self.training else own

    def baseline(self) -> ModelSpec | None:
        base = self.model.baseline()
        return None if base is None else as_spec(replace(self, model=base))

    def __str__(self) -> str:
        return str(self.model)


def as_spec(one: TracedPass) -> ModelSpec:
    """The pass as a spec: whatever its class lacks, its model has."""
    return cast(ModelSpec, one)
