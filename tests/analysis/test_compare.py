"""Two runs held against each other: what changed, and what is chance."""

from __future__ import annotations

import numpy as np
import pytest

from proscale_bench.analysis.compare import Comparison, Pair, compare, parse_gate, regressions
from proscale_bench.analysis.significance import Change
from proscale_bench.bench.profile import records
from proscale_bench.bench.sessions import merged
from proscale_bench.errors import BenchError
from proscale_bench.results.record import Record
from tests.results.evaluations import by_an_older_version, evaluated
from tests.results.records import record, renamed, with_accuracy
from tests.sweeps.profiles import (
    MACHINE,
    by_round,
    crowded,
    execution,
    measured,
    profiled_in_sessions,
    profiled_records,
    request,
    slowed,
    with_energy,
)


def change(old: object, new: object, name: str) -> Change:
    (pair,) = compare([old], [new]).pairs  # type: ignore[list-item]
    return next(found for found in pair.changes if found.metric.name == name)


def test_draws_that_rise_and_fall_together_tell_a_small_difference() -> None:
    found = change(evaluated(pq=40.0), evaluated(pq=40.3, source="other"), "pq")
    assert found.difference == pytest.approx(0.3)
    assert found.interval == pytest.approx((0.3, 0.3))
    assert found.significant is True


def test_the_same_difference_drowns_in_draws_that_do_not() -> None:
    found = change(evaluated(pq=40.0), evaluated(pq=40.3, source="other", shift=71), "pq")
    assert found.significant is False
    assert found.interval is not None
    assert found.interval[0] < 0 < found.interval[1]


@pytest.mark.parametrize(
    ("other", "note"),
    [
        (evaluated(images="c" * 64), "other images"),
        (evaluated(resamples=0), "no common draws"),
    ],
)
def test_what_cannot_be_told_is_not_told(other: object, note: str) -> None:
    one = evaluated()
    other = other.model_copy(update={"input": one.input})  # type: ignore[attr-defined]
    found = change(one, other, "pq")
    assert (found.significant, found.interval, found.note) == (None, None, note)


def test_a_published_accuracy_is_never_significant() -> None:
    old, new = (with_accuracy(record(), "published", pq=pq) for pq in (50.0, 52.0))
    assert change(old, new, "pq").note == "published"


def test_counts_are_exact() -> None:
    old, new = record("3,3,3"), record("1,1,1")
    found = change(old, new, "encoder_gflops")  # one alone in each run: they are a pair
    assert found.significant is True
    assert found.difference is not None
    assert found.difference < 0
    assert change(old, record("3,3,3"), "encoder_gflops").significant is False


TIMED = ("latency_median_ms", "throughput_ips")


def test_what_took_turns_is_paired_by_round() -> None:
    _, slow, fast = profiled_records("3,3,3", "1,1,1")
    less, more = (change(slow, fast, name) for name in TIMED)
    assert less.verdict == more.verdict == "significant"
    assert less.interval is not None
    assert less.interval[1] < 0
    assert more.interval is not None
    assert more.interval[0] > 0
    assert change(slow, slow, "latency_median_ms").verdict == "not significant"


def test_one_session_a_side_cannot_be_told_from_the_machine() -> None:
    (_, slow), (_, fast) = profiled_records("3,3,3"), profiled_records("1,1,1")
    for name in TIMED:
        found = change(slow, fast, name)
        assert (found.verdict, found.significant, found.interval) == ("another session", None, None)
        assert found.difference != 0
    saved = change(slow, fast, "latency_saving_pct")  # each against the baseline of its own session
    assert saved.verdict == "significant"
    assert saved.difference == pytest.approx(saved.new - saved.old)
    with pytest.raises(BenchError, match="another session") as problem:
        regressions(compare([fast], [slow]), [parse_gate("latency_median_ms:1")])
    assert problem.value.exit_code == 3
    assert "--sessions" in (problem.value.hint or "")
    assert regressions(compare([fast], [slow]), [parse_gate("latency_saving_pct:1")])


@pytest.mark.parametrize("name", ["latency_saving_pct", "encoder_latency_saving_pct"])
def test_savings_of_one_session_are_held_against_each_other_by_their_own_rounds(name: str) -> None:
    """The baseline was slowed in most rounds: that says nothing of two models that were not, or were alike."""
    asked = request("3,3,3", "2,2,2", "2,2,2+temp:0.2")
    base, *rest = (measured(spec) for spec in asked.in_turns)
    torn = [3.0 if place % 2 else 1.0 for place in range(len(base.samples.whole_ms))]
    generator = np.random.default_rng(0)
    scattered = [by_round(base, torn), *(by_round(one, generator.normal(1, 0.002, len(torn))) for one in rest)]
    _, threes, twos, twin = profiled_records(found=scattered)
    found = change(threes, twos, name)
    assert found.verdict == "significant"
    assert found.interval is not None
    assert found.difference is not None
    assert found.interval[0] < found.difference < found.interval[1]
    assert (found.difference > 0) == (change(twos, threes, name).difference < 0)  # type: ignore[operator]
    same = change(twos, twin, name)
    assert same.verdict == "not significant"
    assert "--sessions" in same.note
    apart = change(
        profiled_records(found=scattered)[1], twos, name
    )  # each against the torn baseline of its own session
    assert apart.interval is not None
    assert apart.interval[1] - apart.interval[0] > 3 * (found.interval[1] - found.interval[0])


def test_a_saving_of_one_session_is_known_to_3_percent_at_the_best() -> None:
    """Intervals of earlier versions are of rounds alone, and so are the narrowest of their comparisons."""
    (_, one), (_, other) = profiled_records("3,3,3"), profiled_records("3,3,3")
    assert one.profile is not None
    assert one.profile.realised_saving_pct is not None
    value = one.profile.realised_saving_pct.value
    bare = one.profile.realised_saving_pct.model_copy(
        update={"value": value + 2, "interval": (value + 1.9, value + 2.1)}
    )
    older = one.model_copy(update={"profile": one.profile.model_copy(update={"realised_saving_pct": bare})})
    found = change(other, older, "latency_saving_pct")
    assert found.verdict == "not significant"
    assert "--sessions" in found.note


def test_times_of_two_runs_are_net_of_the_baseline() -> None:
    """What a machine does to one sitting it does to both models: of that nothing counts as theirs."""
    (_, slow), (_, fast) = profiled_in_sessions(1.0, 1.01, 0.99), profiled_in_sessions(0.9, 0.91, 0.89)
    for name in TIMED:
        found = change(slow, fast, name)
        assert found.verdict == "not significant"
        assert found.difference == pytest.approx(0, abs=1e-9)
        assert found.baseline_pct == pytest.approx(100 * (found.new / found.old - 1))
    (_, worse) = profiled_in_sessions(
        0.9, 0.91, 0.89, by=1.05
    )  # a slower model on a machine that became faster by more
    lost, less = (change(slow, worse, name) for name in TIMED)
    assert (lost.new, lost.verdict) < (lost.old, "significant")
    assert (lost.difference, less.difference) == (pytest.approx(5), pytest.approx(100 / 1.05 - 100))
    assert lost.interval is not None
    assert lost.interval[0] < 5 < lost.interval[1]
    assert less.baseline_pct == pytest.approx(100 / 0.9 - 100, abs=0.2)
    for gate in ("latency_median_ms:4", "throughput_ips:4"):
        assert regressions(compare([slow], [worse]), [parse_gate(gate)])
        assert not regressions(compare([worse], [slow]), [parse_gate(gate)])
    assert not regressions(compare([slow], [worse]), [parse_gate("latency_median_ms:6")])


def test_times_without_a_baseline_differ_by_more_than_sessions_do() -> None:
    """Sessions in a row share their minutes: however many, a sitting is worth one of them."""
    (slow, _), (fast, _) = profiled_in_sessions(1.0, 1.01, 0.99), profiled_in_sessions(0.9, 0.91, 0.89)
    for name in TIMED:
        found = change(slow, fast, name)
        assert (found.verdict, found.baseline_pct) == ("significant", None)
        assert found.interval is not None
        assert found.difference is not None
        assert found.interval[0] < found.difference < found.interval[1]
    assert change(slow, slow, "latency_median_ms").verdict == "not significant"
    assert change(slow, profiled_in_sessions(0.97, 0.98, 0.96)[0], "latency_median_ms").verdict == "not significant"
    torn, other = profiled_in_sessions(1.0, 1.2, 0.8)[0], profiled_in_sessions(0.9, 1.1, 0.7)[0]
    assert change(torn, other, "latency_median_ms").verdict == "not significant"
    assert regressions(compare([fast], [slow]), [parse_gate("throughput_ips:5")])
    assert not regressions(compare([other], [torn]), [parse_gate("throughput_ips:5")])


def test_images_a_second_of_larger_batches_are_of_images() -> None:
    asked = request("3,3,3")
    found = []
    for batch, by in ((1, 1.0), (4, 0.5)):
        how = execution(batch)
        sessions = [[slowed(measured(spec, how), by * speed) for spec in asked.in_turns] for speed in (1.0, 1.01, 0.99)]
        found.append(merged([list(records(asked, one, MACHINE, None)) for one in sessions]))
    (base, model), (larger, other) = found
    for one, two in ((base, larger), (model, other)):
        times, images = (change(one, two, name) for name in TIMED)
        assert times.new == pytest.approx(2 * times.old)
        assert images.new == pytest.approx(2 * images.old)
    alone = change(base, larger, "throughput_ips")  # whose times nothing is taken off
    assert (alone.difference, alone.verdict) == (pytest.approx(100), "significant")


def test_sessions_on_a_busy_machine_tell_nothing_of_another_run() -> None:
    """Other programs move a saving too: they do not slow a model and its baseline alike."""
    before, after = profiled_in_sessions(1.0, 1.01, 0.99), profiled_in_sessions(0.8, 0.81, 0.79, by=1.05)
    (slow, model), (fast, worse) = before, [crowded(one) for one in after]
    for name in TIMED:
        assert change(slow, after[0], name).verdict == "significant"
        found = change(slow, fast, name)
        assert (found.verdict, found.note) == ("another session", "the machine was busy")
    for name in (*TIMED, "latency_saving_pct", "encoder_latency_saving_pct"):
        assert change(model, after[1], name).verdict == "significant"
        found = change(model, worse, name)
        assert (found.verdict, found.note, found.interval) == ("another session", "the machine was busy", None)
    with pytest.raises(BenchError, match=r"another session \(the machine was busy\)") as problem:
        regressions(
            Comparison((Pair(model, worse, (found,), ("3,3,3", "3,3,3")),), (), (), {}), [parse_gate(f"{name}:1")]
        )
    assert "close other programs" in (problem.value.hint or "")


def test_what_is_measured_once_a_session_needs_sessions_too() -> None:
    (_, one), (_, other) = profiled_records("3,3,3"), profiled_records("3,3,3")
    more = with_peaks(other, 999.0)
    assert change(one, more, "peak_memory_mib").verdict == "another session"
    assert change(with_energy(one, 3.0), with_energy(other, 4.0), "energy_j").verdict == "too few samples"
    (_, few), (_, many) = profiled_in_sessions(1.0, 1.01, 0.99), profiled_in_sessions(1.0, 1.01, 0.99)
    few, torn = with_peaks(few, 500.0, 500.0, 500.0), with_peaks(many, 500.0, 501.0, 501.0)
    assert change(few, torn, "peak_memory_mib").verdict == "not significant"  # a page more or less
    assert change(few, with_peaks(many, 600.0, 601.0, 602.0), "peak_memory_mib").verdict == "significant"


def with_peaks(one: Record, *peaks_mib: float) -> Record:
    """The record as if each of its sessions had found such a peak."""
    assert one.profile is not None
    found = zip(one.profile.sessions, peaks_mib, strict=True)
    changes = {"sessions": tuple(session.model_copy(update={"peak_memory_mib": mib}) for session, mib in found)}
    update = {**changes, "peak_memory_mib": sum(peaks_mib) / len(peaks_mib)}
    return one.model_copy(update={"profile": one.profile.model_copy(update=update)})


def test_all_that_was_found_of_one_schedule_is_held_against_all_of_another() -> None:
    """A swept schedule is counted, timed and evaluated: three records, each with its like."""
    timed = {one.identity.schedule: one for one in profiled_records("3,3,3", "1,1,1") if one.execution}
    old, new = (
        [record(schedule), timed[schedule], evaluated(schedule, pq)]
        for schedule, pq in (("3,3,3", 41.0), ("1,1,1", 40.0))
    )
    found = compare(old, new)
    pairs = {pair.old.digest: pair for pair in found.pairs}  # in the order of tables
    assert [(pairs[one.digest].old, pairs[one.digest].new) for one in old] == list(zip(old, new, strict=True))
    assert len(found.pairs) == len(old)
    assert (found.vanished, found.added) == ((), ())
    partly = compare(old, new[:2])
    assert len(partly.pairs) == 2
    assert partly.vanished == (old[2],)


def test_what_is_in_one_run_alone_is_named() -> None:
    comparison = compare([record("3,3,3"), record("2,2,2")], [record("3,3,3"), record("1,1,1"), record("0,3,3")])
    assert [one.identity.schedule for one in comparison.vanished] == ["2,2,2"]
    assert sorted(one.identity.schedule for one in comparison.added) == ["0,3,3", "1,1,1"]


def test_runs_without_anything_in_common_are_an_error() -> None:
    with pytest.raises(BenchError, match="nothing to compare") as problem:
        compare([record(size="64x64")], [record(size="96x96")])
    assert "--old" in (problem.value.hint or "")


@pytest.mark.parametrize(
    ("gate", "old", "new", "fails"),
    [
        ("encoder_gflops:1", record("2,2,2"), record("3,3,3"), True),
        ("encoder_gflops:50", record("2,2,2"), record("3,3,3"), False),
        ("encoder_gflops:1", record("3,3,3"), record("2,2,2"), False),  # better
        ("encoder_gflops:0", record(), record(), False),
        ("pq:0.2", evaluated(pq=40.3), evaluated(pq=40.0, source="other"), True),
        ("pq:0.4", evaluated(pq=40.3), evaluated(pq=40.0, source="other"), False),
        ("pq:0.2", evaluated(pq=40.3, shift=71), evaluated(pq=40.0, source="other"), False),  # not significant
        ("pq:0.2", evaluated(pq=40.0), evaluated(pq=40.3, source="other"), False),
        ("pq:1", with_accuracy(record(), pq=50.0), with_accuracy(record(), pq=48.0), True),  # no interval
    ],
)
def test_a_gate_stops_what_got_worse_and_is_no_chance(gate: str, old: Record, new: Record, fails: bool) -> None:
    assert bool(regressions(compare([old], [new]), [parse_gate(gate)])) is fails


def test_a_gate_that_could_never_fail_is_an_error() -> None:
    with pytest.raises(BenchError, match="latency_median_ms"):
        regressions(compare([record()], [record()]), [parse_gate("latency_median_ms:1")])


@pytest.mark.parametrize("text", ["pq", "pq:", "pq:x", "pq:-1", "pq:nan", "pq:inf", "speed:1", ":1", ""])
def test_a_gate_that_is_none(text: str) -> None:
    with pytest.raises(BenchError):
        parse_gate(text)


def test_a_schedule_that_goes_by_another_name() -> None:
    old, new = renamed(record(), label="mine"), renamed(record(), label="ours")
    (pair,) = compare([old], [new]).pairs
    assert pair.label_changed
    assert not pair.schedule_changed
    (same,) = compare([old], [renamed(record(), label="3,3,3")]).pairs  # an export has no name but the compact one
    assert not same.label_changed


def test_a_name_that_stands_for_another_schedule() -> None:
    old = [renamed(record("2,2,2"), label="mine"), record("1,1,1")]
    new = [renamed(record("2,3,2"), label="mine"), record("1,2,1"), record("6,3,3")]
    found = compare(old, new)
    (pair,) = found.pairs
    assert pair.schedule_changed
    assert [len(found.vanished), len(found.added)] == [1, 2]


def test_models_of_other_dimensions_are_no_pair_but_where_each_is_alone() -> None:
    small = [renamed(evaluated(name, 30.0), dimensions={"queries": 20}) for name in ("3,3,3", "1,1,1")]
    with pytest.raises(BenchError, match="nothing to compare"):
        compare([evaluated("3,3,3"), evaluated("1,1,1")], small)
    (pair,) = compare([evaluated("3,3,3")], small[:1]).pairs
    assert pair.renamed
    assert pair.names == ("3,3,3 on tiny", "3,3,3 on tiny, 20 queries")
    assert next(one for one in pair.changes if one.metric.name == "pq").significant  # the same images


def test_what_stands_alone_has_a_name_that_no_pair_has() -> None:
    here, there = evaluated("3,3,3"), evaluated("3,3,3", images="d" * 64)
    found = compare([here, there], [here])
    (gone,) = found.vanished
    assert found.names[gone.digest] not in found.pairs[0].names


def test_evaluations_at_other_resolutions_are_no_pair() -> None:
    old = [evaluated("3,3,3", resize="800,1333"), evaluated("1,1,1", resize="800,1333")]
    new = [evaluated("3,3,3", resize="400,1333"), evaluated("1,1,1", resize="400,1333")]
    with pytest.raises(BenchError, match="evaluated alike"):
        compare(old, new)
    found = change(old[0], new[0], "pq")
    assert (found.significant, found.note) == (None, "other resize")
    found = change(by_an_older_version(old[0]), old[0], "pq")
    assert (found.significant, found.note) == (None, "other split, thresholds")


def test_files_of_weights_are_held_against_their_like_and_none_is_lost() -> None:
    old = [evaluated(pq=40.0 + seed, seed=seed, source=f"old{seed}") for seed in (0, 1, 2)]
    new = [evaluated(pq=41.0 + seed, seed=seed, source=f"new{seed}") for seed in (2, 1, 3)]
    found = compare(old, new)
    pairs = [(pair.old.accuracy, pair.new.accuracy) for pair in found.pairs]
    assert sorted((one.pq, other.pq) for one, other in pairs if one and other) == [
        (40.0, 44.0),  # those that remain
        (41.0, 42.0),
        (42.0, 43.0),
    ]
    more = compare([*old, evaluated(pq=1.0, source="x")], new)
    assert (len(more.pairs), len(more.vanished), len(more.added)) == (2, 2, 1)
    same = compare(old, [*reversed(old)])
    assert all(pair.old == pair.new for pair in same.pairs)
    assert [pair.names for pair in same.pairs] == [
        (f"3,3,3 on tiny, old{n}", f"3,3,3 on tiny, old{n}") for n in range(3)
    ]
    assert len(same.pairs) == 3
