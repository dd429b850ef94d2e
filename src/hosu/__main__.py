"""`python -m hosu` is the `hosu` command."""

from hosu.cli.main import main

main()
