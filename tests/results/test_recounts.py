"""Every published number of FLOPs is counted again or says why not; what says how is read strictly."""

from __future__ import annotations

import csv
import json
from dataclasses import fields
from io import StringIO

import pytest

from proscale_bench.cost.rules import RULES
from proscale_bench.errors import BenchError
from proscale_bench.results.recounts import HUGGING_FACE, Recount, configuration, parse_recounts, recounts
from proscale_bench.results.registry import shipped_registry
from proscale_bench.specs.terms import Operator

COLUMNS = [field.name for field in fields(Recount)]
ROW = {
    **dict.fromkeys(COLUMNS, ""),
    **{"id": "pro-scale-swin-t-c3", "model": "ours", "arguments": "schedule=1,1,1; backbone=swin_t"},
    **{"rules": "published", "part": "encoder"},
}


def text_of(*changes: dict[str, str]) -> str:
    buffer = StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({**ROW, **change} for change in changes)
    return buffer.getvalue()


def test_every_number_is_counted_or_says_why_not() -> None:
    counted = [row.id for row in shipped_registry() if row.gflops or row.encoder_gflops]
    assert [one.id for one in recounts()] == counted
    assert sum(bool(one.model) for one in recounts()) >= 30
    assert all(one.model or one.why for one in recounts())


def test_every_configuration_is_used_and_names_its_source() -> None:
    used = {one.model.removeprefix(HUGGING_FACE) for one in recounts() if one.model.startswith(HUGGING_FACE)}
    folder = configuration("x").parent  # type: ignore[attr-defined]
    assert {path.name.removesuffix(".json") for path in folder.iterdir()} == used
    for name in used:
        document = json.loads(configuration(name).read_text("utf-8"))
        assert "/" in document["_source"]
        assert document["model_type"]
        assert len(document["architectures"]) == 1


def test_rules_of_a_source_are_a_set_and_changes() -> None:
    (one,) = parse_recounts(text_of({"rules": "published -masked_qk +semantic_einsum"}), "x.csv")
    expected = RULES["published"].counted - {Operator.MASKED_QK} | {Operator.SEMANTIC_EINSUM}
    assert one.operators(RULES["published"].counted) == expected
    assert one.given == {"schedule": "1,1,1", "backbone": "swin_t"}
    assert one.published == 55.14


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"id": "nobody"}, "x.csv:2: id: 'nobody' is of no row of the registry"),
        ({"model": "torch"}, "x.csv:2: model: 'torch' is neither ours nor hf:NAME nor a factory of this package"),
        ({"model": "hf:nothing"}, "x.csv:2: model: there is no configuration 'nothing'"),
        ({"model": ""}, "x.csv:2: why: empty, and nothing is counted"),
        ({"part": "backbone"}, "x.csv:2: part: 'backbone' is none of total, total_with_postprocessing, encoder"),
        ({"part": "total"}, "x.csv:2: part: the registry has no number of 'total'"),
        ({"rules": "calflops"}, "x.csv:2: rules: 'calflops' is none of fvcore, published, products, complete"),
        ({"rules": "fvcore +sampling"}, "x.csv:2: rules: '+sampling' is neither + nor - an operator"),
        ({"id": "lw-detr-tiny", "part": "total"}, "x.csv:2: size: empty, and the registry does not say it"),
    ],
)
def test_every_fault_is_at_its_place(change: dict[str, str], problem: str) -> None:
    with pytest.raises(BenchError) as caught:
        parse_recounts(text_of(change), "x.csv")
    assert problem in caught.value.lines


def test_no_number_is_counted_twice() -> None:
    with pytest.raises(BenchError, match=r"x.csv:3: id: 'pro-scale-swin-t-c3' stands twice"):
        parse_recounts(text_of({}, {}), "x.csv")
    with pytest.raises(BenchError, match="the columns are not"):
        parse_recounts("id,model\n", "x.csv")
