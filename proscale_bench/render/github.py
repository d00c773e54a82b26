"""Annotations on the lines of a file, as GitHub Actions reads them off stdout.

Source: GitHub Docs, "Workflow commands for GitHub Actions", and how actions/toolkit escapes them.
"""

from __future__ import annotations

from collections.abc import Iterable

from proscale_bench.analysis.budgets import Finding
from proscale_bench.render.check import message, notes
from proscale_bench.units import printable


def workflow_commands(findings: Iterable[Finding]) -> str:
    """A line a limit that is not kept: `::error file=PATH,line=N,col=N,title=METRIC::message`."""
    return "".join(_annotation(finding) for finding in findings if finding.failed or finding.warned)


def _annotation(finding: Finding) -> str:
    limit = finding.limit
    properties = {"file": printable(limit.file), "line": limit.line, "col": limit.column, "title": limit.metric}
    shown = ",".join(f"{key}={escape_property(str(value))}" for key, value in properties.items())
    text = "\n".join([message(finding), *notes(finding)])
    return f"::{'error' if finding.failed else 'warning'} {shown}::{escape_data(text)}\n"


def escape_data(text: str) -> str:
    """What follows `::`."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """The value of a property, which ends at a comma or colon."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")
