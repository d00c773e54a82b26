"""Names of tensors, theirs and ours, read both ways.

A template names a family of keys: `layers.{s}.blocks.{b}.` is every key that begins so, `{2s+1}` is an odd number that
stands for s. A template that ends with `$` is one whole key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

_FIELD = re.compile(r"\{(\d*)([a-z])([+-]\d+)?\}")


@dataclass(frozen=True)
class Template:
    """A family of keys with numbers in them."""

    text: str

    @cached_property
    def _fields(self) -> list[tuple[int, str, int]]:
        """(factor, letter, offset) of each number."""
        return [(int(factor or 1), letter, int(offset or 0)) for factor, letter, offset in _FIELD.findall(self.text)]

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        literal = _FIELD.split(self.text.removesuffix("$"))[::4]  # what stands between the fields
        end = "$" if self.text.endswith("$") else ""
        return re.compile(r"(0|[1-9]\d{0,5})".join(map(re.escape, literal)) + end)

    def match(self, key: str) -> tuple[dict[str, int], str] | None:
        """The numbers in a key of this family and what follows them; None for other keys."""
        found = self._pattern.match(key)
        if not found:
            return None
        numbers: dict[str, int] = {}
        for value, (factor, letter, offset) in zip(map(int, found.groups()), self._fields, strict=True):
            number, rest = divmod(value - offset, factor)
            if rest or number < 0 or numbers.setdefault(letter, number) != number:
                return None
        return numbers, key[found.end() :]

    def fill(self, numbers: dict[str, int]) -> str:
        """The key with these numbers."""
        return _FIELD.sub(
            lambda field: str(int(field[1] or 1) * numbers[field[2]] + int(field[3] or 0)),
            self.text.removesuffix("$"),
        )


@dataclass(frozen=True)
class KeyRule:
    """A family of their keys and ours. `part` is the third of our rows that theirs is: query, key, value."""

    theirs: Template
    ours: Template
    part: int | None = None


def rule(theirs: str, ours: str, part: int | None = None) -> KeyRule:
    return KeyRule(Template(theirs), Template(ours), part)


@dataclass(frozen=True)
class KeyLayout:
    """The names that a code base gives the tensors of a model.

    Args:
        name: name of the layout.
        anchors: keys of which every checkpoint has one; what stands before it is a wrapper's prefix.
        rules: the first that fits wins, in either direction.
        encoder: a pattern of the keys that are the encoder's, whether they have a place or not.
        older: (pattern, replacement): other spellings, brought to the table's.
        unused: a pattern of keys that matter to training alone.
        turned: a detector's, whose levels run from fine to coarse: see `detector_layouts`.
    """

    name: str
    anchors: tuple[str, ...]
    rules: tuple[KeyRule, ...]
    encoder: str
    older: tuple[tuple[str, str], ...] = ()
    unused: str = r"(?!)"
    turned: bool = False

    def current(self, key: str) -> str:
        """A key in the table's spelling."""
        for pattern, replacement in self.older:
            key = re.sub(pattern, replacement, key)
        return key

    def to_ours(self, key: str) -> tuple[str, int | None] | None:
        """Our key, and which third of it; None where we have no place."""
        for one in self.rules:
            if found := one.theirs.match(key):
                numbers, rest = found
                return one.ours.fill(numbers) + rest, one.part
        return None

    def places(self, key: str, prefix: str) -> bool:
        """True if a key has a place under a wrapper's prefix."""
        return key.startswith(prefix) and self.to_ours(self.current(key.removeprefix(prefix))) is not None

    def to_theirs(self, key: str) -> list[str]:
        """The keys there of one of ours: one, or the three that ours joins; none where there is no such tensor."""
        parts: list[str] = []
        for one in self.rules:
            if found := one.ours.match(key):
                numbers, rest = found
                theirs = one.theirs.fill(numbers) + rest
                if one.part is None:
                    return parts or [theirs]
                parts.append(theirs)
        return parts

    def prefixes(self, keys: list[str]) -> list[str]:
        """The prefixes before the layout's keys in a file; empty if it is not of this layout."""
        for anchor in self.anchors:
            found = [key[: -len(anchor)] for key in keys if key.endswith(anchor)]
            if found := [prefix for prefix in found if not prefix or prefix.endswith(".")]:
                return found
        return []

    def is_unused(self, key: str) -> bool:
        return re.match(self.unused, key) is not None
