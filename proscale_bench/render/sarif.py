"""Findings as SARIF 2.1.0 (OASIS, 2023): a result a limit that is not kept, a rule a metric."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from proscale_bench.analysis.budgets import Finding
from proscale_bench.analysis.explain import Explanation
from proscale_bench.render.check import message, notes
from proscale_bench.results.metrics import METRICS
from proscale_bench.version import __version__

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def document(findings: Sequence[Finding], explained: Mapping[int, Explanation] = MappingProxyType({})) -> str:
    """The whole file; `explained` by the finding's index."""
    broken = [(explained.get(index), one) for index, one in enumerate(findings) if one.failed or one.warned]
    rules = list(dict.fromkeys(finding.limit.metric for _, finding in broken))
    driver = {
        "name": "proscale-bench",
        "version": __version__,
        "rules": [{"id": rule, "shortDescription": {"text": f"budget of {METRICS[rule].title}"}} for rule in rules],
    }
    run = {"tool": {"driver": driver}, "results": [_result(finding, found, rules) for found, finding in broken]}
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _result(finding: Finding, found: Explanation | None, rules: Sequence[str]) -> dict[str, Any]:
    limit = finding.limit
    text = "\n".join([message(finding), *notes(finding, found)])
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
    """Relative where the path is, so that it is seen from the repository."""
    path = Path(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix().encode("utf-8", "surrogateescape"))
