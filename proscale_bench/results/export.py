"""The documents behind `--export-json`, `--export-csv` and `--export-markdown`."""

from __future__ import annotations

import csv
import io
import json
import math
import platform
import re
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from proscale_bench.units import printable
from proscale_bench.version import __version__

SCHEMA_VERSION = 1
# Controls of C1, separators of lines, marks of direction and half characters, and what CI takes for a command, as in
# `printable`; JSON itself escapes the controls of C0.
UNSEEN = re.compile(
    "[\x7f-\xa0\xad\u061c\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ufff9-\ufffb\ud800-\udfff]|#(?=#(?:vso)?\\[)"
)
FORMULA = ("=", "+", "-", "@")  # what a formula begins with


def environment() -> dict[str, str]:
    """The environment that a number on paper depends on. Measurements add the machine (`measure/environment.py`)."""
    return {"python": platform.python_version(), "platform": platform.platform()}


def now() -> str:
    """The time in UTC, to the second, as in `2026-11-22T08:00:00Z`."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def envelope(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The envelope of every `--export-json`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tool_version": __version__,
        "created": now(),
        "environment": environment(),
        "results": list(results),
    }


def to_json(document: dict[str, Any]) -> str:
    """Strict JSON at full precision: NaN and infinity become null, and what a terminal obeys is escaped."""
    text = json.dumps(finite(document), indent=2, allow_nan=False, ensure_ascii=False)
    return UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """One line a row; nested keys are joined by dots, lists are left to the JSON.

    A name that a spreadsheet would take for a formula has an apostrophe before it. Source: OWASP, "CSV Injection".
    """
    flat = [{key: _no_formula(value) for key, value in flatten(row).items()} for row in rows]
    columns = list(dict.fromkeys(key for row in flat for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _no_formula(value: Any) -> Any:
    """A cell; names are in one line, as elsewhere, and numbers stay numbers."""
    if not isinstance(value, str):
        return value
    shown = printable(value)
    return f"'{shown}" if shown.startswith(FORMULA) else shown


def flatten(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        elif not isinstance(value, list):
            flat[prefix + key] = value
    return flat


def count_not_finite(value: Any) -> int:
    """The number of NaN and infinities, at any depth, that `to_json` turns to null."""
    if isinstance(value, dict):
        return sum(count_not_finite(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return sum(count_not_finite(item) for item in value)
    return isinstance(value, float) and not math.isfinite(value)


def finite(value: Any) -> Any:
    """The value with every NaN and infinity replaced by None, at any depth."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value
