"""From a review to better boxes: a training that goes on from the boxes' run, and what it finds; both in folders of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from stn_cli.errors import InputError, OutputError
from stn_cli.files import name_from_results
from stn_cli.formats.results_folder import BOXES_NAME
from stn_cli.review.learning import LearningWatch, Opening
from stn_cli.review.pictures import ReviewPictures
from stn_cli.review.places import ReviewFiles, run_places
from stn_cli.review.session import ReviewSession
from stn_cli.runs.checkpoint import STATE
from stn_cli.runs.folder import boxes_folder

PROGRAM = (sys.executable, "-m", "stn_cli")


def run_of(boxes: Path, info: Any) -> Path | None:
    """The run that found a file of boxes, if it is still there.

    Args:
        boxes: the file.
        info: its `info`.

    Returns:
        The run folder; None where no training can go on from one.
    """
    named = info.get("run") if isinstance(info, dict) else None
    if not isinstance(named, str) or not named:
        return None
    return next((place for place in run_places(boxes, named) if (place / STATE).is_file()), None)


def relearn(
    session: ReviewSession,
    watch: LearningWatch,
    reopen: Callable[[Path], tuple[ReviewSession, ReviewPictures]],
    source: Path | None = None,
) -> Opening:
    """Learn from the corrections of a review, and find all boxes anew.

    The run, its boxes and their journal stay as they are; the new ones lie beside them, numbered.

    Args:
        session: the review; others may act in it until the end.
        watch: is told of progress.
        reopen: opens the review of a file of boxes.
        source: folder of the images; as the boxes say when None.

    Returns:
        What opens the review of the new boxes, with all corrections until then.

    Raises:
        InputError: the run has gone, or the training or the finding failed; the message says why.
    """
    info = session.data.get("info")
    run = run_of(session.boxes, info)
    if run is None:
        raise InputError("the run of these boxes is not there", session.boxes, None, "Train anew: stn-coloc train --boxes")
    session.save()
    told = info.get("source") if isinstance(info, dict) else None
    where = source or (
        Path(os.path.join(session.boxes.parent, name_from_results(told))) if isinstance(told, str) and told else None
    )
    images = [str(where)] if where is not None and where.is_dir() else []
    new = next_run(run)
    boxes = boxes_folder(new)
    _call(["train", *images, "--from", str(run), "--boxes", str(session.result), "-o", str(new), "--no-report"], watch)
    _call(["localise", *images, "-m", str(new), "-o", str(boxes)], watch)
    return partial(_reopened, session, ReviewFiles.of(boxes / BOXES_NAME), reopen)


def _reopened(
    session: ReviewSession, files: ReviewFiles, reopen: Callable[[Path], tuple[ReviewSession, ReviewPictures]]
) -> tuple[ReviewSession, ReviewPictures]:
    """The review of other boxes, with all corrections of one.

    Raises:
        OutputError: the other boxes' journal cannot be written.
    """
    session.save()
    try:
        shutil.copyfile(session.journal.path, files.journal)
    except OSError as error:
        raise OutputError("cannot write", files.journal, error.strerror, "Free some space") from error
    return reopen(files.boxes)


def next_run(run: Path) -> Path:
    """The folder of the run that goes on from another one: `x-2-run` after `x-run`, `x-3-run` after that; the first that is free.

    Args:
        run: the run that is gone on from.

    Returns:
        A folder that is not there, and whose boxes are not either.
    """
    name = run.absolute().name
    stem, tail = (name.removesuffix("-run"), "-run") if name.endswith("-run") else (name, "")
    match = re.fullmatch(r"(.*)-(\d{1,6})", stem)
    base, number = (match[1], int(match[2])) if match else (stem, 1)
    while True:
        number += 1
        found = run.absolute().parent / f"{base}-{number}{tail}"
        if not os.path.lexists(found) and not os.path.lexists(boxes_folder(found)):
            return found


def _call(words: Sequence[str], watch: LearningWatch) -> None:
    """Run a command of this program in a process of its own, so that a review needs no network of its own in memory.

    Raises:
        InputError: it failed.
    """
    why = ""
    with (
        subprocess.Popen(
            [*PROGRAM, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process,
        watch.during(process),
    ):
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("error: "):
                why = line.removeprefix("error: ").strip()
            elif line.strip():
                watch.hear(line.strip())
    if process.returncode:
        ended = f"stopped by signal {-process.returncode}" if process.returncode < 0 else f"exit code {process.returncode}"
        raise InputError(f"{words[0]} failed", None, why or ended)
