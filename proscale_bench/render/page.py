"""A run's report as one HTML file that needs nothing else: no network, no server. A pure function of records.

The page is `assets/page.html` with style, script and values put in. Values are a JSON island in which no character can
end it; the script sets all text as text. A content security policy names the page's own style and script by their
digests and forbids all else: nothing in a name can run, and nothing can be fetched.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from importlib import resources
from string import Template
from typing import Any

from proscale_bench.analysis.settings import HEADLINE_SCHEDULE, by_setting, main_setting, profiled
from proscale_bench.render.figure import DEFAULT_X, DEFAULT_Y
from proscale_bench.render.page_data import document
from proscale_bench.render.parts import BETWEEN, DARK, bar_parts
from proscale_bench.render.profile import headlines as profile_headlines
from proscale_bench.render.provenance import commands, counting, headlines, origin
from proscale_bench.render.style import COLORS, DARK_COLORS, FAINT
from proscale_bench.results.record import Record
from proscale_bench.version import __version__

TITLE = "Cost, latency and accuracy of encoder schedules"
SCRIPTS = ("dom.js", "points.js", "labels.js", "plot.js", "details.js", "bars.js", "table.js", "page.js")
MOST_LEADS = 2
MINUS = re.compile(r"(?<![\w.])-(?=\d)")
POLICY = (
    "default-src 'none'; style-src {style}; script-src {script}; img-src data:; base-uri 'none'; form-action 'none'"
)
# In JSON these stand for themselves; in HTML the first three could end the island.
ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def page(
    records: Sequence[Record], reproduce: Sequence[str] = (), x: Sequence[str] = DEFAULT_X, y: str = DEFAULT_Y
) -> str:
    """The page of a run as HTML.

    Args:
        records: at least one, in any order.
        reproduce: the commands that made them; `flops` and `profile` commands that find the same where there are none.
        x: metrics; the first stands on the x axis when the page is opened.
        y: the metric on its y axis.
    """
    ordered = [record for group in by_setting(records).values() for record in group]
    style = _asset("page.css") + _colors([*(part.color for part in bar_parts(ordered)), BETWEEN[1]])
    script = "'use strict';\n" + "".join(map(_asset, SCRIPTS))
    return Template(_asset("page.html")).substitute(
        title=html.escape(TITLE),
        version=html.escape(__version__),
        kicker=html.escape(_kicker(ordered)),
        leads=_leads(ordered),
        origin=_origin(ordered, reproduce),
        policy=POLICY.format(style=_source(style), script=_source(script)),
        style=style,
        script=script,
        data=island(document(ordered, x, y).plain()),
    )


def island(values: Any) -> str:
    """JSON that may stand inside a `script` element."""
    text = json.dumps(values, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for character, escape in ESCAPES.items():
        text = text.replace(character, escape)
    return text


def _asset(name: str) -> str:
    return (resources.files("proscale_bench.render") / "assets" / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """The name of an element of this text in the content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _colors(parts: Sequence[str]) -> str:
    """The colours of backbones and parts as CSS variables, and brighter ones for dark paper."""
    light = {f"--{name}": color for name, color in {**COLORS, "other": FAINT}.items()}
    light |= {f"--part-{index}": color for index, color in enumerate(parts)}
    dark = {f"--{name}": color for name, color in DARK_COLORS.items()}
    dark |= {f"--part-{index}": DARK[color] for index, color in enumerate(parts) if color in DARK}

    def block(selector: str, colors: dict[str, str]) -> str:
        return f"{selector} {{ {' '.join(f'{name}: {color};' for name, color in colors.items())} }}\n"

    return block(":root", light) + f"@media screen {{ {block(':root[data-theme=dark]', dark)}}}\n"


def _kicker(records: Sequence[Record]) -> str:
    backbones = {record.identity.backbone for record in records}
    schedules = {record.identity.schedule for record in records}
    days = sorted({record.provenance.created[:10] for record in records})
    when = f"{days[0]}{f' to {days[-1]}' if days[1:] else ''}"
    what = f"{_count(len(schedules), 'schedule')} on {_count(len(backbones), 'backbone')}"
    return f"{what} · {_count(len(records), 'record')} · {when}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' if number != 1 else ''}"


def _leads(records: Sequence[Record]) -> str:
    """The page's first sentences: what the paper's schedule saves on paper, and on the device."""
    shown = main_setting(records)
    found = headlines(by_setting(records)[shown])[:MOST_LEADS] if shown else []
    for setting, group in list(profiled(records).items())[:1]:
        device = setting.execution.device_name if setting.execution else ""
        begins = (f"{HEADLINE_SCHEDULE}:", f"{HEADLINE_SCHEDULE} ")
        timed = [line for line in profile_headlines(group, with_backbone=True) if line.startswith(begins)]
        found += [f"Timed on {device}: {MINUS.sub('−', line)}" for line in timed[:1]]
    return "\n".join(f'<p class="lead">{html.escape(line)}</p>' for line in found)


def _origin(records: Sequence[Record], reproduce: Sequence[str]) -> str:
    script = "\n".join(reproduce or commands(records))
    return "\n".join(
        [
            _list(origin(records)),
            "<h3>What is counted</h3>",
            _list(counting(records)),
            "<h3>How to reproduce these numbers</h3>",
            f'<pre tabindex="0">{html.escape(script)}</pre>',
        ]
    )


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"
