"""The Typer app, and the one place where an error becomes an exit code."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import typer

from proscale_bench.commands import (
    check,
    compare,
    data,
    evaluate,
    flops,
    models,
    predict,
    profile,
    recipes,
    report,
    schedules,
    sweep,
    train,
    zoo,
)
from proscale_bench.commands.options import BenchCommand, BenchSubgroup, flag, plain_usage_errors
from proscale_bench.errors import BenchError, ExitCode, of_import
from proscale_bench.units import printable
from proscale_bench.version import __version__

HELP = """Measure what a segmentation encoder's schedule costs on paper, on the machine, and in accuracy.

Example: proscale-bench flops --schedule 3,3,3
"""


# Typer reads options with pydantic, which looks through all installed packages for plugins: 15 ms, and we use none.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

GLOBAL_FLAGS = {"--quiet", "-q", "--verbose", "-v", "--no-color"}


class BenchGroup(BenchSubgroup):
    """Every command runs inside this one catch. Global flags may stand before or after the command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        from proscale_bench.render.console import settings

        settings.no_color = "--no-color" in args  # in help and usage errors too, which come before the flags are read
        with plain_usage_errors():
            return super().parse_args(ctx, sorted(args, key=lambda arg: arg not in GLOBAL_FLAGS))

    def invoke(self, ctx: Any) -> Any:
        try:
            with plain_usage_errors():
                result = super().invoke(ctx)
            sys.stdout.flush()
        except BenchError as error:
            fail(error)
        except BrokenPipeError:  # as in `proscale-bench schedules list | head -1`
            let_go_of_stdout()
            raise typer.Exit(ExitCode.OK) from None
        except OSError as error:
            try:
                sys.stdout.flush()
            except OSError:
                let_go_of_stdout()
            fail(of_the_system(error))
        except ImportError as error:
            if (error.name or "").startswith("proscale_bench"):
                raise  # a fault of ours
            fail(of_import(error))
        except RuntimeError as error:
            if not str(error).startswith("Symlink loop"):  # as `Path.resolve` says it before Python 3.13
                raise
            fail(BenchError(str(error), "check the path"))
        except KeyboardInterrupt as interrupt:
            sys.stderr.write(f"\ninterrupted{printable(f': {interrupt}') if interrupt.args else ''}\n")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        return result


def of_the_system(error: OSError) -> BenchError:
    """The error of what the system refused: a full disk, a folder that cannot be written."""
    return BenchError(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")


def let_go_of_stdout() -> None:
    """Send nowhere what is still buffered, so that the interpreter's last flush is quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(error: BenchError) -> NoReturn:
    """Say what was wrong and what to do next; leave with the error's exit code."""
    from proscale_bench.render.console import show_error

    show_error(error)
    raise typer.Exit(error.exit_code) from None


app = typer.Typer(
    cls=BenchGroup,
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

COUNT, RUN, LOOK = "Count and compare", "Run many", "Look things up"
app.command("flops", cls=BenchCommand, rich_help_panel=COUNT)(flops.flops)
app.command("profile", cls=BenchCommand, rich_help_panel=COUNT)(profile.profile)
app.command("eval", cls=BenchCommand, rich_help_panel=COUNT)(evaluate.evaluate)
app.command("predict", cls=BenchCommand, rich_help_panel=RUN)(predict.predict)
app.command("check", cls=BenchCommand, rich_help_panel=COUNT)(check.check)
app.command("compare", cls=BenchCommand, rich_help_panel=COUNT)(compare.compare)
app.command("train", cls=BenchCommand, rich_help_panel=RUN)(train.train)
app.command("zoo", cls=BenchCommand, rich_help_panel=RUN)(zoo.zoo)
app.command("sweep", cls=BenchCommand, rich_help_panel=RUN)(sweep.sweep)
app.command("report", cls=BenchCommand, rich_help_panel=RUN)(report.report)
app.add_typer(data.app, name="data", rich_help_panel=LOOK)
app.add_typer(schedules.app, name="schedules", rich_help_panel=LOOK)
app.add_typer(models.app, name="models", rich_help_panel=LOOK)
app.add_typer(recipes.app, name="recipes", rich_help_panel=LOOK)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"proscale-bench {__version__}")
        raise typer.Exit


@app.callback()
def global_options(
    version: bool = flag("--version", "Show the version and stop.", default=False, callback=_version, is_eager=True),
    quiet: bool = flag("--quiet, -q", "Print only errors and reports.", default=False),
    verbose: bool = flag("--verbose, -v", "Say what is being done, and where an error arose.", default=False),
    no_color: bool = flag("--no-color", "Use no colour, as with NO_COLOR.", default=False),
) -> None:
    from proscale_bench.render.console import settings

    settings.quiet, settings.verbose, settings.no_color = quiet, verbose, no_color


def main() -> None:
    """The entry point. What goes wrong before a command begins, such as writing its help, is caught here."""
    prepare_streams()
    try:
        app(prog_name="proscale-bench")
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        sys.exit(ExitCode.INTERRUPTED)
    except OSError as error:
        let_go_of_stdout()
        sys.stderr.write(f"error: {of_the_system(error)}\n")
        sys.exit(ExitCode.USAGE)


class Lenient(io.FileIO):
    """A stream of this process that some errors do not stop: what cannot be written is lost, and nothing else is."""

    ignored: type[OSError] = BrokenPipeError

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except self.ignored:
            return len(memoryview(data).cast("B"))


def prepare_streams() -> None:
    """Have no stream end the command before its time.

    A closed stream becomes one that swallows. A reader of stdout that stops reading changes neither the work nor the
    exit code; nor does a stderr that takes nothing. A character that stdout cannot encode becomes a question mark.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - for the life of the process
        elif type(stream) is io.TextIOWrapper:
            raw = Lenient(stream.fileno(), "w", closefd=False)
            raw.ignored = BrokenPipeError if name == "stdout" else OSError
            lenient = io.TextIOWrapper(
                io.BufferedWriter(raw),
                stream.encoding,
                "replace" if name == "stdout" else stream.errors,
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )
            setattr(sys, name, lenient)
