"""`proscale-bench check`: are the limits of a budget file kept?"""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from proscale_bench.commands.options import MaybePath, MaybePaths, flag
from proscale_bench.errors import BenchError, ExitCode
from proscale_bench.units import printable

if TYPE_CHECKING:
    from proscale_bench.analysis.base import Number
    from proscale_bench.analysis.budgets import Checker, Finding
    from proscale_bench.analysis.explain import Explanation
    from proscale_bench.config.limit import Limit, LimitedWeights
    from proscale_bench.cost.rules import Convention
    from proscale_bench.results.collect import SourcedRecord
    from proscale_bench.results.record import Record
    from proscale_bench.specs.custom import ModelRequest
    from proscale_bench.specs.model import ModelSpec

DEFAULT_RECORDS = Path("reports")
MAX_COMMENT = 1 << 20  # bytes
Explanations = dict[int, "Explanation"]  # by the finding's index


class Format(str, Enum):
    text = "text"
    json = "json"
    github = "github"
    junit = "junit"
    sarif = "sarif"


def check(
    files: list[Path] = typer.Argument(
        [Path("budgets.yaml")], metavar="FILE", help="Files of limits on metrics, or of schedules that they hold."
    ),
    records: MaybePaths = flag(
        "--records RUN", "Run that latencies and accuracies come from. Repeat for several. [default: all in reports]"
    ),
    form: Format = flag(
        "--format NAME", "Format of the report: text, json, github, junit or sarif.", default=Format.text
    ),
    update: bool = flag("--update", "Write the values found into the file as its limits, then check."),
    sarif: MaybePath = flag("--sarif PATH", "Write the findings as SARIF too, in place of an older file."),
    comment: MaybePath = flag("--comment PATH", "Write the findings as the comment of a pull request too."),
    base: MaybePath = flag(
        "--base PATH", "JSON that 'check --format json' wrote on the base branch; the comment shows what changed since."
    ),
    explain: bool = flag("--explain", "Say what changed since an exceeded limit was last kept."),
    convert: bool = flag("--convert", "Recount records of the other convention instead of refusing them."),
    fail_unstable: bool = flag("--fail-unstable", "Exit with 3 if a limit stands on a latency that cannot be trusted."),
) -> None:
    """Hold costs, latencies and accuracies to a budget; exit 1 where a limit is not kept.

    Example: proscale-bench check budgets.yaml --records reports/cpu
    """
    try:
        if sarif is not None:
            remove_sarif(sarif, files)
        if comment is not None:
            remove_comment(comment)
        numbers = base_numbers(base, comment)
        budgets = list(dict.fromkeys(path for file in files for path in budgets_of(file)))
        checker, findings, off = examine(budgets, records, update, convert)
        explained = explanations(checker, findings) if explain else {}
        if sarif is not None:
            write_sarif(sarif, findings, explained)
        if comment is not None:
            write_comment(comment, budgets, findings, off, explained, numbers)
        publish(form.value, findings, off, explained)
        problem = unstable(findings) if fail_unstable else None
        is_failed = any(finding.failed for finding in findings)
        if problem and not is_failed:
            raise problem
    except BenchError as error:
        if form is Format.github:
            from proscale_bench.render.check_formats import github_error

            sys.stdout.write(github_error(error))
        raise
    if is_failed:
        raise typer.Exit(ExitCode.EXCEEDED)


def budgets_of(file: Path) -> list[Path]:
    """The file itself, or where it holds a schedule, whose cost is to be held, the budget files above it.

    Raises:
        BenchError: the schedule is none.
    """
    from proscale_bench.config.schedule_file import read_schedule_file
    from proscale_bench.config.yaml_file import read_text
    from proscale_bench.render.console import note

    text = read_text(file)
    if not re.search(r"(?m)^(stages|encoder)\s*:", text) or re.search(r"(?m)^budgets\s*:", text):
        return [file]
    read_schedule_file(file)
    names = ("budgets.yaml", "budgets.yml")
    above = [folder / name for folder in file.parents for name in names if (folder / name).is_file()]
    if not above:
        note(f"{file}: no budget file is above it")
    return above


def examine(
    budgets: Sequence[Path], records: Sequence[Path] | None, update: bool, convert: bool = False
) -> tuple[Checker, Sequence[Finding], int]:
    """Hold everything to its limits: what was found, and the number of limits that are off.

    Raises:
        BenchError: a budget file, or what it names, cannot be read.
    """
    from proscale_bench.analysis.budgets import Checker
    from proscale_bench.config.budget import read_budgets

    gc.freeze()  # what is imported stays: looking through it again and again would take a tenth of the time
    paths = records or ([DEFAULT_RECORDS] if DEFAULT_RECORDS.is_dir() and any(DEFAULT_RECORDS.iterdir()) else [])
    checker = Checker(lambda: read_run(*paths), read_run, in_convention if convert else None)

    def found() -> tuple[list[Limit], list[Finding]]:
        limits = [limit for path in budgets for limit in read_budgets(path, read_weights, read_model, read_pass)]
        return limits, checker.check(limits)

    limits, findings = found()
    if update:
        for path in budgets:
            updated(path, [one for one in findings if one.limit.file == str(path)])
        limits, findings = found()
    return checker, findings, len(limits) - len(findings)


def in_convention(record: Record, convention: Convention) -> Record:
    """A record with its counts in a convention."""
    from proscale_bench.bench.convention import in_convention as counted_anew

    return counted_anew(record, convention)


def read_weights(path: Path) -> LimitedWeights:
    """The model of weights that a budget names; their header tells it, where they are of a kind that has one."""
    from proscale_bench.bench.specs import read_spec
    from proscale_bench.config.limit import LimitedWeights
    from proscale_bench.config.weights import read_header

    spec = read_spec(path)
    try:
        header = read_header(path)
    except BenchError:  # of another tool: the records of its weights are known by the name of the file
        return LimitedWeights(path, spec)
    return LimitedWeights(path, spec, header.digest, header.data)


def read_model(request: ModelRequest, size: str, baseline: ModelRequest | None) -> ModelSpec:
    """The model of somebody else's that a budget names: built and run once, by the code that it is of."""
    from dataclasses import replace

    from proscale_bench.bench.any_model import find_model
    from proscale_bench.render.console import note

    against = None if baseline is None else replace(find_model(baseline, size).spec, is_base=True)
    found = find_model(request, size, against=against)
    for one in found.notes:
        note(f"{request}: {one}")
    return found.spec


def read_pass(spec: ModelSpec, training: bool, memory: bool) -> ModelSpec:
    """A model of ours whose training or memory a budget limits: it is run once where it is counted."""
    from proscale_bench.bench.own_pass import traced_pass

    return traced_pass(spec, training=training, memory=memory)


def read_run(*paths: Path) -> Sequence[SourcedRecord]:
    """All records of runs; files that are none are named on stderr."""
    from proscale_bench.commands.exporting import warn_of_gaps
    from proscale_bench.results.collect import collect

    sourced, problems = collect(paths)
    warn_of_gaps(problems, (one.record for one in sourced))
    return sourced


def updated(path: Path, findings: Sequence[Finding]) -> None:
    """Write what was found over the absolute limits of a file.

    Raises:
        BenchError: the file would not be one of budgets any more; it is left as it was.
    """
    from proscale_bench.config.budget import BudgetFile
    from proscale_bench.config.budget_update import rewrite
    from proscale_bench.config.yaml_file import parse_yaml, read_text
    from proscale_bench.files import write_atomic
    from proscale_bench.render.console import note

    found = {one.limit.key: one.found for one in findings if one.found is not None and one.limit.against is None}
    text, done = rewrite(read_text(path), found)
    try:
        parse_yaml(text, str(path), BudgetFile)
    except BenchError as error:
        raise error.within("what was found cannot be written", "the file is as it was") from error
    for one in done:
        note(f"{path}:{one.line}: {one.key[-2]}: {one.key[-1]}: {one.old} is now {one.new}")
    if done:
        mark = "\ufeff" if path.read_bytes().startswith(b"\xef\xbb\xbf") else ""
        write_atomic(path, mark + text)


def explanations(checker: Checker, findings: Sequence[Finding]) -> Explanations:
    """Explain what changed since each exceeded limit was last kept."""
    from proscale_bench.analysis.explain import explain

    return {
        index: explain(finding, checker.history)
        for index, finding in enumerate(findings)
        if finding.status == "exceeded"
    }


def unstable(findings: Sequence[Finding]) -> BenchError | None:
    """Warn of every limit that stands on times that cannot be trusted; the error that they are to a gate."""
    from proscale_bench.render.check import where
    from proscale_bench.render.console import warn

    shaky = [finding for finding in findings if finding.unstable]
    for finding in shaky:
        limit = finding.limit
        records = ", ".join(dict.fromkeys(one.source for one in finding.unstable))
        for caution in finding.cautions:
            what = f"{limit.at}: {limit.metric} of {where(finding)} in {records} is unstable ({caution.kind})"
            warn(f"{what}: {caution.message}", caution.advice)
    if not shaky:
        return None
    kinds = sorted({caution.kind for finding in shaky for caution in finding.cautions})
    of = f"{len(shaky)} of {len(findings)} limits stand" if len(shaky) > 1 else f"1 of {len(findings)} limits stands"
    hint = "; ".join(dict.fromkeys(caution.advice for finding in shaky for caution in finding.cautions))
    return BenchError(f"{of} on latencies that cannot be trusted: {', '.join(kinds)}", hint, ExitCode.UNTRUSTED)


def publish(form: str, findings: Sequence[Finding], off: int, explained: Explanations) -> None:
    """Write the report: machines' formats to stdout alone."""
    from proscale_bench.render import check as render

    if form == "text":
        _print_text(findings, off, explained)
    elif form == "json":
        from proscale_bench.results.export import envelope, to_json

        rows = [render.row(one) for one in findings]
        for index, explanation in explained.items():
            rows[index]["explanation"] = render.explanation_row(explanation)
        sys.stdout.write(to_json(envelope(rows)))
    else:
        from proscale_bench.render.check_formats import github, junit, sarif

        write = {"github": github, "junit": junit, "sarif": sarif}[form]
        sys.stdout.write(write(findings, explained))
        if form == "github" and (page := os.environ.get("GITHUB_STEP_SUMMARY")):
            _append(page, f"### Budgets\n\n{render.summary(findings, off)}\n\n{render.markdown(findings)}\n")


def _append(page: str, text: str) -> None:
    """Add to the page of the job, without which the check is no less true."""
    from proscale_bench.render.console import warn

    try:
        # Where it is a pipe, a reader would be waited for.
        number = os.open(page, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o666)
        with os.fdopen(number, "wb") as file:
            file.write(text.encode())
    except OSError as error:
        warn(f"cannot write the job's summary {page}: {error.strerror or error}", "see $GITHUB_STEP_SUMMARY")


def write_sarif(path: Path, findings: Sequence[Finding], explained: Explanations) -> None:
    """Write the findings as SARIF beside the report.

    Raises:
        BenchError: the file cannot be written.
    """
    from proscale_bench.files import write_atomic
    from proscale_bench.render.check_formats import sarif

    write_atomic(path, sarif(findings, explained))


def remove_sarif(path: Path, files: Sequence[Path]) -> None:
    """Remove the file of an earlier run, which would pass for this one's where this one fails.

    Raises:
        BenchError: it is one of the files that are read, or cannot be removed.
    """
    if str(path) == "-" or path.resolve() in {file.resolve() for file in files}:
        raise BenchError(f"--sarif {path}: not a file to write to", "give another path; --format sarif has stdout")
    if path.is_file():
        path.unlink()


def base_numbers(base: Path | None, comment: Path | None) -> Mapping[Number, float] | None:
    """The numbers of the base, if there is one.

    Raises:
        BenchError: it cannot be read, or there is no comment that would show it.
    """
    if base is None:
        return None
    if comment is None:
        raise BenchError(f"--base {base}: no comment shows it", "say --comment PATH too")
    from proscale_bench.analysis.base import read_base

    return read_base(base)


def write_comment(
    path: Path,
    budgets: Sequence[Path],
    findings: Sequence[Finding],
    off: int,
    explained: Explanations,
    base: Mapping[Number, float] | None,
) -> None:
    """Write the comment of a pull request beside the report.

    Raises:
        BenchError: the file cannot be written.
    """
    from proscale_bench.analysis.base import hold_beside
    from proscale_bench.files import write_atomic
    from proscale_bench.render.comment import comment

    beside = None if base is None else hold_beside(findings, base)
    write_atomic(path, comment([str(one) for one in budgets], findings, off, explained, beside))


def remove_comment(path: Path) -> None:
    """Remove the comment of an earlier run, which would pass for this one's where this one fails.

    Raises:
        BenchError: there is another file, or it cannot be removed.
    """
    from proscale_bench.files import read_regular_file
    from proscale_bench.render.comment import MARKER

    if str(path) == "-":
        raise BenchError("--comment -: not a file to write to", "give the path of a file")
    if not path.exists():
        return
    if not read_regular_file(path, MAX_COMMENT).startswith(MARKER.encode()):
        raise BenchError(f"--comment {path}: there is a file that is no comment of a check", "give another path")
    try:
        path.unlink()
    except OSError as error:
        raise BenchError(f"--comment {path}: {error.strerror}", "check the permissions of its folder") from error


def _print_text(findings: Sequence[Finding], off: int, explained: Explanations) -> None:
    from proscale_bench.render import check as render

    shown = [render.lines(findings)]
    for index, finding in enumerate(findings):
        if finding.failed or finding.warned:
            shown.append(render.details(finding, explained.get(index)))
    paragraphs = ["\n".join(map(printable, lines)) for lines in [*shown, [render.summary(findings, off)]]]
    text = "\n\n".join(paragraphs)
    if not sys.stdout.isatty():
        sys.stdout.write(text + "\n")
        return
    from rich.text import Text

    from proscale_bench.render.console import stdout_console

    styled = Text(text)
    for pattern, style in render.STYLES.items():
        styled.highlight_regex(pattern, style)
    stdout_console().print(styled, soft_wrap=True)
