"""500 pieces of bad input, 100 of each kind: none ends in a traceback, a wrong exit code, or another file changed.

A case follows from its number alone: `-k "budgets-37"` runs it again. Others than the committed ones:
`PROSCALE_SOAK_FROM=1000 PROSCALE_SOAK_CASES=500 pytest tests/soak` runs the numbers 1000 to 1499 of each kind.

For every case holds: the exit code is one that the command may have; with exit 2 stderr has one error, which names the
file, and stdout no report; nothing of the input drives the terminal; every file that was there is there byte for byte,
but for what the command owns, and no other is. With exit 0 the input reads back as what it says.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from proscale_bench.config.budget import read_budgets
from proscale_bench.config.catalogue import parse_schedule
from proscale_bench.config.recipe import read_recipe
from proscale_bench.config.schedule_file import dump_schedule, read_schedule_file
from proscale_bench.config.zoo import read_zoo
from proscale_bench.results.record import Record
from proscale_bench.results.store import read_record
from proscale_bench.sweeps.plan import read_sweep
from proscale_bench.units import printable
from tests.cli import Result, run
from tests.soak import inputs
from tests.soak.mutations import damage, damage_json, damage_words, damage_yaml, surroundings
from tests.soak.values import FORGED

FROM = int(os.environ.get("PROSCALE_SOAK_FROM", "0"))
CASES = int(os.environ.get("PROSCALE_SOAK_CASES", "100"))
SHORTENED = 30  # characters that an error keeps of a long name
FORMS = ("text", "json", "github", "junit", "sarif")
NAMES = ("bad", "bad", "bad", "with space", "ünï😀", "\x1b[31mred", "[bold]x", "a'b\"c", *FORGED)


def cases(kind: str) -> pytest.MarkDecorator:
    numbers = range(FROM, FROM + CASES)
    return pytest.mark.parametrize("number", [pytest.param(number, id=f"{kind}-{number}") for number in numbers])


@dataclass
class Case:
    """One input in a folder of its own, which is the current one."""

    folder: Path
    chance: random.Random

    def name(self, suffix: str) -> str:
        return self.chance.choice(NAMES) + suffix

    def put(self, name: str, content: str | bytes) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
        return name

    def damaged_yaml(self, text: str) -> str | bytes:
        """In one of both ways, or in both."""
        if self.chance.random() < 0.6:
            text = damage_yaml(text, self.chance)
            if self.chance.random() < 0.8:
                return text
        return damage(text.encode("utf-8", "surrogatepass"), self.chance)

    def files(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }

    def run(
        self,
        *arguments: str,
        names: tuple[str, ...],
        exits: tuple[int, ...] = (0, 2),
        owns: tuple[str, ...] = (),
        shows: bool = False,
    ) -> Result:
        """Run, and hold what came of it to all that every command promises.

        Args:
            names: an error says one of them.
            owns: files and folders that the command may write with any exit but 2.
            shows: whether stdout may hold a report with exit 2.
        """
        before = self.files()
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            result = run(*arguments)
        context = f"{arguments}\nexit {result.exit_code}\n{result.stdout[-2000:]}\n{result.stderr[-2000:]}"
        assert result.exit_code in exits, context
        for stream in (result.stdout, result.stderr):
            assert _harmless(stream), context
        assert "Traceback" not in result.stdout + result.stderr, context
        errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        if result.exit_code in (2, 3):
            assert len(errors) == 1, context
            said = result.stderr.partition("error: ")[2]
            assert any(printable(name)[:SHORTENED] in said for name in names), context
            assert shows or all(line.startswith("::error ") for line in result.stdout.splitlines()), context
        else:
            assert not errors, context
        after = self.files()
        mine = tuple(owns) if result.exit_code in (0, 1) else ()
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        strangers = {name for name in changed if not any(name == own or name.startswith(f"{own}/") for own in mine)}
        assert not strangers, f"{strangers}\n{context}"
        return result


def _harmless(text: str) -> bool:
    """Nothing in it that a terminal would obey, or a job on GitHub, but for annotations of the tool's own."""
    commands = [
        line for line in text.splitlines() if line.lstrip().startswith("::") or "##[" in line or "##vso[" in line
    ]
    own = re.compile("::(error|warning) (file=.*,line=[0-9]+,col=[0-9]+,)?title=[a-z_ -]+::.*")
    return all(char.isprintable() or char == "\n" for char in text) and all(map(own.fullmatch, commands))


@pytest.fixture
def case(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    kind = request.node.callspec.id.rpartition("-")[0]
    number = request.node.callspec.params["number"]
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name, value in surroundings(random.Random(f"around {kind} {number}"), tmp_path).items():
        monkeypatch.setenv(name, value)
    yield Case(folder, random.Random(f"{kind} {number}"))
    assert not (folder / "executed").exists()


@cases("schedules")
def test_schedules(case: Case, number: int) -> None:
    if case.chance.random() < 0.25:
        word = damage(case.chance.choice(inputs.COMPACT).encode(), case.chance).decode("utf-8", "replace")[:2000]
        _show_schedule(case, word, named=word)
        return
    name = case.put(case.name(".yaml"), case.damaged_yaml(inputs.SCHEDULE))
    result = case.run("schedules", "validate", name, names=(name,))
    _show_schedule(case, name, named=name, valid=result.exit_code == 0)
    if result.exit_code == 0:
        schedule, description = read_schedule_file(Path(name))
        assert result.stdout == f"{printable(name)}: ok, {schedule.compact}\n"
        case.put("again.yaml", dump_schedule(schedule, schedule.name or "x", description))
        assert read_schedule_file(Path("again.yaml")) == (schedule, description)


def _show_schedule(case: Case, word: str, named: str, valid: bool | None = None) -> None:
    """All that reads a schedule agrees on whether it is one."""
    plain = named.strip() or "''"
    commands = (
        ("flops", f"--schedule={word}", "--size", "64x64"),
        ("schedules", "show", "--size", "64x64", "--", word),
        ("schedules", "show", "--yaml", "--", word),
    )
    results = [case.run(*command, names=(named, plain)) for command in commands]
    assert len({result.exit_code for result in results}) == 1
    if valid is not None:
        assert (results[0].exit_code == 0) == valid
    if results[0].exit_code == 0:
        case.put("shown.yaml", results[2].stdout)
        schedule = parse_schedule(word)
        assert parse_schedule("shown.yaml") == schedule == parse_schedule(schedule.compact)


@cases("words")
def test_words(case: Case, number: int) -> None:
    """Whatever stands on the command line is data: a usage error shows it, or help or a report is there."""
    case.put("budgets.yaml", inputs.BUDGETS.replace("mine.yaml", "1,1,1"))
    result = run(*damage_words(case.chance.choice(inputs.COMMAND_LINES), case.chance))
    shown = result.stdout + result.stderr
    assert result.exit_code in (0, 1, 2), result
    assert _harmless(shown), result
    assert "Traceback" not in shown
    assert result.exit_code == 0 or shown


@cases("budgets")
def test_budgets(case: Case, number: int) -> None:
    case.put("mine.yaml", inputs.SCHEDULE)
    for name, text in _run_of(inputs.records()[:3]).items():
        case.put(f"run/records/{name}.json", text)
    text = case.damaged_yaml(inputs.BUDGETS)
    name = case.put(case.name(".yaml"), text)
    ways = [("--format", FORMS[number % 5]), ("--format", FORMS[(number + 2) % 5]), ("--explain",)]
    codes = {
        case.run("check", name, "--records", "run", *way, names=(name,), exits=(0, 1, 2)).exit_code for way in ways
    }
    assert len(codes) == 1
    updated = case.run("check", name, "--records", "run", "--update", names=(name,), exits=(0, 1, 2), owns=(name,))
    assert (updated.exit_code == 2) == (codes == {2})
    if updated.exit_code != 2:
        assert read_budgets(Path(name))
        again = case.run("check", name, "--records", "run", "--update", names=(name,), exits=(0, 1))
        assert again.exit_code == updated.exit_code


def _run_of(texts: tuple[str, ...]) -> dict[str, str]:
    return {Record.model_validate_json(text).digest: text for text in texts}


@cases("records")
def test_records(case: Case, number: int) -> None:
    good = _run_of(inputs.records())
    victim = case.chance.choice(sorted(good))
    if case.chance.random() < 0.7:
        bad: str | bytes = damage_json(good[victim], case.chance)
    else:
        bad = damage(good[victim].encode(), case.chance)
    others = {} if case.chance.random() < 0.3 else {name: text for name, text in good.items() if name != victim}
    for name, text in others.items():
        case.put(f"run/records/{name}.json", text)
    called = case.chance.choice(FORGED) if case.chance.random() < 0.2 else _digest(bad) or victim
    path = case.put(f"run/records/{called}.json", bad)
    readable = _reads(Path(path))
    results = [
        case.run("compare", "run", "run", names=("run",), exits=(0, 2)),
        case.run(
            "check",
            case.put("budgets.yaml", inputs.BUDGETS.replace("mine.yaml", "1,1,1")),
            "--records",
            "run",
            names=("run",),
            exits=(0, 1, 2),
        ),
    ]
    if number % 25 == 0:
        results.append(case.run("report", "run", "--out", "out", names=("run",), owns=("out",)))
    for result in results:
        assert (result.exit_code == 2) == (not others and not readable), result
        assert readable or result.exit_code == 2 or f"{printable(f'run/records/{Path(path).name}')}: " in result.stderr


def _digest(raw: str | bytes) -> str | None:
    """Return the digest of a text that is a record all the same, or None."""
    try:
        return Record.model_validate_json(raw).digest
    except ValueError:
        return None


def _reads(path: Path) -> bool:
    from proscale_bench.errors import BenchError

    try:
        record = read_record(path)
    except BenchError:
        return False
    assert Record.model_validate_json(record.to_json()) == record
    return True


@cases("specs")
def test_specs(case: Case, number: int) -> None:
    case.put("mine.yaml", inputs.SCHEDULE)
    case.put("mine-recipe.yaml", inputs.RECIPE.replace("w.pth", "null"))
    kind = case.chance.choice(("sweep", "sweep", "measured", "recipe", "recipe", "zoo", "zoo"))
    text = {"sweep": inputs.SWEEP, "measured": inputs.MEASURED_SWEEP, "recipe": inputs.RECIPE, "zoo": inputs.ZOO}[kind]
    name = case.put(case.name(".yaml"), case.damaged_yaml(text))
    match kind:
        case "sweep" | "measured":
            _sweep(case, name)
        case "recipe":
            result = case.run(
                "train", "-r", name, "--start", "no such start", names=(name, "no such start"), exits=(2,)
            )
            if "no such start" in result.stderr:
                recipe = read_recipe(Path(name))
                assert len(recipe.digest) == 64
        case "zoo":
            result = case.run("zoo", name, "--list", "--out", "none", names=(name,))
            if result.exit_code == 0:
                zoo = read_zoo(Path(name))
                assert zoo.schedules
                assert zoo.members


def _sweep(case: Case, name: str) -> None:
    """A report that is there stops a sweep after all is read and before anything is counted."""
    case.put("w.safetensors", b"\0" * 64)
    case.put("data/annotations/panoptic_val.json", "{}")
    case.put("guarded/index.html", "of somebody else")
    guard = "guarded/index.html exists"
    result = case.run("sweep", name, "--out", "guarded", names=(name, guard), exits=(2,))
    if guard not in result.stderr:
        return
    spec = read_sweep(Path(name))
    assert spec.models
    file = spec.file.value
    few = sum(map(len, spec.models)) < 20
    if case.chance.random() < 0.15 and file.profile is None and file.evaluate is None and few:
        counted = case.run("sweep", name, "--out", "out", names=(name,), owns=("out",), exits=(0,))
        assert "report: out" in counted.stdout


@cases("checkpoints")
def test_checkpoints(case: Case, number: int) -> None:
    from proscale_bench.models.checkpoints.load import open_checkpoint
    from tests.soak.checkpoints import damaged

    suffix, raw = damaged(case.chance)
    name = case.put(case.name(suffix), raw)
    result = case.run("models", "inspect", name, *case.chance.choice(((), ("--brief",))), names=(name,), shows=True)
    out = f"out{case.chance.choice(('.safetensors', '.pth', '.pkl'))}"
    layout = case.chance.choice(("ours", "official"))
    if result.exit_code == 0:
        checkpoint = open_checkpoint(Path(name))
        assert all(tensor.float().isfinite().all() for tensor in checkpoint.translation.tensors.values())
    converted = case.run("models", "convert", name, out, "--layout", layout, names=(name, out), owns=(out,))
    assert result.exit_code == 0 or converted.exit_code == 2
    if converted.exit_code == 0:
        assert open_checkpoint(Path(out)).digest == checkpoint.digest
    if case.chance.random() < 0.5:
        started = case.run(
            "models", "warm-start", name, "start.safetensors", names=(name,), owns=("start.safetensors",)
        )
        assert result.exit_code == 0 or started.exit_code == 2
    if result.exit_code == 2 and case.chance.random() < 0.1:
        case.run("eval", "--weights", name, "--coco", "none", names=(name, "none"), exits=(2,))
