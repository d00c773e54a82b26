"""Schedules: two spellings of one schedule are equal, and every schedule has one canonical spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proscale_bench.config.schedule_file import ScheduleFile, dump_schedule, read_schedule_file
from proscale_bench.errors import BenchError
from proscale_bench.specs.encoders.staged import PREFIXES, Schedule, Stage, baseline, parse_compact
from proscale_bench.specs.levels import LEVELS, TOKEN_LEVELS
from proscale_bench.specs.terms import Kept, Tokens, decimal_ratio, kept_number

LAYERS = st.integers(0, 20)


@st.composite
def nested_stages(draw: st.DrawFn) -> tuple[Stage, ...]:
    """Any number of stages over any nested levels, in any order within a stage, 0 layers included."""
    levels = draw(st.sampled_from([LEVELS, TOKEN_LEVELS]))
    seen: set[str] = set()
    stages = []
    for _ in range(draw(st.integers(1, 5))):
        seen |= draw(st.sets(st.sampled_from(levels), min_size=0 if seen else 1))
        stages.append(Stage(tuple(draw(st.permutations(sorted(seen)))), draw(LAYERS)))
    return tuple(stages)


schedules = st.builds(
    Schedule,
    stages=nested_stages(),
    recalibration=st.sampled_from(["none", "linear", "conv"]),
    recalibration_layout=st.sampled_from(["official", "spatial"]),
    recalibration_temperature=st.floats(0, exclude_min=True, allow_infinity=False),
    pixel_embedding=st.sampled_from(["maxpool", "conv", "depthwise"]),
    residual=st.booleans(),
    keep=st.just(1.0) | st.floats(0, 1, exclude_min=True),
)


@given(schedules)
def test_compact_spelling_round_trips(schedule: Schedule) -> None:
    again = parse_compact(schedule.compact)
    assert again == schedule
    assert hash(again) == hash(schedule)
    assert again.compact == schedule.compact


@given(schedules)
def test_canonical_form_is_a_fixed_point_and_keeps_the_layers(schedule: Schedule) -> None:
    again = Schedule(
        schedule.stages,
        schedule.recalibration,
        schedule.recalibration_layout,
        schedule.recalibration_temperature,
        schedule.pixel_embedding,
        schedule.residual,
        schedule.keep,
    )
    assert again.stages == schedule.stages
    assert [layer.levels for layer in again.layers] == [layer.levels for layer in schedule.layers]


@given(nested_stages())
def test_canonical_stages_run_the_same_layers_in_the_same_order(stages: tuple[Stage, ...]) -> None:
    def layers(stages: tuple[Stage, ...]) -> list[frozenset[str]]:
        return [frozenset(stage.levels) for stage in stages for _ in range(stage.layers)]

    assert layers(Schedule(stages).stages) == layers(stages)


@given(schedule=schedules)
def test_schedule_file_round_trips(schedule: Schedule, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("schedule") / "x.yaml"
    path.write_text(dump_schedule(schedule, "x", "what it is"))
    again, description = read_schedule_file(path)
    assert again == schedule
    assert (again.name, description) == ("x", "what it is")


@pytest.mark.parametrize(
    ("spelling", "canonical"),
    [
        ("0,0,6+conv+trc:none", "baseline"),
        ("baseline:6", "baseline"),
        ("baseline+conv", "baseline"),
        ("0,0,4+trc:none+conv", "baseline:4"),
        ("543:2,543:4+conv+trc:none", "baseline"),
        ("baseline+maxpool", "0,0,6+trc:none"),
        ("baseline+trc:linear", "0,0,6+conv"),
        ("3,3,3+maxpool+trc:linear+temp:0.1", "3,3,3"),
        ("5:3,54:3,543:3", "3,3,3"),
        ("345:3", "0,0,3"),
        ("5:3", "3,0,0"),
        ("6:2,65:2,654:1,6543:1", "2,2,1,1"),
        ("6:0,65:0,654:0,6543:0", "0,0,0"),
        ("0,0,0,0", "0,0,0"),
        ("0,0,0,6+conv+trc:none", "0,0,0,6+conv+trc:none"),
        ("6543:2", "0,0,0,2"),
        ("6:1,6543:1", "1,0,0,1"),
        ("64:1,6543:2", "64:1,6543:2"),
        ("5:2,54:2,5432:1", "5:2,54:2,5432:1"),
        ("5:3,54:3,543:3,2543:0", "3,3,3"),
        ("2:1,65432:1", "2:1,65432:1"),
        ("4:2,543:4", "4:2,543:4"),
        ("4:2,45:0,543:4", "4:2,543:4"),
        ("3,3,3+trc:none+temp:1.0+spatial", "3,3,3+trc:none"),
        ("0,0,3+residual", "0,0,3"),
        ("3,3,3+residual+spatial+conv+temp:1", "3,3,3+conv+spatial+residual+temp:1.0"),
        ("3,3,3+keep:1", "3,3,3"),
        ("3,3,3+keep:1.0+dw", "3,3,3+dw"),
        ("3,3,3+keep:0.50", "3,3,3+keep:0.5"),
        ("3,3,3+keep:5e-1+temp:1", "3,3,3+temp:1.0+keep:0.5"),
        ("3,3,0+keep:0.5", "3,3,0"),
        ("53:2+keep:0.5", "53:2"),
        ("0,0,0,1+keep:0.25", "0,0,0,1+keep:0.25"),
        ("baseline+keep:0.5", "0,0,6+conv+trc:none+keep:0.5"),
        ("baseline+keep:1", "baseline"),
        ("3,3,3+spatial+dw", "3,3,3+dw+spatial"),
        ("baseline+dw", "0,0,6+dw+trc:none"),
        (" 3,3,3 ", "3,3,3"),
        ("03,3,3", "3,3,3"),
    ],
)
def test_two_spellings_of_one_schedule_are_equal(spelling: str, canonical: str) -> None:
    assert parse_compact(spelling).compact == canonical
    assert parse_compact(spelling) == parse_compact(canonical)


def test_levels_are_those_of_the_decoder_and_those_that_a_layer_sees() -> None:
    found = {text: parse_compact(text).levels for text in ("3,3,3", "4:1", "2,2,1,1", "5:1,52:1", "6:1,65432:1")}
    assert found == {
        "3,3,3": LEVELS,
        "4:1": LEVELS,
        "2,2,1,1": ("res6", *LEVELS),
        "5:1,52:1": (*LEVELS, "res2"),
        "6:1,65432:1": TOKEN_LEVELS,
    }


def test_the_baseline_is_mask2formers_pixel_decoder() -> None:
    assert baseline().encoder == "mask2former"
    assert [stage.layers for stage in baseline().stages] == [0, 0, 6]
    assert parse_compact("3,3,3").encoder == "proscale"
    assert baseline() == parse_compact("baseline")


@pytest.mark.parametrize("share", [0, 0.0, -0.5, 1.5, True, float("nan"), "0.5"])
def test_a_share_is_above_0_and_at_most_1(share: float) -> None:
    with pytest.raises(BenchError, match="share above 0"):
        Schedule((Stage(LEVELS, 1),), keep=share)


@given(st.integers(0, 100_000), st.integers(1, 1_000))
def test_a_share_is_kept_to_the_token(tokens: int, thousandths: int) -> None:
    assert kept_number(tokens, *decimal_ratio(thousandths / 1000)) == -(-tokens * thousandths // 1000)


def test_full_layers_refine_the_share_and_the_others_all() -> None:
    layers = parse_compact("1,1,1,2+keep:0.5").layers
    assert [layer.keep for layer in layers] == [1, 1, 1, 0.5, 0.5]
    assert layers[-1].tokens == (Tokens(64), Tokens(32), Tokens(16), Kept(Tokens(8), 0.5))
    assert {layer.keep for layer in parse_compact("53:1,543:0,5432:1+keep:0.5").layers} == {1, 0.5}


def test_a_name_is_not_part_of_a_schedules_identity() -> None:
    stages = (Stage(PREFIXES[0], 1),)
    assert Schedule(stages, name="a") == Schedule(stages, name="b")


@pytest.mark.parametrize(
    ("spelling", "said", "hint"),
    [
        ("3,3", "not three numbers", "over res5, over res5+res4"),
        ("3,3,3,3,3", "not three numbers", "over res5"),
        ("7:1", "unknown schedule", "a schedule is"),
        ("66:1", "different ones of res6, res5, res4, res3, res2", None),
        ("3,-1,3", "unknown schedule", "baseline:4"),
        ("3_3_3", "unknown schedule", "a schedule is"),
        ("basline", "unknown schedule", "'baseline'"),
        ("3,3,101", "101 layers over", None),
        ("3,3,3+convv", "'+convv'", "'conv'"),
        ("3,3,3+", "unknown option '+'", "a schedule is"),
        ("3,3,3+trc", "unknown option '+trc'", None),
        ("3,3,3+trc:cnov", "unknown option", "'trc:conv'"),
        ("3,3,3+conv+maxpool", "twice", "once"),
        ("3,3,3+conv+dw", "twice", "once"),
        ("3,3,3+temp:hot", "'hot' is not a positive number", "0.1"),
        ("3,3,3+temp:1_0", "is not a positive number", "0.1"),
        ("٣,٣,٣", "unknown schedule", None),
        ("5:100,5:100", "stage 2: 200 layers over res5, more than 100", None),
        ("3,3,3+keep:0", "0 is not a share above 0 and up to 1", "a schedule is"),
        ("3,3,3+keep:0.0", "is not a share", "+keep:0.5"),
        ("3,3,3+keep:2", "2 is not a share above 0 and up to 1", "a schedule is"),
        ("3,3,3+keep:1.0001", "is not a share", "a schedule is"),
        ("3,3,3+keep:abc", "'abc' is not a positive number", "+keep:0.5'; a schedule is"),
        ("3,3,3+keep:-0.5", "not a positive number", "a schedule is"),
        ("3,3,3+keep", "unknown option '+keep'", "'keep:0.5'"),
        ("3,3,3+keep:", "not a positive number", "a schedule is"),
        ("3,3,3+keep:0.5+keep:0.5", "twice", "once"),
        ("0,0,0+keep:2", "is not a share", None),
        ("3,3,3+temp:nan", "not a positive number", "0.1"),
        ("3,3,3+temp:0", "not a positive number", "0.1"),
        ("3,3,3+temp:inf", "not a positive number", "0.1"),
        ("543:2,5:2", "do not contain", "nested"),
        ("55:2", "different ones", None),
        ("", "unknown schedule", "a schedule is"),
        ("3,3,3\n+conv\0", "unknown schedule", None),
    ],
)
def test_bad_spellings_are_refused_with_a_hint(spelling: str, said: str, hint: str | None) -> None:
    with pytest.raises(BenchError) as caught:
        parse_compact(spelling)
    assert said in caught.value.message
    assert hint is None or hint in (caught.value.hint or "")


def test_the_example_of_the_schedule_files_docstring_is_valid(tmp_path_factory: pytest.TempPathFactory) -> None:
    from textwrap import dedent

    from proscale_bench.config import schedule_file

    path = tmp_path_factory.mktemp("docs") / "x.yaml"
    path.write_text(dedent("\n".join((schedule_file.__doc__ or "").splitlines()[2:])))
    assert read_schedule_file(path)[0].compact == "3,3,3"
    assert set(ScheduleFile.model_fields) >= {"stages", "encoder"}
