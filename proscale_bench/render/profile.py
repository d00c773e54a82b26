"""Profiles as tables and sentences, for the terminal and as Markdown. Pure functions of records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from proscale_bench.analysis.labels import row_names, shared_model
from proscale_bench.analysis.settings import Setting, by_backbone, profiled
from proscale_bench.render import columns
from proscale_bench.render.columns import Cell, Column, number
from proscale_bench.render.notes import UNSEEN
from proscale_bench.render.parts import LAYER, coarse_first, depth, merged, time_between
from proscale_bench.render.passes import contains_else, contents, pass_words
from proscale_bench.render.style import backbone_name
from proscale_bench.render.table import Row, Table, markdown_tables, markdown_text
from proscale_bench.results.model_key import model_of
from proscale_bench.results.profile import CountedSaving, Profile, RealisedSaving, StageProfile
from proscale_bench.results.record import PartRow, Record, usual_tree
from proscale_bench.results.statistics import in_sessions, paired_ratio
from proscale_bench.specs.custom import CUSTOM
from proscale_bench.specs.encoders.parts import FPN_UPSAMPLING, TOKEN_LAYERS
from proscale_bench.specs.model import POSTPROCESSING, model_words
from proscale_bench.units import show_change, show_ms, show_reduction

Names = Mapping[str, str]  # of models, by the digests of their records
Text = Callable[[str], str]  # makes words safe for Markdown
SPARE = ("images/s", "MiB", "p95 ms")  # what a narrow terminal does without
IN_TURNS = "models in turns"  # the title of a table of several families
STAGE_TITLES = {"prepare": "normalise and pad"}  # of stages that are no part of the model


def tables(records: Sequence[Record]) -> Iterator[Table]:
    """The tables of a session: for every setting and backbone one of schedules, then one by stage for each schedule.

    Models of several families that took turns are one table.
    """
    full, short = full_names(records), row_names(records)
    for setting, group in profiled(records).items():
        for backbone, rows in tabled(group).items():
            names = full if backbone == IN_TURNS else short
            yield summary_table(setting, backbone, rows, names)
            measured = [record for record in rows if record.profile]
            bases = {model_of(record).architecture: record for record in reversed(measured) if record.is_baseline}
            for record in measured:
                base = bases.get(model_of(record).architecture)
                if record.profile and record.profile.stages and (record is not base or len(rows) == 1):
                    yield stage_table(record, base, names)
            for record in rows:
                if record.profile and record.profile.ceilings:
                    yield roofline_table(record, record.profile, names)


def tabled(records: Sequence[Record]) -> dict[str, list[Record]]:
    """The records of one setting by the table that they stand in: of a backbone, or of several families in turns."""
    if len(families := dict.fromkeys(record.identity.model for record in records)) > 1 and CUSTOM in families:
        return {IN_TURNS: list(records)}
    return by_backbone(records)


def summary_table(setting: Setting, backbone: str, records: Sequence[Record], names: Names) -> Table:
    """One line for each model: latency, throughput, memory, energy, counted and realised savings.

    Args:
        backbone: or what else the table is of, see `tabled`.
    """
    profiles = [record.profile for record in records if record.profile]
    shown = [Column("a pass", contents, "profile")] if any(map(contains_else, profiles)) else []
    shown += [
        Column("median ms", columns.latency, "profile"),
        Column("", columns.latency_precision, "profile"),
        Column("p95 ms", lambda record: show_ms(record.profile.latency_p95_ms) if record.profile else "", "profile"),
        Column("images/s", number("throughput_ips", ".3g"), "profile"),
        Column("MiB", _or_dash(number("peak_memory_mib", ",.0f")), "profile"),
    ]
    if any(profile.energy_j is not None for profile in profiles):
        shown.append(Column("J/image", _or_dash(columns.ENERGY.cell), "profile"))
    shown.append(Column("FLOPs", lambda record: _counted(record.profile)[0], "profile"))
    if any(_differ(profile.counted_saving_pct) for profile in profiles):
        shown.append(Column("executed", lambda record: _counted(record.profile)[1], "profile"))
    shown.append(Column("time", columns.time_saved, "profile"))
    rows = (
        Row(names[record.digest], columns.cells(shown, [record], ["profile"]), strong=record.is_baseline)
        for record in records
    )
    batch = f", batch {setting.execution.batch_size}" if setting.execution else ""
    engine = (
        f", in {setting.execution.engine_words}" if setting.execution and setting.execution.inference_engine else ""
    )
    model = backbone if backbone == IN_TURNS else model_words(backbone, shared_model(records))
    title = f"{model} at {setting.where}{batch}{engine}"
    header = ("", *(column.title for column in shown))
    return Table(title, header, tuple(rows), spare=tuple(header.index(name) for name in SPARE))


def _or_dash(cell: Cell) -> Cell:
    """A cell that shows a dash where a profile lacks the number."""
    return lambda record: cell(record) or ("–" if record.profile else "")


def stage_table(record: Record, base: Record | None, names: Names) -> Table:
    """The time of each stage beside the baseline's, with counted and realised savings."""
    profile = record.profile
    assert profile is not None
    old = base.profile if base and base is not record else None
    with_executed = any(_differ(stage.counted_saving_pct) for stage in profile.stages.values())
    timed = (*(("baseline ms",) if old else ()), f"{names[record.digest]} ms")
    compared = ("FLOPs", *(("executed",) if with_executed else ()), "time") if old else ("share",)
    rows = []
    stages = stage_rows(record)
    last_inside = next((stage.name for stage in reversed(stages) if stage.indent), None)
    for stage in stages:
        new = _part(profile, stage.name)
        if new is None:
            continue
        before = _part(old, stage.name) if old else None
        cells = [*([show_ms(before.latency_median_ms) if before else "–"] if old else [])]
        cells.append(show_ms(new.latency_median_ms))
        if old:
            cells += _counted(new)[: 1 + with_executed]
            cells.append(columns.show_saving(new.realised_saving_pct) if before else "")
        else:
            cells.append(f"{100 * new.latency_median_ms / profile.latency_median_ms:.0f}%")
        rows.append(Row(stage.title, tuple(cells), stage.indent, stage.strong))
        if stage.name == TOKEN_LAYERS.name:
            rows += _layer_rows(record, base if old else None, len(compared))
        if stage.name == last_inside:
            tree = tree_of(record).values()
            between = [show_ms(max(0.0, time_between(one, tree))) for one in (old, profile) if one]
            rows.append(Row("between them", (*between, *[""] * len(compared)), 1))
    return Table(f"{name_of(record, names)}, each stage by itself", ("", *timed, *compared), tuple(rows))


class StageRow(NamedTuple):
    """A stage of a profile as a row; without a name it is the whole pass."""

    title: str
    name: str
    indent: int = 0
    strong: bool = False


def stage_rows(record: Record) -> list[StageRow]:
    """The stages of a record's profile in the order in which they run, with the titles of the model's parts.

    The upsampling stands inside the encoder, which runs it, though papers charge it to the head.
    """
    tree = tree_of(record)
    whole = StageRow("total", "", strong=True)
    rows = []
    for name in record.profile.stages if record.profile else ():
        if name == POSTPROCESSING:
            rows.append(whole)
        if part := tree.get(name):
            indent = 1 if name == FPN_UPSAMPLING.name else depth(name, tree)
            rows.append(StageRow(part.title, name, indent, part.quoted and not indent))
        elif not name.startswith(LAYER):
            rows.append(StageRow(STAGE_TITLES.get(name, name), name))
    return rows if whole in rows else [*rows, whole]


def tree_of(record: Record) -> dict[str, PartRow]:
    """The parts of a record's model by name."""
    return merged([record.cost.tree if record.cost else usual_tree()])


def roofline_table(record: Record, profile: Profile, names: Names) -> Table:
    """The rates that each stage achieves, against the most that the device can do."""
    ceilings = profile.ceilings
    assert ceilings is not None
    rows = []
    for label, name, indent, strong in stage_rows(record):
        stage = profile.stages.get(name)
        if stage is None or stage.achieved_gflops_per_s is None or stage.min_bandwidth_gb_per_s is None:
            continue
        cells = (
            f"{stage.achieved_gflops_per_s:,.1f}",
            f"{100 * stage.achieved_gflops_per_s / ceilings.matmul_gflops_per_s:.0f}%",
            f"{stage.min_bandwidth_gb_per_s:,.2f}",
            f"{100 * stage.min_bandwidth_gb_per_s / ceilings.copy_gb_per_s:.0f}%",
        )
        rows.append(Row(label, cells, indent, strong))
    most = f"{ceilings.matmul_gflops_per_s:,.0f} GFLOP/s, {ceilings.copy_gb_per_s:,.0f} GB/s"
    title = f"{name_of(record, names)}, against the device: {most}"
    return Table(title, ("", "GFLOP/s", "of that", "GB/s, at least", "of that"), tuple(rows))


def headlines(records: Sequence[Record], *, with_backbone: bool = False) -> list[str]:
    """One sentence for each schedule: its counted saving, and the time that it saves here.

    Args:
        records: they name their backbones where those differ.
        with_backbone: they name them in any case.
    """
    lines, names = [], row_names(records)
    settings = profiled(records)
    with_backbone = with_backbone or _on_several_backbones(records)
    for setting, group in settings.items():
        for record in group:
            profile = record.profile
            if profile is None or profile.counted_saving_pct is None or profile.counted_saving_pct.counted is None:
                continue
            how = setting.execution
            batch = f" at batch {how.batch_size}" if how and len(settings) > 1 else ""
            batch += f" in {how.engine_words}" if how and how.inference_engine else ""
            encoder = profile.stages.get("encoder")
            on_backbone = with_backbone and record.identity.model != CUSTOM
            where = f" on {backbone_name(record.identity.backbone)}" if on_backbone else ""
            saved = _savings(profile.counted_saving_pct, profile.realised_saving_pct)
            line = f"{names[record.digest]}{where}{batch}: {saved}"
            if encoder and encoder.counted_saving_pct:
                line += f"; encoder: {_savings(encoder.counted_saving_pct, encoder.realised_saving_pct)}"
            lines.append(f"{line}.")
    return lines


def _on_several_backbones(records: Sequence[Record]) -> bool:
    return len({record.identity.backbone for record in records}) > 1


def full_names(records: Sequence[Record]) -> dict[str, str]:
    """The names of records, with their backbones where those differ: `3,3,3 on Swin-T`; a model of somebody else's has
    none."""
    names = row_names(records)
    if not _on_several_backbones(records):
        return names
    own = [one for one in records if one.identity.model != CUSTOM]
    return names | {one.digest: f"{names[one.digest]} on {backbone_name(one.identity.backbone)}" for one in own}


def speedups(records: Sequence[Record]) -> list[str]:
    """The lines that people quote: `3,3,3 ran 1.28x [1.26, 1.31] as fast as baseline`."""
    names = full_names(records)
    lines = []
    for record in records:
        profile = record.profile
        if profile is None or profile.realised_saving_pct is None:
            continue
        value, low, high = profile.realised_saving_pct.speedup
        over = f", over {len(profile.rounds)} sessions" if len(profile.rounds) > 1 else ""
        verdict = profile.realised_saving_pct.verdict
        told = "" if verdict == "significant" else f": {verdict}"
        base = record.cost.baseline.schedule if record.cost and record.cost.baseline else "baseline"
        line = f"{name_of(record, names)} ran {value:.2f}x [{low:.2f}, {high:.2f}] as fast as {base}"
        lines.append(f"{line}{over}{told}")
    return [*lines, *_engine_speedups(records, names)]


def _engine_speedups(records: Sequence[Record], names: Names) -> Iterator[str]:
    """The same of exported files against the models in torch that took turns with them."""
    found = [(record, record.execution, record.profile) for record in records]
    in_torch = {
        (model_of(record), how.batch_size, profile.session): profile
        for record, how, profile in found
        if how and profile and how.inference_engine is None
    }
    for record, how, profile in found:
        if how is None or profile is None or how.inference_engine is None:
            continue
        other = in_torch.get((model_of(record), how.batch_size, profile.session))
        if other is None or other.rounds != profile.rounds:
            continue
        ratio = paired_ratio(
            in_sessions(profile.samples_ms, profile.rounds), in_sessions(other.samples_ms, other.rounds)
        )
        low, high = 1 / ratio.high, 1 / ratio.low
        told = "" if ratio.significant else ": not significant" if low <= 1 <= high else ": too few samples"
        yield f"{name_of(record, names)} ran {1 / ratio.value:.2f}x [{low:.2f}, {high:.2f}] as fast as in torch{told}"


def failures(records: Sequence[Record]) -> list[str]:
    names = full_names(records)
    return [f"{name_of(record, names)}: {record.error.message}" for record in records if record.error]


def footer(records: Sequence[Record]) -> list[str]:
    """The conditions of the measurement, and the meaning of the columns."""
    profiles = [record.profile for record in records if record.profile]
    ways = [record.execution.model_copy(update={"batch_size": 1}).words for record in records if record.execution]
    if not ways or not profiles:
        return []
    rounds = sorted({len(profile.samples_ms) for profile in profiles})
    shown = f"{rounds[0]} to {rounds[-1]}" if rounds[0] != rounds[-1] else f"{rounds[0]}"
    most = max(len(profile.rounds) for profile in profiles)
    sessions = f" in {most} sessions" if most > 1 else ""
    sums = sorted(profile.stage_sum_pct for profile in profiles if profile.stage_sum_pct is not None)
    lines = [
        "; ".join(dict.fromkeys(ways)).replace(", batch 1", "")
        + f" · {shown} rounds in turns with the baseline{sessions}, after warm-up",
        f"latency: {pass_words(profiles)}, median with its 95 % interval; FLOPs, time: savings "
        f"against the baseline; {columns.MARKS}",
        "MiB: peak memory of a pass, beyond weights and input",
        *([UNSEEN] if any(record.identity.model == CUSTOM for record in records) else []),
    ]
    if sums:
        up_to = f" to {sums[-1]:.0f} %" if round(sums[0]) != round(sums[-1]) else ""
        said = f"stages timed by themselves add up to {sums[0]:.0f} %{up_to} of the whole pass"
        lines.append(f"{said}; post-processing: resizing of masks, semantic map")
    if not any(profile.ceilings for profile in profiles):
        lines.append("--ceilings measures the most that the device can do, and shows each stage against it")
    return lines


def markdown(records: Sequence[Record]) -> str:
    """The document of `profile --export-markdown`: tables, sentences and footer."""
    lines = markdown_tables(tables(records))
    said = (*headlines(records), *speedups(records), *failures(records), *_cautions(records))
    lines += [f"- {markdown_text(line)}" for line in said]
    lines += ["", *(f"<sub>{markdown_text(line)}</sub>  " for line in footer(records))]
    return "\n".join(lines) + "\n"


def section(setting: Setting, records: Sequence[Record], text: Text) -> list[str]:
    """A setting's part of a report, as lines of Markdown.

    Args:
        setting: with an execution.
        records: all of it.
        text: makes words safe for Markdown.
    """
    lines = [f"## Measured: {text(setting.ran)}", ""]
    lines += [f"- {text(line)}" for line in headlines(records)]
    lines += ["", *(text(line) + "  " for line in footer(records)), ""] if lines[2:] else []
    lines += markdown_tables(tables(records), text)
    if cautions := _cautions(records):
        lines += ["### Cautions", "", *(f"- {text(line)}" for line in cautions), ""]
    return lines


def _cautions(records: Sequence[Record]) -> list[str]:
    """The reasons for which numbers may mislead, each once with all records that give it."""
    about: dict[str, list[str]] = {}
    names = full_names(records)
    for record in records:
        for caution in record.profile.warnings if record.profile else ():
            about.setdefault(f"{caution.message}; {caution.advice}", []).append(name_of(record, names))
    return [f"{' and '.join(ones)}: {said}" for said, ones in about.items()]


def name_of(record: Record, names: Names) -> str:
    """A model's name, its batch size, and the engine where it is not torch."""
    how = record.execution
    batch = f", batch {how.batch_size}" if how else ""
    engine = f", in {how.engine_words}" if how and how.inference_engine else ""
    return f"{names[record.digest]}{batch}{engine}"


def _part(profile: Profile | None, name: str) -> Profile | StageProfile | None:
    if profile is None or not name:
        return profile
    return profile.stages.get(name)


def _layer_rows(record: Record, base: Record | None, compared: int) -> list[Row]:
    """The token layers by the levels that they see, with the mean of their medians: `3 × 1.21`."""
    shown = [_layers(one) for one in (base, record) if one]
    seen = sorted({levels for table in shown for levels in table}, key=coarse_first)
    rows = []
    for levels in seen:
        cells = []
        for table in shown:
            times = table.get(levels, [])
            cells.append(f"{len(times)} × {show_ms(sum(times) / len(times))}" if times else "–")
        rows.append(Row(" + ".join(levels), (*cells, *[""] * compared), 2))
    return rows


def _layers(record: Record) -> dict[tuple[str, ...], list[float]]:
    """The medians of the token layers, by levels."""
    table: dict[tuple[str, ...], list[float]] = {}
    stages = record.profile.stages if record.profile else {}
    for index, layer in enumerate(record.cost.layers if record.cost else (), start=1):
        if stage := stages.get(f"{LAYER}{index}"):
            table.setdefault(layer.levels, []).append(stage.latency_median_ms)
    return table


def _counted(timed: Profile | StageProfile | None) -> tuple[str, str]:
    """The cells of the counted and of the executed saving."""
    saving = timed.counted_saving_pct if timed else None
    return (show_reduction(saving.counted), show_reduction(saving.executed)) if saving else ("", "")


def _differ(saving: CountedSaving | None) -> bool:
    return saving is not None and show_reduction(saving.counted) != show_reduction(saving.executed)


def _savings(counted: CountedSaving, realised: RealisedSaving | None) -> str:
    executed = f" ({show_reduction(counted.executed)} as executed)" if _differ(counted) else ""
    flops = f"{show_reduction(counted.counted)} FLOPs{executed}"
    if realised is None:
        return flops
    low, high = (-side for side in reversed(realised.interval))
    if realised.verdict == "not significant":
        return f"{flops}, time not significant [{low:+.1f}, {high:+.1f}]"
    few = "" if realised.significant else ", from too few samples"
    return f"{flops}, {show_change(realised.value)} time [{low:+.1f}, {high:+.1f}]{few}"
