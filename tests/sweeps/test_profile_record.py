"""From samples to records: sums, savings, what names a record, and what a reader of JSON finds."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from proscale_bench.analysis.settings import by_setting, main_setting, setting_of
from proscale_bench.bench.specs import count_flops
from proscale_bench.results.metrics import get_metric, metric, provenance_of
from proscale_bench.results.profile import Profile
from proscale_bench.results.record import Record
from proscale_bench.results.statistics import paired_ratio
from tests.results.records import record
from tests.sweeps.profiles import CEILINGS, execution, measured, out_of_memory, profiled_records, samples_of


def profile_of(one: Record) -> Profile:
    assert one.profile is not None
    return one.profile


def test_the_baseline_is_always_there_and_comes_first() -> None:
    assert [one.identity.schedule for one in profiled_records("3,3,3", "1,1,1", "3,3,3")] == [
        "baseline",
        "3,3,3",
        "1,1,1",
    ]
    assert [one.identity.schedule for one in profiled_records("baseline")] == ["baseline"]


def test_a_record_survives_json_with_all_its_samples() -> None:
    for one in profiled_records("3,3,3", ceilings=CEILINGS):
        assert Record.model_validate_json(one.to_json()) == one
        assert profile_of(one).samples_ms == tuple(samples_of(profile_of(one).samples_ms[0]))


def test_stages_come_in_forward_order_and_sums_are_sums_by_round() -> None:
    base, new = map(profile_of, profiled_records("3,3,3"))
    assert list(base.stages) == [
        *("prepare", "backbone", "encoder", "encoder_projection", "encoder_token_layers"),
        *(f"encoder_token_layer_{number}" for number in range(1, 7)),
        *("fpn_upsampling", "pixel_embedding", "transformer_decoder", "postprocessing", "total_with_postprocessing"),
    ]
    assert list(new.stages).index("encoder_recalibration") == 4
    for profile in (base, new):
        stages = profile.stages
        layers = [stage.samples_ms for name, stage in stages.items() if name.startswith("encoder_token_layer_")]
        assert stages["encoder_token_layers"].samples_ms == pytest.approx([sum(r) for r in zip(*layers, strict=True)])
        whole = [a + b for a, b in zip(profile.samples_ms, stages["postprocessing"].samples_ms, strict=True)]
        assert stages["total_with_postprocessing"].samples_ms == pytest.approx(whole)
        assert profile.stage_sum_pct == pytest.approx(100)


def test_savings_are_counted_and_realised_for_the_whole_and_every_stage() -> None:
    base, new = profiled_records("3,3,3")
    profile = profile_of(new)
    assert new.cost is not None
    assert profile.counted_saving_pct is not None
    assert profile.counted_saving_pct.counted == new.cost.reduction_pct["total"]
    ratio = paired_ratio([profile.samples_ms], [profile_of(base).samples_ms])
    assert profile.realised_saving_pct is not None
    assert profile.realised_saving_pct.value == pytest.approx(100 * (1 - ratio.value))
    assert profile.realised_saving_pct.interval == pytest.approx((100 * (1 - ratio.high), 100 * (1 - ratio.low)))
    assert profile.realised_saving_pct.significant
    for name, reduction in new.cost.reduction_pct.items():
        if name != "total":
            counted = profile.stages[name].counted_saving_pct
            assert counted is not None
            assert counted.counted == reduction
    backbone = profile.stages["backbone"]
    assert backbone.realised_saving_pct is not None
    assert not backbone.realised_saving_pct.significant
    assert profile.stages["prepare"].counted_saving_pct is None
    assert profile.stages["encoder_recalibration"].realised_saving_pct is None  # the baseline has none
    assert profile.stages["encoder_token_layer_1"].realised_saving_pct is None
    assert profile_of(base).counted_saving_pct is profile_of(base).realised_saving_pct is None


def test_achieved_flops_are_all_that_is_executed_in_the_time() -> None:
    how = execution(batch_size=2)
    (base,) = profiled_records("baseline", found=[measured("baseline", how)])
    stages = profile_of(base).stages
    work = count_flops("baseline", "resnet50", (640, 640), rules="complete", convention="flop").executed.gflops
    assert stages["backbone"].achieved_gflops_per_s == pytest.approx(work["backbone"] * 2 / 0.080)
    both = work["encoder"] + work["fpn_upsampling"]
    seconds = stages["encoder"].latency_median_ms / 1000
    assert stages["encoder"].achieved_gflops_per_s == pytest.approx(both * 2 / seconds)
    assert stages["backbone"].min_bandwidth_gb_per_s == pytest.approx(2e6 / 0.080 / 1e9)
    assert profile_of(base).throughput_ips == pytest.approx(2000 / profile_of(base).latency_median_ms)


def test_one_that_failed_is_a_row_and_the_others_are_compared_without_it() -> None:
    base, new = profiled_records("3,3,3", found=[out_of_memory("baseline"), measured("3,3,3")])
    assert base.profile is None
    assert base.cost is not None
    assert base.error is not None
    assert "smaller --batch-size" in (base.error.hint or "")
    assert profile_of(new).realised_saving_pct is None
    assert profile_of(new).counted_saving_pct is not None
    row = base.row()
    assert (row["latency_median_ms"], row["batch_size"], row["error"]) == (None, 1, "out of memory at batch size 1")


def test_how_it_ran_is_part_of_a_records_name_and_of_nothing_else() -> None:
    (one,) = profiled_records("baseline")
    others = [
        one.model_copy(update={"execution": execution(**change)})  # type: ignore[arg-type]
        for change in (
            {"device": "cuda"},
            {"device_name": "another"},
            {"dtype": "bf16"},
            {"batch_size": 2},
            {"mode": "compiled"},
            {"sampling": "grid_sample"},
            {"optimizations": False},
            {"threads": 1},
        )
    ]
    counted = record("baseline", size="640x640")
    assert len({other.digest for other in [one, counted, *others]}) == 10
    assert one.model_copy(update={"execution": None}).digest == counted.digest
    assert one.model_copy(update={"profile": None}).digest == one.digest
    assert len(by_setting([one, counted, *others])) == 10


def test_the_row_has_the_flops_rows_keys_and_what_was_found() -> None:
    row = json.loads(json.dumps(profiled_records("3,3,3")[1].row()))
    flops = count_flops("3,3,3", "resnet50", (640, 640)).row()
    assert {key: row[key] for key in flops} == json.loads(json.dumps(flops))
    for key in (
        "latency_median_ms",
        "latency_p90_ms",
        "latency_p95_ms",
        "latency_p99_ms",
        "throughput_ips",
        "peak_memory_mib",
    ):
        assert row[key] > 0
    assert (row["device"], row["mode"], row["rewrites"], row["energy_j"], row["energy_note"]) == (
        *("cpu", "eager", True, None, "no GPU"),
    )
    low, high = row["latency_interval_ms"]
    assert low <= row["latency_median_ms"] <= high
    assert row["environment"]["load"] == "0.20"
    assert "latency_median_ms" not in record().row()  # what was not run has no such columns


def test_cautions_of_samples_stages_and_machine_are_kept() -> None:
    noisy = replace(measured("baseline", rounds=3), warm=False, throttled_by=("heat",), note="not captured")
    (one,) = profiled_records("baseline", found=[noisy])
    assert {caution.kind for caution in profile_of(one).warnings} == {
        "few samples",
        "warm-up",
        "throttled",
        "not as asked",
    }
    assert profile_of(profiled_records("baseline")[0]).warnings == ()


def test_metrics_are_measured_and_settings_that_know_them_are_shown() -> None:
    base, new = profiled_records("3,3,3")
    profile = profile_of(new)
    assert metric(new, "latency_median_ms") == profile.latency_median_ms
    assert metric(new, "throughput_ips") == profile.throughput_ips
    assert metric(new, "peak_memory_mib") == 100.0
    assert metric(new, "energy_j") is None
    assert provenance_of(new, "latency_median_ms") == "measured"
    assert get_metric("latency_median_ms").interval(new) == profile.latency_interval_ms
    counted = record("baseline", size="640x640")
    assert main_setting([base, new, counted]) == setting_of(counted)
    assert setting_of(new).ran == "640x640, a CPU, fp32, batch 1, eager, embedding_bag sampling, 4 threads"
