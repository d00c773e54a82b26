"""Annotations on the lines of a file, as GitHub Actions reads them off stdout.

Source: GitHub Docs, "Workflow commands for GitHub Actions", and how actions/toolkit escapes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from proscale_bench.analysis.budgets import Finding
from proscale_bench.analysis.explain import Explanation
from proscale_bench.render.check import message, notes
from proscale_bench.units import printable


def workflow_commands(findings: Sequence[Finding], explained: Mapping[int, Explanation] = MappingProxyType({})) -> str:
    """A line a limit that is not kept: `::error file=PATH,line=N,col=N,title=METRIC::message`.

    Args:
        explained: what changed since a limit was kept, by the finding's index.
    """
    broken = [(index, one) for index, one in enumerate(findings) if one.failed or one.warned]
    return "".join(_annotation(finding, explained.get(index)) for index, finding in broken)


def _annotation(finding: Finding, found: Explanation | None) -> str:
    limit = finding.limit
    properties = {"file": printable(limit.file), "line": limit.line, "col": limit.column, "title": limit.metric}
    shown = ",".join(f"{key}={escape_property(str(value))}" for key, value in properties.items())
    text = "\n".join([message(finding), *notes(finding, found)])
    return f"::{'error' if finding.failed else 'warning'} {shown}::{escape_data(text)}\n"


def escape_data(text: str) -> str:
    """What follows `::`."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """The value of a property, which ends at a comma or colon."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")
