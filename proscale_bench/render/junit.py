"""Findings as JUnit XML: a test case a limit. A warning is a case that passed and says so on its `system-err`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from xml.etree import ElementTree

from proscale_bench.analysis.budgets import Finding
from proscale_bench.analysis.explain import Explanation
from proscale_bench.render.check import details, message, where
from proscale_bench.units import printable


def document(findings: Sequence[Finding], explained: Mapping[int, Explanation] = MappingProxyType({})) -> str:
    """The whole file; `explained` by the finding's index."""
    count = {"tests": len(findings), "failures": sum(one.failed for one in findings), "errors": 0, "skipped": 0}
    attributes = {"name": "proscale-bench check", **{key: str(value) for key, value in count.items()}}
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(suites, "testsuite", attributes)
    for index, finding in enumerate(findings):
        _case(suite, finding, explained.get(index))
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=False).join(
        ("<?xml version='1.0' encoding='UTF-8'?>\n", "\n")
    )


def _case(suite: ElementTree.Element, finding: Finding, found: Explanation | None) -> None:
    limit = finding.limit
    name = {"classname": printable(where(limit)), "name": f"{limit.metric}: {limit.bound}", "time": "0"}
    case = ElementTree.SubElement(suite, "testcase", name)
    if finding.failed:
        failure = ElementTree.SubElement(case, "failure", {"type": finding.status, "message": message(finding)})
        failure.text = "\n".join(details(finding, found))
    elif finding.warned:
        ElementTree.SubElement(case, "system-err").text = "\n".join(details(finding, found))
    else:
        ElementTree.SubElement(case, "system-out").text = message(finding)
