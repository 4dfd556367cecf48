"""`stn-coloc review`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stn_cli.cli.options import BOXES, Debug, Device, Quiet, names_in
from stn_cli.errors import InputError, UsageError, counted, printable

if TYPE_CHECKING:
    from stn_cli.cli.console import Progress

PORTS = 65_535
"""The last port that there is."""


def review(
    boxes: Annotated[
        Path,
        typer.Argument(metavar="RUN_OR_BOXES", help="Folder of localise, a COCO file, or a run: its boxes are found first."),
    ] = Path(BOXES),
    source: Annotated[
        Path | None, typer.Option(help="Folder that the file names are relative to.", show_default="looked for")
    ] = None,
    labels: Annotated[str, typer.Option(help="Names of the kinds, with commas: more names are more kinds.")] = "",
    port: Annotated[int | None, typer.Option(help="Port on 127.0.0.1; 0 is any.", show_default="8765, or any")] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address, and open nothing.")] = False,
    device: Device = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Look through boxes in the browser, and correct them.

    Every action is in review.jsonl beside the boxes at once; reviewed.json has the corrected boxes. Ctrl-C ends it.
    """
    if port is not None and not 0 <= port <= PORTS:
        raise UsageError("--port must be from 0 to 65535", port)

    from stn_cli.cli.console import Progress
    from stn_cli.jobs.review import boxes_of, review_boxes
    from stn_cli.runs.folder import boxes_folder

    progress = Progress(quiet=quiet)
    try:
        file = boxes_of(boxes)
        if file is None:
            file = _localised(boxes, boxes_folder(boxes), device or "auto", progress)
        summary = review_boxes(
            file,
            source=source,
            labels=list(names_in(labels)),
            port=port,
            browser=not no_browser,
            say=lambda address: _announce(address, progress),
            reporter=progress,
        )
    finally:
        progress.close()
    progress.say(f"{summary.reviewed} of {counted(summary.images, 'image')} reviewed")
    print(printable(str(summary.result)))


def _announce(address: str, progress: Progress) -> None:
    print(address, flush=True)
    progress.say("Ctrl-C ends the review; all corrections are kept")


def _localised(run: Path, out: Path, device: str, progress: Progress) -> Path:
    """The boxes of a run on the images that it was trained on, found now."""
    from stn_cli.jobs.localise import localise_source

    if out.exists() and any(out.iterdir()):
        raise InputError("the run's boxes are not found", run, f"{out} has none", "Name a file or folder of boxes")
    localise_source(None, run, out, device=device, reporter=progress)
    return out / "boxes.json"
