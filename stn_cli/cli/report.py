"""`stn-coloc report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stn_cli.cli.options import RUN, Debug, Device, OutFile, Quiet, Threads
from stn_cli.runtime.threads import use_threads


def report(
    run: Annotated[Path, typer.Argument(help="Run folder.")] = Path(RUN),
    out: OutFile = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="--out may replace an earlier page of this command, and nothing else.")
    ] = False,
    device: Device = None,
    threads: Threads = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write one self-contained HTML page about a run."""
    use_threads(threads)
    from stn_cli.cli.console import Progress
    from stn_cli.report.page import write_report

    progress = Progress(quiet=quiet)
    try:
        path = write_report(run, out, overwrite=overwrite, device=device or "auto", reporter=progress)
    finally:
        progress.close()
    print(path)
