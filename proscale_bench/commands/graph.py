"""`proscale-bench flops --graph`: an ONNX file counted off its nodes, whoever exported it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proscale_bench.errors import BenchError, one_of
from proscale_bench.units import GIGA, Size, show_gflops

if TYPE_CHECKING:
    from proscale_bench.commands.flops import FlopsOptions
    from proscale_bench.cost.rules import Convention, Rules
    from proscale_bench.export.graph import GraphCount
    from proscale_bench.render.table import Table

OF_MODELS = ("schedule", "backbone", "weights", "classes", "queries", "width", "output_size", "verify", "model")


def flops_of_graph(options: FlopsOptions, path: Path) -> None:
    """Count the nodes of an ONNX file.

    Raises:
        BenchError: a flag of models is given; the file cannot be read, or a node has no rule (exit code 3).
    """
    from proscale_bench.commands.exporting import print_lines, print_tables
    from proscale_bench.cost.rules import Convention, get_rules
    from proscale_bench.export.graph import count_graph
    from proscale_bench.export.graph_input import input_of_graph
    from proscale_bench.export.onnx_file import read_graph
    from proscale_bench.render.flops import GENERAL_NAMES
    from proscale_bench.render.table import markdown_tables

    refuse_of_models(options)
    exports, rules = options.exports(), get_rules(options.rules)
    convention = one_of(Convention, options.convention, "convention")
    batch_size = options.batch_size if options.batch_size > 1 else None  # one is also the default
    given = input_of_graph(read_graph(path), str(path), size_of(options.size), batch_size)
    count = count_graph(path, given.told)
    tables = [table(count, path, rules, convention)]
    row: dict[str, Any] = {
        "graph": str(path),
        "rules": rules.name,
        "convention": convention,
        "engine": "graph",
        "gflops": {"total": count.flops(rules, convention) / GIGA},
        "by_operator": {str(one): flops / GIGA for one, flops in count.by_operator(rules, convention).items()},
        "by_part": {part: flops / GIGA for part, flops in count.by_part(rules, convention).items()},
        "uncounted_ops": {str(one): amount / GIGA for one, amount in count.left_out(rules).items()},
        "uncounted_nodes": dict(count.uncounted.most_common()),
    }
    exports.write([row], lambda: "\n".join(markdown_tables(tables)))
    print_tables(exports.console, tables)
    left_out = [
        f"{GENERAL_NAMES[one]} ({show_gflops(amount / GIGA)} G)" for one, amount in count.left_out(rules).items()
    ]
    nodes = [f"{number} {kind}" for kind, number in count.uncounted.most_common()]
    print_lines(
        exports.console,
        [
            f"rules {rules.name}, {convention}: {rules.description}; of one run of the graph, its batch included",
            f"not counted: {', '.join([*left_out, *nodes]) or 'nothing'}",
        ],
    )


def refuse_of_models(options: object, more: Sequence[str] = ()) -> None:
    """Refuse flags that say something of models, and `more`.

    Raises:
        BenchError: one is given.
    """
    for name in (name for name in (*OF_MODELS, *more) if getattr(options, name, None)):
        flag = f"--{name.replace('_', '-')}"
        raise BenchError(f"{flag} is of models, and --graph names a file", f"leave out {flag}")


def size_of(text: str | None) -> Size | None:
    """(height, width) of `--size`.

    Raises:
        BenchError: no such size, or a set of sizes.
    """
    from proscale_bench.cost.geometry import parse_size

    if text is None:
        return None
    size = parse_size(text)
    if not size.is_single:
        raise BenchError(f"--size {text}: a graph is counted and timed at one size", "as in --size 640x640")
    return size.sides


def table(count: GraphCount, path: Path, rules: Rules, convention: Convention) -> Table:
    """The graph's GFLOPs by part and by operator."""
    from proscale_bench.render.flops import GENERAL_NAMES
    from proscale_bench.render.table import Row, Table

    parts = [
        Row(part or "outside of modules", (show_gflops(flops / GIGA),))
        for part, flops in count.by_part(rules, convention).items()
        if flops
    ]
    operators = [
        Row(GENERAL_NAMES[operator], (show_gflops(flops / GIGA),), 1)
        for operator, flops in sorted(count.by_operator(rules, convention).items(), key=lambda item: -item[1])
    ]
    total = Row("total", (show_gflops(count.flops(rules, convention) / GIGA),), strong=True)
    return Table(path.name, ("GFLOPs", "one run"), (*(parts if len(parts) > 1 else ()), total, *operators))
