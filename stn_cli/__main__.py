"""`python -m stn_cli`."""

from stn_cli.cli.app import main

main()
