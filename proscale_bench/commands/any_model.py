"""The part of commands that serves `--model`: a model of somebody else's, built and run once to be counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proscale_bench.commands.options import ANY_MODEL, MaybeStr, MaybeStrs, Options, flag
from proscale_bench.errors import BenchError, one_of

if TYPE_CHECKING:
    from pathlib import Path

    from proscale_bench.bench.any_model import FoundModel
    from proscale_bench.bench.evaluate import EvaluationRequest
    from proscale_bench.bench.weights import Weights
    from proscale_bench.commands.flops import FlopsOptions
    from proscale_bench.commands.progress import Bar
    from proscale_bench.specs.custom import ModelRequest
    from proscale_bench.specs.model import ModelSpec

OF_OURS = ("schedule", "backbone", "weights", "classes", "queries", "width", "output_size", "verify", "as_executed")


class AnyModelOptions(Options):
    """Flags of models of somebody else's, which are built and traced."""

    model: MaybeStrs = flag(
        "--model MODEL",
        "Any model: deformable-detr (also +refine, +two-stage, +ffn:2048), which goes with the flags of ours; "
        "my_file.py:Net, package.module:factory, hf:CONFIG.json or torchvision:NAME. Executes the file or package. "
        "Repeat to compare several.",
        ANY_MODEL,
    )
    model_args: MaybeStrs = flag(
        "--model-args KEY=VALUE", "Argument of the model's constructor. Repeat for several.", ANY_MODEL
    )
    against: MaybeStr = flag("--against MODEL", "Model to hold the others against. [default: none]", ANY_MODEL)
    inputs: MaybeStr = flag(
        "--inputs FILE:NAME", "Function that makes the model's inputs, as in my_file.py:inputs.", ANY_MODEL
    )
    depth: MaybeStr = flag(
        "--depth N", "Levels of named children that are a row each, or an attribute with names. [default: 2]", ANY_MODEL
    )
    allow: MaybeStrs = flag("--allow OPERATOR=0", "Count an operator without a rule as nothing.", ANY_MODEL)

    def refuse_without_model(self) -> None:
        """Refuse flags that say something of `--model` where there is none.

        Raises:
            BenchError: one is given.
        """
        given = {name: getattr(self, name) for name in ("model_args", "against", "inputs", "depth", "allow")}
        for name in (name for name, value in given.items() if value):
            hint = "name one of somebody else's" if self.own_models else "name one"
            raise BenchError(f"--{name.replace('_', '-')} is of a model that --model names", hint)

    @property
    def own_models(self) -> tuple[str, ...]:
        """The models of ours that are named."""
        from proscale_bench.specs.families import is_own

        return tuple(name for name in self.model or () if is_own(name))

    @property
    def others(self) -> tuple[str, ...]:
        """The models of somebody else's that are named.

        Raises:
            BenchError: both are, which have no flag in common.
        """
        own = self.own_models
        found = tuple(name for name in self.model or () if name not in own)
        if own and found:
            hint = "models of ours are counted on paper, others are run: ask for them one after the other"
            raise BenchError(f"--model {own[0]} is of ours, and --model {found[0]} is not", hint)
        return found

    @property
    def passes(self) -> tuple[bool, bool]:
        """Whether training is counted, and memory followed: by `flops` alone."""
        return getattr(self, "training", False), getattr(self, "memory", False)

    def requests(self) -> list[ModelRequest]:
        """The models as they are named; nothing is loaded.

        Raises:
            BenchError: a flag is not of its form.
        """
        from proscale_bench.config.model_request import read_request

        how = (self.model_args or (), self.inputs, self.depth, self.allow or (), *self.passes)
        return [read_request(one, *how) for one in self.others]

    def base_request(self) -> ModelRequest | None:
        """The model that they are held against."""
        from proscale_bench.config.model_request import read_request

        if self.against is None:
            return None
        return read_request(self.against, (), self.inputs, self.depth, self.allow or (), *self.passes)


class EvaluatedModelOptions(Options):
    """Flags of a model of `transformers` whose weights are evaluated."""

    model: MaybeStr = flag(
        "--model MODEL",
        "Model of transformers that the weights are of: hf:CONFIG.json or hf:FOLDER. With --random-weights a family "
        "that is built here. [default there: mask2former]",
        ANY_MODEL,
    )
    model_args: MaybeStrs = flag(
        "--model-args KEY=VALUE", "Key of the model's configuration. Repeat for several.", ANY_MODEL
    )
    allow: MaybeStrs = flag("--allow OPERATOR=0", "Count an operator without a rule as nothing.", ANY_MODEL)
    postprocess: str = flag(
        "--postprocess NAME",
        "Post-processing: ours, or theirs, which is that of its image processor in transformers.",
        ANY_MODEL,
        default="ours",
    )

    @property
    def own_name(self) -> str:
        """The words that name a model of ours, which is untrained."""
        from proscale_bench.specs.families import MASK2FORMER, is_own

        return self.model if self.model is not None and is_own(self.model) else MASK2FORMER

    def model_request(self) -> ModelRequest | None:
        """The model as it is named, where it is none of ours; nothing is loaded.

        Raises:
            BenchError: a flag is not of its form, or says something of a model that none is named.
        """
        from proscale_bench.config.choices import PostProcessing
        from proscale_bench.config.model_request import read_request

        one_of(PostProcessing, self.postprocess, "post-processing")
        given = {"--model-args": self.model_args, "--allow": self.allow, "--postprocess": self.postprocess != "ours"}
        for name in (name for name, value in given.items() if value and self.model is None):
            raise BenchError(f"{name} is of a model that --model names", "name one")
        if self.model in (None, self.own_name):
            return None
        return read_request(self.model, self.model_args or (), None, None, self.allow or ())

    def check(self) -> None:
        """Refuse also what does not go with a model of transformers; see `DeviceOptions.check`."""
        super().check()  # type: ignore[misc] # the next class has it
        given = {name: getattr(self, name, None) for name in ("weights", "schedule", "engine", "random_weights")}
        if self.model == self.own_name and given["random_weights"] is None:
            message = f"--model {self.model}: a file of weights says itself which model of ours it holds"
            raise BenchError(message, "leave --model out, or try the pipeline with --random-weights 0")
        if self.model_request() is None:
            return
        if not given["weights"]:
            raise BenchError("--model says what weights are of, and none are given", "give --weights FILE")
        if given["schedule"] is not None:
            raise BenchError("--schedule is of this tool's own models, not of --model", "leave one of them out")
        if given["engine"] and set(given["engine"]) != {"torch"}:
            raise BenchError("--engine: a model of --model is not exported here", "leave out --engine")

    def other_weights(self, path: Path, request: EvaluationRequest) -> Weights | None:
        """The model of transformers filled with a file; None where `--model` names none. Loads torch."""
        from proscale_bench.bench.other_weights import read_other_weights
        from proscale_bench.config.choices import PostProcessing

        if (model := self.model_request()) is None:
            return None
        return read_other_weights(model, path, one_of(PostProcessing, self.postprocess, "post-processing"), request)


def found_models(
    options: AnyModelOptions, size: str | None, batch_size: int, bar: Bar, base: ModelSpec | None = None
) -> list[FoundModel]:
    """The models that are meant, each built and run once. Loads torch.

    Args:
        base: the model that they are held against where `--against` names none.

    Raises:
        BenchError: a model cannot be built or run, or an operator has no rule (exit code 3).
    """
    from dataclasses import replace

    from proscale_bench.bench.any_model import find_model

    against, found = base, []
    if (named := options.base_request()) is not None:
        bar.show(str(named), 0, None)
        against = replace(find_model(named, size, batch_size).spec, is_base=True)
    for request in options.requests():
        bar.show(str(request), 0, None)
        found.append(find_model(request, size, batch_size, against))
    return found


def refuse_ours(options: object, names: tuple[str, ...] = OF_OURS) -> None:
    """Refuse flags that say something of the tool's own models.

    Raises:
        BenchError: one is given.
    """
    for name in (name for name in names if getattr(options, name, None)):
        hint = "arguments of its constructor are --model-args KEY=VALUE"
        raise BenchError(f"--{name.replace('_', '-')} is of the models that --schedule names, not of --model", hint)


def flops_of_models(options: FlopsOptions) -> None:
    """Count models that `--model` names.

    Raises:
        BenchError: a flag is wrong, a model cannot be built or run, or an operator has no rule (exit code 3).
    """
    from proscale_bench.commands.exporting import print_lines, print_tables
    from proscale_bench.commands.progress import LINE_EVERY_S, progress_bar, uninterrupted
    from proscale_bench.cost.count import count_model
    from proscale_bench.cost.geometry import COCO_SIZES, parse_size
    from proscale_bench.cost.rules import Convention, get_rules
    from proscale_bench.render import flops as render
    from proscale_bench.render.console import note

    refuse_ours(options)
    exports, rules = options.exports(), get_rules(options.rules)
    convention = one_of(Convention, options.convention, "convention")
    options.requests()  # what is wrong with flags is said before torch is loaded
    if options.size is not None and options.size not in COCO_SIZES:
        parse_size(options.size)
    with progress_bar("loading torch", line_after_s=LINE_EVERY_S) as bar:
        with uninterrupted():
            import torch  # noqa: F401
        found = found_models(options, options.size, options.batch_size, bar)
        counts = [count_model(one.spec, one.size, rules, convention) for one in found]
    notes = [f"{one.spec}: {note}" for one in found for note in one.notes]
    for one in dict.fromkeys(notes):
        note(one)
    exports.write([count.row() for count in counts], lambda: render.markdown(counts, options.by.value))
    console = exports.console
    print_tables(console, render.tables(counts, options.by.value, console.width))
    print_lines(console, render.headlines(counts), style="")
    print_lines(console, render.footer(counts[0]))
