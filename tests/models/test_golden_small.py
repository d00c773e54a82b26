"""Small models agree with the official code, stage by stage and to the last panoptic pixel."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.models import swin_transformer

from proscale_bench.config.choices import PostprocessingThresholds
from proscale_bench.models import postprocess

from . import always_shift
from .golden import (
    FIXTURES,
    TOLERANCE,
    Case,
    by_score,
    expected_tensors,
    largest_deviation,
    load_case,
    predicted,
    shared,
    stage_tensors,
)

STAGES = ("pd.", "aux", "pred_")
CASES = {
    "fixture_b": FIXTURES / "b_swin_ps333_max_trclin",
    **{
        name[0]: f"golden/small/{name}"
        for name in (
            "a_swin_m2f",
            "b_swin_ps333_max_trclin",
            "d_swin_ps211_conv_notrc",
            "f_head_m2f",
            "g_r50tiny_m2f",
        )
    },
}
_loaded: dict[str, Case] = {}


def case_named(name: str) -> Case:
    if name not in _loaded:
        folder = CASES[name]
        with tempfile.TemporaryDirectory() as scratch:
            _loaded[name] = load_case(shared(folder) if isinstance(folder, str) else folder, Path(scratch))
    return _loaded[name]


HEAD_RUNS = [
    ("fixture_b", "single0"),
    *((name, run) for name in "ab" for run in ("single0", "single1")),
    ("d", "single0"),
    ("g", "single0"),
    ("f", "std"),
    ("f", "odd"),
]


@pytest.mark.parametrize(("name", "run"), HEAD_RUNS)
def test_every_stage_of_the_head_agrees(name: str, run: str) -> None:
    case = case_named(name)
    expected = expected_tensors(case, run, *STAGES)
    assert {"pd.mask_features", "pred_logits", "pred_masks"} <= set(expected)
    actual = stage_tensors(case.model, case.features(run))
    deviation, worst = largest_deviation(actual, expected)
    assert deviation <= TOLERANCE, worst


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_batch_agrees(name: str) -> None:
    case = case_named(name)
    single = [case.features(run) for run in ("single0", "single1")]  # both padded to the same size
    features = {level: torch.cat([one[level] for one in single]) for level in single[0]}
    expected = expected_tensors(case, "batch", *STAGES)
    deviation, worst = largest_deviation(stage_tensors(case.model, features), expected)
    assert deviation <= TOLERANCE, worst


@pytest.mark.parametrize("run", ["single0", "single1", "batch"])
@pytest.mark.parametrize("name", ["a", "b", "d", "g"])
@torch.no_grad()
def test_the_whole_model_agrees_from_the_images(name: str, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swin_transformer, "shifted_window_attention", always_shift.shifted_window_attention)
    case = case_named(name)
    images = [case.tensors[given["image"]] for given in case.info["runs"][run]["inputs"]]
    backbone: dict[str, Tensor] = {}
    hook = case.model.backbone.register_forward_hook(lambda _m, _i, output: backbone.update(output))
    predictions = case.model(images, auxiliary=True)
    hook.remove()
    for level, tensor in expected_tensors(case, run, "backbone.").items():
        error = (backbone[level.removeprefix("backbone.")] - tensor).abs().max()
        assert error <= 1e-5 * tensor.abs().max(), level
    deviation, worst = largest_deviation(predicted(predictions), expected_tensors(case, run, "aux", "pred_"))
    assert deviation <= TOLERANCE, worst


POST_RUNS = [
    ("fixture_b", "single0"),
    *((name, run) for name in "abdg" for run in ("single0", "single1", "nohw1", "batch")),
]


@pytest.mark.parametrize(("name", "run"), POST_RUNS)
def test_postprocessing_agrees(name: str, run: str) -> None:
    """From the official logits, so that what is compared is post-processing alone."""
    case = case_named(name)
    source = {"nohw1": "single1"}.get(run, run)  # the same network outputs
    options = case.info["config"]["MODEL"]["MASK_FORMER"]["TEST"]
    things = case.info["thing_contiguous_ids"]
    for index, (given, post) in enumerate(
        zip(case.info["runs"][run]["inputs"], case.info["runs"][run]["post"], strict=True)
    ):
        image_size = {"image0": (96, 128), "image1": (70, 101)}[given["image"]]
        output_size = (given["height"], given["width"]) if "height" in given else None
        logits = case.tensors[f"{source}.pred_logits"][index]
        masks = postprocess.resize_masks(
            case.tensors[f"{source}.pred_masks"][index], (96, 128), image_size, output_size
        )
        expected = expected_tensors(case, run, f"post{index}.")
        expected = {key.partition(".")[2]: tensor for key, tensor in expected.items()}

        if "sem_seg" in expected:
            assert (postprocess.semantic(logits, masks) - expected["sem_seg"]).abs().max() <= TOLERANCE

        panoptic = postprocess.panoptic(
            logits,
            masks,
            things,
            PostprocessingThresholds(score=options["OBJECT_MASK_THRESHOLD"], overlap=options["OVERLAP_THRESHOLD"]),
        )
        assert torch.equal(panoptic.map, expected["panoptic_seg"].to(torch.int32))
        assert [
            {"id": segment.id, "isthing": segment.is_thing, "category_id": segment.category}
            for segment in panoptic.segments
        ] == post["segments_info"]

        instances = postprocess.instances(
            logits, masks, top_k=case.info["config"]["TEST"]["DETECTIONS_PER_IMAGE"], thing_classes=things
        )
        assert len(instances.scores) == post["n_instances"]
        ours, theirs = (
            by_score(instances.scores, instances.classes),
            by_score(expected["instances.scores"], expected["instances.classes"]),
        )
        assert (instances.scores[ours] - expected["instances.scores"][theirs]).abs().max() <= TOLERANCE
        assert torch.equal(instances.classes[ours], expected["instances.classes"][theirs].long())
        if "instances.masks" in expected:
            assert torch.equal(instances.masks[ours], expected["instances.masks"][theirs].bool())
