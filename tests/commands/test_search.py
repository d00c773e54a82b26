"""`schedules search`."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from proscale_bench.bench.search import CACHE
from proscale_bench.bench.specs import count_flops
from proscale_bench.config.schedule_file import read_schedule_file
from tests.cli import run

ALL = ("schedules", "search", "--backbone", "tiny", "--size", "64x96", "--max-layers", "5")
SEARCH = (*ALL, "--families", "staged")


def rows(*flags: str) -> list[dict[str, Any]]:
    result = run(*SEARCH, *flags, "--export-json", "-")
    assert result.exit_code == 0, result.stderr
    found: list[dict[str, Any]] = json.loads(result.stdout)["results"]
    return found


@pytest.mark.parametrize(
    ("flags", "key", "most"),
    [
        (("--saving", "30"), "total", None),
        (("--max-total-gflops", "0.1"), "total", 0.1),
        (("--max-encoder-gflops", "0.05"), "encoder", 0.05),
    ],
)
def test_the_rows_keep_to_the_limit_and_none_beats_another(
    flags: tuple[str, ...], key: str, most: float | None
) -> None:
    found = rows(*flags)
    baseline = count_flops("baseline", "tiny", "64x96").gflops[key]
    for row in found:
        assert row["gflops"][key] <= (most or 0.7 * baseline)
        assert row["gflops"] == count_flops(row["schedule"], "tiny", "64x96").gflops
    costs, capacities = ([row[of] if of in row else row["gflops"][key] for row in found] for of in ("", "capacity_pct"))
    assert costs == sorted(costs, reverse=True)
    assert capacities == sorted(capacities, reverse=True)
    assert found[0]["reason"] == "most capacity in the limits"
    assert found[-1]["reason"] == "cheapest in the limits"


def test_capacity_is_the_geometric_mean_that_it_is_said_to_be() -> None:
    for row in rows("--saving", "10"):
        shares = [*row["work_pct"].values(), row["parameters_pct"]]
        product = 1.0
        for share in shares:
            product *= share
        assert row["capacity_pct"] == pytest.approx(product ** (1 / 5))


def test_several_limits_hold_at_once() -> None:
    found = rows("--saving", "10", "--max-encoder-gflops", "0.05")
    assert all(row["gflops"]["encoder"] <= 0.05 and row["reduction_pct"]["total"] >= 10 for row in found)


def test_the_table_says_what_capacity_is_and_how_many_were_searched() -> None:
    result = run(*SEARCH, "--saving", "30", "--rows", "3")
    assert "capacity: the geometric mean, in percent of the baseline's" in result.stdout
    assert "searched)" in result.stdout
    assert "3 of " in result.stdout
    lines = [line for line in result.stdout.splitlines() if "staged" in line]
    assert len(lines) == 3
    assert "most capacity in the limits" in lines[0]
    assert "cheapest in the limits" in lines[2]


def test_all_rows_can_be_shown() -> None:
    assert "all " in run(*SEARCH, "--saving", "30", "--rows", "1000").stdout


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_fits_the_terminal(width: int) -> None:
    from rich.console import Console

    from proscale_bench.analysis.search import SearchLimits, SearchRequest, search
    from proscale_bench.commands.exporting import print_tables
    from proscale_bench.cost.geometry import parse_size
    from proscale_bench.cost.rules import get_rules
    from proscale_bench.render.search import table
    from proscale_bench.specs.encoders.staged import baseline
    from proscale_bench.specs.mask2former import mask2former

    spec = mask2former(baseline(), "swin_l")
    request = SearchRequest(spec, parse_size("800x1333"), get_rules("fvcore"), SearchLimits(saving_pct=10))
    found = search(request, latency_ms=lambda encoder: 1234.5 * len(encoder.layers))
    text = io.StringIO()
    print_tables(Console(file=text, width=width), [table(found, found.spread(10))], break_labels=True)
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in text.getvalue()
    assert {"total", "capacity", "ms"} <= set(lines[1].split())
    assert not any(line.rstrip().endswith("(9") for line in lines)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--saving", "99"), "of "),
        (("--max-total-gflops", "0.0001"), "keeps to the limits: the cheapest is 0,0,0+trc:none ("),
        (("--max-encoder-gflops", "0"), "--max-encoder-gflops 0: not a positive number"),
        (("--max-total-gflops", "-3"), "--max-total-gflops -3: not a positive number"),
        (("--saving", "-1"), "--saving -1: not a positive number"),
        (("--saving", "nan"), "--saving nan: not a positive number"),
        (("--saving", "100"), "nothing is left"),
        (("--families", "stagged"), "did you mean 'staged'?"),
        (("--families", ","), "--families ,: no family"),
        (("--size", "64"), "unknown size '64'"),
        (("--max-layers", "0"), "Input should be greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_refused(flags: tuple[str, ...], said: str) -> None:
    result = run(*ALL, *flags)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.split())


def test_weights_give_the_dimensions() -> None:
    from proscale_bench.config.weights import shipped_weights

    weights = str(next(iter(shipped_weights().values())))
    result = run(
        "schedules", "search", "--weights", weights, "--size", "64x96", "--families", "pem", "--export-json", "-"
    )
    row = json.loads(result.stdout)["results"][0]
    assert (row["backbone"], row["classes"]) == ("tiny", 13)


def test_markdown_and_csv_have_the_same_rows(tmp_path: Path) -> None:
    markdown, table = tmp_path / "a.md", tmp_path / "a.csv"
    assert run(*SEARCH, "--export-markdown", str(markdown), "--export-csv", str(table)).exit_code == 0
    assert "| most capacity in the limits |" in markdown.read_text()
    assert "capacity_pct" in table.read_text().splitlines()[0]


def test_on_paper_no_torch_is_loaded() -> None:
    code = (
        "import sys; from proscale_bench.cli import main; sys.argv = ['proscale-bench', *sys.argv[1:]]\n"
        "try: main()\nexcept SystemExit: pass\nassert 'torch' not in sys.modules and 'scipy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, *SEARCH, "--saving", "30"], check=True, capture_output=True)


def test_milliseconds_are_predicted_from_a_few_profiles_and_the_pick_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROSCALE_BENCH_CACHE", str(tmp_path))
    timed = (*ALL, "--latency", "--saving", "20", "--max-seconds", "0.1", "--threads", "1", "--device", "cpu")
    result = run(*timed)
    assert result.exit_code == 0, result.stderr
    assert "Is it faster here?" in result.stdout
    assert re.search(
        r"(\d+) profiled models that lie between others, each predicted from these, are off by", result.stdout
    )
    kept = (tmp_path / f"{CACHE}.json").read_text()
    found = json.loads(run(*timed, "--export-json", "-").stdout)["results"]
    assert (tmp_path / f"{CACHE}.json").read_text() == kept, "nothing is profiled twice"
    assert found[0]["latency_origin"] == "measured"
    assert {row["latency_origin"] for row in found} == {"measured", "predicted"}
    assert all(row["latency_ms"] > 0 for row in found)
    limited = (*ALL, "--max-ms", "0.001", "--threads", "1", "--device", "cpu")
    refused = run(*limited)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert " ms, " in refused.stderr
    (tmp_path / f"{CACHE}.json").write_text("{}")  # a cache is made again, never mourned


def test_a_latency_is_of_one_size() -> None:
    result = run("schedules", "search", "--max-ms", "100", "--size", "coco-val")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "a latency is of one size" in result.stderr


ZOO = str(Path(__file__).parents[2] / "reports" / "zoo")


def test_accuracies_say_which_is_good_enough_and_what_to_train() -> None:
    flags = ("schedules", "search", "--backbone", "tiny", "--saving", "20", "--records", ZOO, "--families", "staged")
    shown = " ".join(run(*flags).stdout.split())
    assert "No cheaper one of known accuracy is within 1 point of the baseline's PQ." in shown
    assert "Train next: 4,3,2+conv, the most capacity of what is cheaper than the baseline" in shown
    (ranks,) = re.findall(r"Capacity ranks these 9 as their PQ does with a correlation of (0\.\d\d)", shown)
    assert f"correlation of {ranks}" in " ".join((Path(ZOO).parents[1] / "docs" / "search.md").read_text().split())
    near = " ".join(run(*flags, "--within", "6").stdout.split())
    assert (
        "3,3,3+conv is the cheapest within 6 points of the baseline's PQ: -5.23 points at -14.14%; the interval" in near
    )
    assert "[-6.5, -3.7] reaches beyond: more images or trainings tell" in near
    sure = " ".join(run(*flags, "--within", "7").stdout.split())
    assert "[-6.5, -3.7] is all within" in sure
    assert run(*flags, "--within", "15.5", "--metric", "pq_things").exit_code == 0


def test_published_accuracies_have_no_interval() -> None:
    paper = str(Path(ZOO).with_name("paper"))
    shown = run("schedules", "search", "--saving", "20", "--backbone", "swin_t", "--records", paper).stdout
    assert "3,3,3 is the cheapest within 1 point of the baseline's PQ" in shown
    assert "how sure that is, nothing tells" in shown


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--records", ZOO, "--backbone", "swin_s"), "no PQ of 'baseline' and of another schedule on swin_s"),
        (("--records", "nowhere"), "no such folder"),
        (("--metric", "total_gflops"), "not an accuracy"),
        (("--metric", "pqq"), "did you mean 'pq'?"),
        (("--within", "-1"), "Input should be greater than or equal to 0"),
        (("--export-figure", "a.gif"), "unknown format of a figure 'gif'"),
    ],
)
def test_what_is_known_must_be_known(flags: tuple[str, ...], said: str) -> None:
    result = run("schedules", "search", *flags)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.split())


def test_the_files_are_ready_to_train(tmp_path: Path) -> None:
    folder = tmp_path / "found"
    flags = (*SEARCH, "--saving", "30", "--rows", "4", "--write", str(folder))
    assert run(*flags).exit_code == 0
    files = sorted(folder.glob("*.yaml"))
    assert len(files) == 4
    spelt = [read_schedule_file(path)[0].compact for path in files]
    assert spelt[0] == rows("--saving", "30")[0]["schedule"]
    script = (folder / "train.sh").read_text()
    assert all(f'train --schedule "$here/{path.name}" --backbone tiny' in script for path in files)
    refused = run(*flags)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert f"{folder} exists" in refused.stderr
    assert run(*flags, "--force").exit_code == 0


@pytest.mark.parametrize(("name", "starts"), [("tiny-baseline", True), ("tiny-3-3-3", False)])
def test_trainings_start_from_the_weights_of_a_baseline(name: str, starts: bool, tmp_path: Path) -> None:
    from proscale_bench.config.weights import shipped_weights

    weights = next(path for path in shipped_weights().values() if path.stem == name)
    flags = ("--weights", str(weights), "--size", "64x96", "--families", "pem", "--write", str(tmp_path / "found"))
    assert run("schedules", "search", *flags).exit_code == 0
    script = (tmp_path / "found" / "train.sh").read_text()
    assert ("--start" in script) is starts
    assert ("--backbone tiny" in script) is not starts


def test_siblings_are_trained_by_their_spelling(tmp_path: Path) -> None:
    folder = tmp_path / "found"
    assert run(*ALL, "--families", "early-exit", "--write", str(folder)).exit_code == 0
    assert "train --schedule early-exit:5 --backbone tiny" in (folder / "train.sh").read_text()
    assert not list(folder.glob("*.yaml"))


def test_the_figure_names_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    assert run(*SEARCH, "--saving", "30", "--rows", "3", "--export-figure", str(path)).exit_code == 0
    drawn = path.read_text()
    assert "baseline" in drawn
    assert rows("--saving", "30")[0]["schedule"] in drawn
    refused = run(*SEARCH, "--export-figure", str(path))
    assert (refused.exit_code, refused.stdout) == (2, "")


def test_the_page_shows_what_is_printed() -> None:
    page = (Path(ZOO).parents[1] / "docs" / "search.md").read_text()
    ((arguments, shown),) = re.findall(r"```console\n\$ proscale-bench (.+?)\n(.+?)```", page, re.DOTALL)
    printed = [line.rstrip() for line in run(*arguments.split()).stdout.splitlines()]
    shown_lines = shown.rstrip().splitlines()
    assert printed[: len(shown_lines)] == shown_lines
