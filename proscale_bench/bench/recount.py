"""Counts published numbers again: from a row of the registry to what its model costs here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import as_file
from typing import TYPE_CHECKING

from proscale_bench.bench.specs import ModelChoice
from proscale_bench.config.model_request import read_request
from proscale_bench.cost.closed_form import ClosedForm
from proscale_bench.cost.count import as_given
from proscale_bench.cost.geometry import COCO_SIZES, parse_size
from proscale_bench.cost.rules import Convention, Rules, get_rules
from proscale_bench.errors import BenchError
from proscale_bench.results.recounts import HUGGING_FACE, OURS, Recount, Recounted, configuration
from proscale_bench.specs.custom import parts_of
from proscale_bench.specs.model import Part, with_sums
from proscale_bench.units import GIGA, Size

if TYPE_CHECKING:
    from torch import nn

    from proscale_bench.bench.loader import LoadedModel
    from proscale_bench.measure.flops import Trace

Progress = Callable[[int, int], None]


def recount(one: Recount, progress: Progress = lambda done, total: None) -> Recounted:
    """Count a published number again. Of a model of `transformers` this builds it, with random weights.

    Args:
        progress: called with (sizes done, sizes in all).

    Raises:
        BenchError: transformers is not installed, or the model could not be built or run.
    """
    if not one.model:
        return Recounted(one)
    count = _ours if one.model == OURS else _traced
    convention: Convention = "flop" if one.row.convention == "flop" else "mac"
    gflops, gmacs = count(one, convention, progress)
    return Recounted(one, gflops, gmacs)


def rules_of(one: Recount) -> Rules:
    """The rules that a source counts by, as far as they are known.

    Raises:
        BenchError: an unknown rule set or operator.
    """
    base = get_rules(one.rules.split()[0])
    return Rules(one.rules, one.operators(base.counted), base.rounds_einsum, base.description)


def _ours(one: Recount, convention: Convention, progress: Progress) -> tuple[float, float]:
    """A model of this tool's own, by its closed form."""
    given = one.given
    classes = int(given["classes"]) if "classes" in given else None
    models = (given["model"],) if "model" in given else ()
    choice = ModelChoice(schedules=(given["schedule"],), models=models, backbone=given["backbone"], classes=classes)
    (spec,) = choice.specs()
    size = as_given(spec, parse_size(one.input_size))

    def gflops(rules: Rules, convention: Convention) -> float:
        flops = with_sums(ClosedForm(spec, rules, convention).count(size), spec.parts)
        return float(flops[one.part] / (GIGA * size.images))

    return gflops(rules_of(one), convention), gflops(get_rules("complete"), "mac")


def _traced(one: Recount, convention: Convention, progress: Progress) -> tuple[float, float]:
    """A model of `transformers`, by a trace at every size."""
    from proscale_bench.bench.loader import faults_of, load, talking_to_stderr

    with _source(one) as source, talking_to_stderr():
        loaded = load(read_request(source, [f"{key}={value}" for key, value in one.given.items()]))
        with faults_of(f"{one.model} of {one.id}"):
            sizes = _sizes(one.input_size)
            sums = [0, 0]
            for done, (trace, images) in enumerate(_traces(one, loaded, sizes)):
                progress(done, len(sizes))
                seen = trace.flops(rules_of(one), convention)
                hidden = [part for part in seen if _is_hidden(part, one.without)]
                sums[0] += images * (sum(seen.values()) - sum(seen[part] for part in hidden))
                if one.counts_left_out:
                    sums[0] += images * sum(trace.left_out.values())
                sums[1] += images * sum(trace.flops(get_rules("complete")).values())
    images = sum(sizes.values())
    return sums[0] / (GIGA * images), sums[1] / (GIGA * images)


@contextmanager
def _source(one: Recount) -> Iterator[str]:
    """The model as `--model` names it."""
    if not one.model.startswith(HUGGING_FACE):
        yield one.model
        return
    with as_file(configuration(one.model.removeprefix(HUGGING_FACE))) as file:
        yield f"{HUGGING_FACE}{file}"


def _traces(one: Recount, loaded: LoadedModel, sizes: dict[Size, int]) -> Iterator[tuple[Trace, int]]:
    """The trace of one image of every size, and the number of such images. The model is built once a device."""
    import torch

    from proscale_bench.measure.any_model import trace_any

    @cache
    def on(device: torch.device) -> nn.Module:
        return loaded.build()

    def tree(model: nn.Module) -> tuple[Part, ...]:
        hidden = [name for name, _ in model.named_modules() if name and _is_hidden(name, one.without)]
        return parts_of(dict.fromkeys(hidden, ""))

    def traced(sides: Size) -> Trace:
        inputs = loaded.inputs
        return trace_any(lambda: on(torch.get_default_device()), lambda model: inputs(model, sides, 1), tree).trace

    yield from ((traced(sides), images) for sides, images in sizes.items())


def _is_hidden(module: str, patterns: str) -> bool:
    return any(fnmatchcase(module, pattern) for pattern in patterns.split())


def _sizes(size: str) -> dict[Size, int]:
    """Count the images of each size, as a detector is given them: resized, and never padded.

    Raises:
        BenchError: an unknown size.
    """
    from proscale_bench.cost.geometry import resized_size

    known = parse_size(size)
    if size not in COCO_SIZES:
        if known.height_px is None or known.width_px is None:
            raise BenchError(f"{size}: no size of an image")
        return {(known.height_px, known.width_px): 1}
    found: Counter[Size] = Counter()
    for group in known.groups:
        found[resized_size(group.output_height_px, group.output_width_px)] += group.images
    return dict(found)
