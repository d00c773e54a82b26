"""Reading of flags and showing of help: old spellings are understood, types are left out where they say nothing."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

# Spellings that Typer cannot declare, and those of earlier versions, which no help shows.
SPELLINGS = {
    "--verify=all": "--verify-all",  # an option with an optional value
    "--rewrites": "--optimizations",
    "--no-rewrites": "--no-optimizations",
}


class BenchCommand(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [SPELLINGS.get(arg, arg) for arg in args])

    def get_params(self, ctx: Any) -> list[Any]:
        return untyped(super().get_params(ctx))


class BenchSubgroup(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return untyped(super().get_params(ctx))


def untyped(params: list[Any]) -> list[Any]:
    """Flags take no value and arguments are named by what they are; Typer may write `<bool>`, `<path>` beside them."""
    for param in params:
        if param.param_type_name == "argument":
            param.display_type_rich = lambda **_: None
        elif getattr(param, "is_flag", False):
            param.metavar = ""
    return params
