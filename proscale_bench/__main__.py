"""`python -m proscale_bench`, as torchrun starts it. Its working folder is no place for modules to come from."""

import sys
from pathlib import Path

if sys.path[0] == str(Path.cwd()) != str(Path(__file__).resolve().parents[1]):
    del sys.path[0]

from proscale_bench.cli import main

if __name__ == "__main__":
    main()
