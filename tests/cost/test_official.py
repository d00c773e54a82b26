"""The closed form equals the official method: every number with ==, no tolerance."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from proscale_bench.bench.specs import count_flops
from proscale_bench.cost.closed_form import ClosedForm
from proscale_bench.cost.geometry import parse_size
from proscale_bench.cost.rules import RULES, Rules
from proscale_bench.specs.encoders.parts import token_layer_parameters
from proscale_bench.specs.encoders.staged import parse_compact
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.specs.masked_decoder import Head
from proscale_bench.specs.model import with_sums
from proscale_bench.specs.terms import Operator
from proscale_bench.units import GIGA

RECORDS = json.loads((Path(__file__).parents[1] / "fixtures" / "official_flops.json").read_text())["records"]
HEAD, PIXEL_DECODER = "sem_seg_head", "sem_seg_head.pixel_decoder"
ENCODER = f"{PIXEL_DECODER}.transformer.encoder"

# The official operators that ours refine or rename.
OFFICIAL_NAMES = {Operator.MASK_EINSUM: "einsum", Operator.SEMANTIC_EINSUM: "einsum"}


def schedule_of(record: dict[str, Any]) -> str:
    if record["schedule"] == "baseline":
        return "baseline"
    return f"{record['schedule']}+{record['pixel_embedding']}+trc:{record['recalibration']}"


def name_of(record: dict[str, Any]) -> str:
    size = f"{record['height_px']}x{record['width_px']}"
    return f"{record['backbone']}-{schedule_of(record)}-{size}-{record['output_size']}"


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_every_module_operator_and_parameter_of_the_official_count(record: dict[str, Any]) -> None:
    spec = mask2former(parse_compact(schedule_of(record)), record["backbone"])
    form = ClosedForm(spec, RULES["fvcore"])
    size = parse_size((record["height_px"], record["width_px"]), record["output_size"])
    flops, modules = with_sums(form.count(size), spec.parts), record["by_module"]
    layers = [flops[part.name] for part in spec.parts if part.numbered]

    assert flops["total_with_postprocessing"] == record["total"]
    assert flops["postprocessing"] == record["postprocessing"]
    assert flops["backbone"] == modules["backbone"]
    assert flops["encoder"] == modules[PIXEL_DECODER]
    assert flops["encoder_projection"] == modules[f"{PIXEL_DECODER}.input_proj"]
    assert flops["encoder_token_layers"] + flops["encoder_recalibration"] == modules[ENCODER]
    assert flops["encoder_recalibration"] == modules.get(f"{ENCODER}.token_excite", 0)
    assert layers == [modules[f"{ENCODER}.layers.{index}"] for index in range(len(layers))]
    assert f"{ENCODER}.layers.{len(layers)}" not in modules
    assert flops["pixel_embedding"] == sum(
        modules[f"{PIXEL_DECODER}.{name}"] for name in ("adapter_1", "layer_1", "mask_features")
    )
    assert flops["transformer_decoder"] == modules[f"{HEAD}.predictor"]
    assert flops["encoder"] + flops["fpn_upsampling"] + flops["transformer_decoder"] == modules[HEAD]

    operators: Counter[str] = Counter()
    for row in form.by_operator(size).values():
        for operator, amount in row.items():
            operators[OFFICIAL_NAMES.get(operator, str(operator))] += amount
    assert {name: n for name, n in operators.items() if n} == {n: v for n, v in record["by_operator"].items() if v}

    parameters, expected = spec.parameters(), record["params"]
    assert sum(parameters.values()) == expected["total"]
    assert parameters["backbone"] == expected["backbone"]
    assert parameters["encoder"] == expected[PIXEL_DECODER]
    assert parameters["transformer_decoder"] == expected[f"{HEAD}.predictor"]


@pytest.mark.parametrize(("levels", "parameters"), [(1, 682_848), (2, 707_520), (3, 732_192)])
def test_parameters_of_one_token_layer(levels: int, parameters: int) -> None:
    assert token_layer_parameters(Head(), levels) == parameters


@pytest.mark.parametrize(
    ("size", "backbone", "schedule", "total", "with_postprocessing", "encoder"),
    [
        ("coco-first100", "resnet50", "baseline", 225.6839, 229.7945, 126.8625),
        ("coco-first100", "resnet50", "3,3,3", 162.2927, 166.4033, 63.4714),
        ("coco-first100", "swin_t", "baseline", 231.7410, 235.8516, 122.5243),
        ("coco-first100", "swin_t", "3,3,3", 168.3499, 172.4605, 59.1331),
        ("coco-val", "resnet50", "baseline", 226.6678, 230.7811, 127.4195),
        ("coco-val", "resnet50", "3,3,3", 162.9984, 167.1117, 63.7500),
        ("coco-val", "swin_t", "baseline", 232.8260, 236.9393, 123.0622),
        ("coco-val", "swin_t", "3,3,3", 169.1565, 173.2698, 59.3927),
    ],
)
def test_coco_means(
    size: str, backbone: str, schedule: str, total: float, with_postprocessing: float, encoder: float
) -> None:
    gflops = count_flops(schedule, backbone, size).gflops
    found = (gflops["total"], gflops["total_with_postprocessing"], gflops["encoder"])
    assert tuple(round(value, 4) for value in found) == (total, with_postprocessing, encoder)


def test_the_papers_headline() -> None:
    """Aich et al. 2025: about -52 % of the encoder and -27 % in all, on Swin-T; the token layers alone -36 %."""
    saved = count_flops("3,3,3", "swin_t").reduction_pct
    assert round(saved["encoder"] or 0, 2) == 51.74
    assert round(saved["total"] or 0, 2) == 27.35
    assert round(saved["encoder_token_layers"] or 0, 2) == 36.36
    assert round(saved["total_with_postprocessing"] or 0, 2) == 26.88
    other = count_flops("3,3,3", "resnet50").reduction_pct
    found = [other[part] for part in ("encoder", "total", "total_with_postprocessing", "encoder_token_layers")]
    assert [round(value or 0, 2) for value in found] == [49.97, 28.09, 27.59, 36.36]


@pytest.mark.parametrize(
    ("backbone", "printed"),
    [("resnet50", 226), ("resnet101", 293), ("swin_t", 232), ("swin_s", 313), ("swin_b", 466), ("swin_l", 868)],
)
def test_the_six_totals_of_the_mask2former_paper(backbone: str, printed: int) -> None:
    gflops = count_flops("baseline", backbone, "coco-first100", rules="published").gflops
    assert round(gflops["total_with_postprocessing"]) == printed


@pytest.mark.parametrize(("layers", "printed"), [(2, 411.981), (3, 443.448), (4, 474.914), (5, 506.381), (6, 537.848)])
def test_eco_m2fs_early_exits_to_every_digit(layers: int, printed: float) -> None:
    """Swin-T with 19 classes at 1024x2048, the semantic product counted and masked Q.K^T not."""
    counted = RULES["published"].counted - {Operator.MASKED_QK} | {Operator.SEMANTIC_EINSUM}
    rules = Rules("eco-m2f", counted, rounds_einsum=True, description="")
    form = ClosedForm(mask2former(parse_compact(f"baseline:{layers}"), "swin_t", classes=19), rules)
    assert round(sum(form.count(parse_size("1024x2048")).values()) / GIGA, 3) == printed
