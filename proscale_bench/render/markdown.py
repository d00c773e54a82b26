"""A run's report as Markdown, in words and tables. A pure function of records."""

from __future__ import annotations

from collections.abc import Sequence

from proscale_bench.analysis import settings
from proscale_bench.analysis.evaluations import evaluation_key, key_names
from proscale_bench.analysis.labels import row_names, shared_model
from proscale_bench.analysis.views import side_by_side
from proscale_bench.config.catalogue import catalogue_names
from proscale_bench.render.columns import REPORT, Column, cells, known
from proscale_bench.render.evaluation import section as accuracy_section
from proscale_bench.render.figure import DEFAULT_X, DEFAULT_Y
from proscale_bench.render.profile import section
from proscale_bench.render.provenance import commands, counting, headlines, origin
from proscale_bench.render.savings import has_savings
from proscale_bench.render.side_by_side import section as side_by_side_section
from proscale_bench.render.style import backbone_name
from proscale_bench.render.table import Row, Table, markdown_table
from proscale_bench.render.table import markdown_text as text
from proscale_bench.results.accuracy import Accuracy
from proscale_bench.results.metrics import Provenance, get_metric
from proscale_bench.results.record import Record
from proscale_bench.specs.model import model_words
from proscale_bench.units import show_gflops, show_mac

AGREEMENT_PARTS = {
    "encoder": "encoder",
    "encoder_token_layers": "token layers",
    "total_with_postprocessing": "total with post-processing",
}


def report(
    records: Sequence[Record], reproduce: Sequence[str] = (), x: Sequence[str] = DEFAULT_X, y: str = DEFAULT_Y
) -> str:
    """The report of a run.

    Args:
        records: at least one, in any order.
        reproduce: the commands that made them; `flops` commands that count the same where there are none.
        x: metrics on the figure's x axes.
        y: the metric on its y axis.
    """
    groups = settings.by_setting(records)
    records = [record for group in groups.values() for record in group]
    shown = settings.main_setting(records)
    lines = ["# Cost, latency and accuracy of encoder schedules", ""]
    if shown:
        lines += [*_headlines(shown, groups[shown]), ""]
        lines += ["![GFLOPs beside milliseconds, by part](latency.svg)", ""] if settings.profiled(records) else []
        lines += _figures(x, y)
        lines += ["![Time saved against GFLOPs saved](savings.svg)", ""] if has_savings(records) else []
    for side in side_by_side(records):
        lines += side_by_side_section(side, text)
    sources: dict[str, int] = {}  # their numbers, in the order of their first use
    names = key_names(records)
    for setting, group in groups.items():
        if any(record.is_evaluated for record in group):
            lines += accuracy_section(names[evaluation_key(group[0])], group, text)
            continue
        if setting.execution:
            lines += section(setting, group, text) if setting.dataset is None else []
            continue
        lines += [f"## {text(setting.where)}", "", _conditions(setting), ""]
        for backbone, rows in settings.by_backbone(group).items():
            model = model_words(backbone_name(backbone), shared_model(rows))
            lines += [f"### {text(model)}", "", *markdown_table(_costs(rows, sources)), ""]
    lines += [*(f"{number}. {source}" for source, number in sources.items()), ""] if sources else []
    if shown:
        lines += _choices(groups[shown])
    lines += _official(records)
    lines += _failures(records)
    lines += ["## What is counted", "", *(f"- {text(line)}" for line in counting(records)), ""]
    lines += _origin(records, reproduce)
    return "\n".join(lines).rstrip() + "\n"


def _headlines(setting: settings.Setting, records: Sequence[Record]) -> list[str]:
    found = headlines(records)
    if not found:
        return [f"{len(records)} configurations at {text(setting.where)}."]
    first, *others = map(text, found)
    return [f"**{first}**", *others]


def _figures(x: Sequence[str], y: str) -> list[str]:
    costs = " and ".join(f"{get_metric(name).title} {get_metric(name).unit}" for name in x)
    return [
        f"![{get_metric(y).title} against {costs}: the frontier as steps, dominated points hollow](pareto.svg)",
        "",
        "![GFLOPs of every schedule by part](costs.svg)",
        "",
    ]


def _costs(records: Sequence[Record], sources: dict[str, int]) -> Table:
    columns = [
        *REPORT,
        Column("PQ, published", lambda record: _pq(record.accuracy, "published", sources), "accuracy"),
        Column("PQ, measured", lambda record: _pq(record.accuracy, "measured", sources), "accuracy"),
    ]
    origins = {record.accuracy.provenance for record in records if record.accuracy and record.accuracy.pq is not None}
    columns = [one for one in columns if one.section != "accuracy" or one.title.removeprefix("PQ, ") in origins]
    names = _names(records)
    titles, shown = known(columns, [cells(columns, [record]) for record in records])
    rows = (Row(names[record.digest], tuple(map(_minus, row))) for record, row in zip(records, shown, strict=True))
    return Table("", ("schedule", *titles), tuple(rows))


def _names(records: Sequence[Record]) -> dict[str, str]:
    """The models' names by the records' digests, with the author's name for one that is not in the catalogue."""
    found = {}
    names = row_names(records)
    for record in records:
        label, name = record.identity.label, names[record.digest]
        is_known = label in (record.identity.schedule, record.identity.name, *catalogue_names())
        found[record.digest] = text(name if is_known else f"{name} ({label})")
    return found


def _pq(accuracy: Accuracy | None, provenance: Provenance, sources: dict[str, int]) -> str:
    """An accuracy of that provenance, with the number of its source."""
    if accuracy is None or accuracy.pq is None or accuracy.provenance != provenance:
        return ""
    note = f"; {text(accuracy.note)}" if accuracy.note else ""
    source = f"{accuracy.provenance}: {text(accuracy.source)} ({text(accuracy.dataset)}{note})"
    return f"{accuracy.pq:.2f} [{sources.setdefault(source, len(sources) + 1)}]"


def _choices(records: Sequence[Record]) -> list[str]:
    """The GFLOPs that the max-pool embedding saves and that the re-calibration adds."""
    embedding = settings.ablation(records, settings.WITH_CONV)
    gate = settings.ablation(records, settings.WITHOUT_GATE)
    if not embedding and not gate:
        return []
    lines = ["## Cost of LPE and TRC", ""]
    for saving in embedding:
        share = saving.of_the_saving_pct
        lines.append(
            f"- {text(backbone_name(saving.backbone))}: the light pixel embedding (max-pool for the 3x3 "
            f"convolution) takes {show_gflops(saving.gflops)} GFLOPs off the encoder"
            + (f", {share:.1f} % of all that {settings.HEADLINE_SCHEDULE} saves." if share is not None else ".")
        )
    for saving in gate:
        name, added = text(backbone_name(saving.backbone)), show_gflops(-saving.gflops)
        lines.append(f"- {name}: token re-calibration adds {added} GFLOPs to the encoder.")
    return [*lines, ""]


def _official(records: Sequence[Record]) -> list[str]:
    agreements = settings.against_official(records)
    if not agreements:
        return []
    rows, differing = [], 0
    names = _names(records)
    for agreement in agreements:
        record = agreement.record
        cells: list[str] = [text(backbone_name(record.identity.backbone)), text(record.input.size)]
        for part in AGREEMENT_PARTS:
            official, ours = agreement.flops(part)
            differing += official != ours
            cells += [f"{official:,}", f"{ours - official:+,}" if ours != official else "0"]
        rows.append(Row(names[record.digest], tuple(cells)))
    header = ("schedule", "backbone", "size", *(word for name in AGREEMENT_PARTS.values() for word in (name, "ours −")))
    sources = dict.fromkeys(text(agreement.reference.source) for agreement in agreements)
    verdict = "equal to the last FLOP" if not differing else f"{differing} of them differ"
    return [
        "## Comparison with the official code",
        "",
        f"FLOPs of one image as {'; '.join(sources)} finds them, and how far ours are from that: "
        f"{len(rows)} configurations, {len(AGREEMENT_PARTS)} counts each, {verdict}.",
        "",
        *markdown_table(Table("", header, tuple(rows))),
        "",
        *_paper_totals(records),
    ]


def _paper_totals(records: Sequence[Record]) -> list[str]:
    """The totals that papers print, which were counted under other rules and are not to be subtracted from ours."""
    lines = [
        f"- {text(backbone_name(record.identity.backbone))}, {text(record.identity.schedule)}: "
        f"{reference.gflops.total_with_postprocessing:g} G printed in {text(reference.source)}, "
        f"rules {text(reference.rules)}; {show_gflops(record.cost.gflops['total_with_postprocessing'])} G here, "
        f"rules {text(record.rules)}."
        for record in records
        for reference in record.references
        if record.cost and reference.kind == "paper" and reference.gflops.total_with_postprocessing is not None
    ]
    if not lines:
        return []
    return ["Totals with post-processing as printed, counted under other rules than ours:", "", *lines, ""]


def _failures(records: Sequence[Record]) -> list[str]:
    names = _names(records)
    lines = [
        f"- {names[record.digest]} on {text(record.identity.backbone)} at {text(record.input.size)}: "
        f"{text(record.error.message)}"
        for record in records
        if record.error
    ]
    return ["## Failed", "", *lines, ""] if lines else []


def _origin(records: Sequence[Record], reproduce: Sequence[str]) -> list[str]:
    lines = ["## Origin of the numbers", "", *(f"- {text(line)}" for line in origin(records))]
    shown = reproduce or commands(records)
    return [*lines, "", "```sh", *shown, "```"] if shown else lines


def _minus(cell: str) -> str:
    return f"−{cell[1:]}" if cell.startswith("-") else cell


def _conditions(setting: settings.Setting) -> str:
    """Sentences on the input, and on how it was counted."""
    counted = f"{show_mac(setting.convention)}; rules {text(setting.rules)}."
    if setting.images > 1:
        return f"GFLOPs of one image, a mean over {setting.images:,} images of COCO val2017. {counted}"
    return f"GFLOPs of one image of that height and width, padded to a multiple of 32. {counted}"
