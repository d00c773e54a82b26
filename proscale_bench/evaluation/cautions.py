"""Warnings about many files, gathered: one line a kind, not one an image."""

from __future__ import annotations


class Cautions:
    """What was found, by kind: how often, and the first."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, kind: str, example: str) -> None:
        count, first = self._found.get(kind, (0, example))
        self._found[kind] = (count + 1, first)

    def lines(self) -> tuple[str, ...]:
        """In the order in which the kinds were first met."""
        return tuple(f"{kind}: {count:,}, the first {first}" for kind, (count, first) in self._found.items())
