"""`python -m dispatcher`: the command line, for where the `dispatcher` script is not installed."""

from dispatcher.cli import main

main()
