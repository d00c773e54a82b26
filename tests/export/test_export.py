"""An exported file is the same model: outputs, FLOPs, and what it says of itself; and one that is not is named."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from proscale_bench.errors import BenchError
from proscale_bench.export.engines import ExportedModel, OnnxRuntime, load_exported
from proscale_bench.export.export import Exported, export_model
from proscale_bench.export.module import ImagesToPredictions, prepared
from proscale_bench.export.proof import Proof, proof_images, prove
from proscale_bench.export.settings import ExportSettings
from proscale_bench.models.sampling.embedding_bag import has_compiler
from proscale_bench.specs.mask2former import Mask2FormerSpec
from tests.export.models import small_model, small_spec

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
torch.set_num_threads(1)
SIZE = (70, 101)  # padded inside


@dataclass(frozen=True)
class Case:
    """A model, the file that it was exported to, and the model again."""

    spec: Mask2FormerSpec
    exported: Exported
    module: ImagesToPredictions

    @property
    def graph(self) -> onnx.ModelProto:
        return onnx.load(self.exported.path)

    def prove(self, graph: onnx.ModelProto, tmp_path: Path, images: int = 2) -> Proof:
        """The proof of a changed graph."""
        path = tmp_path / "changed.onnx"
        path.write_bytes(graph.SerializeToString())
        batches = proof_images(SIZE, 2, images, floating=False)
        return prove(self.module, self.spec, load_exported(path, threads=1), graph, batches)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    spec, settings = small_spec(), ExportSettings(SIZE, batch_size=2)
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    exported = export_model(small_model(spec), spec, path, settings, told={"weights": "0" * 64}, images=3)
    return Case(spec, exported, prepared(small_model(spec), settings))


def test_the_file_is_the_model(case: Case) -> None:
    found = case.exported
    assert found.proof.holds
    assert found.proof.largest_difference <= 1e-4
    assert found.proof.equal_maps == found.proof.images == 6  # three drawn ones make two batches, and two of noise
    assert found.graph_difference == {}  # its nodes are what the closed form says that inference executes
    assert found.row()["graph_gflops"] == pytest.approx(found.row()["executed_gflops"], rel=1e-12)


def test_the_file_has_the_standard_domain_alone_and_no_path_of_this_machine(case: Case) -> None:
    graph = case.graph
    assert [one.domain for one in graph.opset_import] == [""]
    assert graph.opset_import[0].version >= 20
    assert not graph.functions
    assert str(Path(__file__).parents[2]).encode() not in graph.SerializeToString()
    onnx.checker.check_model(graph)


def test_the_file_says_what_it_is_and_what_it_takes(case: Case) -> None:
    loaded = load_exported(case.exported.path, threads=1)
    assert (loaded.told["schedule"], loaded.told["weights"], loaded.size) == ("1,1,1", "0" * 64, SIZE)
    assert loaded.told["head"]["queries"] == 7
    logits, masks = loaded.run(np.zeros((2, 3, *SIZE), np.uint8))
    assert (logits.shape, masks.shape) == ((2, 7, 6), (2, 7, 24, 32))
    for shape in ((1, 3, *SIZE), (2, 3, 64, 64), (2, 4, *SIZE)):
        with pytest.raises(BenchError, match="it takes"):
            loaded.run(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    ("tensor", "part"),
    [
        ("model.encoder.projections.2.0.weight", "projection"),
        ("model.encoder.layers.1.attention.sampling_offsets.bias", "layer 2"),
        ("model.encoder.lateral.0.weight", "pixel embedding"),
        ("model.decoder.class_head.bias", "transformer decoder"),
    ],
)
def test_a_wrong_file_is_found_with_the_first_part_that_differs(
    case: Case, tensor: str, part: str, tmp_path: Path
) -> None:
    graph = case.graph
    (found,) = [one for one in graph.graph.initializer if one.name == tensor]
    changed = onnx.numpy_helper.to_array(found) + np.float32(0.01)
    found.CopyFrom(onnx.numpy_helper.from_array(changed, tensor))
    proof = case.prove(graph, tmp_path)
    assert not proof.holds
    assert part in str(proof.differs_first)


def test_a_mask_that_flips_at_zero_is_told_from_an_error(case: Case, tmp_path: Path) -> None:
    """Logits of masks that all differ by less than the tolerance, so that some of the masks of attention differ."""
    graph = case.graph
    (bias,) = [one for one in graph.graph.initializer if one.name == "model.decoder.mask_head.4.bias"]
    weights = onnx.numpy_helper.to_array(bias)

    def proof_of(change: float) -> Proof:
        bias.CopyFrom(onnx.numpy_helper.from_array(weights + np.float32(change), bias.name))
        return case.prove(graph, tmp_path, images=12)

    small = proof_of(1e-6)
    assert (small.holds, small.flipped_images) == (True, 0)
    almost = proof_of(1e-6 * 0.7 * small.tolerance / small.largest_difference)
    assert almost.flipped_images
    assert almost.largest_explained_difference > almost.tolerance
    assert almost.holds
    assert almost.largest_difference <= almost.tolerance


def test_gathering_samples_the_same(case: Case) -> None:
    images = torch.from_numpy(proof_images(SIZE, 2, 1, floating=False)[0])
    gathered = prepared(small_model(case.spec), ExportSettings(SIZE, sampling="gather"))
    with torch.inference_mode():
        for one, other in zip(gathered(images), case.module(images), strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_files_that_are_no_export_are_refused(case: Case, tmp_path: Path) -> None:
    whole = case.exported.path.read_bytes()
    foreign = case.graph
    del foreign.metadata_props[:]
    for name, content, said in [
        ("cut.onnx", whole[: len(whole) // 2], "cannot load it"),
        ("foreign.onnx", foreign.SerializeToString(), "does not say that it is an export of ours"),
        ("empty.xml", b"", "cannot load it"),
        ("model.pth", whole, "no exported file"),
        ("code.pt2", b"PK", "machine code"),
    ]:
        (tmp_path / name).write_bytes(content)
        if name.endswith(".xml"):
            pytest.importorskip("openvino")
        with pytest.raises(BenchError, match=said):
            load_exported(tmp_path / name)
    with pytest.raises(BenchError, match="no such file"):
        load_exported(tmp_path / "none.onnx")


def test_nothing_is_overwritten_and_no_other_format_known(case: Case, tmp_path: Path) -> None:
    model = small_model(case.spec)
    with pytest.raises(BenchError, match="exists"):
        export_model(model, case.spec, case.exported.path)
    with pytest.raises(BenchError, match="no format to export to"):
        export_model(model, case.spec, tmp_path / "model.tflite")
    with pytest.raises(BenchError, match="multiples of 32"):
        ExportSettings((70, 101), dynamic=True)
    assert not list(tmp_path.iterdir())


def test_openvino_has_the_model_too(case: Case, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    from proscale_bench.export.export import write_openvino

    path = tmp_path / "model.xml"
    told = OnnxRuntime(case.exported.path, 1).told
    write_openvino(case.graph, path, told or "", overwrite=False)
    assert {one.name for one in tmp_path.iterdir()} == {"model.xml", "model.bin"}
    loaded = load_exported(path, threads=1)
    assert loaded.told["schedule"] == "1,1,1"
    proof = prove(case.module, case.spec, loaded, case.graph, proof_images(SIZE, 2, 2, floating=False))
    assert (proof.holds, proof.equal_maps) == (True, 4)


@pytest.mark.slow
def test_one_file_takes_every_size_and_batch(tmp_path: Path) -> None:
    spec = small_spec()
    settings = ExportSettings((64, 96), dynamic=True)
    found = export_model(small_model(spec), spec, tmp_path / "model.onnx", settings)
    assert (found.proof.holds, found.proof.images) == (True, 14)
    loaded = load_exported(found.path, threads=1)
    assert (loaded.size, loaded.batch_size) == (None, None)
    with pytest.raises(BenchError, match="multiples of 32"):
        loaded.run(np.zeros((1, 3, 70, 96), np.uint8))


@pytest.mark.slow
@pytest.mark.skipif(not has_compiler(), reason="a package is compiled")
def test_a_package_of_compiled_code_is_the_model(tmp_path: Path) -> None:
    spec = small_spec("baseline:1")
    found = export_model(small_model(spec), spec, tmp_path / "model.pt2", ExportSettings((64, 64)))
    assert found.proof.holds
    moved = shutil.copy(found.path, tmp_path / "other.pt2")
    assert isinstance(load_exported(moved, trust=True), ExportedModel)
