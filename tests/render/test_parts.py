"""Parts by their tree: every part has a row and a colour, whatever the family of the model."""

from __future__ import annotations

from types import SimpleNamespace

from proscale_bench.bench.specs import count_flops
from proscale_bench.cost.count import count_model
from proscale_bench.cost.geometry import parse_size
from proscale_bench.cost.rules import RULES
from proscale_bench.render.bars import costs_figure
from proscale_bench.render.flops import headline, tables
from proscale_bench.render.page_data import document
from proscale_bench.render.parts import BLUES, COLORS, GREYS, KNOWN, bar_parts, coarse_first, depth, merged, short_title
from proscale_bench.render.provenance import counting, headlines
from proscale_bench.render.schedules import drawing
from proscale_bench.results.record import Layer, PartRow, Record, usual_tree
from proscale_bench.specs.mask2former import mask2former
from proscale_bench.specs.spelling import parse_encoder
from tests.results.records import record


def part(name: str, of: str | None = "total", title: str = "", quoted: bool = False) -> PartRow:
    return PartRow(name=name, title=title or name, of=of, quoted=quoted)


PYRAMID = (
    part("backbone"),
    part("encoder", title="encoder (pixel decoder)", quoted=True),
    part("encoder_projection", "encoder", "projection"),
    part("encoder_top_down", "encoder", "top-down path"),
    part("encoder_smoothing", "encoder", "smoothing"),
    part("box_decoder", title="box decoder"),
    part("total", "total_with_postprocessing", quoted=True),
    part("postprocessing", "total_with_postprocessing"),
    part("total_with_postprocessing", None, quoted=True),
)


def pyramid() -> Record:
    one = record("3,3,3")
    assert one.cost is not None
    gflops = {"backbone": 8.0, "encoder": 6.0, "encoder_projection": 1.0, "encoder_top_down": 2.0}
    gflops |= {"encoder_smoothing": 3.0, "box_decoder": 4.0, "total": 18.0}
    gflops |= {"postprocessing": 0.0, "total_with_postprocessing": 18.0}
    saved = {"encoder": 90.0, "encoder_token_layers": None, "total": 70.0, "total_with_postprocessing": 70.0}
    own = {"parts": PYRAMID, "gflops": gflops, "layers": (), "reduction_pct": saved}
    cost = one.cost.model_copy(update=own)
    return one.model_copy(
        update={"cost": cost, "identity": one.identity.model_copy(update={"schedule": "pyramid", "label": "pyramid"})}
    )


def over_levels(*counts: int) -> Record:
    """A record with a token layer over each number of levels, from the coarsest on."""
    one = record("3,3,3")
    assert one.cost is not None
    names = [f"res{number}" for number in range(9, 0, -1)]
    layers = tuple(Layer(stage=1, levels=tuple(names[:count]), tokens=10, gflops=float(count)) for count in counts)
    gflops = {**one.cost.gflops, "encoder_token_layers": float(sum(counts))}
    return one.model_copy(update={"cost": one.cost.model_copy(update={"layers": layers, "gflops": gflops})})


def test_a_part_that_one_tree_has_alone_stands_after_the_part_before_it() -> None:
    names = list(merged([usual_tree(), PYRAMID]))
    assert names[:5] == ["backbone", "encoder", "encoder_projection", "encoder_top_down", "encoder_smoothing"]
    assert names[5:10] == [*names[5:8], "box_decoder", "fpn_upsampling"]
    assert names[5:8] == ["encoder_recalibration", "encoder_token_layers", "pixel_embedding"]
    assert len(names) == len({one.name for one in (*usual_tree(), *PYRAMID)})
    assert list(merged([PYRAMID])) == [one.name for one in PYRAMID]


def test_depth_is_counted_from_the_total() -> None:
    tree = merged([PYRAMID])
    depths = {name: depth(name, tree) for name in ("total", "backbone", "encoder_smoothing", "postprocessing")}
    assert depths == {"total": 0, "backbone": 0, "encoder_smoothing": 1, "postprocessing": 0}
    assert short_title(tree["encoder"]) == "encoder"


def test_the_known_parts_look_as_in_every_figure() -> None:
    parts = bar_parts([record("3,3,3")])
    assert [(part.stage, part.color) for part in parts if part.stage] == list(KNOWN.items())
    assert [(part.title, part.color) for part in parts if not part.stage] == [
        ("token layers over 1 level", BLUES[0]),
        ("token layers over 2 levels", BLUES[1]),
        ("token layers over 3 levels", BLUES[2]),
    ]


def test_parts_of_another_family_have_colours_by_their_role() -> None:
    parts = bar_parts([pyramid()])
    assert [(part.title, part.color) for part in parts] == [
        ("backbone", KNOWN["backbone"]),
        ("box decoder", GREYS[0]),
        ("projection", KNOWN["encoder_projection"]),
        ("top-down path", COLORS[0]),
        ("smoothing", COLORS[1]),
    ]


def test_the_pieces_of_a_bar_add_up_to_the_total() -> None:
    records = [record("3,3,3"), record("baseline"), pyramid()]
    parts = bar_parts(records)
    for one in records:
        assert one.cost is not None
        assert abs(sum(part.gflops(one.cost) for part in parts) - one.cost.gflops["total"]) < 1e-9
    assert len({part.color for part in parts}) == len(parts)


def test_token_layers_over_any_number_of_levels_have_a_name() -> None:
    found = over_levels(1, 4, 4, 7)
    titles = [part.title for part in bar_parts([found]) if not part.stage]
    assert titles == [f"token layers over {words}" for words in ("1 level", "4 levels", "7 levels")]
    page = document([found], ["total_gflops"], "pq")
    assert page.parts[-4:-1] == titles
    assert page.views[0].rows[0].gflops[-3:] == [1.0, 8.0, 7.0]
    costs_figure([found])


def test_levels_come_few_before_many_and_coarse_before_fine() -> None:
    seen = [("res5", "res4"), ("res3",), ("res6",), ("res5",), ("res6", "res5", "res4", "res3")]
    assert sorted(seen, key=coarse_first) == [("res6",), ("res5",), ("res3",), ("res5", "res4"), seen[-1]]


def test_sentences_name_the_parts_that_there_are() -> None:
    assert (
        "The encoder is the whole pixel decoder: projection, top-down path and smoothing." in counting([pyramid()])[2]
    )
    one = pyramid()
    as_headline = one.model_copy(update={"identity": one.identity.model_copy(update={"schedule": "3,3,3"})})
    (words,) = headlines([as_headline])
    assert ": encoder −90.00%, total −70.00% at " in words


def test_the_drawing_has_a_line_for_every_level_that_a_layer_sees() -> None:
    levels = ("res5", "res4", "res3", "res2")
    layer = SimpleNamespace(stage=1, levels=levels, tokens=85, gflops=1.0, reads=None, keep=1.0, keeps_of_all=False)
    tokens = {"res2": 64, "res3": 16, "res4": 4, "res5": 1}
    rows = drawing(SimpleNamespace(layers=[layer] * 2, level_tokens=tokens)).rows  # type: ignore[arg-type]
    assert [row.label for row in rows[:4]] == ["res5  1/32", "res4  1/16", "res3  1/8", "res2  1/4"]
    assert [row.cells for row in rows[3:5]] == [("■ ■", "64"), ("85", "")]


def test_the_drawing_tells_levels_that_are_read_from_those_that_are_refined() -> None:
    def drawn(spelling: str, plain: bool = False) -> list[tuple[str, ...]]:
        spec = mask2former(parse_encoder(spelling), "tiny")
        return [row.cells for row in drawing(count_model(spec, parse_size("64x64"), RULES["fvcore"]), plain).rows]

    refined, _, fine, tokens, gflops = drawn("lite:(2+1)x2")
    assert refined == ("■ ■", "■ ■", "4")
    assert fine == ("□ ■", "□ ■", "64")
    assert tokens == ("20 / 84", "20 / 84", "")
    assert gflops[0].count(" / ") == 1
    assert drawn("lite:(30+1)x1", plain=True)[2] == ("o x 29 # x 1", "64")
    assert drawn("3,3,3")[0] == ("■ ■ ■", "■ ■ ■", "■ ■ ■", "4")


def test_a_model_without_a_baseline_saves_nothing() -> None:
    count = SimpleNamespace(baseline=None, variant="custom", gflops={"total": 12.5})
    assert headline(count) == "custom: 12.50 GFLOPs in all."  # type: ignore[arg-type]


def test_no_number_is_cut_in_a_narrow_terminal() -> None:
    """A schedule that has no room beside the others is in a table of its own, beside the baseline again."""
    spellings = ("lite:(2+1)x3+kda", "hybrid+folded", "3,3,3", "pem")
    counts = [count_flops(spelling, "tiny", "64x96") for spelling in spellings]
    narrow, wide = tables(counts, columns=80), tables(counts)
    assert all(table.width <= 80 for table in narrow)
    assert [len(found) for found in (narrow, wide)] == [4, 1]
    assert [table.header[1] for table in narrow] == ["baseline"] * 4
