"""The encoder of docs/encoders.md is the one that the tests put into the package, and counts what the page shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "encoders.md").read_text()


def test_the_page_shows_the_siblings_files_and_what_they_cost(tmp_path: Path) -> None:
    spec, script, module, *cases = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)
    (shown,) = re.findall(r"```console\n\$ python count.py\n(.+?)```", PAGE, re.DOTALL)
    assert spec == (TESTS / "siblings" / "pyramid_spec.py").read_text()
    assert module == (TESTS / "siblings" / "pyramid_model.py").read_text()
    assert [case.strip().splitlines()[0] for case in cases] == ['case "pyramid":', "case Pyramid():"]
    (tmp_path / "pyramid.py").write_text(spec)
    (tmp_path / "count.py").write_text(script)
    command = [sys.executable, "count.py"]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout == shown, done.stderr
