"""`proscale-bench recipes`: the trainings that ship, and one of them as a file to copy."""

from __future__ import annotations

import typer

from proscale_bench.commands import completion
from proscale_bench.commands.options import BenchCommand, BenchSubgroup

HELP = """The recipes that ship, which say how `train` learns; print one, to copy and change.

Example: proscale-bench recipes list
"""

app = typer.Typer(cls=BenchSubgroup, help=HELP, no_args_is_help=True)


@app.command("list", cls=BenchCommand)
def list_recipes() -> None:
    """List the recipes that ship: their data, backbone, length and purpose.

    Example: proscale-bench recipes list
    """
    from proscale_bench.config.choices import shipped
    from proscale_bench.config.recipe import read_recipe
    from proscale_bench.render.console import stdout_console
    from proscale_bench.render.table import rich_table
    from proscale_bench.render.training import recipes_table

    recipes = [read_recipe(path) for path in shipped("recipes").values()]
    stdout_console().print(rich_table(recipes_table(recipes), justify="left"))


@app.command("show", cls=BenchCommand)
def show(
    recipe: str = typer.Argument(
        metavar="RECIPE",
        help="Name of a recipe that ships, or a YAML file.",
        show_default=False,
        autocompletion=completion.recipes,
    ),
) -> None:
    """Print a recipe as its YAML file, to copy and change; a file of your own is checked first.

    Example: proscale-bench recipes show own-tiny
    """
    from proscale_bench.config.choices import find_shipped
    from proscale_bench.config.recipe import read_recipe
    from proscale_bench.units import printable

    path = find_shipped("recipes", recipe)
    read_recipe(path)
    for line in path.read_text("utf-8").splitlines():
        typer.echo(printable(line))
