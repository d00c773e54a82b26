"""Write docs/cli.md, a manual page, from the declarations of the commands: `make docs`.

It reads what the code declares, never what Typer renders, so the page is the same on every version, width and machine.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_origin

from typer.models import OptionInfo

from proscale_bench.cli import HELP, app, global_options
from proscale_bench.errors import ExitCode
from proscale_bench.files import write_atomic

PAGE = Path(__file__).with_name("cli.md")
NAME = "proscale-bench"
CLOSED = ("NAME", "METRIC", "BACKBONE")  # metavars of values from a table
BUILT_IN = (
    "| `--install-completion` | | Install completion for the current shell: bash, zsh or fish. |",
    "| `--show-completion` | | Show it instead. |",
    "| `--help, -h` | | Show a command's help; every command has it. |",
)

TAIL = """\
## Exit status
| code | |
|---|---|
| {OK} | all is well |
| {EXCEEDED} | a budget is exceeded, or a regression found |
| {USAGE} | bad usage, file or input |
| {UNTRUSTED} | the count or measurement cannot be trusted |
| {INTERRUPTED} | interrupted |

## Environment
| variable | |
|---|---|
| `NO_COLOR` | No colour, as `--no-color` has it. |
| `MPLBACKEND`, `SOURCE_DATE_EPOCH` | Left aside: figures are drawn without pyplot, and hold no date. |
| `TERMINAL_WIDTH` | Width of help, in characters; `COLUMNS` where it is not set, or no number. |
| `FORCE_COLOR` | Colour where there is no terminal too. |
| `COLUMNS` | The width of help, and of tables on a terminal, in place of the terminal's own. |
| `PROSCALE_BENCH_CACHE` | The folder of the cache. |
| `XDG_CACHE_HOME` | The folder that holds the cache, `proscale-bench`, where the former is not set. |
| `GITHUB_STEP_SUMMARY` | The file that `check --format github` adds a table to. |
| `GITHUB_WORKSPACE` | The repository, from whose root annotations and SARIF name files; else the nearest with `.git`. |
| `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `MASTER_ADDR`, `MASTER_PORT` | By torchrun: `eval` and `train` share work. |
| `RAY_AUTH_TOKEN` | What `sweep --ray` shows to the cluster. |
| `CXX` | The compiler of the sampling `embedding_bag_compiled`. |
| `HF_HUB_OFFLINE` | Set to 1 by `--model hf:...`, so that nothing is downloaded. |
| `TRANSFORMERS_VERBOSITY` | Set to `error` by `--model hf:...` where it is not set. |
| `PYTHONPATH` | Seen by the processes of a sweep too. |

## Files
| path | |
|---|---|
| `reports/NAME/` | A run: `records/*.json`, and what `report` renders. |
| `runs/NAME/` | A training: `training.safetensors`, `log.jsonl`, `training.json`, `model.safetensors`. |
| `budgets.yaml` | What `check` reads. |
| `~/.cache/proscale-bench/` | The cache: the embedded data, and what `profile --ceilings` measured. |

Schedules, recipes, sweeps and the weights of the embedded data come with the package.
"""


def page() -> str:
    summary, _, _ = HELP.partition("\n\n")
    panels: dict[str, list[tuple[str, str, Callable[..., Any]]]] = {}
    for panel, name, text, function in commands():
        panels.setdefault(panel, []).append((name, text, function))
    lines = ["<!-- Written by `make docs` from the commands: change those. -->", f"# {NAME}", "", "## Name"]
    lines += [f"{NAME}: {summary}", "", "## Synopsis", "```text", f"{NAME} [OPTIONS] COMMAND [ARGUMENTS]", "```", ""]
    lines += ["## Description", "Every flag of every command, as `--help` has them. What they mean together, files and"]
    lines += [
        "JSON keys are in [CLI.md](../CLI.md), the contract.",
        "",
        *example(HELP),
        "| command | does |",
        "|---|---|",
    ]
    for panel, listed in panels.items():
        lines.append(f"| **{panel}** | |")
        lines += [f"| [`{name}`](#{name.replace(' ', '-')}) | {prose(text)[0]} |" for name, text, _ in listed]
    lines += ["", "## Options", "", *tables(global_options)[:-1], *BUILT_IN, ""]
    for panel, listed in panels.items():
        lines += [f"## {panel}", ""]
        for name, text, function in listed:
            words = " ".join([NAME, name, "[OPTIONS]", *(word for word, _, _ in arguments(function))])
            lines += [f"### `{name}`", "```text", words, "```", "", *"\n\n".join(prose(text)).split("\n"), ""]
            lines += [*example(text), *tables(function)]
    return "\n".join(lines) + "\n" + TAIL.format(**{code.name: int(code) for code in ExitCode})


def commands() -> Iterator[tuple[str, str, str, Callable[..., Any]]]:
    """The panel, name, text and function of every command, in the order of `--help`."""
    for command in app.registered_commands:
        assert command.callback
        yield str(command.rich_help_panel), str(command.name), inspect.getdoc(command.callback) or "", command.callback
    for group in app.registered_groups:
        assert group.typer_instance
        for command in group.typer_instance.registered_commands:
            assert command.callback
            text = inspect.getdoc(command.callback) or ""
            yield str(group.rich_help_panel), f"{group.name} {command.name}", text, command.callback


def prose(text: str) -> list[str]:
    """The paragraphs of a help text but for the example."""
    return [part.replace("\n", " ").strip() for part in text.split("\n\n") if not part.startswith("Example: ")]


def example(text: str) -> list[str]:
    (found,) = re.findall(r"^Example: (.+)$", text, re.MULTILINE)
    return ["```sh", found, "```", ""]


def declared(function: Callable[..., Any]) -> Iterator[tuple[Any, Any, Any]]:
    """The type, declaration and default of every parameter that is shown."""
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        info = parameter.default
        if not info.hidden:
            yield parameter.annotation, info, inspect.Parameter.empty if info.default is ... else info.default


def written(info: OptionInfo) -> list[str]:
    """The spellings of an option."""
    return [word for word in info.param_decls or () if isinstance(word, str)]


def arguments(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    found = []
    for kind, info, default in declared(function):
        if not isinstance(info, OptionInfo):
            word = info.metavar + ("..." if get_origin(kind) is list else "")
            found.append((word if default is inspect.Parameter.empty else f"[{word}]", info, default))
    return found


def tables(function: Callable[..., Any]) -> list[str]:
    """A table a panel: what is written, its default, what it does."""
    rows: dict[str, list[str]] = {"Arguments": [], "Options": []}
    for word, info, default in arguments(function):
        rows["Arguments"].append(row(f"`{word}`", info, default))
    for kind, info, default in declared(function):
        if isinstance(info, OptionInfo):
            takes = "" if kind is bool else f" {info.metavar}" + (" ..." if "list[" in str(kind) else "")
            names = f"`{', '.join(written(info)).replace('/', ' / ')}{takes}`"
            rows.setdefault(info.rich_help_panel or "Options", []).append(row(names, info, default, choices(kind)))
    lines = []
    for panel, found in rows.items():
        if found:
            lines += [f"| {panel} | default | |", "|---|---|---|", *found, ""]
    return lines


def choices(kind: Any) -> list[str]:
    return [str(one.value) for one in kind] if isinstance(kind, type) and issubclass(kind, Enum) else []


def row(names: str, info: Any, default: Any, values: list[str] | None = None) -> str:
    told, _, given = (info.help or "").replace("\\[", "[").partition("[default: ")
    told = told.strip()
    if info.autocompletion and info.metavar in CLOSED and not inspect.signature(info.autocompletion).parameters:
        values = info.autocompletion()
    if any(value not in told for value in values or ()):
        told += f" One of {', '.join(values or ())}."
    if info.min is not None or info.max is not None:
        told += f" From {info.min}" + (f" to {info.max}." if info.max is not None else ".")
    shown = given.rstrip("]") or shown_default(info, default)
    return f"| {names} | {f'`{shown}`' if shown and not given else shown} | {told} |".replace("|  |", "| |")


def shown_default(info: Any, default: Any) -> str:
    if default is inspect.Parameter.empty or default is None or default is False:
        return ""
    if default is True:
        return written(info)[0].partition("/")[0]
    if isinstance(default, list):
        return ", ".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(getattr(default, "value", default))


if __name__ == "__main__":
    if PAGE.is_file() and PAGE.read_text("utf-8") == page():
        print(f"{PAGE.name} is as the commands are")
    else:
        write_atomic(PAGE, page())
        print(f"{PAGE.name} is written")
