"""What `stn-coloc` and `python -m stn_cli` start; light, so that Ctrl-C is answered while all else is loaded."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Load the program and run it; never returns."""
    try:
        from stn_cli.runtime.threads import sleep_while_waiting, watch_cores

        sleep_while_waiting()
        watch_cores()
        from stn_cli.cli.app import main as program

        program()
    except KeyboardInterrupt:
        print("error: stopped (interrupted)", file=sys.stderr, flush=True)
        os._exit(130)


if __name__ == "__main__":
    main()
