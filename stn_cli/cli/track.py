"""`stn-coloc track`."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stn_cli.cli.options import (
    TRACKS,
    Debug,
    Device,
    Json,
    MinScore,
    Overwrite,
    Quiet,
    Threads,
    Verbose,
    names_in,
    out_folder,
)
from stn_cli.errors import UsageError, counted
from stn_cli.runtime.threads import use_threads

if TYPE_CHECKING:
    from stn_cli.jobs.track import TrackSummary


VideoArgument = Annotated[
    list[str],
    typer.Argument(metavar="VIDEO", help="Video file, folder of frames, the frames themselves, or a camera's number."),
]
Model = Annotated[
    Path | None,
    typer.Option("--model", "-m", help="Run folder; without one the object is learnt from the video.", show_default=False),
]
Init = Annotated[
    str | None,
    typer.Option(help="x,y,w,h[@frame]: the object's box in pixels, in the first frame or that one.", show_default=False),
]
Objects = Annotated[int, typer.Option(help="How many objects to follow at the same time, at most.")]
EncoderName = Annotated[str, typer.Option(help="Where there is no run: small, gradient, a torchvision network, ...")]
Stride = Annotated[int, typer.Option("--vid-stride", help="Take every Nth frame.")]
StartSeconds = Annotated[float, typer.Option(help="Where in the video to begin, seconds.")]
EndSeconds = Annotated[float | None, typer.Option(help="Where in the video to end, seconds.", show_default="the end")]
FrameRate = Annotated[float | None, typer.Option(help="Frames per second of a folder of frames.", show_default="25")]
Online = Annotated[bool, typer.Option("--online", help="Do not fill gaps or smooth afterwards.")]
TrackFormats = Annotated[
    str, typer.Option("--format", help="Formats besides JSON and MOTChallenge text (one line per box), with commas: csv, coco.")
]
FrameCrops = Annotated[bool, typer.Option("--crops", help="Cut the object out of each frame.")]
FilmFlag = Annotated[bool, typer.Option("--video", help="Write the video with boxes, ids, scores and trails.")]
ShowFlag = Annotated[bool, typer.Option("--show", help="Show the video with its boxes while they are found.")]
Seed = Annotated[int, typer.Option(help="Seed of the random numbers: the same seed, the same results.")]


def track(
    source: VideoArgument,
    model: Model = None,
    out: Annotated[Path | None, out_folder(TRACKS)] = None,
    overwrite: Overwrite = False,
    init: Init = None,
    objects: Objects = 1,
    encoder: EncoderName = "small",
    vid_stride: Stride = 1,
    start: StartSeconds = 0.0,
    end: EndSeconds = None,
    fps: FrameRate = None,
    online: Online = False,
    min_score: MinScore = 0.0,
    format: TrackFormats = "",
    crops: FrameCrops = False,
    video: FilmFlag = False,
    show: ShowFlag = False,
    seed: Seed = 0,
    device: Device = None,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Follow the object, or several, through a video.

    It writes tracks.json, and tracks.txt as MOTChallenge text.
    """
    box, frame = parse_init(init) if init is not None else (None, None)
    use_threads(threads)
    from stn_cli.cli.console import Progress, conclude
    from stn_cli.jobs.track import TrackOptions, track_source

    options = TrackOptions(
        model=model, init=box, init_frame=frame, objects=objects, encoder=encoder, device=device or "auto", online=online,
        min_score=min_score, formats=names_in(format), crops=crops, video=video, show=show, stride=vid_stride,
        start=start, end=math.inf if end is None else end, fps=fps, seed=seed,
    )  # fmt: skip
    progress = Progress(quiet=quiet, verbose=verbose)
    folder = out or Path(TRACKS)
    try:
        summary = track_source(source, folder, options, overwrite=overwrite, reporter=progress)
    finally:
        progress.close()
    for note in summary.notes:
        progress.warn(note)
    progress.say(_in_words(summary))
    conclude(folder / "tracks.json", _facts(summary, folder), (), folder, json=json, strict=False)


def _in_words(summary: TrackSummary) -> str:
    """What a tracking came to, for people."""
    return (
        f"{counted(summary.frames, 'frame')}, {counted(summary.tracks, 'track')}, an object in {counted(summary.seen, 'frame')}, "
        f"{counted(summary.filled, 'box')} put into gaps, {summary.frames / max(summary.tracking_seconds, 1e-9):.0f} frames/s"
    )


def _facts(summary: TrackSummary, folder: Path) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "tracks": str(folder / "tracks.json"),
        "frames": summary.frames,
        "objects": summary.tracks,
        "frames_with_object": summary.seen,
        "interpolated": summary.filled,
        "seconds": round(summary.seconds, 2),
        "notes": summary.notes,
    }


def parse_init(text: str) -> tuple[tuple[float, float, float, float], int | None]:
    """What `--init` says.

    Args:
        text: `x,y,w,h[@frame]`, pixels.

    Returns:
        The box (x1, y1, x2, y2), and the frame's index or None.

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
