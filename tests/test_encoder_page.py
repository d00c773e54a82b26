"""The encoder of docs/encoders.md works as the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[1] / "docs" / "encoders.md").read_text()


def test_the_example_counts_what_the_page_shows(tmp_path: Path) -> None:
    module, script = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)
    (shown,) = re.findall(r"```console\n\$ python count.py\n(.+?)```", PAGE, re.DOTALL)
    (tmp_path / "fpn.py").write_text(module)
    (tmp_path / "count.py").write_text(script)
    command = [sys.executable, "count.py"]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout == shown, done.stderr
