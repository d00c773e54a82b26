"""Grouping, order and what the records say."""

from __future__ import annotations

import random

from proscale_bench.analysis.settings import (
    WITH_CONV,
    WITHOUT_GATE,
    ablation,
    against_official,
    by_setting,
    main_setting,
    model_order,
)
from proscale_bench.units import reduction_pct
from tests.results.records import paper, record


def test_order_does_not_depend_on_how_records_come() -> None:
    shuffled = list(paper())
    random.Random(0).shuffle(shuffled)
    assert by_setting(shuffled) == by_setting(paper())
    assert [one.digest for group in by_setting(shuffled).values() for one in group] == [r.digest for r in paper()]


def test_what_may_not_be_compared_is_kept_apart() -> None:
    one = record()
    others = [record(size="64x96"), one.model_copy(update={"rules": "complete"})]
    assert len(by_setting([one, *others])) == 3


def test_the_main_setting_is_the_papers() -> None:
    setting = main_setting(paper())
    assert setting is not None
    assert setting.how == "1 MAC = 1 FLOP, rules fvcore, coco-first100"
    assert main_setting([]) is None


def test_a_record_without_cost_is_no_main_setting() -> None:
    assert main_setting([record().model_copy(update={"cost": None})]) is None


def test_the_pooled_embedding_gives_over_half_of_the_saving() -> None:
    group = by_setting(paper())[main_setting(paper())]  # type: ignore[index]
    savings = ablation(group, WITH_CONV)
    assert [saving.backbone for saving in savings] == ["resnet50", "swin_t"]
    for saving in savings:
        assert saving.of_the_saving_pct is not None
        assert 50 < saving.of_the_saving_pct < 55
    assert all(-0.01 < saving.gflops < 0 for saving in ablation(group, WITHOUT_GATE))


def test_all_official_counts_at_the_size_are_met_as_integers() -> None:
    agreements = against_official(paper())
    assert len(agreements) == 14
    for agreement in agreements:
        for part in ("backbone", "encoder", "encoder_token_layers", "transformer_decoder", "total", "postprocessing"):
            official, ours = agreement.flops(part)
            assert official == ours > 0


def test_counts_under_other_rules_are_not_compared() -> None:
    other = record(size="800x1333").model_copy(update={"rules": "complete"})
    assert against_official([other]) == []


def test_reduction() -> None:
    assert reduction_pct(1, 0) is None


def test_a_schedule_without_a_cost_is_in_the_same_place() -> None:
    costed = [record(schedule) for schedule in ("4:2,543:4", "0,0,2", "1,1,1", "53:4", "0,0,6")]
    bare = [one.model_copy(update={"cost": None}) for one in costed]
    in_order = [[one.identity.schedule for one in sorted(records, key=model_order)] for records in (costed, bare)]
    assert in_order[0] == in_order[1] == ["0,0,2", "1,1,1", "53:4", "0,0,6", "4:2,543:4"]
