"""Count any model by tracing it: on the meta device where that works, else under fake tensors, else for real.

A model that asks for values, as boxes that are sorted and thrown away do, has none on the meta device; fake tensors
know those of constants; what is left needs a pass with real numbers on the CPU. What ran is the same operator for
operator wherever a pass goes through, so the count does not depend on it unless the model's own work depends on data.
"""

from __future__ import annotations

import copy
import logging
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves, tree_map_only

from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.measure.allowed import operator_named, require_operators
from proscale_bench.measure.flops import EINSUMS, Recorder, Trace
from proscale_bench.measure.general_operators import FOLLOWED, GENERAL
from proscale_bench.measure.operators import OperatorRule, OperatorTable, Scope
from proscale_bench.measure.workspace import workspace_bytes
from proscale_bench.specs.custom import BACKWARD, REST
from proscale_bench.specs.model import Part, leaves
from proscale_bench.specs.terms import Einsum, One, Terms

Engine = Literal["trace-meta", "trace-fake", "trace-cpu"]
ENGINES: tuple[Engine, ...] = ("trace-meta", "trace-fake", "trace-cpu")


@dataclass(frozen=True)
class Inputs:
    """The arguments that a model is called with, by place and by name."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def to(self, convert: Callable[[Tensor], Tensor]) -> Inputs:
        """The same with every tensor in it converted."""
        return Inputs(tree_map_only(Tensor, convert, self.args), tree_map_only(Tensor, convert, dict(self.kwargs)))

    def call(self, model: nn.Module) -> Any:
        return model(*self.args, **self.kwargs)


@dataclass(frozen=True)
class ModelTrace:
    """The operators that one pass of a model ran, and the engine that saw them.

    Args:
        parts: the tree of the model's parts.
        parameters: by child of the model.
        peak_bytes: the most that outputs of operators, and what they took while they ran, were at a time; inputs and
            weights are not among them.
    """

    trace: Trace
    engine: Engine
    parts: tuple[Part, ...]
    parameters: Mapping[str, int]
    peak_bytes: int

    def tables(self) -> dict[str, Terms]:
        """The trace as coefficients of one pass, by part: an einsum by itself, since rules may round each."""
        tables = {part: Terms() for part in self.trace.parts}
        for (part, operator, amount), calls in self.trace.calls.items():
            if operator in EINSUMS:
                tables[part].add(operator, calls, Einsum(amount, One()))
            else:
                tables[part].add(operator, calls * amount, One())
        return tables


def trace_any(
    build: Callable[[], nn.Module],
    make_inputs: Callable[[nn.Module], Inputs],
    tree: Callable[[nn.Module], tuple[Part, ...]],
    allowed: Sequence[str] = (),
    training: bool = False,
    memory: bool = False,
    rules: Mapping[Any, OperatorRule] | None = None,
) -> ModelTrace:
    """Trace a pass of a model: forward in eval mode, or forward and backward in training mode.

    Args:
        build: makes it on torch's default device; called again where it cannot be built on the meta device.
        make_inputs: makes what it is called with, on the CPU.
        tree: the parts of the model.
        allowed: operators without a rule that count as nothing, as `aten.foo`.
        memory: not on the meta device, which runs attention otherwise than a CPU.
        training: the backward pass is of the sum of all outputs, which costs what a loss on them costs.
        rules: of operators that are counted otherwise than in any model.

    Raises:
        BenchError: an operator without a rule (exit code 3), or an allowed one that there is not, or that has a rule.
        Exception: what the pass on the CPU raised.
    """
    model: nn.Module | None = None
    for engine in ENGINES[1:] if memory else ENGINES:
        try:
            if engine == "trace-meta":
                with torch.device("meta"):
                    given = build()
            else:
                given = model = model or build()
            if engine == "trace-meta" and not all(one.is_meta for one in given.parameters()):
                given = copy.deepcopy(given).to("meta")  # somebody had built it already
            require_operators(allowed, GENERAL)  # the model brought its libraries
            parts, inputs = tree(given), make_inputs(given)
            warm, recorder = (_GeneralRecorder(parts, allowed, engine, rules or {}) for _ in range(2))
            given.train(training)
            plain = _plainly(training, has_lstm=any(isinstance(one, nn.LSTM) for one in given.modules()))
            with torch.set_grad_enabled(training), plain, _on(engine, inputs) as ready:
                if memory:  # a first pass makes what a model keeps from one to the next, as positions
                    with warm.watching(given):
                        ready.call(given)
                with recorder.watching(given):
                    outputs = ready.call(given)
                    if training:
                        recorder.scopes[:] = [Scope(BACKWARD)]
                        _summed(outputs).backward()  # type: ignore[no-untyped-call]
            return ModelTrace(recorder.trace(), engine, parts, parameters_of(given), recorder.peak_bytes)
        except BenchError:
            raise
        except Exception:
            if engine == ENGINES[-1]:
                raise
    raise AssertionError("the last engine returns or raises")


class _GeneralRecorder(Recorder):  # type: ignore[no-untyped-call]
    """Knows the operators of the field, and says of one that it does not know where it ran."""

    def __init__(
        self, parts: Sequence[Part], allowed: Sequence[str], engine: Engine, rules: Mapping[Any, OperatorRule]
    ) -> None:
        named = set(map(operator_named, allowed))
        table = OperatorTable({**GENERAL.rules, **rules}, GENERAL.uncounted | named, GENERAL.moves)
        super().__init__(REST, leaves(parts), table, FOLLOWED)
        self.engine = engine
        self.peak_bytes = self._live_bytes = 0
        self._storages: dict[int, object] = {}

    def part_of(self, name: str, model: nn.Module) -> str | None:
        """The part that a module is inside, by its name: whoever calls it, and whether that part runs as a module or,
        like a dictionary of modules, only holds some."""
        while name and name not in self.part_by_module:
            name = name.rpartition(".")[0]
        return self.part_by_module.get(name)

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Under fake tensors, what is made of real ones alone is made for real: constants, and buffers with settings
        that the model asks for. They are small, and so a model whose shapes depend on no image is traced."""
        if self.engine == "trace-fake" and not any(isinstance(one, FakeTensor) for one in tree_leaves((args, kwargs))):
            with unset_fake_temporarily():
                result = func(*args, **kwargs)
        else:
            result = func(*args, **kwargs)
        self._weigh(result, (args, kwargs))
        self.peak_bytes = max(self.peak_bytes, self._live_bytes + workspace_bytes(func.overloadpacket, args, result))
        return result

    def _weigh(self, result: Any, given: Any) -> None:
        """Follow the memory of what an operator makes, until nobody holds it; views are of memory that was given."""
        views = {one.untyped_storage()._cdata for one in tree_leaves(given) if _has_storage(one)}
        for tensor in (one for one in tree_leaves(result) if _has_storage(one)):
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key in views or key in self._storages:
                continue

            def freed(_: object, key: int = key, size: int = size) -> None:
                self._live_bytes -= size
                self._storages.pop(key, None)

            self._storages[key] = weakref.ref(storage, freed)
            self._live_bytes += size

    def unknown(self, operator: Any) -> BenchError:
        scope = self.scopes[-1]
        module = f"{scope.path or 'the model itself'} ({scope.module.__name__ if scope.module else 'no module'})"
        name = str(operator.overloadpacket)
        return BenchError(
            f"operator {name} has no counting rule; {module} ran it",
            f"--allow {name}=0 counts it as nothing, and the record says so",
            ExitCode.UNTRUSTED,
        )


@contextmanager
def _on(engine: Engine, inputs: Inputs) -> Iterator[Inputs]:
    """The inputs as an engine has them."""
    if engine == "trace-cpu":
        yield inputs
    elif engine == "trace-meta":
        with torch.device("meta"):
            yield inputs.to(lambda tensor: tensor.to("meta"))
    else:
        logging.getLogger("torch._subclasses.fake_tensor").setLevel(logging.CRITICAL)  # what fails is run for real
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            yield inputs.to(mode.from_tensor)


def _has_storage(value: object) -> bool:
    """Whether a value is a tensor of one block of memory, as sparse ones are not."""
    return isinstance(value, Tensor) and value.layout is torch.strided


@contextmanager
def _plainly(training: bool, has_lstm: bool) -> Iterator[None]:
    """Have `nn.MultiheadAttention` and `nn.LSTM` run operator by operator and not as one that is its own; in training
    all attention, so that its backward pass is one on every engine, without what a fused one computes again."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    lstm: AbstractContextManager[Any] = torch.backends.mkldnn.flags(enabled=False) if has_lstm else nullcontext()
    try:
        with lstm, sdpa_kernel(SDPBackend.MATH) if training else nullcontext():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _summed(outputs: Any) -> Tensor:
    """The sum of all outputs that depend on the model: floats with a gradient."""
    if is_dataclass(outputs) and not isinstance(outputs, (dict, type)):
        outputs = [getattr(outputs, one.name) for one in fields(outputs)]
    values = dict(outputs) if isinstance(outputs, dict) else outputs
    floats = [one.sum() for one in tree_leaves(values) if isinstance(one, Tensor) and one.requires_grad]
    if not floats:
        raise BenchError("no output of the model depends on its parameters", "a backward pass needs one")
    return sum(floats[1:], floats[0])


def parameters_of(model: nn.Module) -> dict[str, int]:
    """Parameters by child; each once, at its first place, however many share it."""
    found: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        top = name.partition(".")[0] if "." in name else REST
        found[top] = found.get(top, 0) + parameter.numel()
    return found
