from proscale_bench.cli import main

main()
