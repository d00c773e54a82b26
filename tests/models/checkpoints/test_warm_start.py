"""PRO-SCALE from a baseline: what corresponds is copied, what sees fewer levels is sliced, the rest is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from proscale_bench.config.trained_on import KnownClass, TrainedOn
from proscale_bench.errors import BenchError
from proscale_bench.models.build import build
from proscale_bench.models.checkpoints.load import open_checkpoint
from proscale_bench.models.checkpoints.save import save_checkpoint
from proscale_bench.models.checkpoints.warm_start import rows_of_levels, start_from, warm_start
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.specs.encoders.staged import parse_compact
from proscale_bench.specs.levels import LEVELS
from proscale_bench.specs.mask2former import Mask2FormerSpec

from .samples import HEAD, RESNET, SWIN, official, same, small_model, write


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    return write(tmp_path / "baseline.pth", official(small_model("baseline", RESNET)))


def test_a_baseline_from_itself_is_itself(baseline: Path) -> None:
    model = small_model("baseline", RESNET, seed=1)
    started = warm_start(model, open_checkpoint(baseline))
    assert same(model.state_dict(), small_model("baseline", RESNET).state_dict())
    assert (started.sliced, started.left, started.layers) == ((), {}, tuple(range(6)))


def test_what_is_taken_sliced_and_left_is_all_there_is(baseline: Path) -> None:
    model = small_model("3,3,3", RESNET, seed=1)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    source = small_model("baseline", RESNET).state_dict()
    started = warm_start(model, open_checkpoint(baseline))
    assert sorted([*started.taken, *started.sliced, *started.left]) == sorted(before)
    assert set(started.left) == {"encoder.recalibration.score.weight", "encoder.recalibration.score.bias"}
    assert started.layers == (0, 1, 1, 2, 3, 3, 4, 5, 5)
    after = model.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in started.left)
    for key in started.taken:
        old = key
        if key.startswith("encoder.layers."):
            index = int(key.split(".")[2])
            old = key.replace(f"layers.{index}.", f"layers.{started.layers[index]}.", 1)
        assert torch.equal(after[key], source[old]), key
    assert (
        len(started.sliced) == 6 * 4
    )  # offsets and weights, weight and bias, of the layers that see one or two levels


@pytest.mark.parametrize("levels", [("res5",), ("res5", "res4"), ("res4",), ("res5", "res3"), LEVELS])
def test_rows_are_those_of_the_levels(levels: tuple[str, ...]) -> None:
    heads, points = 4, 5
    rows = torch.arange(heads * 3 * points * 2).reshape(heads, 3, points, 2)  # (head, level, point, xy)
    kept = [LEVELS.index(level) for level in levels]  # type: ignore[arg-type]
    found = rows_of_levels(rows.flatten(), heads, levels)  # type: ignore[arg-type]
    assert torch.equal(found.view(heads, len(levels), points, 2), rows[:, kept])


def test_a_layer_that_sees_all_its_weight_on_the_kept_levels_computes_the_same(tmp_path: Path) -> None:
    """The sliced layer gives the same tokens as the baseline's where that one looks at res5 alone."""
    source = small_model("baseline:1")
    attention = source.encoder.layers[0].attention
    with torch.no_grad():
        attention.attention_weights.weight.zero_()
        biases = torch.tensor([0.0, -200.0, -200.0])[None, :, None].expand(4, 3, 4)
        attention.attention_weights.bias.copy_(biases.flatten())
    path = write(tmp_path / "baseline.pth", official(source))
    model = small_model("1,0,0+conv+trc:none", seed=1)
    warm_start(model, open_checkpoint(path))
    features = {
        f"res{level}": torch.randn(1, 8 * 2 ** (level - 2), 2 ** (7 - level), 2 ** (7 - level)) for level in range(2, 6)
    }
    with torch.no_grad():
        old, new = source.encoder(features).pyramid[0], model.encoder(features).pyramid[0]
    assert (old - new).abs().max() <= 1e-5


@pytest.mark.parametrize("schedule", ["2,2,1,1", "5:1,54:1,5432:2", "6:1,65432:1+keep:0.5"])
def test_levels_that_the_baseline_does_not_have_stay_as_initialised(baseline: Path, schedule: str) -> None:
    model = small_model(schedule, RESNET, seed=1)
    before = {key: tensor.clone() for key, tensor in model.encoder.state_dict().items()}
    source = small_model("baseline", RESNET).encoder.state_dict()
    started = warm_start(model, open_checkpoint(baseline))
    after, levels = model.encoder.state_dict(), parse_compact(schedule).levels
    depth = len(parse_compact(schedule).layers)
    last = f"layers.{depth - 1}.attention.attention_weights.bias"

    def by_level(rows: Tensor, number: int) -> Tensor:
        return rows.view(HEAD.encoder_heads, number, -1)

    for place, level in enumerate(levels):
        where = LEVELS.index(level) if level in LEVELS else None
        row = before["level_embedding"][place] if where is None else source["level_embedding"][where]
        assert torch.equal(after["level_embedding"][place], row)
        kernel = f"projections.{place}.0.weight"
        theirs = before[kernel] if where is None else source[f"projections.{where}.0.weight"]
        assert torch.equal(after[kernel], theirs)
        weights = by_level(before[last], len(levels))[:, place]
        if where is not None:
            weights = by_level(source[f"layers.{started.layers[-1]}.attention.attention_weights.bias"], 3)[:, where]
        assert torch.equal(by_level(after[last], len(levels))[:, place], weights)
    assert all("score" in key or "recalibration" in key or "projections" in key for key in started.left)
    assert f"encoder.{last}" in started.sliced
    assert "encoder.level_embedding" in started.sliced


def test_a_depth_wise_convolution_has_no_counterpart_and_its_norm_has(baseline: Path) -> None:
    model = small_model("3,3,3+dw+trc:none", RESNET, seed=1)
    started = warm_start(model, open_checkpoint(baseline))
    assert started.left == {"encoder.pixel_embedding.0.weight": "another kind of convolution"}
    assert "encoder.pixel_embedding.1.weight" in started.taken


def test_other_classes_and_queries_are_left_and_said(baseline: Path) -> None:
    model = build(Mask2FormerSpec(RESNET, parse_compact("3,3,3"), replace(HEAD, num_classes=3, queries=9)))
    left = warm_start(model, open_checkpoint(baseline)).left
    assert left["decoder.class_head.weight"] == "another number of classes"
    assert left["decoder.query_features"] == "another number of queries"


def named(path: Path, model: Mask2Former, *names: str) -> Path:
    save_checkpoint(model, path, seen=TrainedOn(tuple(map(KnownClass, names))))
    return path


def test_rows_of_the_class_head_go_to_the_classes_of_their_names(tmp_path: Path) -> None:
    names = [f"class {index}" for index in range(HEAD.num_classes)]
    source = small_model("baseline", RESNET)
    path = named(tmp_path / "named.safetensors", source, *names)
    turned = [*reversed([name.upper() for name in names])]
    for classes in (turned, names, ()):
        model = small_model("3,3,3", RESNET, seed=1)
        started = warm_start(model, open_checkpoint(path), classes)
        order = [*range(HEAD.num_classes)][:: -1 if classes == turned else 1]
        for kind in ("weight", "bias"):
            ours, theirs = (getattr(one.decoder.class_head, kind) for one in (model, source))
            assert torch.equal(ours, theirs[[*order, HEAD.num_classes]])
        heads = {"decoder.class_head.weight", "decoder.class_head.bias"}
        assert set(started.reordered) == (heads if classes == turned else set())
        assert all((key in started.taken) == (classes != turned) for key in heads)


def test_rows_of_classes_without_names_are_taken_by_their_place_and_said(baseline: Path, tmp_path: Path) -> None:
    names = [f"class {index}" for index in range(HEAD.num_classes)]
    heads = {"decoder.class_head.weight", "decoder.class_head.bias"}
    named(tmp_path / "named.safetensors", small_model("baseline", RESNET), *names)
    for path, classes, expected in (
        (baseline, names, heads),
        (baseline, (), set()),
        (tmp_path / "named.safetensors", names, set()),
    ):
        started = warm_start(small_model("3,3,3", RESNET, seed=1), open_checkpoint(path), classes)
        assert set(started.by_place) == expected
    fewer = build(Mask2FormerSpec(RESNET, parse_compact("3,3,3"), replace(HEAD, num_classes=3)))
    assert warm_start(fewer, open_checkpoint(baseline), names[:3]).by_place == ()


@pytest.mark.parametrize("other", ["another", "class 1"])
def test_classes_of_other_names_start_afresh(tmp_path: Path, other: str) -> None:
    names = [f"class {index}" for index in range(HEAD.num_classes)]
    path = named(tmp_path / "named.safetensors", small_model("baseline", RESNET), *names)
    model = small_model("3,3,3", RESNET, seed=1)
    before = model.decoder.class_head.weight.clone()
    started = warm_start(model, open_checkpoint(path), [other, *names[1:]])
    assert torch.equal(model.decoder.class_head.weight, before)
    assert started.left["decoder.class_head.weight"] == "classes of other names"


@pytest.mark.parametrize("backbone", [SWIN])
def test_another_model_is_refused_and_left_alone(baseline: Path, backbone: object) -> None:
    model = small_model("3,3,3", backbone, seed=1)  # type: ignore[arg-type]
    before: dict[str, Tensor] = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(BenchError, match="projections"):
        warm_start(model, open_checkpoint(baseline))
    assert same(model.state_dict(), before)


def test_only_a_baseline_starts_another(tmp_path: Path) -> None:
    path = write(tmp_path / "proscale.pth", official(small_model("3,3,3")))
    with pytest.raises(BenchError, match="no baseline"):
        warm_start(small_model("1,1,1"), open_checkpoint(path))


def test_a_start_is_a_checkpoint(baseline: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        start_from(open_checkpoint(baseline), parse_compact("2,2,2+residual"), tmp_path / f"{name}.safetensors", seed=3)
    first, second = (open_checkpoint(tmp_path / f"{name}.safetensors") for name in ("a", "b"))
    assert first.inferred.schedule.compact == "2,2,2+residual"
    assert first.digest == second.digest
    assert first.inspect().metadata["provenance"]["weights"] == open_checkpoint(baseline).digest
