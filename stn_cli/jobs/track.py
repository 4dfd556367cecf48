"""From a video to tracks and files: what `stn-coloc track` does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import torch

from stn_cli.errors import Interrupted, ResourceError, UsageError, counted
from stn_cli.formats.csv import TrackRowsWriter
from stn_cli.formats.mot import MotWriter
from stn_cli.formats.tracks import TracksStream, TracksWriter
from stn_cli.formats.writer import Writer, about, write_all
from stn_cli.media.scan import Scan, places_of
from stn_cli.media.video import Video, VideoSource, open_video
from stn_cli.outputs.results import Results
from stn_cli.records import TrackedFrame, TrackedObject
from stn_cli.report.artist import Artist
from stn_cli.report.film import ENCODINGS, Encoding, pick_encoding
from stn_cli.report.pictures import COCO, CROPS, FRAMES, VIDEO, picture_makers
from stn_cli.report.screen import has_screen, show
from stn_cli.runtime.progress import Reporter, Silent
from stn_cli.runtime.stopping import StopRequest
from stn_cli.tracking.identity import settle
from stn_cli.tracking.kind import follow_several
from stn_cli.tracking.one import follow_one
from stn_cli.tracking.options import TrackOptions as TrackOptions
from stn_cli.tracking.session import Session
from stn_cli.tracking.settings import FINISH
from stn_cli.tracking.smooth import refine

TRACKS_FILE, MOT, ROWS = "tracks.json", "tracks.txt", "tracks.csv"
VIDEOS = tuple(dict.fromkeys(f"{VIDEO}.{encoding.container}" for encoding in ENCODINGS))
TRACK_NAMES = (TRACKS_FILE, MOT, ROWS, COCO, FRAMES, CROPS, *VIDEOS)
MOST_PARTIAL_FRAMES = 5_000
"""Frames up to which those of a call that was stopped are settled and smoothed, too: that takes less than a second."""


@dataclass(slots=True)
class TrackSummary:
    """What came of it.

    Attributes:
        out: the results' folder.
        frames: that were read.
        tracks: how many objects have one.
        seen: frames with an object.
        filled: boxes that were put into gaps.
        seconds: of the whole call.
        tracking_seconds: of the tracking alone.
        notes: remarks for the user.
    """

    out: Path
    frames: int = 0
    tracks: int = 0
    seen: int = 0
    filled: int = 0
    seconds: float = 0.0
    tracking_seconds: float = 0.0
    notes: list[str] = field(default_factory=list)


def track_source(
    source: VideoSource,
    out: str | os.PathLike[str] = "stn-coloc-tracks",
    options: TrackOptions | None = None,
    *,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> TrackSummary:
    """Follow the object of a video, or several, and write the results.

    Args:
        source: a video file, a folder of frames, several frames in their order, or a camera's number.
        out: the results' folder.
        options: what is wanted.
        overwrite: results of an earlier call may be replaced.
        reporter: is told of progress.

    Returns:
        What came of it.

    Raises:
        InputError: there is no video, or it cannot be decoded.
        OutputError: the results cannot be written.
        CheckpointError: the run has no usable model.
        ResourceError: no such device, no screen to show the video on, or no `trackers` library.
        Interrupted: a signal came; the results hold what was seen, if anything was, or `unfinished` in them where there are earlier ones.
    """
    options, reporter, folder, begun = options or TrackOptions(), reporter or Silent(), Path(out), time.monotonic()
    with StopRequest("Nothing was tracked yet") as stop:
        video = open_video(source, stride=options.stride, start=options.start, end=options.end, fps=options.fps)
        _check_camera(video, options)
        session = Session.of(video, options, reporter, stop)
        if options.init is not None:
            session.on_frame(options.init)
        sources, beside = _places(source, video)
        results = Results(folder, "track", TRACK_NAMES, sources, [*session.used(), *beside], overwrite=overwrite)
        film = options.video and not video.info.live
        encoding = pick_encoding(_size(session), _rate(session)) if film else None
        if options.show and not has_screen():
            raise ResourceError("no screen to show the video on", None, "--show", "Use --video and look at the file")
        with _half_the_threads(), results.open() as work, closing(session):
            summary = _track(session, results, encoding, work)
            seen = f"What was seen in {counted(summary.frames, 'frame')} is in"
            if results.replaces:  # which stay: a part is no substitute for them
                results.keep = True
                stop.check(f"{seen} {work / TRACKS_FILE}; the earlier results are as they were")
        stop.check(f"{seen} {folder / TRACKS_FILE}")
    summary.seconds = time.monotonic() - begun
    summary.notes[:0] = video.notes
    return summary


def _places(source: VideoSource, video: Video) -> tuple[list[str], list[str]]:
    """Where the video is, as `places_of`."""
    if isinstance(video.source, list):
        return places_of(source, Scan(video.source))
    return ([video.source] if isinstance(video.source, str) else []), []  # a camera is a number


def _check_camera(video: Video, options: TrackOptions) -> None:
    if not video.info.live or options.model is not None:
        return
    if options.init is None:
        raise UsageError(
            "a camera cannot be learnt from", video.info.file_name, None, "Name a run with --model, or a box with --init"
        )
    if options.objects > 1:
        raise UsageError("several objects of a camera need a run", video.info.file_name, None, "Name one with --model")


def _size(session: Session) -> tuple[int, int]:
    """Height and width of a frame."""
    return session.video.info.height, session.video.info.width


def _rate(session: Session) -> float:
    """Frames a second of those that are read."""
    return session.video.info.fps / session.options.stride


def _track(session: Session, results: Results, encoding: Encoding | None, work: Path) -> TrackSummary:
    """Follow and write; a signal ends the following, and what was seen until then is written.

    Raises:
        Interrupted: a signal came before anything was seen.
    """
    frames = _seen(session, results, work)
    seconds = time.monotonic() - session.begun
    stop = session.stop
    if stop.signum:
        session.reporter.stage("finish", None)
    if not stop.signum or len(frames) <= MOST_PARTIAL_FRAMES:
        with suppress(Interrupted):  # then as they were seen
            frames = _settled(session, frames)
    frames = _renumbered(frames)
    with suppress(Interrupted), stop.finishing():  # these are whole; the caller looks whether to stop
        _write(session, work, frames)
    if not stop.signum:
        _draw(session, encoding, work, frames)
    return TrackSummary(
        results.folder,
        frames=len(frames),
        tracks=len({o.id for f in frames for o in f.objects}),
        seen=sum(bool(f.objects) for f in frames),
        filled=sum(o.interpolated for f in frames for o in f.objects),
        tracking_seconds=seconds,
        notes=session.notes,
    )


def _seen(session: Session, results: Results, work: Path) -> list[TrackedFrame]:
    """What each frame shows, also written as it comes."""
    stream = None
    artist = Artist() if session.options.show else None
    frames: list[TrackedFrame] = []
    try:
        for shown, pixels in follow_several(session) if session.options.objects > 1 else follow_one(session, work):
            if stream is None:  # a call that was stopped before its first frame leaves nothing
                stream = TracksStream(work / TRACKS_FILE, _info(session), _facts(session, session.video.info.frames))
                results.keep = True
            frames.append(_above(shown, session.options.min_score))
            stream.add(frames[-1])
            if artist is not None and pixels is not None:
                show(artist.draw(pixels, frames[-1]))
    except Interrupted:
        if not frames:
            raise
    finally:
        if stream is not None:
            stream.close()
    return frames


def _settled(session: Session, frames: list[TrackedFrame]) -> list[TrackedFrame]:
    if session.options.online or session.video.info.live:
        return frames
    most = session.options.objects
    if most == 1:
        return refine(frames, _size(session))
    frames = settle(frames, session.looks)
    return refine(frames, _size(session), shortest=FINISH.several_shortest, sigmas=FINISH.several_sigmas, most=most)


def _info(session: Session) -> dict[str, Any]:
    return about(session.options.model, "upright")


def _facts(session: Session, frames: int | None) -> dict[str, Any]:
    info = session.video.info
    facts = {"file_name": info.file_name, "width": info.width, "height": info.height, "fps": info.fps, "frames": frames}
    return facts | {"stride": session.options.stride}


def _write(session: Session, work: Path, frames: list[TrackedFrame]) -> None:
    """The formats that hold boxes alone."""
    known = session.video.info.frames
    count = known if known is not None else (frames[-1].frame + 1 if frames else 0)
    whole = not session.stop.signum or session.video.info.live  # a camera has no end but a signal
    makers: list[Callable[[], Writer[TrackedFrame]]] = [
        lambda: TracksWriter(work / TRACKS_FILE, _info(session), _facts(session, count), complete=whole),
        lambda: MotWriter(work / MOT),
    ]
    if "csv" in session.options.formats:
        makers.append(lambda: TrackRowsWriter(work / ROWS))
    write_all(makers, frames)


def _draw(session: Session, encoding: Encoding | None, work: Path, frames: list[TrackedFrame]) -> None:
    """The formats that are made of pixels, in one more pass over the video."""
    options = session.options
    if not frames or not (options.video or options.crops or "coco" in options.formats):
        return
    if session.video.info.live:
        session.reporter.warn("a camera's frames are gone: no video, crops or COCO file")
        return
    info = _info(session) if "coco" in options.formats else None
    makers = picture_makers(work, encoding, _size(session), _rate(session), info=info, crops=options.crops)
    found = {frame.frame: frame for frame in frames}
    pictured = ((found.get(f.index, TrackedFrame(f.index, f.time, ())), f.pixels) for f in session.read("draw"))
    try:
        write_all(makers, pictured)
    except Interrupted:
        session.reporter.warn("stopped while pictures were made: the results hold none")


def _above(frame: TrackedFrame, least: float) -> TrackedFrame:
    return TrackedFrame(frame.frame, frame.time, tuple(o for o in frame.objects if o.score >= least))


def _renumbered(frames: list[TrackedFrame]) -> list[TrackedFrame]:
    """Ids from 1 in the order in which tracks begin."""
    names: dict[int, int] = {}
    out = []
    for frame in frames:
        objects = [
            TrackedObject(names.setdefault(o.id, len(names) + 1), o.box, o.score, o.quad, o.interpolated) for o in frame.objects
        ]
        out.append(TrackedFrame(frame.frame, frame.time, tuple(sorted(objects, key=lambda o: o.id))))
    return out


@contextmanager
def _half_the_threads() -> Iterator[None]:
    """Decoding, looking and learning run side by side: each step is too small to be worth all cores."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(max(1, before[0] // 2))
    cv2.setNumThreads(max(1, before[1] // 2))
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
