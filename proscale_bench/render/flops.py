"""FLOP counts as tables: for the terminal and as Markdown, from the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Literal

from proscale_bench.cost.count import FlopCount
from proscale_bench.cost.rules import NEVER_COUNTED, RULES
from proscale_bench.render.parts import ENCODER, coarse_first, depth, merged, short_title
from proscale_bench.render.table import Row, Table, markdown_tables, markdown_text
from proscale_bench.specs.deformable_detr import DeformableDetrSpec
from proscale_bench.specs.encoders.parts import TOKEN_LAYERS
from proscale_bench.specs.encoders.staged import RECALIBRATION
from proscale_bench.specs.model import POSTPROCESSING, TOTAL, WHOLE, ModelSpec, Part, model_words
from proscale_bench.specs.terms import Operator
from proscale_bench.units import GIGA, show_gflops, show_mac, show_reduction, show_tokens

Breakdown = Literal["stage", "layer", "operator"]
# Of a terminal: labels and baseline; a schedule with its saving; of that, its name and GFLOPs.

# What `models/inference.py` rewrites exactly, as far as a count can tell.
EXECUTED = "attention masks are predicted at their level's own resolution, batch norms folded into convolutions"
EXECUTED_OF_DETECTORS = "batch norms folded into convolutions, of two stages' tokens the score alone"

EXECUTED_PARTS = ("backbone", "proposals", "transformer_decoder", TOTAL)

OPERATOR_NAMES = {
    Operator.CONV: "convolutions",
    Operator.LINEAR: "linears",
    Operator.MATMUL: "window attention, positions",
    Operator.BMM: "attention, A·V and self",
    Operator.MASKED_QK: "masked attention, Q·Kᵀ",
    Operator.MASK_EINSUM: "masks from queries",
    Operator.SEMANTIC_EINSUM: "semantic map",
    Operator.WEIGHTED_SUM: "weighted sum of samples",
    Operator.FUSED_ATTENTION: "fused attention",
    Operator.DEFORM_CONV: "deformable convolutions",
    Operator.BATCH_NORM: "batch norm (2 an element)",
    Operator.GROUP_NORM: "group norm (5)",
    Operator.LAYER_NORM: "layer norm (5)",
    Operator.GRID_SAMPLER: "grid sampler (4)",
    Operator.UPSAMPLE_BILINEAR2D: "bilinear resizing (4)",
    Operator.UPSAMPLE_NEAREST2D: "nearest resizing (1)",
    Operator.GATING: "gates (1)",
    Operator.EINSUM: "einsums",
    Operator.MATRIX_VECTOR: "matrix times vector",
    Operator.ELEMENTWISE_PRODUCT: "products by elements",
    Operator.AVERAGE_POOL: "average pooling to a fixed size",
}
# Of a model that is not ours, nobody knows what a product serves.
GENERAL_NAMES = OPERATOR_NAMES | {Operator.BMM: "batched matrix products", Operator.MASKED_QK: "baddbmm"}
OF_MASKS = ("panoptic merging", "sampling and modulation inside deformable convolutions")
MOST_LEFT_OUT = 8  # operators that a line lists


def tables(
    counts: Sequence[FlopCount], by: Breakdown = "stage", columns: int = 10_000, as_executed: bool = False
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
    groups = [list(group) for _, group in groupby(counts, key=lambda count: count.spec.baseline())]
    return [table for group in groups for table in _stage_tables(group, columns, as_executed)]


def _stage_tables(counts: Sequence[FlopCount], columns: int, as_executed: bool) -> list[Table]:
    """Those of models of one baseline."""
    first = [counts[0].baseline] if counts[0].baseline else []
    found: list[Table] = []
    chunk = list(first)
    for count in (one for one in counts if not one.is_baseline):
        table = _stage_table([*chunk, count], as_executed)
        if found and table.width > columns:  # it begins the next table, beside the baseline again
            chunk = list(first)
            found.append(_stage_table([*chunk, count], as_executed))
        else:
            found[-1:] = [table]
        chunk.append(count)
    return found or [_stage_table(first, as_executed)]


def _saves_in_encoder(count: FlopCount) -> bool:
    """True if inference executes less of the encoder than is counted; it does not of Mask2Former's and PRO-SCALE's."""
    return count.executed.gflops["encoder"] != count.gflops["encoder"]


def _stage_table(counts: Sequence[FlopCount], as_executed: bool = False) -> Table:
    """One column of GFLOPs for each schedule, followed by its saving against the baseline."""
    tree = merged([part for part in count.spec.parts if not part.numbered] for count in counts)
    levels = sorted({layer.levels for count in counts for layer in count.layers}, key=coarse_first)
    rows = []
    for name, part in tree.items():
        if name == RECALIBRATION.name and not any(count.gflops.get(name) for count in counts):
            continue
        indent = depth(name, tree)
        titles = dict.fromkeys(own.title for count in counts for own in count.spec.parts if own.name == name)
        rows.append(_part_row(" / ".join(titles), part, counts, indent, part.quoted and not indent))
        if name == TOKEN_LAYERS.name:
            rows += [_layers_row(seen, counts, indent + 1) for seen in levels]
        if as_executed and (name in EXECUTED_PARTS or (name == "encoder" and any(map(_saves_in_encoder, counts)))):
            rows.append(_part_row("as executed", part, [count.executed for count in counts], 1))
    parameters = [(_shown(count.params_m["total"], ".2f"), "") for count in counts]
    rows.append(Row("parameters, millions", _cells(counts, parameters)))
    if any(count.activation_mib is not None for count in counts):
        mib = [count.activation_mib for count in counts]
        peaks = [("–" if one is None else _shown(one, ",.1f"), "") for one in mib]
        rows.append(Row("peak of activations, MiB", _cells(counts, peaks)))
    return Table(_title(counts[0]), ("GFLOPs", *_cells(counts, [(count.variant, "") for count in counts])), tuple(rows))


def _shown(value: float, form: str) -> str:
    """A number in a form, unless it is so small that this would show next to nothing of it."""
    return f"{value:{form}}" if value >= 0.1 else f"{value:.3g}"


def _part_row(title: str, part: Part, counts: Sequence[FlopCount], indent: int, strong: bool = False) -> Row:
    """The GFLOPs of a part, with what is saved of it where papers quote that."""
    pairs = []
    for count in counts:
        gflops = count.gflops.get(part.name)
        saved = show_reduction(count.reduction_pct.get(part.name)) if part.quoted else ""
        pairs.append((show_gflops(gflops) if gflops else "–", saved))
    return Row(title, _cells(counts, pairs), indent, strong)


def _layers_row(levels: tuple[str, ...], counts: Sequence[FlopCount], indent: int) -> Row:
    """The token layers over some levels: `3 × 4.26`."""
    pairs = []
    for count in counts:
        layers = [layer.gflops for layer in count.layers if layer.levels == levels]
        if count.exits and layers:  # how many run on average: an image sees the first ones at least
            pairs.append((f"{sum(layers) / layers[0]:.3g} × {show_gflops(layers[0])}", ""))
            continue
        pairs.append((f"{len(layers)} × {show_gflops(layers[0])}" if layers else "–", ""))
    return Row(" + ".join(levels), _cells(counts, pairs), indent)


def _cells(counts: Sequence[FlopCount], pairs: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """A row's cells: a value for each count and, but for the baseline's, what is saved."""
    split = (pair[:1] if count.is_baseline else pair for count, pair in zip(counts, pairs, strict=True))
    return tuple(cell for pair in split for cell in pair)


def _layer_table(count: FlopCount) -> Table:
    """One line for each token layer, or that there are none."""
    title = f"{_title(count)} · {count.variant}"
    header = ("", "stage", "levels", "tokens", "GFLOPs", "of the encoder")
    if not count.layers:
        return Table(title, header, (Row("no token layers", ("–",) * 5),))
    encoder = count.gflops[ENCODER]
    rows = []
    for index, layer in enumerate(count.layers, start=1):
        others = [level for level in layer.reads or () if level not in layer.levels]
        levels = " + ".join(layer.levels) + (f" (reads {' + '.join(others)} too)" if others else "")
        seen = (str(layer.stage), levels, show_tokens(round(layer.tokens)))
        share = f"{100 * layer.gflops / encoder:.1f}%"
        rows.append(Row(f"layer {index}", (*seen, show_gflops(layer.gflops), share)))
    whole = sum(layer.gflops for layer in count.layers)
    cells = ("", "", "", show_gflops(whole), f"{100 * whole / encoder:.1f}%")
    return Table(title, header, (*rows, Row(TOKEN_LAYERS.title, cells, strong=True)))


def _operator_table(count: FlopCount, as_executed: bool = False) -> Table:
    """Every operator of the whole model under each rule set: the itemised difference between them."""
    unit = GIGA * count.input.images
    shown = {f"{name} *" if name == count.rules.name else name: count.under(RULES[name]) for name in RULES}
    if as_executed:
        shown["executed"] = count.executed
    tables = [
        {
            operator: float(sum(row[operator] for row in other.closed_form.by_operator(count.input).values()) / unit)
            for operator in Operator
        }
        for other in shown.values()
    ]
    rows = []
    for operator in Operator:
        values = [table[operator] for table in tables]
        if any(values):
            names = GENERAL_NAMES if count.traced else OPERATOR_NAMES
            rows.append(Row(names[operator], tuple(show_gflops(v) if v else "–" for v in values)))
    sums = tuple(show_gflops(sum(table.values())) for table in tables)
    return Table(
        f"{_title(count)} · {count.variant}",
        ("GFLOPs", *shown),
        (*rows, Row(count.spec.parts[-1].title, sums, strong=True)),
    )


def model_of(spec: ModelSpec) -> str:
    """A model but for its encoder: the backbone, and the dimensions that are not those of its name.

    `resnet50, 3 classes, 20 queries, width 128`
    """
    classes = {"classes": spec.classes} if spec.classes is not None else {}
    return model_words(spec.backbone_name, {**classes, **spec.dimensions()})


def _title(count: FlopCount) -> str:
    batch = f", batch {count.input.images}" if count.traced and count.input.images > 1 else ""
    family = f"{count.spec.family}, " if isinstance(count.spec, DeformableDetrSpec) else ""
    return f"{family}{model_of(count.spec)} at {count.input.name}{batch}"


def headline(count: FlopCount) -> str:
    """The saving of a schedule in one sentence: every part that papers quote, never one alone."""
    if count.baseline is None:
        return f"{count.variant}: {show_gflops(count.gflops[TOTAL])} GFLOPs in all."
    quoted = [part for part in count.spec.parts if part.quoted and part.name in count.quoted and part.name != WHOLE]
    names = {part.name: "model" if part.name == TOTAL else short_title(part) for part in quoted}
    saved = {part.name: count.reduction_pct.get(part.name) or 0.0 for part in quoted}
    if any(pct < 0 for pct in saved.values()):
        changes = ", ".join(f"{names[part]} {show_reduction(pct)}" for part, pct in saved.items())
        return f"{count.variant} against the baseline: {changes}."
    inside = {part.name for part in quoted if part.of == ENCODER}
    savings = (f"{pct:.2f}% of {'its' if part in inside else 'the'} {names[part]}" for part, pct in saved.items())
    return f"{count.variant} saves {'on average ' if count.exits else ''}{', '.join(savings)}."


def headlines(counts: Sequence[FlopCount]) -> list[str]:
    """The sentences of all schedules that have a baseline and are not it."""
    return [headline(count) for count in counts if count.baseline and not count.is_baseline]


def footer(count: FlopCount, as_executed: bool = False) -> list[str]:
    """The conditions of a count, and what it leaves out."""
    where = str(count.input)
    if not count.input.is_single:
        where += f": mean over {count.input.images:,} images of COCO val2017"
    saved = EXECUTED_OF_DETECTORS if isinstance(count.spec, DeformableDetrSpec) else EXECUTED
    executed = [f"as executed, by default of profile and eval: {saved}"] if as_executed else []
    counted = f"{show_mac(count.convention)} · rules {count.rules.name}"
    return [
        f"{counted}: {count.rules.description} · {where} · engine {count.engine}",
        f"not counted: {', '.join(_left_out(count))}",
        *executed,
    ]


def _left_out(count: FlopCount) -> list[str]:
    """The operators that the rules leave out, with their amount; of a traced model all arithmetic, the most first."""
    names = {str(operator): name for operator, name in (GENERAL_NAMES if count.traced else OPERATOR_NAMES).items()}
    found = (
        sorted(count.uncounted_ops.items(), key=lambda one: -one[1]) if count.traced else count.uncounted_ops.items()
    )
    shown = [f"{names.get(name, name)} ({show_gflops(amount)} G)" for name, amount in found]
    if not count.traced:
        choice = ["choice of kept tokens"] if any(layer.keep < 1 for layer in count.spec.layers) else []
        never = [one for one in NEVER_COUNTED if POSTPROCESSING in count.gflops or one not in OF_MASKS]
        return [*shown, *never, *choice]
    more = [f"{len(shown) - MOST_LEFT_OUT} more, which --export-json lists"] if len(shown) > MOST_LEFT_OUT else []
    return [*shown[:MOST_LEFT_OUT], *more] or ["nothing"]


def markdown(
    counts: Sequence[FlopCount], by: Breakdown = "stage", as_executed: bool = False, notes: Sequence[str] = ()
) -> str:
    """The same tables as Markdown, with headlines, notes and footer."""
    lines = markdown_tables(tables(counts, by, as_executed=as_executed))
    lines += [f"- {markdown_text(line)}" for line in headlines(counts)]
    lines += ["", *(f"<sub>{markdown_text(line)}</sub>  " for line in (*notes, *footer(counts[0], as_executed)))]
    return "\n".join(lines) + "\n"
