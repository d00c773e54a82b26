"""`python -m proscale_bench`."""

from proscale_bench.cli import main

if __name__ == "__main__":
    main()
