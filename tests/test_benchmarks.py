"""Benchmarks are run by hand, so nobody notices when a name that they import is gone; this does."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_a_benchmark_imports_is_there(path: Path) -> None:
    imports = [one for one in ast.walk(ast.parse(path.read_text())) if isinstance(one, ast.ImportFrom)]
    of_ours = [one for one in imports if (one.module or "").startswith("proscale_bench")]
    for one in of_ours:
        assert one.module
        module = importlib.import_module(one.module)
        for name in one.names:
            assert hasattr(module, name.name) or importlib.util.find_spec(f"{one.module}.{name.name}"), name.name
