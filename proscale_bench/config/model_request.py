"""Models of somebody else's as flags and files name them; nothing of them is loaded here."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from proscale_bench.config.yaml_file import StrictModel
from proscale_bench.errors import BenchError
from proscale_bench.specs.custom import Depth, ModelRequest
from proscale_bench.specs.families import nearest

GRAMMAR = (
    "as in deformable-detr, my_file.py:Net, package.module:factory, hf:CONFIG.json, torchvision:deeplabv3_resnet50"
)
Word = Annotated[str, Field(min_length=1, max_length=1000)]


def read_request(
    source: str,
    arguments: Sequence[str] = (),
    inputs: str | None = None,
    depth: str | None = None,
    allowed: Sequence[str] = (),
    training: bool = False,
    memory: bool = False,
) -> ModelRequest:
    """Read the flags of a model: `width=64` of its constructor, `aten.foo=0` that counts as nothing.

    Arguments of one model among several stand in its words, as results have them: `my_file.py:Net(width=64)`.

    Raises:
        BenchError: one that is not of its form; nothing is loaded for that.
    """
    if ":" not in source:
        raise BenchError(f"--model {source}: no model is named", nearest(source, GRAMMAR))
    pairs: dict[str, str] = {}
    source, own = _apart(source)
    for one in (*arguments, *own):
        key, is_pair, value = one.partition("=")
        if not is_pair or not key.strip():
            raise BenchError(f"--model-args {one}: no key and value", "as in --model-args width=64")
        if key.strip() in pairs:
            raise BenchError(f"--model-args {one}: {key.strip()} has a value already", "give each key once")
        pairs[key.strip()] = repr(_value(value.strip()))
    if inputs is not None and ".py:" not in inputs:
        raise BenchError(f"--inputs {inputs}: no function of a file", "as in --inputs my_file.py:make_inputs")
    found: Depth = 2 if depth is None else int(depth) if depth.isdecimal() else depth
    if found == 0 or (isinstance(found, str) and not found.isidentifier()):
        raise BenchError(f"--depth {depth}: neither a depth nor an attribute", "1 or more, or an attribute's name")
    names = []
    for one in allowed:
        name, _, amount = one.partition("=")
        if amount != "0" or not all(word.isidentifier() for word in name.split(".")) or name.count(".") != 1:
            raise BenchError(f"--allow {one}: not an operator that counts as 0", "as in --allow aten.foo=0")
        names.append(name)
    return ModelRequest(
        source, tuple(sorted(pairs.items())), inputs, found, tuple(sorted(set(names))), training, memory
    )


def _apart(words: str) -> tuple[str, list[str]]:
    """A model's words without their arguments, and these: `my_file.py:Net`, `width=64`."""
    source, _, inside = words.partition("(")
    if not (words.endswith(")") and "=" in inside):
        return words, []
    found, depth, quote = [""], 0, ""
    for letter in inside[:-1]:
        quote = ("" if quote == letter else quote) if quote else letter * (letter in "'\"")
        depth += 0 if quote else (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth and not quote:
            found.append("")
        else:
            found[-1] += letter
    return source, [one.strip() for one in found]


def _value(text: str) -> Any:
    """A value as Python spells it, else the text itself; `true`, `false` and `null` as in JSON."""
    if text in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[text]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


class AnyModelFields(StrictModel):
    """The model of somebody else's that a file names, whose own files are seen from the file's folder."""

    model: Word | None = None
    model_args: dict[Word, Any] = Field(default_factory=dict)
    inputs: Word | None = None
    depth: int | Word | None = None
    allow: list[Word] | None = None
    baseline: Word | None = None
    training: bool = False

    def request(self, folder: Path) -> ModelRequest:
        """The model as a flag would name it from here.

        Raises:
            BenchError: see `read_request`.
        """
        pairs = ((key, value if isinstance(value, str) else repr(value)) for key, value in self.model_args.items())
        arguments = [f"{key}={value}" for key, value in pairs]
        inputs = self.inputs and _seen_from(folder, self.inputs)
        depth = None if self.depth is None else str(self.depth)
        return read_request(
            _seen_from(folder, self.model or ""), arguments, inputs, depth, self.allow or (), self.training
        )

    def base_request(self, folder: Path) -> ModelRequest | None:
        """The model that it is held against, without arguments."""
        if self.baseline is None:
            return None
        return self.model_copy(update={"model": self.baseline, "model_args": {}}).request(folder)


def _seen_from(folder: Path, words: str) -> str:
    kind, _, rest = words.partition(":")
    if kind == "hf":
        return f"hf:{folder / rest}"
    return str(folder / words) if ".py:" in words else words
