"""A weights file's own account of itself, read off its header: ours, others', and hostile ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from proscale_bench.config import weights
from proscale_bench.config.catalogue import parse_schedule
from proscale_bench.config.weights import METADATA, read_header, require_shipped_weights, shipped_weights
from proscale_bench.errors import BenchError

TOLD = {"schedule": "3,3,3+conv", "weights": "a" * 64, "provenance": {"seed": 7}}


def write(path: Path, told: object = TOLD, header: object = None, claimed: int | None = None) -> Path:
    """A file with this header, and the length that it claims."""
    if header is None:
        tensor = {"dtype": "F16", "shape": [14, 64], "data_offsets": [0, 1792]}
        metadata = {METADATA: told if isinstance(told, str) else json.dumps(told)}
        header = {"__metadata__": metadata, "decoder.class_head.weight": tensor}
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(raw) if claimed is None else claimed).to_bytes(8, "little") + raw + bytes(1792))
    return path


def test_a_file_of_ours_says_schedule_digest_and_seed(tmp_path: Path) -> None:
    told = read_header(write(tmp_path / "a.safetensors"))
    assert told.schedule == parse_schedule("3,3,3+conv")
    assert (told.digest, told.seed) == ("a" * 64, 7)
    assert told.shapes == {"decoder.class_head.weight": (14, 64)}


def test_what_it_does_not_say_is_none(tmp_path: Path) -> None:
    told = read_header(write(tmp_path / "a.safetensors", {"schedule": "baseline", "provenance": {"seed": "7"}}))
    assert (told.digest, told.seed) == (None, None)


def test_no_torch_is_needed_and_a_model_of_ours_is_recognised(tmp_path: Path) -> None:
    make = (
        "import sys, torch; from pathlib import Path\n"
        "from proscale_bench.config.catalogue import parse_schedule\n"
        "from proscale_bench.models.build import build\n"
        "from proscale_bench.specs.mask2former import mask2former\n"
        "from proscale_bench.models.checkpoints.save import save_checkpoint\n"
        "model = build(mask2former(parse_schedule('1,1,1'), 'tiny', classes=13)).half()\n"
        "save_checkpoint(model, Path('a.safetensors'), {'seed': 3})\n"
    )
    read = (
        "import sys; from pathlib import Path\n"
        "from proscale_bench.specs.backbones import BACKBONES\n"
        "from proscale_bench.config.weights import read_header\n"
        "from proscale_bench.bench.specs import read_spec\n"
        "told = read_header(Path('a.safetensors'))\n"
        "model = read_spec(Path('a.safetensors'))\n"
        "assert model.backbone == BACKBONES['tiny'] and model.head.num_classes == 13\n"
        "print(told.schedule, told.seed, 'torch' in sys.modules)"
    )
    root = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", make], cwd=tmp_path, env=root, check=True)
    done = subprocess.run(
        [sys.executable, "-c", read], cwd=tmp_path, env=root, check=True, stdout=subprocess.PIPE, text=True
    )
    assert done.stdout == "1,1,1 3 False\n"


# how the file is written, what is said
HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "a length beyond the file": ({"claimed": 1 << 40}, "would have 1,099,511,627,776 bytes"),
    "the longest length": ({"claimed": (1 << 64) - 1}, "would have"),
    "no JSON": ({"header": b"\xff{"}, "no JSON"),
    "a list": ({"header": []}, "no JSON object"),
    "depth": ({"header": b"[" * 200_000}, "no JSON"),
    "no metadata": ({"header": {}}, "does not say its schedule"),
    "metadata that is a list": ({"header": {"__metadata__": [METADATA]}}, "cannot be read"),
    "metadata of another tool": ({"header": {"__metadata__": {"format": "pt"}}}, "does not say its schedule"),
    "a story that is no JSON": ({"told": "{"}, "cannot be read"),
    "a story that is a list": ({"told": []}, "cannot be read"),
    "no schedule": ({"told": {}}, "cannot be read"),
    "a schedule that is a number": ({"told": {"schedule": 3}}, "cannot be read"),
    "an unknown schedule": ({"told": {"schedule": "3,3"}}, "3,3"),
    "provenance that is a word": ({"told": {**TOLD, "provenance": "x"}}, "cannot be read"),
    "a tensor without a shape": ({"header": {"__metadata__": {METADATA: json.dumps(TOLD)}, "a": {}}}, "cannot be read"),
    "an infinite side": (
        {"header": b'{"__metadata__": {"proscale_bench": "{\\"schedule\\": \\"1,1,1\\"}"}, "a": {"shape": [1e999]}}'},
        "cannot be read",
    ),
}


@pytest.mark.parametrize(("how", "what"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_an_error_in_words(tmp_path: Path, how: dict[str, Any], what: str) -> None:
    with pytest.raises(BenchError, match=what) as caught:
        read_header(write(tmp_path / "a.safetensors", **how))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("content", [b"", b"1234567", b"PK\x03\x04" + bytes(100)])
def test_another_kind_of_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(BenchError):
        read_header(tmp_path / "a")


def test_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, what in ((tmp_path / "none", "No such file"), (tmp_path, "folder"), (tmp_path / "pipe", "regular")):
        with pytest.raises(BenchError, match=what):
            read_header(path)


def test_those_that_ship_are_chosen_by_schedule_and_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    with pytest.raises(BenchError, match="no weights ship"):
        require_shipped_weights()
    write(tmp_path / "tiny-a.safetensors")
    write(tmp_path / "tiny-b.safetensors", {"schedule": "1,1,1", "provenance": {"seed": 0}})
    assert list(shipped_weights()) == ["tiny-a", "tiny-b"]
    assert list(require_shipped_weights()) == ["tiny-a", "tiny-b"]
    assert list(require_shipped_weights(parse_schedule("1,1,1"))) == ["tiny-b"]
    assert list(require_shipped_weights(seed=7)) == ["tiny-a"]
    with pytest.raises(BenchError, match="schedule 1,1,1 and seed 7") as caught:
        require_shipped_weights(parse_schedule("1,1,1"), 7)
    assert "tiny-a, tiny-b" in (caught.value.hint or "")
