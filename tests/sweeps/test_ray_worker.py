"""A node's work on what is sent to it, without a cluster."""

from __future__ import annotations

import hashlib
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from proscale_bench.errors import BenchError
from proscale_bench.sweeps.ray.driver import code_archive, no_connection
from proscale_bench.sweeps.ray.node import Parcel, placed, run_task, unpacked
from tests.sweeps.ray_toys import Toy

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray hands over what it is given; the node knows where the tests are and has a cache of its own."""
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda content: content))
    monkeypatch.setenv("PROSCALE_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def parcel(path: Path, content: bytes, arrives: bytes | None = None) -> Parcel:
    return Parcel(path, hashlib.sha256(content).hexdigest(), content if arrives is None else arrives)


def code() -> Parcel:
    return parcel(Path("code.zip"), code_archive())


def test_a_file_that_is_the_same_here_stays_where_it_is(tmp_path: Path) -> None:
    here = tmp_path / "model.safetensors"
    here.write_bytes(b"weights")
    assert placed(parcel(here, b"weights"), tmp_path / "ray") == here


@pytest.mark.parametrize("here", [None, b"others"])
def test_a_file_that_is_not_is_fetched_once(here: bytes | None, tmp_path: Path) -> None:
    home = tmp_path / "model.safetensors"
    if here is not None:
        home.write_bytes(here)
    place = placed(parcel(home, b"weights"), tmp_path / "ray")
    assert place.read_bytes() == b"weights"
    assert place.name == "model.safetensors"
    assert placed(parcel(home, b"weights", arrives=b"nothing"), tmp_path / "ray") == place


def test_a_file_that_broke_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    sent = parcel(tmp_path / "model.safetensors", b"weights")
    placed(sent, tmp_path / "ray").write_bytes(b"weig")
    assert placed(sent, tmp_path / "ray").read_bytes() == b"weights"


def test_other_bytes_than_were_sent_are_refused(tmp_path: Path) -> None:
    sent = parcel(tmp_path / "model.safetensors", b"weights", arrives=b"weighty")
    with pytest.raises(ValueError, match=r"model\.safetensors: other bytes arrived than were sent"):
        placed(sent, tmp_path / "ray")
    assert not list((tmp_path / "ray").rglob("*.safetensors"))


def test_the_code_is_whole_and_the_same_each_time(tmp_path: Path) -> None:
    assert code_archive() == code_archive()
    folder = unpacked(code(), tmp_path)
    assert (folder / "proscale_bench" / "cli.py").read_text() == (ROOT / "proscale_bench" / "cli.py").read_text()
    assert (folder / "proscale_bench" / "schedules" / "proscale-3-3-3.yaml").exists()
    assert not list(folder.rglob("*.pyc"))
    assert unpacked(code(), tmp_path) == folder
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_task_runs_in_a_process_of_its_own_on_the_code_that_was_sent(tmp_path: Path) -> None:
    home = tmp_path / "home" / "weights"
    toy = Toy("toy", tmp_path, files=(home,))
    answer = run_task(pickle.dumps(toy), code(), [parcel(home, b"1 2 3")], all_threads=True)
    assert answer["records"][0]["files"] == ["1 2 3"]
    assert [parent for _, parent in toy.attempts]


def test_what_a_process_dies_of(tmp_path: Path) -> None:
    gone = pickle.dumps(Toy("toy", tmp_path)).replace(b"ray_toys", b"ray_tays")
    failure = run_task(gone, code(), [], all_threads=False)["failure"]
    assert failure["message"] == "its process ended: ModuleNotFoundError: No module named 'tests.sweeps.ray_tays'"
    assert run_task(pickle.dumps(Toy("toy", tmp_path, fault="kill")), code(), [], False) == {"died": "Killed"}


def test_what_ray_says_of_versions_becomes_a_line() -> None:
    said = "Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.10.1\nThis process"
    error = no_connection("auto", RuntimeError(f"{said} on node X was started with:\n    Ray: 2.60.0\n"))
    assert isinstance(error, BenchError)
    assert error.message.startswith("Ray at auto: Version mismatch: The cluster was started with: Ray: 2.9.0 Python")
    assert no_connection("auto", ConnectionError("\n\nno such\nthing")).message == "cannot reach Ray at auto: no such"


def test_a_token_that_is_asked_for_is_said_in_a_line() -> None:
    error = ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379")
    error.__cause__ = RuntimeError("Failed. Traceback:\n  File\nAuthenticationError: InvalidAuthToken: missing\n")
    assert no_connection("10.0.0.1:6379", error).message.endswith("asks for a token, and was given none or another")
