"""FLOP counts as tables: for the terminal and as Markdown, from the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from proscale_bench.cost.count import FlopCount
from proscale_bench.cost.rules import NEVER_COUNTED, RULES
from proscale_bench.render.table import Row, Table, broken, markdown_table
from proscale_bench.specs.levels import LEVELS
from proscale_bench.specs.terms import Operator
from proscale_bench.units import GIGA, show_gflops, show_mac, show_reduction, show_tokens

By = Literal["stage", "layer", "operator"]
# Of a terminal: labels and baseline; a schedule with its saving; of that, its name and GFLOPs.
BASELINE_COLUMNS, SCHEDULE_COLUMNS, VALUE_COLUMNS = 37, 20, 9

# What `models/inference.py` rewrites exactly, as far as a count can tell.
EXECUTED = "attention masks are predicted at their level's own resolution, batch norms folded into convolutions"

OPERATOR_NAMES = {
    Operator.CONV: "convolutions",
    Operator.LINEAR: "linears",
    Operator.MATMUL: "window attention",
    Operator.BMM: "attention, A·V and self",
    Operator.MASKED_QK: "masked attention, Q·Kᵀ",
    Operator.MASK_EINSUM: "masks from queries",
    Operator.SEMANTIC_EINSUM: "semantic map",
    Operator.WEIGHTED_SUM: "weighted sum of samples",
    Operator.BATCH_NORM: "batch norm (2 an element)",
    Operator.GROUP_NORM: "group norm (5)",
    Operator.LAYER_NORM: "layer norm (5)",
    Operator.GRID_SAMPLER: "grid sampler (4)",
    Operator.UPSAMPLE_BILINEAR2D: "bilinear resizing (4)",
    Operator.GATING: "re-calibration's gate",
}


def tables(
    counts: Sequence[FlopCount], by: By = "stage", columns: int = 10_000, as_executed: bool = False
) -> list[Table]:
    """The tables of several counts at one size.

    Args:
        columns: of the terminal.
        as_executed: also show what inference executes.
    """
    if by == "layer":
        return [_layer_table(count) for count in counts]
    if by == "operator":
        return [_operator_table(count, as_executed) for count in counts]
    chunks: list[list[FlopCount]] = [[]]
    room = columns - BASELINE_COLUMNS
    for count in counts:
        if _is_baseline(count):
            continue
        widest = max(map(len, broken(name_of(count)).splitlines()))
        width = SCHEDULE_COLUMNS + max(0, widest - VALUE_COLUMNS)
        if chunks[-1] and width > room:
            chunks.append([])
            room = columns - BASELINE_COLUMNS
        chunks[-1].append(count)
        room -= width
    first = [counts[0].baseline] if counts[0].baseline else []
    return [_stage_table([*first, *chunk], as_executed) for chunk in chunks]


def _stage_table(counts: Sequence[FlopCount], as_executed: bool = False) -> Table:
    """One column of GFLOPs for each schedule, followed by its saving against the baseline."""

    def line(
        label: str, part: str, indent: int = 0, strong: bool = False, saving: bool = False, executed: bool = False
    ) -> Row:
        cells: list[str] = []
        for count in [count.executed for count in counts] if executed else counts:
            value = count.gflops[part]
            cells.append(show_gflops(value) if value else "–")
            if not _is_baseline(count):
                cells.append(show_reduction(count.reduction_pct[part]) if saving else "")
        return Row(label, tuple(cells), indent, strong)

    def executed(part: str, saving: bool = False) -> tuple[Row, ...]:
        return (line("as executed", part, 1, saving=saving, executed=True),) if as_executed else ()

    def stage(levels: tuple[str, ...]) -> Row:
        cells: list[str] = []
        for count in counts:
            layers = [layer.gflops for layer in count.layers if layer.levels == levels]
            cells.append(f"{len(layers)} × {show_gflops(layers[0])}" if layers else "–")
            if not _is_baseline(count):
                cells.append("")
        return Row(" + ".join(levels), tuple(cells), indent=2)

    header, parameters = ["GFLOPs"], []
    for count in counts:
        header.append(name_of(count))
        parameters.append(f"{count.params_m['total']:.2f}")
        if not _is_baseline(count):
            header.append("")
            parameters.append("")
    seen = {layer.levels for count in counts for layer in count.layers}
    coarse_first = sorted(seen, key=lambda levels: (len(levels), [LEVELS.index(level) for level in levels]))
    return Table(
        _title(counts[0]),
        tuple(header),
        (
            line("backbone", "backbone"),
            *executed("backbone"),
            line("encoder (pixel decoder)", "encoder", strong=True, saving=True),
            line("projection", "encoder_projection", 1),
            line("re-calibration", "encoder_recalibration", 1),
            line("token layers", "encoder_token_layers", 1, saving=True),
            *(stage(levels) for levels in coarse_first),
            line("pixel embedding", "pixel_embedding", 1),
            line("FPN upsampling", "fpn_upsampling"),
            line("transformer decoder", "transformer_decoder"),
            *executed("transformer_decoder"),
            line("total", "total", strong=True, saving=True),
            *executed("total", saving=True),
            line("post-processing", "postprocessing"),
            line("total with post-processing", "total_with_postprocessing", strong=True, saving=True),
            Row("parameters, millions", tuple(parameters)),
        ),
    )


def _is_baseline(count: FlopCount) -> bool:
    return count.is_baseline


def _layer_table(count: FlopCount) -> Table:
    encoder = count.gflops["encoder"]
    rows = [
        Row(
            f"layer {index}",
            (
                str(layer.stage),
                " + ".join(layer.levels),
                show_tokens(round(layer.tokens)),
                show_gflops(layer.gflops),
                f"{100 * layer.gflops / encoder:.1f}%",
            ),
        )
        for index, layer in enumerate(count.layers, start=1)
    ]
    token_layers = count.gflops["encoder_token_layers"]
    total = Row(
        "token layers",
        ("", "", "", show_gflops(token_layers), f"{100 * token_layers / encoder:.1f}%"),
        strong=True,
    )
    header = ("", "stage", "levels", "tokens", "GFLOPs", "of the encoder")
    return Table(f"{_title(count)} · {name_of(count)}", header, (*rows, total))


def _operator_table(count: FlopCount, as_executed: bool = False) -> Table:
    """Every operator of the whole model under each rule set: the itemised difference between them."""
    unit = GIGA * count.input.images
    shown = {f"{name} *" if name == count.rules.name else name: count.under(RULES[name]) for name in RULES}
    if as_executed:
        shown["executed"] = count.executed
    tables = [
        {
            operator: sum(row[operator] for row in other.closed_form.by_operator(count.input).values()) / unit
            for operator in Operator
        }
        for other in shown.values()
    ]
    rows = []
    for operator in Operator:
        values = [table[operator] for table in tables]
        if any(values):
            rows.append(Row(OPERATOR_NAMES[operator], tuple(show_gflops(v) if v else "–" for v in values)))
    sums = tuple(show_gflops(sum(table.values())) for table in tables)
    return Table(
        f"{_title(count)} · {name_of(count)}",
        ("GFLOPs", *shown),
        (*rows, Row("total with post-processing", sums, strong=True)),
    )


def name_of(count: FlopCount) -> str:
    return count.variant


def _title(count: FlopCount) -> str:
    return f"{count.backbone} at {count.input.name}"


def headline(count: FlopCount) -> str:
    """The saving of a schedule in one sentence: encoder, token layers and the whole, never one alone."""
    saved = count.reduction_pct
    parts = {"encoder": saved["encoder"], "token layers": saved["encoder_token_layers"], "model": saved["total"]}
    if any((pct or 0) < 0 for pct in parts.values()):
        changes = ", ".join(f"{what} {show_reduction(pct)}" for what, pct in parts.items())
        return f"{name_of(count)} against the baseline: {changes}."
    encoder, token_layers, model = (f"{pct or 0:.2f}%" for pct in parts.values())
    return f"{name_of(count)} saves {encoder} of the encoder, {token_layers} of its token layers, {model} of the model."


def headlines(counts: Sequence[FlopCount]) -> list[str]:
    """The sentences of all schedules but the baseline."""
    return [headline(count) for count in counts if not _is_baseline(count)]


def footer(count: FlopCount, as_executed: bool = False) -> list[str]:
    """The conditions of a count, and what it leaves out."""
    images = count.input.images
    where = str(count.input) if count.input.is_single else f"{count.input}: mean over {images:,} images of COCO val2017"
    products = [f"{OPERATOR_NAMES[Operator(op)]} ({show_gflops(g)} G)" for op, g in count.uncounted_ops.items()]
    executed = [f"as executed, by default of profile and eval: {EXECUTED}"] if as_executed else []
    counted = f"{show_mac(count.convention)} · rules {count.rules.name}"
    return [
        f"{counted}: {count.rules.description} · {where} · engine {count.engine}",
        f"not counted: {', '.join([*products, *NEVER_COUNTED])}",
        *executed,
    ]


def markdown(counts: Sequence[FlopCount], by: By = "stage", as_executed: bool = False) -> str:
    """The same tables as Markdown, with headlines and footer."""
    lines: list[str] = []
    for table in tables(counts, by, as_executed=as_executed):
        lines += [f"### {table.title}", "", *markdown_table(table), ""]
    lines += [f"- {line}" for line in headlines(counts)]
    lines += ["", *(f"<sub>{line}</sub>  " for line in footer(counts[0], as_executed))]
    return "\n".join(lines) + "\n"
