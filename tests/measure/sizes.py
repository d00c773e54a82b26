"""The number of random sizes that an engine is held to: a few in every run, twenty in `make slow`."""

from __future__ import annotations

import pytest

NUMBERS = [4, pytest.param(20, marks=pytest.mark.slow)]
TIMES = [1, pytest.param(4, marks=pytest.mark.slow)]  # of all spellings or exits, which are five or more
