"""A run as flat rows: one a configuration, the same in CSV, pandas and Parquet."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pytest

import proscale_bench as psb
from proscale_bench.analysis import frame as flat
from proscale_bench.errors import BenchError
from proscale_bench.results.export import envelope, to_csv
from proscale_bench.results.metrics import METRICS
from proscale_bench.results.record import Record
from proscale_bench.results.store import load, write_record
from tests.analysis.test_views import SCHEDULES, counted, judged, lost, seeds, timed
from tests.results.evaluations import by_an_older_version, evaluated
from tests.results.records import paper, renamed

REPORTS = Path(__file__).parents[2] / "reports"


def test_a_row_has_all_that_is_known_of_a_configuration() -> None:
    costs, times, accuracies = counted(), timed(), judged()
    table = flat.frame([*costs, *times, *accuracies])
    assert list(table["label"]) == list(SCHEDULES)
    for (_, row), time, accuracy in zip(table.iterrows(), times, accuracies, strict=True):
        for name, metric in METRICS.items():
            value = metric.read(accuracy if metric.section == "accuracy" else time)
            assert row.get(name) == value or (value is None and pd.isna(row.get(name))), name
        assert accuracy.accuracy is not None
        assert accuracy.accuracy.evaluated is not None
        assert (row["pq_low"], row["pq_high"]) == accuracy.accuracy.evaluated.intervals["pq"]
        assert time.profile is not None
        assert (row["latency_median_ms_low"], row["latency_median_ms_high"]) == time.profile.latency_interval_ms
        assert (row["size"], row["dataset"], row["split"], row["resize"]) == ("160x160", "val", "val", "none")
        assert (row["evaluated_images"], row["score_threshold"], row["source"]) == (256, 0.8, "weights.safetensors")
    assert table.loc[0, "encoder_token_layers_latency_median_ms"] > 0
    assert not any(name.startswith("encoder_token_layer_") for name in table.columns)


def test_what_is_not_known_is_nan_and_numbers_are_numbers() -> None:
    table = flat.frame(counted())
    assert table["pq"].isna().all()
    assert table["pq"].dtype == float
    assert table["encoder_gflops"].dtype == float
    assert flat.frame([lost(judged()[0])])["error"].tolist() == ["out of memory"]


def test_every_accuracy_has_a_row_and_a_mean_has_one() -> None:
    table = flat.frame([*counted(), *seeds(40.0, 42.0)])
    assert list(table["source"]) == ["mean of seeds 0, 1"] * 3
    assert list(table["trainings"]) == [2] * 3
    table = flat.frame([*counted(), *judged(), *judged(35.0, resize="400,1333")])
    assert sorted(table["label"]) == sorted(
        f"{name}, {how}" for name in SCHEDULES for how in ("not resized", "resize 400")
    )


def test_dimensions_are_columns() -> None:
    mine = [renamed(one, dimensions={"queries": 20, "backbone_depths": (1, 2)}) for one in counted()]
    table = flat.frame([*counted(), *mine])
    assert table["queries"].dropna().tolist() == [20] * 3
    assert table["backbone_depths"].dropna().tolist() == ["1-2"] * 3
    assert len(table) == 6


@pytest.mark.parametrize("records", [paper(), [*counted(), *timed(), *judged()], load(REPORTS / "zoo")[0]])
def test_csv_pandas_and_parquet_have_the_same_rows(records: list[Record], tmp_path: Path) -> None:
    table = flat.frame(records)
    lines = list(csv.reader(io.StringIO(to_csv(flat.rows(records)))))
    assert lines[0] == list(table.columns)
    assert len(lines) == len(table) + 1
    pytest.importorskip("pyarrow")
    path = tmp_path / "run.parquet"
    path.write_bytes(flat.parquet(records))
    again = pd.read_parquet(path)
    assert list(again.columns) == list(table.columns)
    assert again["encoder_gflops"].tolist() == table["encoder_gflops"].tolist()
    assert again["label"].tolist() == table["label"].tolist()


def test_one_line_a_schedule_of_the_zoo() -> None:
    table = psb.read_run(REPORTS / "zoo")
    assert len(table) == table["schedule"].nunique() == 9
    assert table[["encoder_gflops", "latency_median_ms", "pq", "pq_low"]].notna().all(axis=None)


def test_a_run_is_read_from_a_folder_or_an_export(tmp_path: Path) -> None:
    records = [*counted(), *judged()]
    for one in records:
        write_record(tmp_path / "run", one)
    (tmp_path / "x.json").write_text(json.dumps(envelope([one.row() for one in records])))
    table = psb.read_run(tmp_path / "run")
    pd.testing.assert_frame_equal(table, psb.read_run(str(tmp_path / "x.json")))
    assert len(table) == 3
    write_record(tmp_path / "run", by_an_older_version(evaluated(pq=1.0)))
    (tmp_path / "run/records/damaged.json").write_text("{")
    with pytest.warns(UserWarning, match=r"damaged\.json"), pytest.warns(UserWarning, match="does not say split"):
        psb.read_run(tmp_path / "run")
    with pytest.raises(BenchError, match="no such folder"):
        psb.read_run(tmp_path / "nothing")


def test_a_missing_pyarrow_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat, "find_spec", lambda name: None)
    with pytest.raises(BenchError, match="pyarrow") as caught:
        flat.parquet(counted())
    assert caught.value.hint == "pip install 'proscale-bench[parquet]'"
