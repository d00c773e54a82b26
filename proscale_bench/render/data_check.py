"""The check of a data set in words: its contents in a few lines, then its problems by kind."""

from __future__ import annotations

from collections.abc import Iterator

from proscale_bench.results.data_check import DataCheck, DataFinding, Kind

EXAMPLES = 3


def facts(check: DataCheck) -> list[tuple[str, str]]:
    """The contents of the data set as pairs of (name, value)."""
    looked = "headers read" if check.quick else "every file read"
    where = f"in {check.image_dir}, {looked}" if check.image_dir else "listed"
    lines = [
        ("split", check.split),
        ("images", f"{check.images:,} {where}"),
        ("categories", f"{check.things + check.stuff:,}: {check.things:,} things, {check.stuff:,} stuff"),
    ]
    if check.maps is None or check.segments is None:
        lines.append(("panoptic", "none"))
    else:
        where = f" in {check.map_dir}" if check.map_dir else ""
        lines.append(("panoptic", f"{check.maps:,} maps{where}, {check.segments:,} segments"))
    if check.instances is None:
        lines.append(("instances", "none"))
    else:
        crowds = f", {check.crowds:,} of them crowds" if check.crowds else ""
        lines.append(("instances", f"{check.instances:,} in {check.images_with_instances:,} images{crowds}"))
    made = "made from the panoptic maps" if "semantic" in check.tasks else "none"
    lines += [
        ("semantic", f"class indices in {check.semantic_dir}" if check.semantic_dir else made),
        ("can be evaluated", ", ".join(check.tasks) if check.tasks else "nothing"),
    ]
    return lines


def heading(kind: Kind, found: list[DataFinding]) -> str:
    """The heading of a kind of problem: `error: image file is missing (12)`."""
    return f"{kind.severity}: {kind.title} ({len(found):,})"


def example_lines(found: list[DataFinding], everything: bool) -> Iterator[str]:
    """The first few findings of a kind, or all of them."""
    shown = found if everything or len(found) <= EXAMPLES + 1 else found[:EXAMPLES]
    yield from map(str, shown)
    if len(shown) < len(found):
        yield f"and {len(found) - len(shown):,} more"


def verdict(check: DataCheck) -> str:
    """The last line: the number of errors and warnings."""
    if not check.findings:
        return "nothing is wrong" + ("; no pixel was looked at" if check.quick else "")
    return f"{_count(check.errors, 'error')}, {_count(check.warnings, 'warning')}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}" if number else f"no {what}s"
