"""`proscale-bench flops --graph`: an ONNX file counted off its nodes, whoever exported it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from proscale_bench.errors import BenchError, one_of
from proscale_bench.units import GIGA, show_gflops

if TYPE_CHECKING:
    from proscale_bench.commands.flops import FlopsOptions
    from proscale_bench.cost.rules import Convention, Rules
    from proscale_bench.export.graph import GraphCount
    from proscale_bench.render.table import Table

OF_MODELS = ("schedule", "backbone", "weights", "classes", "queries", "width", "size", "output_size", "verify", "model")


def flops_of_graph(options: FlopsOptions, path: Path) -> None:
    """Count the nodes of an ONNX file.

    Raises:
        BenchError: a flag of models is given; the file cannot be read, or a node has no rule (exit code 3).
    """
    from proscale_bench.commands.exporting import print_lines, print_tables
    from proscale_bench.cost.rules import Convention, get_rules
    from proscale_bench.export.graph import count_graph
    from proscale_bench.render.flops import GENERAL_NAMES
    from proscale_bench.render.table import markdown_tables

    for name in (name for name in OF_MODELS if getattr(options, name, None)):
        raise BenchError(f"--{name.replace('_', '-')} is of models, and --graph counts a file", f"leave out --{name}")
    exports, rules = options.exports(), get_rules(options.rules)
    convention = one_of(Convention, options.convention, "convention")
    count = count_graph(path)
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
