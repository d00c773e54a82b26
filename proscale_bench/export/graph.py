"""Count a graph's FLOPs off its own nodes: what an engine is given to run, whoever exported it.

A node is sorted into the operators of `specs/terms.py` by its type, its shapes and, where torch's exporter wrote it
down, the module and the function that it comes from. Needs `onnx`, and no torch.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proscale_bench.cost.rules import Convention, Rules
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.specs.terms import Operator

if TYPE_CHECKING:
    import onnx

SCOPES, CLASSES = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"
OURS = "proscale_bench.models."
DECODER = "model.decoder."  # whose attention the official code spells out
DEFORMABLE = "proscale_bench.models.deformable_attention.DeformableAttention"
GROUP_NORM, INSTANCE_NORM = "torch.nn.modules.normalization.GroupNorm", "InstanceNormalization"
EINSUMS = (Operator.MASK_EINSUM, Operator.SEMANTIC_EINSUM, Operator.EINSUM)

# Arithmetic that no rule set counts, and what does none at all.
UNCOUNTED = """
    Abs Add And ArgMax AveragePool BitwiseAnd BitwiseNot BitwiseOr Cast Ceil Clip Cos CumSum Div Elu Equal Erf Exp Floor
    Gelu GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN LeakyRelu Less
    LessOrEqual Log LogSoftmax Max MaxPool Mean Min Mish Mod Mul Neg Not Or Pow Reciprocal ReduceL2 ReduceMax ReduceMean
    ReduceMin ReduceProd ReduceSum Relu Round Sigmoid Sign Sin Softmax Softplus Sqrt Sub Sum Swish Tanh TopK Where Xor
"""
MOVES = """
    CastLike Compress Concat Constant ConstantOfShape DepthToSpace DequantizeLinear DynamicQuantizeLinear Expand EyeLike
    Flatten Gather GatherElements GatherND Identity NonZero OneHot Pad QuantizeLinear Range Reshape ScatterElements
    ScatterND Shape Size Slice SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze
"""
ARITHMETIC, KNOWN = frozenset(UNCOUNTED.split()), frozenset((UNCOUNTED + MOVES).split())


@dataclass(frozen=True)
class GraphCount:
    """The operations of a graph's nodes on one run.

    Args:
        calls: counts of (part, operator, amount of one node); a part is the name of the outermost module but one.
        uncounted: number of nodes of arithmetic that no rule set counts, by type.
        elements: number of elements that these give, where their shapes are known.
    """

    calls: Counter[tuple[str, Operator, int]]
    uncounted: Counter[str]
    elements: Counter[str]

    def flops(self, rules: Rules, convention: Convention = "mac") -> int:
        """FLOPs of one run under a rule set."""
        return sum(self.by_operator(rules, convention).values())

    def by_operator(self, rules: Rules, convention: Convention = "mac") -> dict[Operator, int]:
        """FLOPs of one run by operator, without those that the rules leave out."""
        found: Counter[Operator] = Counter()
        for (_, operator, amount), nodes in self.calls.items():
            counted = rules.einsum(amount) if operator in EINSUMS else amount
            found[operator] += nodes * counted * rules.factor(operator, convention)
        return dict(+found)

    def by_part(self, rules: Rules, convention: Convention = "mac") -> dict[str, int]:
        """FLOPs of one run by part."""
        found: Counter[str] = Counter()
        for (part, operator, amount), nodes in self.calls.items():
            counted = rules.einsum(amount) if operator in EINSUMS else amount
            found[part] += nodes * counted * rules.factor(operator, convention)
        return dict(found)

    def left_out(self, rules: Rules) -> dict[Operator, int]:
        """Amounts of the products and norms that the rules leave out, by operator (see `Operator`)."""
        found: Counter[Operator] = Counter()
        for (_, operator, amount), nodes in self.calls.items():
            if operator not in rules.counted:
                found[operator] += nodes * amount
        return dict(+found)


@dataclass
class _Node:
    """One node with the shapes of what goes in and out, and where it comes from."""

    kind: str
    inputs: list[tuple[int, ...] | None]
    output: tuple[int, ...] | None
    is_constant: list[bool]
    attributes: dict[str, Any]
    scopes: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)

    @property
    def module(self) -> str:
        """The class of the innermost module."""
        return self.classes[-2] if len(self.classes) > 1 else ""

    @property
    def function(self) -> str:
        """The function of torch that the node comes from, as `aten.linear.default`."""
        return self.classes[-1] if self.classes else ""

    def shape(self, place: int) -> tuple[int, ...]:
        found = self.inputs[place]
        if found is None:
            raise _UnknownShapeError(f"the shape of input {place}")
        return found

    @property
    def elements(self) -> int:
        """The number of the first output's elements."""
        if self.output is None:
            raise _UnknownShapeError("the shape of its output")
        return prod(self.output)


class _UnknownShapeError(Exception):
    """A shape that the file does not say, and nothing tells."""


Counted = tuple[Operator, int] | None


def count_graph(path: Path, sizes: Mapping[str, int] | None = None) -> GraphCount:
    """Count the nodes of an ONNX file.

    Args:
        sizes: values of symbolic dimensions, by name; see `graph_input.GraphInput.told`.

    Raises:
        BenchError: unreadable; a node of a type without a rule, or of a shape that nothing tells (exit code 3).
    """
    from proscale_bench.export.graph_input import at_sizes
    from proscale_bench.export.onnx_file import read_graph

    return count_nodes(at_sizes(read_graph(path), sizes or {}), str(path))


def count_nodes(model: onnx.ModelProto, where: str) -> GraphCount:
    """Count the nodes of a graph; see `count_graph`. `where` names it in errors."""
    import onnx

    calls: Counter[tuple[str, Operator, int]] = Counter()
    uncounted, elements = Counter[str](), Counter[str]()
    products: Counter[tuple[str, ...]] = Counter()  # of each call of attention so far
    for node, raw in _nodes(onnx.shape_inference.infer_shapes(model, data_prop=True)):
        try:
            counted = _count(node, products)
        except _UnknownShapeError as unknown:
            raise BenchError(
                f"{where}: node {raw.name or raw.op_type} ({node.kind}): nothing tells {unknown}",
                "export it with fixed sizes",
                ExitCode.UNTRUSTED,
            ) from None
        except KeyError:
            raise BenchError(
                f"{where}: node {raw.name or raw.op_type}: type {node.kind} has no counting rule",
                "a count that leaves it out could not be trusted: add a rule to proscale_bench/export/graph.py",
                ExitCode.UNTRUSTED,
            ) from None
        if counted:
            operator, amount = counted
            calls[_part(node.scopes), operator, amount] += 1
        elif node.kind in ARITHMETIC:
            uncounted[node.kind] += 1
            elements[node.kind] += prod(node.output) if node.output is not None else 0
    return GraphCount(calls, uncounted, elements)


def _count(node: _Node, products: Counter[tuple[str, ...]]) -> Counted:
    """The operator of a node and its amount; None of what no rule set counts."""
    if node.kind in RULES:
        return RULES[node.kind](node)
    if node.kind in ("MatMul", "Gemm"):
        return _matrix_product(node, products)
    if node.kind not in KNOWN:
        raise KeyError(node.kind)
    if node.kind != "Mul" or any(node.is_constant) or any(shape is None or not shape for shape in node.inputs):
        return None
    if node.module == DEFORMABLE:
        return Operator.WEIGHTED_SUM, node.elements
    if node.classes and "aten.mul" not in node.function:  # inside of a norm or an activation
        return None
    return (Operator.GATING if node.module.startswith(OURS) else Operator.ELEMENTWISE_PRODUCT), node.elements


def _matrix_product(node: _Node, products: Counter[tuple[str, ...]]) -> Counted:
    inner = node.shape(0)[0 if node.attributes.get("transA") else -1]
    amount = node.elements * inner
    if any(node.is_constant) or "aten.linear" in node.function:  # a third of joined weights is no constant by itself
        return Operator.LINEAR, amount
    if "scaled_dot_product_attention" not in node.function:
        return Operator.MATMUL, amount
    call = (*node.scopes, node.function)
    products[call] += 1
    if not node.scopes[-2].startswith(DECODER):
        return Operator.FUSED_ATTENTION, amount
    masked = node.scopes[-2].endswith("cross_attention") and products[call] == 1
    return (Operator.MASKED_QK if masked else Operator.BMM), amount


def _convolution(node: _Node) -> Counted:
    return Operator.CONV, node.elements * prod(node.shape(1)[1:])


def _transposed_convolution(node: _Node) -> Counted:
    return Operator.CONV, prod(node.shape(0)) * prod(node.shape(1)[1:])


def _instance_norm(node: _Node) -> Counted:
    norm = Operator.GROUP_NORM if node.module == GROUP_NORM else Operator.BATCH_NORM
    return norm, (5 if norm is Operator.GROUP_NORM else 2) * node.elements


def _resize(node: _Node) -> Counted:
    if node.attributes.get("mode", b"nearest") == b"nearest":
        return Operator.UPSAMPLE_NEAREST2D, node.elements
    return Operator.UPSAMPLE_BILINEAR2D, 4 * node.elements


def _einsum(node: _Node) -> Counted:
    """One product for every combination of the letters."""
    letters: dict[str, int] = {}
    terms = node.attributes["equation"].decode().replace(" ", "").split("->")[0].split(",")
    for place, term in enumerate(terms):
        letters |= dict(zip(term, node.shape(place), strict=True))
    return (Operator.MASK_EINSUM if node.module.startswith(OURS) else Operator.EINSUM), prod(letters.values())


RULES: dict[str, Callable[[_Node], Counted]] = {
    "Conv": _convolution,
    "ConvTranspose": _transposed_convolution,
    "DeformConv": lambda node: (Operator.DEFORM_CONV, node.elements * prod(node.shape(1)[1:])),
    "Einsum": _einsum,
    "InstanceNormalization": _instance_norm,
    "GroupNormalization": lambda node: (Operator.GROUP_NORM, 5 * node.elements),
    "LayerNormalization": lambda node: (Operator.LAYER_NORM, 5 * node.elements),
    "BatchNormalization": lambda node: (Operator.BATCH_NORM, 2 * node.elements),
    "GridSample": lambda node: (Operator.GRID_SAMPLER, 4 * node.elements),
    "Resize": _resize,
}


def _nodes(model: onnx.ModelProto) -> Iterator[tuple[_Node, onnx.NodeProto]]:
    import onnx

    graph = model.graph
    constants = {one.name: tuple(one.dims) for one in graph.initializer}
    shapes: dict[str, tuple[int, ...] | None] = dict(constants)
    for value in (*graph.input, *graph.value_info, *graph.output):
        sides = [0 if side.dim_param else side.dim_value for side in _sides(value)]
        shapes[value.name] = tuple(sides) if value.type.tensor_type.HasField("shape") and all(sides) else None
    for node in graph.node:
        told = {one.key: one.value for one in node.metadata_props}
        if node.op_type == "Constant":
            constants[node.output[0]] = ()
        inputs = [name for name in node.input if name]
        yield (
            _Node(
                node.op_type,
                [shapes.get(name) for name in inputs],
                shapes.get(node.output[0]),
                [name in constants for name in inputs],
                {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute},
                _names(told.get(SCOPES)),
                _names(told.get(CLASSES)),
            ),
            node,
        )


def _sides(value: onnx.ValueInfoProto) -> Any:
    return value.type.tensor_type.shape.dim


def _names(text: str | None) -> list[str]:
    """A list of names as torch's exporter writes it down."""
    try:
        found = ast.literal_eval(text or "[]")
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return []
    return [str(name) for name in found] if isinstance(found, list) else []


def _part(scopes: list[str]) -> str:
    """The module right below the exported one that a node is of: `backbone`, `encoder`, `decoder`."""
    modules = [name.removeprefix("model.") for name in scopes[1:-1] if name.startswith("model.")]
    return modules[0] if modules else scopes[1] if len(scopes) > 2 else ""
