"""Findings of budgets for machines: GitHub's annotations, JUnit XML and SARIF. Pure functions of findings.

Sources: GitHub Docs, "Workflow commands for GitHub Actions", and how actions/toolkit escapes them; SARIF 2.1.0 (OASIS,
2023).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from proscale_bench.analysis.budgets import Finding
from proscale_bench.analysis.explain import Explanation
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.render.check import details, message, notes, where
from proscale_bench.results.metrics import METRICS
from proscale_bench.units import printable
from proscale_bench.version import __version__

SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
PLACE = re.compile(r"(.+?):(\d+):(\d+): (.+)")  # file:line:column: fault
Explained = Mapping[int, Explanation]  # by the finding's index: what changed since a limit was kept
NOTHING: Explained = MappingProxyType({})


def github(findings: Sequence[Finding], explained: Explained = NOTHING) -> str:
    """One line for each limit that is not kept: `::error file=PATH,line=N,col=N,title=METRIC::message`.

    Args:
        explained: what changed since a limit was kept, by the finding's index.
    """
    broken = [(index, one) for index, one in enumerate(findings) if one.failed or one.warned]
    return "".join(_annotation(finding, explained.get(index)) for index, finding in broken)


def _annotation(finding: Finding, found: Explanation | None) -> str:
    limit = finding.limit
    place = {"file": from_root(limit.file), "line": limit.line, "col": limit.column, "title": limit.metric}
    return _command("error" if finding.failed else "warning", place, [message(finding), *notes(finding, found)])


def github_error(error: BenchError) -> str:
    """One line for each fault that stopped a check, at its place where it has one."""
    shown = ""
    level = "warning" if error.exit_code is ExitCode.UNTRUSTED else "error"
    for line in error.lines:
        at = PLACE.fullmatch(line)
        where = {"file": from_root(at[1]), "line": int(at[2]), "col": int(at[3])} if at else {}
        hint = [f"hint: {error.hint}"] if error.hint else []
        shown += _command(level, {**where, "title": "proscale-bench check"}, [at[4] if at else line, *hint])
    return shown


def _command(level: str, properties: Mapping[str, object], lines: Sequence[str]) -> str:
    """A workflow command, whose values are on one line and cannot begin another."""
    shown = ",".join(f"{key}={escape_property(printable(str(value)))}" for key, value in properties.items())
    return f"::{level} {shown}::{escape_data(chr(10).join(map(printable, lines)))}\n"


def from_root(file: str) -> str:
    """A file as seen from the root of its repository, where GitHub looks for it; elsewhere as it is.

    The root is the workspace of a job where that is a checkout, else the nearest folder above with `.git`.
    """
    try:
        path = Path(file).parent.resolve() / Path(file).name
        workspace = os.environ.get("GITHUB_WORKSPACE")
        roots = [Path(workspace).resolve()] if workspace else []
        checkouts = [root for root in (*roots, *path.parents) if os.path.exists(root / ".git")]  # noqa: PTH110 - which a folder that may not be seen does not stop
        root = next((root for root in (*checkouts, *roots) if path.is_relative_to(root)), None)
    except (OSError, RuntimeError, ValueError):  # links that lead to each other, a path that is none
        return file
    return path.relative_to(root).as_posix() if root else file


def escape_data(text: str) -> str:
    """The text after `::` with its special characters escaped."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """The value of a property, which would end at a comma or colon, with those escaped."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")


def junit(findings: Sequence[Finding], explained: Explained = NOTHING) -> str:
    """A JUnit XML document with a test case for each limit. A warning passes and says so on its `system-err`."""
    count = {"tests": len(findings), "failures": sum(one.failed for one in findings), "errors": 0, "skipped": 0}
    attributes = {"name": "proscale-bench check", **{key: str(value) for key, value in count.items()}}
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(suites, "testsuite", attributes)
    for index, finding in enumerate(findings):
        _case(suite, finding, explained.get(index))
    ElementTree.indent(suites)
    return f"<?xml version='1.0' encoding='UTF-8'?>\n{ElementTree.tostring(suites, encoding='unicode')}\n"


def _case(suite: ElementTree.Element, finding: Finding, found: Explanation | None) -> None:
    limit = finding.limit
    name = {"classname": printable(where(finding)), "name": f"{limit.metric}: {limit.bound}", "time": "0"}
    case = ElementTree.SubElement(suite, "testcase", name)
    if finding.failed:
        failure = ElementTree.SubElement(case, "failure", {"type": finding.status, "message": message(finding)})
        failure.text = "\n".join(map(printable, details(finding, found)))
    elif finding.warned:
        ElementTree.SubElement(case, "system-err").text = "\n".join(map(printable, details(finding, found)))
    else:
        ElementTree.SubElement(case, "system-out").text = message(finding)


def sarif(findings: Sequence[Finding], explained: Explained = NOTHING) -> str:
    """A SARIF document with a result for each limit that is not kept and a rule for each metric."""
    broken = [(explained.get(index), one) for index, one in enumerate(findings) if one.failed or one.warned]
    rules = list(dict.fromkeys(finding.limit.metric for _, finding in broken))
    driver = {
        "name": "proscale-bench",
        "version": __version__,
        "rules": [{"id": rule, "shortDescription": {"text": f"budget of {METRICS[rule].title}"}} for rule in rules],
    }
    run = {"tool": {"driver": driver}, "results": [_result(finding, found, rules) for found, finding in broken]}
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _result(finding: Finding, found: Explanation | None, rules: Sequence[str]) -> dict[str, Any]:
    limit = finding.limit
    text = "\n".join(map(printable, [message(finding), *notes(finding, found)]))
    region = {"startLine": limit.line, "startColumn": limit.column}
    properties = {"expected": finding.expected, "found": finding.found, "samples": list(finding.samples)}
    return {
        "ruleId": limit.metric,
        "ruleIndex": rules.index(limit.metric),
        "level": "error" if finding.failed else "warning",
        "message": {"text": text},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(limit.file)}, "region": region}}],
        "properties": {key: value for key, value in properties.items() if value is not None},
    }


def _uri(file: str) -> str:
    """The file's URI, relative to the repository, from which it is looked for."""
    path = Path(from_root(file))
    return path.as_uri() if path.is_absolute() else quote(path.as_posix().encode("utf-8", "surrogateescape"))
