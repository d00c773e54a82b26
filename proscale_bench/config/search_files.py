"""The files of a search: a schedule file for each encoder that one can say, and a script that trains them all."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from proscale_bench.config.schedule_file import dump_schedule
from proscale_bench.specs.encoders.staged import Schedule
from proscale_bench.specs.model import EncoderSpec

TRAIN = "train.sh"
SCRIPT = """\
#!/bin/sh
# Trains what the search found, one after the other. Flags go to each of them: sh train.sh --coco /data/coco
set -e
here=$(dirname "$0")
"""


def schedule_files(encoders: Sequence[tuple[EncoderSpec, str]], flags: str) -> dict[str, str]:
    """The text of each file by its name.

    Args:
        encoders: each with its description, the best first.
        flags: of every training, as a shell reads them.
    """
    files, lines = {}, [SCRIPT]
    for number, (encoder, description) in enumerate(encoders, start=1):
        word = shlex.quote(encoder.compact)
        if isinstance(encoder, Schedule):
            name = f"{number:02}-{re.sub('[^A-Za-z0-9]+', '-', encoder.compact)}"[:64]
            files[f"{name}.yaml"] = dump_schedule(encoder, name, description)
            word = f'"$here/{name}.yaml"'
        lines.append(f'proscale-bench train --schedule {word} {flags} "$@"\n')
    return {**files, TRAIN: "".join(lines)}
