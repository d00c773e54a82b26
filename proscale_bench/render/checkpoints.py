"""A checkpoint in words: facts about the file, a table of what became of its tensors, and every tensor."""

from __future__ import annotations

from proscale_bench.render.models import backbone_dimensions, dashed, head_dimensions
from proscale_bench.render.table import Row, Table
from proscale_bench.results.inspection import PARTS, STATUSES, Entry, Inspection, WarmStart

HOW_KNOWN = {"given": "as given", "metadata": "from the file's metadata", "shapes": "read off the tensors"}
NAMED_LEFT_BEHIND = 6


def facts(inspection: Inspection) -> list[tuple[str, str]]:
    """The contents of the file as pairs of (name, value)."""
    lines = [("format", inspection.format), ("layout", inspection.layout)]
    if inspection.entry:
        lines.append(("weights under", inspection.entry))
    if inspection.left_behind:
        named = ", ".join(inspection.left_behind[:NAMED_LEFT_BEHIND])
        more = len(inspection.left_behind) - NAMED_LEFT_BEHIND
        lines.append(("beside them", f"{named}, and {more} more" if more > 0 else named))
    lines.append(("schedule", f"{inspection.schedule} ({HOW_KNOWN[inspection.schedule_from]})"))
    if inspection.backbone is None:
        lines += [
            ("backbone", "missing: the file holds a head alone"),
            ("channels res2 to res5", dashed(inspection.channels)),
        ]
    else:
        name = inspection.backbone_name
        lines += backbone_dimensions(inspection.backbone, f"{name}:" if name else "custom")
    lines += head_dimensions(inspection.head)
    lines += [
        ("parameters", f"{inspection.parameters:,}"),
        ("stored as", ", ".join(f"{number} tensors {dtype}" for dtype, number in inspection.dtypes.items())),
        *(("metadata", f"{key}: {_short(value)}") for key, value in inspection.metadata.items()),
        ("digest of the weights", inspection.digest),
    ]
    return lines


def account_table(inspection: Inspection) -> Table:
    """The number of tensors of each part, by status."""
    total = inspection.count()
    header = [status for status in reversed(STATUSES) if total[status] or status not in ("unused", "derived")]
    rows = []
    for part in PARTS:
        counts = inspection.count(part)
        if counts:
            rows.append(Row(part, tuple(str(counts[status] or "") for status in header)))
    rows.append(Row("all", tuple(str(total[status]) for status in header), strong=True))
    return Table("", ("tensors", *header), tuple(rows))


def entry_lines(entry: Entry, columns: int) -> list[str]:
    """A tensor on one line where there is room, else with the model's name for it on a second line."""
    what = f"{entry.status:10}  {entry.key}  {list(entry.shape)} {entry.dtype}"
    renamed = entry.model_key is not None and entry.model_key != entry.key
    ours = f"-> {entry.model_key}" if renamed else ""
    if entry.how:
        ours += f"{' ' if ours else ''}({entry.how})"
    if not ours:
        return [what]
    return [f"{what}  {ours}"] if len(what) + len(ours) + 2 <= columns else [what, f"{'':12}{ours}"]


def warm_start_lines(started: WarmStart) -> list[str]:
    """The tensors that the new model has from the baseline, and those that it has not."""
    lines = [
        f"taken    {len(started.taken)} tensors",
        f"sliced   {len(started.sliced)} tensors, to the levels a layer sees",
    ]
    if started.layers:
        mapping = ", ".join(f"{new} from {old}" for new, old in enumerate(started.layers))
        lines.append(f"layers   {mapping}")
    return lines + [f"left     {key}: {reason}" for key, reason in started.left.items()]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
