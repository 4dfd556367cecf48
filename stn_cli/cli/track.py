"""`stn-coloc track`."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated

import typer

from stn_cli.cli.options import (
    TRACKS,
    Debug,
    Device,
    Json,
    Overwrite,
    Quiet,
    Verbose,
    out_folder,
)
from stn_cli.errors import UsageError, counted


def track(
    source: Annotated[
        list[str],
        typer.Argument(metavar="VIDEO", help="Video file, folder of frames, the frames themselves, or a camera's number."),
    ],
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help="Run folder; without one the object is learnt from the video.", show_default=False),
    ] = None,
    out: Annotated[Path | None, out_folder(TRACKS)] = None,
    overwrite: Overwrite = False,
    init: Annotated[
        str | None,
        typer.Option(help="x,y,w,h[@frame]: the object's box in pixels, in the first frame or that one.", show_default=False),
    ] = None,
    objects: Annotated[int, typer.Option(help="Objects to follow at the same time, at most.")] = 1,
    encoder: Annotated[str, typer.Option(help="Where there is no run: small, gradient, a torchvision network, ...")] = "small",
    vid_stride: Annotated[int, typer.Option("--vid-stride", help="Take every so manyeth frame.")] = 1,
    start: Annotated[float, typer.Option(help="Seconds to begin at.")] = 0.0,
    end: Annotated[float | None, typer.Option(help="Seconds to end at.", show_default="the end")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second of a folder of frames.", show_default="25")] = None,
    online: Annotated[bool, typer.Option("--online", help="Neither fill gaps nor smooth at the end.")] = False,
    min_score: Annotated[float, typer.Option(help="Leave out boxes below this score.")] = 0.0,
    format: Annotated[str, typer.Option(help="Formats beside JSON and MOTChallenge text, with commas: csv, coco.")] = "",
    crops: Annotated[bool, typer.Option("--crops", help="Cut the object out of each frame.")] = False,
    video: Annotated[bool, typer.Option("--video", help="Write the video with boxes, ids, scores and trails.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Show it while it is made.")] = False,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    device: Device = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Follow the object, or several, through a video; writes tracks.json and MOTChallenge text."""
    box, frame = parse_init(init) if init is not None else (None, None)

    from stn_cli.cli.console import Progress, print_json
    from stn_cli.jobs.track import TrackOptions, track_source

    options = TrackOptions(
        model=model,
        init=box,
        init_frame=frame,
        objects=objects,
        encoder=encoder,
        device=device or "auto",
        online=online,
        min_score=min_score,
        formats=tuple(part.strip() for part in format.split(",") if part.strip()),
        crops=crops,
        video=video,
        show=show,
        stride=vid_stride,
        start=start,
        end=math.inf if end is None else end,
        fps=fps,
        seed=seed,
    )
    progress = Progress(quiet=quiet, verbose=verbose)
    folder = out or Path(TRACKS)
    try:
        summary = track_source(source, folder, options, overwrite=overwrite, reporter=progress)
    finally:
        progress.close()
    for note in summary.notes:
        progress.warn(note)
    progress.say(
        f"{counted(summary.frames, 'frame')}, {counted(summary.tracks, 'track')}, an object in {counted(summary.seen, 'frame')}, "
        f"{counted(summary.filled, 'box')} put into gaps, "
        f"{summary.frames / max(summary.tracking_seconds, 1e-9):.0f} frames/s"
    )
    if json:
        print_json(
            {
                "tracks": str(folder / "tracks.json"),
                "frames": summary.frames,
                "objects": summary.tracks,
                "frames_with_object": summary.seen,
                "interpolated": summary.filled,
                "seconds": round(summary.seconds, 2),
                "notes": summary.notes,
            }
        )
    else:
        print(folder / "tracks.json")


def parse_init(text: str) -> tuple[tuple[float, float, float, float], int | None]:
    """`x,y,w,h[@frame]` as ((x1, y1, x2, y2), frame).

    Raises:
        UsageError: it is neither.
    """
    number = r"\s*(-?\d{1,9}(?:\.\d{0,20})?)\s*"
    match = re.fullmatch(rf"{number},{number},{number},{number}(?:@\s*(\d{{1,12}})\s*)?", text, re.ASCII)
    if match is None:
        raise UsageError("--init must be x,y,w,h or x,y,w,h@frame", text, "for example 120,80,64,48@0")
    x, y, w, h = (float(match[i]) for i in range(1, 5))
    if w <= 0 or h <= 0:
        raise UsageError("--init must be x,y,w,h with w and h above 0", text)
    return (x, y, x + w, y + h), None if match[5] is None else int(match[5])
