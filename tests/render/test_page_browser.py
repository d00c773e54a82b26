"""The page in a real browser: what a reader can do with it, and what it must never do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from proscale_bench.analysis.pareto import frontier
from proscale_bench.render.page import page as render
from proscale_bench.results.metrics import METRICS
from proscale_bench.results.record import Record
from tests.analysis.test_views import counted, judged, lost, seeds, timed
from tests.browser import DESKTOP, PHONE, Heard, chromium, opened
from tests.results.evaluations import evaluated
from tests.results.many import HOSTILE, evaluation, many, with_interval
from tests.results.records import paper, record, renamed, with_accuracy, without_accuracy
from tests.sweeps.profiles import profiled_records, with_energy

COSTS = ("total_gflops", "encoder_gflops", "latency_median_ms", "peak_memory_mib", "params_m", "energy_j")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Four runs: 200 made-up configurations, the paper's, one of three trainings, and one with hostile names."""
    base, new = profiled_records("3,3,3")
    bad = renamed(new, backbone=HOSTILE, label=HOSTILE)
    worth = with_accuracy(bad, "published", pq=50.0).model_copy()
    assert worth.accuracy is not None
    noted = worth.model_copy(
        update={"accuracy": worth.accuracy.model_copy(update={"note": HOSTILE, "source": HOSTILE})}
    )
    runs = {"many": many(), "paper": paper(), "hostile": (base, noted, evaluation(new, 40.0, 1.0)), "seeds": trained()}
    later = new.model_copy(update={"profile": new.profile and new.profile.model_copy(update={"session": "later"})})
    worse = with_interval(evaluation(base, 60.5, 1.0, dataset="mine"), 47.4, 81.5)
    runs["apart"] = (*map(without_accuracy, (base, later)), worse, evaluation(new, 40.0, 1.0))
    folder = tmp_path_factory.mktemp("pages")
    for name, records in runs.items():
        (folder / f"{name}.html").write_text(render(records), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in runs}


def trained() -> list[Record]:
    """Three trainings of three schedules, timed with their energy; one is published too, and one evaluation failed."""
    times = [with_energy(one, 2.0 + n) for n, one in enumerate(timed())]
    published = with_accuracy(counted()[0], "published", pq=43.0)
    assert published.accuracy is not None
    beside = published.model_copy(update={"accuracy": published.accuracy.model_copy(update={"dataset": "val"})})
    broken = lost(judged()[2], schedule="2,2,2", label="2,2,2")
    return [beside, *counted()[1:], *times, *seeds(40.0, 41.0, 40.6), broken]


@dataclass
class Opened:
    page: Any
    heard: Heard

    def texts(self, selector: str) -> list[str]:
        found: list[str] = self.page.locator(selector).all_inner_texts()
        return [text.strip() for text in found]

    def column(self, name: str) -> list[str]:
        place = self.heads().index(name) + 1
        return self.texts(f"#table tbody tr > :nth-child({place})")

    def heads(self) -> list[str]:
        return [" ".join(text.split()).rstrip(" ▴▾") for text in self.texts("#table thead th")]

    def run(self, script: str) -> Any:
        return self.page.evaluate(script)


@pytest.fixture
def paper_page(browser: Any, files: dict[str, Path]) -> Iterator[Opened]:
    yield from _opened(browser, files["paper"], DESKTOP)


@pytest.fixture
def many_page(browser: Any, files: dict[str, Path]) -> Iterator[Opened]:
    yield from _opened(browser, files["many"], DESKTOP)


def _opened(browser: Any, path: Path, context: dict[str, Any]) -> Iterator[Opened]:
    page, heard = opened(browser, path, **context)
    yield Opened(page, heard)
    page.context.close()
    assert heard.nothing(), heard  # no error, no request to anywhere, whatever was done


def test_axes_switch_and_the_frontier_is_the_one_we_count(many_page: Opened) -> None:
    records = [one for one in many() if not one.is_evaluated]
    worths = {(one.identity.backbone, one.identity.schedule): one for one in many() if one.is_evaluated}
    best = "[...document.querySelectorAll('.mark.best')].map(m => m.getAttribute('aria-label').split(' on ')[0])"
    for x, y in [*((x, "pq") for x in COSTS), ("energy_j", "ap"), ("energy_j", "miou")]:
        for axis, name in (("#x", x), ("#y", y)):
            if many_page.page.locator(axis).input_value() != name:
                many_page.page.locator(axis).select_option(name)
        pairs = [
            (METRICS[x].read(one), METRICS[y].read(worths[one.identity.backbone, one.identity.schedule]))
            for one in records
        ]
        expected = sorted(records[index].identity.schedule for index in frontier(pairs))
        assert sorted(many_page.run(best)) == expected, (x, y)
        assert METRICS[x].title in many_page.page.locator("#plot svg").text_content()


def test_a_logarithmic_axis(many_page: Opened) -> None:
    many_page.page.locator("#x").select_option("latency_median_ms")
    ticks = (
        "[...document.querySelectorAll('#plot .tick[text-anchor=middle]')]"
        ".map(t => [+t.getAttribute('x'), +t.textContent])"
    )
    many_page.page.locator("#x-log").check()
    assert "latency, median, ms (log)" in many_page.page.locator("#plot svg").text_content()
    places = many_page.run(ticks)
    assert len(places) >= 3
    (x0, v0), (x1, v1), (x2, v2) = places[0], places[1], places[-1]
    assert (x1 - x0) / (x2 - x0) == pytest.approx(math.log(v1 / v0) / math.log(v2 / v0), abs=1e-6)


def test_hovering_tells_everything(many_page: Opened) -> None:
    mark = many_page.page.locator(".mark.best").first
    mark.hover()
    tip = many_page.page.get_by_role("tooltip")
    text = tip.inner_text()
    for words in (
        *("encoder GFLOPs", "latency, median, ms", "peak memory of a pass, MiB", "energy of an image, J", "PQ, %"),
        *("encoder, time", "shapes-val", "official code", "a CPU, fp32, batch 1", "latency, p90 / p95 / p99"),
    ):
        assert words in text
    box, window = tip.bounding_box(), many_page.run("[innerWidth, innerHeight]")
    assert box["x"] >= 0
    assert box["y"] >= 0
    assert box["x"] + box["width"] <= window[0]
    assert box["y"] + box["height"] <= window[1]
    assert many_page.run("tip.scrollHeight <= tip.clientHeight")  # nothing of it is cut off
    many_page.page.keyboard.press("Escape")
    assert tip.is_hidden()


def test_several_trainings_are_one_point(browser: Any, files: dict[str, Path]) -> None:
    page, heard = opened(browser, files["seeds"], **DESKTOP)
    shown = Opened(page, heard)
    assert page.locator(".mark.measured").count() == 3
    assert page.locator(".mark.published").count() == 1
    assert page.locator(".interval").count() >= 3
    names = [name.partition("\n")[0] for name in shown.column("schedule")]
    assert names == ["baseline", "baseline", "1,1,1", "2,2,2", "3,3,3"]
    cells = shown.texts("#table tbody td")
    assert (cells.count("published"), cells.count("measured, mean of seeds 0, 1, 2")) == (1, 3)
    page.locator(".mark.measured").first.hover()
    tip = page.get_by_role("tooltip").inner_text()
    for words in ("mean of seeds 0, 1, 2", "seed 0", "seed 2", "of the mean, over images and over trainings"):
        assert words in tip
    assert "mean of seeds 0, 1, 2" in page.locator(".mark.measured").first.get_attribute("aria-label")
    assert "failed: out of memory" in page.locator("#table").inner_text()
    page.locator("#x").select_option("energy_j")
    assert "energy of an image, J" in page.locator("#plot svg").text_content()
    assert page.locator(".mark.measured").count() == 3
    page.context.close()
    assert heard.nothing(), heard


def test_two_are_pinned_and_compared(paper_page: Opened) -> None:
    marks = paper_page.page.locator(".mark.best")
    marks.nth(0).click()
    assert paper_page.texts("#aside h3") == ["Pinned"]
    marks.nth(2).click()
    assert paper_page.texts("#aside h3") == ["Side by side"]
    aside = paper_page.page.locator("#aside").inner_text()
    for words in ("162.29", "231.74", "+42.79%", "+1.76 points"):
        assert words in aside
    assert paper_page.texts("#said") == ["Comparing 3,3,3 on ResNet-50 with baseline on Swin-T"]
    assert paper_page.page.locator(".mark[aria-pressed=true]").count() == 2
    paper_page.page.get_by_role("button", name="Unpin 3,3,3 on ResNet-50").click()
    assert paper_page.texts("#aside h3") == ["Pinned"]


def test_no_name_is_struck_through_by_an_interval(browser: Any) -> None:
    path = Path(__file__).parents[2] / "reports" / "cpu" / "index.html"
    for opened_page in _opened(browser, path, DESKTOP):
        opened_page.page.locator("#x").select_option("latency_median_ms")
        assert opened_page.page.locator("line.interval").count() > 1
        struck = """[...document.querySelectorAll('text.label')].filter(name => {
            const box = name.getBoundingClientRect();
            return [...document.querySelectorAll('line.interval')].some(line => {
                const other = line.getBoundingClientRect();
                const across = box.left < other.right && other.left < box.right;
                return across && box.top < other.bottom && other.top < box.bottom;
            });
        }).map(name => name.textContent)"""
        assert opened_page.run(struck) == []


def test_what_was_found_apart_is_said_to_be_and_neither_better_nor_worse(browser: Any, files: dict[str, Path]) -> None:
    page, heard = opened(browser, files["apart"], **DESKTOP)
    for pin in ("baseline", "3,3,3"):
        page.locator("#table").get_by_role("button", name=pin).first.click()
    changes = [one.strip() for one in page.locator("#aside .change").all_text_contents()]
    assert "−20.50 points, other data" in changes
    assert [one for one in changes if one.startswith("−16.4") and one.endswith("%, another session")]
    assert not page.locator("#aside .change.better", has_text="session").count()
    assert "60.50 [47.40, 81.50]" in page.locator("#table").inner_text().replace("\n", " ")
    page.context.close()
    assert heard.nothing(), heard


def test_what_may_be_chance_is_neither_better_nor_worse(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "index.html"
    alike = [evaluated("baseline", 40.0), evaluated("2,2,2", 40.1, shift=71), evaluated("1,1,1", 30.0)]
    path.write_text(render(alike), encoding="utf-8")
    opened_page, heard = opened(browser, path, **DESKTOP)
    shown = opened_page.locator("#aside .change")
    for pin, words, kind in (
        ("2,2,2", "+0.10 points, not significant", "apart"),
        ("1,1,1", "−10.00 points", "worse"),
    ):
        for name in ("baseline", pin):
            opened_page.locator("#table").get_by_role("button", name=name).first.click()
        assert words in {one.strip() for one in shown.all_text_contents()}
        assert opened_page.locator(f"#aside .change.{kind}", has_text=words.split()[0]).count()
        for name in ("baseline", pin):
            opened_page.locator("#table").get_by_role("button", name=name).first.click()
    opened_page.context.close()
    assert heard.nothing(), heard


def test_a_keyboard_is_enough(paper_page: Opened) -> None:
    page = paper_page.page
    assert page.locator(".mark[tabindex='0']").count() == 1
    page.locator("#y-log").focus()
    while not page.evaluate("document.activeElement.classList.contains('mark')"):
        page.keyboard.press("Tab")
    first = page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("ArrowRight")
    second = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert first != second
    assert page.get_by_role("tooltip").is_visible()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == second
    page.keyboard.press("Escape")
    assert page.get_by_role("tooltip").is_hidden()


def test_the_table_sorts_up_down_and_back(paper_page: Opened) -> None:
    button = paper_page.page.locator("[data-sort=encoder_gflops]")
    before = paper_page.column("encoder GFLOPs")
    for order, expected in (
        ("ascending", sorted(before, key=float)),
        ("descending", sorted(before, key=float, reverse=True)),
        ("none", before),
    ):
        button.click()
        assert paper_page.page.locator("th:has([data-sort=encoder_gflops])").get_attribute("aria-sort") == order
        assert paper_page.column("encoder GFLOPs") == expected
        assert paper_page.run("document.activeElement.dataset.sort") == "encoder_gflops"


def test_what_is_not_known_comes_last_either_way(paper_page: Opened) -> None:
    for _ in range(2):
        paper_page.page.locator("[data-sort=pq]").click()
        found = paper_page.column("PQ %")
        assert "" not in found[:4]
        assert set(found[4:]) == {""}


def test_the_table_filters_and_figures_follow(paper_page: Opened) -> None:
    paper_page.page.locator("#filter").fill("swin conv")
    assert paper_page.texts("#count") == ["1 of 18 rows"]
    assert paper_page.column("schedule") == ["3,3,3+conv"]
    assert paper_page.page.locator("#bars .stack").count() == 1
    paper_page.page.locator("#filter").fill("no such thing")
    assert paper_page.texts("#table tbody") == ["Nothing matches the filter."]
    paper_page.page.locator("#filter").fill("")
    paper_page.page.get_by_role("checkbox", name="Swin-T").uncheck()
    assert set(paper_page.column("backbone")) == {"ResNet-50"}


def test_the_table_has_what_the_records_say(paper_page: Opened) -> None:
    one = next(r for r in paper() if (r.identity.backbone, r.identity.schedule) == ("swin_t", "3,3,3") and r.cost)
    assert one.cost is not None
    cells = paper_page.texts("#table tbody tr:nth-child(15) > *")
    assert cells[0].startswith("3,3,3")
    assert cells[1] == "Swin-T"
    assert f"{one.cost.gflops['encoder']:.2f}" in cells
    assert "−51.74%" in cells
    assert "52.88" in cells


def test_bars_are_as_long_as_their_parts(many_page: Opened) -> None:
    assert many_page.page.locator("#bars .stack").count() == 24
    many_page.page.get_by_role("button", name="Show all 199").click()
    assert many_page.page.locator("#bars .stack").count() == 199  # one has failed
    widths = many_page.run(
        "[...document.querySelector('#bars .stack').querySelectorAll('rect')].map(r => +r.getAttribute('width'))"
    )
    cost = many()[0].cost
    assert cost is not None
    assert max(widths) / sum(widths) == pytest.approx(
        cost.gflops["encoder_token_layers"] / cost.gflops["total"], abs=0.02
    )
    many_page.page.get_by_label("milliseconds").check()
    assert "milliseconds of a batch" in many_page.page.locator("#bars").text_content()


def test_counted_stands_against_realised(many_page: Opened) -> None:
    label = many_page.page.locator("#savings .saving").first.get_attribute("aria-label")
    assert label.startswith("1,1,1 on ResNet-50: counted −43.28%, time −34.0% [")
    many_page.page.get_by_label("Saving of").select_option("1")
    label = many_page.page.locator("#savings .saving").first.get_attribute("aria-label")
    assert label.startswith("1,1,1 on ResNet-50: counted −77.64%, time −60.9% [")


def test_the_theme_is_the_readers(browser: Any, files: dict[str, Path]) -> None:
    paper_color = "getComputedStyle(document.body).backgroundColor"
    for scheme, color, other in (
        ("light", "rgb(255, 255, 255)", "rgb(20, 23, 26)"),
        ("dark", "rgb(20, 23, 26)", "rgb(255, 255, 255)"),
    ):
        page, heard = opened(browser, files["paper"], color_scheme=scheme, **DESKTOP)
        assert page.evaluate(paper_color) == color
        page.locator("#theme").click()
        assert page.evaluate(paper_color) == other
        page.reload()
        assert page.evaluate(paper_color) == other  # kept
        page.context.close()
        assert [url for url in heard.requests if not url.startswith("file:")] == heard.errors == []


def test_names_stay_text(browser: Any, files: dict[str, Path]) -> None:
    page, heard = opened(browser, files["hostile"], **DESKTOP)
    page.locator(".mark.measured, .mark.published").and_(page.locator("[aria-label*=alert]")).first.hover()
    assert HOSTILE in page.locator("#table").inner_text()
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2
    assert HOSTILE in page.get_by_role("tooltip").text_content()
    page.context.close()
    assert heard.nothing(), heard


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", ["many", "paper", "seeds"])
def test_all_can_be_read(browser: Any, files: dict[str, Path], screen: dict[str, Any], name: str) -> None:
    page, heard = opened(browser, files[name], **screen)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    marks = "[...document.querySelectorAll('#plot .mark')].map(m => m.getBoundingClientRect())"
    for x in ("total_gflops", "params_m"):
        page.locator("#x").select_option(x)
        labels = boxes(page, "#plot .label")
        assert labels
        assert not [pair for pair in combinations(labels, 2) if overlap(*pair)]
        centres = [
            (b["x"] + b["width"] / 2, b["y"] + b["height"] / 2) for b in page.evaluate(f"{marks}.map(b => b.toJSON())")
        ]
        assert not [1 for box in labels for point in centres if holds(box, point)]
        for selector in ("#plot .tick", "#bars .tick", "#bars .name"):
            assert not [pair for pair in combinations(boxes(page, selector), 2) if overlap(*pair)], selector
    smallest = (
        "Math.min(...[...document.querySelectorAll('svg text')].map(t => parseFloat(getComputedStyle(t).fontSize)))"
    )
    assert page.evaluate(smallest) >= 11
    for box in boxes(page, "svg text"):
        assert box[0] >= 0
        assert box[2] <= screen["viewport"]["width"]
    if screen is PHONE:
        assert all(bottom - top >= 44 for _, top, _, bottom in boxes(page, "button, select, input[type=search], .chip"))
    page.context.close()
    assert heard.nothing(), heard


def test_paper_has_all_of_it_and_no_controls(paper_page: Opened) -> None:
    paper_page.page.emulate_media(media="print")
    assert paper_page.page.locator("#filter").is_hidden()
    assert paper_page.page.locator("#theme").is_hidden()
    assert paper_page.run("getComputedStyle(document.querySelector('.scroll')).maxHeight") == "none"
    assert paper_page.page.pdf(format="A4").startswith(b"%PDF")


def test_nothing_to_show_is_said(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "index.html"
    file.write_text(render([record("3,3,3").model_copy(update={"accuracy": None})]), encoding="utf-8")
    page, heard = opened(browser, file, **DESKTOP)
    assert "No configuration here has both total and PQ." in " ".join(page.locator("#plot .empty").all_text_contents())
    assert "Nothing here was timed" in page.locator("#savings").inner_text()
    page.context.close()
    assert heard.nothing(), heard


def boxes(page: Any, selector: str) -> list[tuple[float, float, float, float]]:
    """(left, top, right, bottom) of what is seen."""
    script = (
        "(selector) => [...document.querySelectorAll(selector)].map(e => e.getBoundingClientRect())"
        ".filter(b => b.width && b.height).map(b => [b.left, b.top, b.right, b.bottom])"
    )
    return [tuple(box) for box in page.evaluate(script, selector)]


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """By more than a pixel: a line's box has room over its letters."""
    return min(a[2], b[2]) - max(a[0], b[0]) > 1 and min(a[3], b[3]) - max(a[1], b[1]) > 1


def holds(box: tuple[float, ...], point: tuple[float, float]) -> bool:
    return box[0] < point[0] < box[2] and box[1] < point[1] < box[3]
