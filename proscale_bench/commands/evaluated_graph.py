"""Flags of `eval --graph`: an ONNX file of anybody's, whose outputs and images somebody says the meaning of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from proscale_bench.commands.any_model import EvaluatedModelOptions
from proscale_bench.commands.engines import engines_of_graphs
from proscale_bench.commands.options import MaybePath, MaybeStr, MaybeStrs, flag
from proscale_bench.config.choices import EngineName, ExportPrecision
from proscale_bench.config.graph_meaning import GraphMeaning, Normalization, Scores
from proscale_bench.errors import BenchError, one_of

if TYPE_CHECKING:
    from proscale_bench.bench.evaluate import EvaluationRequest
    from proscale_bench.bench.graph_weights import GraphWeights

GRAPH = "An ONNX file of somebody else's"
FORM = "as in --outputs logits=NAME --outputs masks=NAME, or boxes=NAME"
MAX_BYTES = 1 << 20  # of names


class EvaluatedGraphOptions(EvaluatedModelOptions):
    """Flags of an ONNX file that is no export of ours."""

    graph: MaybePath = flag("--graph FILE", "ONNX file to evaluate, whoever exported it.", GRAPH)
    outputs: MaybeStrs = flag(
        "--outputs KIND=NAME", "Name of the file's output that is logits, masks or boxes. Repeat for each.", GRAPH
    )
    normalize: MaybeStr = flag(
        "--normalize NAME", "Images as the file takes them: imagenet, unit (0 to 1) or none (0 to 255).", GRAPH
    )
    scores: MaybeStr = flag(
        "--scores NAME", "Classes beside boxes: softmax, whose last is no object, or sigmoid, each by itself.", GRAPH
    )
    class_names: MaybePath = flag(
        "--class-names FILE", "Names of its classes, one a line. [default: --classes-by order]", GRAPH
    )
    stretch: bool = flag("--stretch", "Stretch images to the file's one size; else they fit in and are padded.", GRAPH)

    def check(self) -> None:
        """Refuse also what leaves the meaning of a file open; see `DeviceOptions.check`."""
        super().check()
        for kind, word, what in ((Normalization, self.normalize, "normalization"), (Scores, self.scores, "scores")):
            if word is not None:
                one_of(kind, word, what)
        if self.graph is None:
            for name in ("outputs", "normalize", "scores", "class_names", "stretch"):
                if getattr(self, name):
                    raise BenchError(f"--{name.replace('_', '-')} is of a file that --graph names", "name one")
            return
        for name in ("model", "schedule", "weights", "exported", "quantize", "trust"):
            if getattr(self, name, None):
                raise BenchError(f"--{name} is of models, and --graph names a file", f"leave out --{name}")
        if self.graph.suffix != ".onnx" or not self.graph.is_file():
            raise BenchError(f"--graph {self.graph}: no .onnx file", "'models export' writes one, and so do others")
        engines_of_graphs(getattr(self, "engine", None) or ())
        self.meaning()

    def meaning(self) -> GraphMeaning:
        """The meaning of the file's input and outputs.

        Raises:
            BenchError: something of it is not said, or twice.
        """
        said = [one.partition("=")[::2] for one in self.outputs or ()]
        kinds = sorted(kind for kind, _ in said)
        if kinds not in (["logits", "masks"], ["boxes", "logits"]) or not all(name for _, name in said):
            raise BenchError("--graph: nothing says what its outputs are", FORM)
        if self.normalize is None:
            raise BenchError("--graph: nothing says how images are normalised", "--normalize imagenet, unit or none")
        if "boxes" in kinds and self.scores is None:
            raise BenchError("--graph: nothing says how its classes are scored", "--scores softmax or sigmoid")
        if "masks" in kinds and self.scores is not None:
            raise BenchError("--scores is of boxes: classes of masks are a softmax", "leave it out")
        if self.class_names is None and getattr(self, "classes_by", "name") != "order":
            hint = "--class-names FILE, or --classes-by order: they are the data's, in order"
            raise BenchError("--graph: nothing says what its classes are", hint)
        outputs = dict(sorted(said, key=lambda one: one[0] != "logits"))
        scores = None if self.scores is None else one_of(Scores, self.scores, "scores")
        how = one_of(Normalization, self.normalize, "normalization")
        return GraphMeaning(outputs, how, scores, self.stretch, self.named_classes())

    def named_classes(self) -> tuple[str, ...]:
        """The names of `--class-names`.

        Raises:
            BenchError: unreadable, or empty.
        """
        from proscale_bench.files import read_regular_file

        if self.class_names is None:
            return ()
        text = read_regular_file(self.class_names, MAX_BYTES).decode(errors="replace")
        names = tuple(line.strip() for line in text.splitlines() if line.strip())
        if not names:
            raise BenchError(f"{self.class_names}: no names", "one a line, in the order of the file's classes")
        return names

    def graphs(self, request: EvaluationRequest) -> Iterator[tuple[GraphWeights, EngineName, ExportPrecision]]:
        """The file in each engine."""
        from proscale_bench.bench.graph_weights import read_graph_weights

        if self.graph is None:
            return
        for engine in engines_of_graphs(getattr(self, "engine", None) or ()):
            threads = getattr(self, "threads", None) or 0
            yield read_graph_weights(self.graph, self.meaning(), engine, request, threads), engine, "fp32"
