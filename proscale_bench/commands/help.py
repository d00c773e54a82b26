"""How help is shown: without the names of types where they say nothing."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


class BenchCommand(TyperCommand):
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
