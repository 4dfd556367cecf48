"""From a source to a run and its report: `stn_cli.train`, for scripts and notebooks."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from stn_cli.coloc.train import run
from stn_cli.coloc.train.run import TrainResult
from stn_cli.report import page
from stn_cli.runs.config import TrainConfig
from stn_cli.runtime.launch import launched
from stn_cli.runtime.progress import Bar, Reporter, Silent
from stn_cli.runtime.stopping import StopRequest


def train(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None,
    out: str | os.PathLike[str] = "stn-coloc-run",
    config: TrainConfig | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    report: bool = True,
    progress: bool = True,
    reporter: Reporter | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> TrainResult:
    """Learn from a folder of images where their common object is, as `stn-coloc train` does.

    Args:
        source: what to learn from: a folder, an image, a glob, a list of paths; not needed to resume.
        out: the run folder.
        config: settings; with `resume`, those of the run are taken.
        overwrite: a run that is there may be replaced.
        resume: go on where a run that was stopped stands.
        report: write report.html at the end.
        progress: show bars, on a terminal or in a notebook.
        reporter: is told of progress instead.
        cache: folder in which decoded images are kept for further trainings.

    Returns:
        A summary; everything else is in the run folder.

    Raises:
        ColocError: see `stn_cli.coloc.train.run.train`.
    """
    bar = Bar()
    hears = reporter or (bar if progress else Silent())
    try:
        result = run.train(source, out, config, overwrite=overwrite, resume=resume, reporter=hears, cache=cache)
        if report and launched().speaks:
            with StopRequest(f"The run is whole; stn-coloc report {Path(out)} writes its page"):
                page.write_report(Path(out), device=config.device if config else "auto", reporter=hears)
    finally:
        bar.close()
    return result
