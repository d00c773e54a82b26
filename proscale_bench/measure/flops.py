"""Count by tracing: run the real model on the meta device and account for every operator it executes.

No memory, no arithmetic: only shapes. Each operator is looked up in an explicit table; one that is not there stops
the count, so nothing is ever left out silently. The trace knows no rule set: it keeps raw amounts by part and
operator, and `cost.rules` decides afterwards what they are worth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from proscale_bench.cost.geometry import InputSize
from proscale_bench.cost.rules import Convention, Rules
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.measure.operators import OURS, OperatorTable, PythonCall, Scope, no_rule
from proscale_bench.models.build import OwnModel, build
from proscale_bench.models.inference import prepare_for_inference
from proscale_bench.models.postprocess import resize_masks, semantic
from proscale_bench.specs.mask2former import Mask2FormerSpec
from proscale_bench.specs.model import POSTPROCESSING, ModelSpec, Part, leaves
from proscale_bench.specs.terms import Operator
from proscale_bench.units import Size

EINSUMS = (Operator.MASK_EINSUM, Operator.SEMANTIC_EINSUM, Operator.EINSUM)
FOLLOWED = (torch.einsum, nn.functional.scaled_dot_product_attention)


@dataclass(frozen=True)
class Trace:
    """The operations that one model executed on one image.

    `parts` are the leaves of the model's parts; `calls` counts (part, operator, amount of one call);
    `uncounted` counts calls of arithmetic that no rule set counts, by aten name, and `left_out` its output elements.
    """

    parts: tuple[str, ...]
    calls: Counter[tuple[str, Operator, int]]
    uncounted: Counter[str]
    left_out: Counter[str] = field(default_factory=Counter)

    def flops(self, rules: Rules, convention: Convention = "mac") -> dict[str, int]:
        """FLOPs of every leaf of the model's parts under a rule set.

        Raises:
            BenchError: something that counts ran outside of all parts (exit code 3).
        """
        flops = dict.fromkeys(self.parts, 0)
        for (part, operator, amount), calls in self.calls.items():
            counted = rules.einsum(amount) if operator in EINSUMS else amount
            worth = calls * counted * rules.factor(operator, convention)
            if part in flops:
                flops[part] += worth
            elif worth:
                raise BenchError(
                    f"{operator} ran in no part of the model: {worth:,} FLOPs have no row",
                    "every module that computes must be in `modules` of one of the spec's parts",
                    ExitCode.UNTRUSTED,
                )
        return flops


def trace_model(
    spec: ModelSpec,
    size: InputSize,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    as_executed: bool = False,
) -> list[tuple[Trace, int]]:
    """Trace the model at every distinct size of an input.

    Args:
        as_executed: after the exact optimizations of inference.
        progress: called with (sizes done, sizes in all).

    Returns:
        (trace of one image, number of such images) for every group of the size.

    Raises:
        BenchError: the model ran an operator without a rule (exit code 3).
    """
    model = build(spec, device="meta")
    if as_executed:
        prepare_for_inference(model)
    networks: dict[Size, Trace] = {}  # the network depends on the padded size alone
    traces = []
    for done, group in enumerate(size.groups):
        progress(done, len(size.groups))
        if group.padded not in networks:
            networks[group.padded] = trace_network(model, spec, *group.padded)
        network, post = networks[group.padded], trace_postprocessing(spec, group.padded, group.output)
        both = Trace(network.parts, network.calls + post.calls, network.uncounted + post.uncounted)
        traces.append((both, group.images))
    progress(len(size.groups), len(size.groups))
    return traces


def sum_flops(traces: list[tuple[Trace, int]], rules: Rules, convention: Convention = "mac") -> dict[str, int]:
    """FLOPs of every leaf of the model's parts, summed over images: what the closed form must equal."""
    counts = [(trace.flops(rules, convention), images) for trace, images in traces]
    return {part: sum(flops[part] * images for flops, images in counts) for part in traces[0][0].parts}


def trace_network(model: OwnModel, spec: ModelSpec, height_px: int, width_px: int) -> Trace:
    """Trace a forward pass of a spec's model on the meta device.

    Raises:
        BenchError: an operator without a rule (exit code 3).
    """
    device = next(model.parameters()).device
    with torch.no_grad(), _recording("", spec, model) as recorder:
        model(torch.empty(1, 3, height_px, width_px, device=device))
    return recorder.trace()


def trace_postprocessing(spec: ModelSpec, padded: Size, output: Size) -> Trace:
    """Trace what post-processing does before it depends on the data: the masks' resizes, the semantic product."""
    if not isinstance(spec, Mask2FormerSpec):  # a detector's chooses and scales boxes, which no rule set counts
        return Trace(tuple(part.name for part in leaves(spec.parts)), Counter(), Counter())
    head = spec.head
    logits = torch.empty(head.queries, head.num_classes + 1, device="meta")
    masks = torch.empty(head.queries, padded[0] // 4, padded[1] // 4, device="meta")
    with torch.no_grad(), _recording(POSTPROCESSING, spec) as recorder:
        semantic(logits, resize_masks(masks, padded_size=padded, image_size=padded, output_size=output))
    return recorder.trace()


@contextmanager
def _recording(part: str, spec: ModelSpec, model: nn.Module | None = None) -> Iterator[Recorder]:
    with Recorder(part, leaves(spec.parts)).watching(model) as recorder:
        yield recorder


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator, after PyTorch has taken composite ones apart.

    Args:
        part: that all is booked under which runs in no other.
        parts: the leaves of the model's parts.
        table: the operators that it knows.
        followed: the composite functions that rules ask for.
    """

    def __init__(
        self,
        part: str,
        parts: Sequence[Part],
        table: OperatorTable = OURS,
        followed: Sequence[Any] = FOLLOWED,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.parts, self.table, self.followed = parts, table, followed
        self.part_by_module = {module: part.name for part in parts for module in part.modules}
        self.scopes = [Scope(part)]  # that are running, innermost last
        self.python_calls: list[PythonCall] = []
        self.calls: Counter[tuple[str, Operator, int]] = Counter()
        self.uncounted: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()

    def trace(self) -> Trace:
        return Trace(tuple(part.name for part in self.parts), self.calls, self.uncounted, self.left_out)

    @contextmanager
    def watching(self, model: nn.Module | None) -> Iterator[Recorder]:
        """Record all that runs inside, and in which of the model's modules it does."""
        hooks = self.watch(model) if model is not None else []
        try:
            with _PythonCalls(self), self:
                yield self
        finally:
            for hook in hooks:
                hook.remove()

    def watch(self, model: nn.Module) -> list[Any]:
        """Follow which module is running."""
        hooks: list[Any] = []
        for name, module in model.named_modules():

            def enter(
                module: nn.Module, inputs: Any, part: str | None = self.part_of(name, model), name: str = name
            ) -> None:
                self.scopes.append(Scope(part or self.scopes[-1].part, type(module), path=name))

            def leave(module: nn.Module, inputs: Any, output: Any) -> None:
                self.scopes.pop()

            if not isinstance(module, torch.jit.ScriptModule):  # which takes no hooks
                hooks += [
                    module.register_forward_pre_hook(enter),
                    module.register_forward_hook(leave, always_call=True),
                ]
        return hooks

    def part_of(self, name: str, model: nn.Module) -> str | None:
        """The part that a module runs; None where it runs that of whatever calls it."""
        above = name.rpartition(".")[0]
        is_listed = bool(above) and isinstance(model.get_submodule(above), nn.ModuleList)  # which never runs itself
        return self.part_by_module.get(name) or (self.part_by_module.get(above) if is_listed else None)

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run an operator."""
        return func(*args, **kwargs)

    def unknown(self, operator: Any) -> BenchError:
        """The error of an operator without a rule."""
        return no_rule(f"operator {operator}")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet, table = func.overloadpacket, self.table
        rule = table.rules.get(packet)
        if rule is None and packet not in table.moves and packet not in table.uncounted:
            with self:  # in inference mode composite operators come as one
                apart = func.decompose(*args, **kwargs)
            if apart is NotImplemented:
                raise self.unknown(func)
            return apart
        result = self.run(func, args, kwargs)
        if packet in table.moves:
            return result
        scope = self.scopes[-1]
        call = self.python_calls[-1] if self.python_calls else None
        counted = rule(replace(scope, call=call), args, result) if rule else ()
        if not counted:
            self.uncounted[str(packet)] += 1
            self.left_out[str(packet)] += elements(result)
        for operator, amount in counted:
            self.calls[scope.part, operator, amount] += 1
        return result


def elements(result: Any) -> int:
    """The elements of an operator's (first) output; 0 where it is no tensor."""
    first = result[0] if isinstance(result, (tuple, list)) and result else result
    return first.numel() if isinstance(first, torch.Tensor) else 0


class _PythonCalls(TorchFunctionMode):
    """Remembers which Python-level function an operator comes from: `bmm` may be an einsum or an attention."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in self.recorder.followed:
            return func(*args, **kwargs)
        inside = func
        if func is nn.functional.multi_head_attention_forward:  # no function inside it is seen
            if kwargs.get("need_weights", True):
                return func(*args, **kwargs)
            inside = nn.functional.scaled_dot_product_attention
        masked = kwargs.get("attn_mask", args[3] if len(args) > 3 else None) is not None
        self.recorder.python_calls.append(PythonCall(inside, masked))
        try:
            return func(*args, **kwargs)
        finally:
            self.recorder.python_calls.pop()
