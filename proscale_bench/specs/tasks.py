"""The tasks that a model's predictions can be judged by. A shell asks for them at every tab, so they import nothing."""

from __future__ import annotations

from typing import Literal

Task = Literal["panoptic", "instance", "semantic", "boxes"]
