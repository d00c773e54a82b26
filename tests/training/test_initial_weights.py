"""A training's first weights: those that fit are taken to the last bit, all others refused, the model untouched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from proscale_bench.config.choices import find_shipped
from proscale_bench.config.recipe import Recipe, read_recipe
from proscale_bench.errors import BenchError
from proscale_bench.models.backbones import FrozenBatchNorm2d
from proscale_bench.models.build import build
from proscale_bench.models.checkpoints.load import open_checkpoint
from proscale_bench.models.checkpoints.save import save_checkpoint
from proscale_bench.models.checkpoints.warm_start import warm_start
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.specs.backbones import ResNet, Swin
from proscale_bench.specs.encoders.staged import parse_compact
from proscale_bench.specs.mask2former import Mask2FormerSpec
from proscale_bench.training.setup import initialise
from tests.models.checkpoints.samples import HEAD, RESNET, SWIN, official, same, small_model, write

DEPTHS = (1, 2, 2, 1)


def recipe(**files: Path) -> Recipe:
    names = {key: str(path) for key, path in files.items()}
    return read_recipe(find_shipped("recipes", "coco-50ep")).model_copy(update=names)


def randomised(model: nn.Module) -> dict[str, Tensor]:
    """torchvision's state dict, its norms' statistics random too."""
    torch.manual_seed(5)
    return {
        key: torch.rand_like(tensor) if tensor.is_floating_point() else tensor
        for key, tensor in model.state_dict().items()
    }


@pytest.fixture
def classifier() -> nn.Module:
    """A ResNet of torchvision's, with its classifier."""
    return torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, list(DEPTHS)).eval()


@pytest.fixture
def weights(classifier: nn.Module, tmp_path: Path) -> Path:
    classifier.load_state_dict(randomised(classifier))
    torch.save(classifier.state_dict(), tmp_path / "resnet.pth")
    return tmp_path / "resnet.pth"


def small_resnet(depths: tuple[int, int, int, int] = DEPTHS) -> Mask2Former:
    return build(Mask2FormerSpec(ResNet(depths), parse_compact("1,1,1"), HEAD))


def test_fresh_is_left_as_it_is() -> None:
    model = small_model("3,3,3", RESNET)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    assert initialise(model, recipe()).kind == "fresh"
    assert same(model.state_dict(), before)


def test_a_resnet_computes_what_torchvisions_does(classifier: nn.Module, weights: Path) -> None:
    model = small_resnet()
    start = initialise(model, recipe(backbone_weights=weights))
    assert (start.kind, start.file, len(start.digest), start.warm_start) == ("backbone", "resnet.pth", 64, None)
    images = torch.randn(1, 3, 64, 96)
    expected: list[Tensor] = []
    for name in ("layer1", "layer2", "layer3", "layer4"):
        classifier.get_submodule(name).register_forward_hook(lambda _, __, output: expected.append(output))
    with torch.no_grad():
        classifier(images)
        features = model.backbone(images)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(features.values(), expected, strict=True))


def test_a_swin_takes_all_but_the_norms_that_are_ours_alone(tmp_path: Path) -> None:
    classifier = torchvision.models.SwinTransformer([4, 4], 8, [1, 2, 1, 1], [1, 2, 4, 8], [4, 4])
    state = randomised(classifier)
    save_file(state, tmp_path / "swin.safetensors")
    model = build(Mask2FormerSpec(Swin(8, (1, 2, 1, 1), (1, 2, 4, 8), window=4), parse_compact("1,1,1"), HEAD))
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    initialise(model, recipe(backbone_weights=tmp_path / "swin.safetensors"))
    for key, tensor in model.state_dict().items():
        name = key.removeprefix("backbone.")
        taken = name != key and not name.startswith("norms.")
        assert torch.equal(tensor, state[name] if taken else before[key]), key


def test_the_digest_is_of_the_weights_whatever_the_file(weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    save_file(state, tmp_path / "again.safetensors")
    starts = [
        initialise(small_resnet(), recipe(backbone_weights=path)) for path in (weights, tmp_path / "again.safetensors")
    ]
    assert starts[0].digest == starts[1].digest
    state["layer1.0.conv1.weight"][0, 0] += 1
    torch.save(state, weights)
    assert initialise(small_resnet(), recipe(backbone_weights=weights)).digest != starts[0].digest


def drop(state: dict[str, Tensor]) -> None:
    del state["layer2.0.bn3.running_var"]


def break_(state: dict[str, Tensor]) -> None:
    state["layer1.0.conv2.weight"][0, 0, 0, 0] = float("nan")


def round_(state: dict[str, Tensor]) -> None:
    state["layer1.0.conv2.weight"] = state["layer1.0.conv2.weight"].to(torch.int8)


def reshape(state: dict[str, Tensor]) -> None:
    state["conv1.weight"] = state["conv1.weight"][:, :2].clone()


def wrap(state: dict[str, Tensor]) -> None:
    for key in list(state):
        state[f"backbone.{key}"] = state.pop(key)


@pytest.mark.parametrize(
    ("change", "said", "hint"),
    [
        (drop, "layer2.0.bn3.running_var is missing", "same backbone"),
        (break_, "layer1.0.conv2.weight: not finite", "damaged"),
        (round_, "layer1.0.conv2.weight: not finite numbers in floating point", "damaged"),
        (reshape, r"conv1.weight: shape \[64, 2, 7, 7\], and the model's is \[64, 3, 7, 7\]", "another backbone"),
        (wrap, "conv1.weight is missing", "'start'"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    weights: Path, change: Callable[[dict[str, Tensor]], None], said: str, hint: str
) -> None:
    state = torch.load(weights, weights_only=True)
    change(state)
    torch.save(state, weights)
    model = small_resnet()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(BenchError, match=said) as caught:
        initialise(model, recipe(backbone_weights=weights))
    assert caught.value.message.startswith(str(weights))
    assert hint in str(caught.value.hint)
    assert same(model.state_dict(), before)


def test_a_larger_resnet_is_another_backbone(weights: Path) -> None:
    with pytest.raises(BenchError, match=r"layer3.1.conv1.weight has no place"):
        initialise(small_resnet((1, 2, 1, 1)), recipe(backbone_weights=weights))


def test_norms_take_their_statistics(weights: Path) -> None:
    model = small_resnet()
    initialise(model, recipe(backbone_weights=weights))
    state = torch.load(weights, weights_only=True)
    norm = model.backbone.get_submodule("layer3.1.bn2")
    assert isinstance(norm, FrozenBatchNorm2d)
    assert torch.equal(norm.running_mean, state["layer3.1.bn2.running_mean"])


def test_a_baseline_starts_a_schedule_as_a_warm_start_does(tmp_path: Path) -> None:
    path = tmp_path / "baseline.safetensors"
    save_checkpoint(small_model("baseline", RESNET), path)
    expected = small_model("3,3,3", RESNET, seed=1)
    warm_start(expected, open_checkpoint(path))
    model = small_model("3,3,3", RESNET, seed=1)
    start = initialise(model, recipe(start=path))
    assert (start.kind, start.file, start.digest) == ("baseline", path.name, open_checkpoint(path).digest)
    assert start.warm_start is not None
    assert start.warm_start.layers == (0, 1, 1, 2, 3, 3, 4, 5, 5)
    assert same(model.state_dict(), expected.state_dict())


def test_no_baseline_starts_nothing(tmp_path: Path, weights: Path) -> None:
    path = write(tmp_path / "proscale.pth", official(small_model("3,3,3")))
    with pytest.raises(BenchError, match="no baseline"):
        initialise(small_model("1,1,1"), recipe(start=path))
    head = {key: tensor for key, tensor in official(small_model("baseline")).items() if "backbone" not in key}
    path = write(tmp_path / "head.pth", head)
    with pytest.raises(BenchError, match="a head alone"):
        initialise(small_model("1,1,1"), recipe(start=path))
    with pytest.raises(BenchError, match="nowhere"):
        initialise(small_model("1,1,1"), recipe(start=tmp_path / "nowhere.pth"))
    with pytest.raises(BenchError, match="keep one of them"):
        initialise(small_model("1,1,1"), recipe(start=path, backbone_weights=weights))


def test_another_backbone_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "baseline.pth", official(small_model("baseline", RESNET)))
    model = build(Mask2FormerSpec(SWIN, parse_compact("3,3,3"), replace(HEAD, num_classes=3)))
    with pytest.raises(BenchError, match="shape"):
        initialise(model, recipe(start=path))
