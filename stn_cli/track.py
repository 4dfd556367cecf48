"""From a video to tracks and files: what `stn-coloc track` does."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

import stn_cli
from stn_cli.coloc.device import pick_device
from stn_cli.coloc.encoders import Encoder, make_encoder
from stn_cli.coloc.reporting import Reporter, Silent
from stn_cli.errors import InputError, OutputError, ResourceError, UsageError, printable
from stn_cli.formats.coco import CocoWriter
from stn_cli.formats.csv import write_track_rows
from stn_cli.formats.mot import write_mot
from stn_cli.formats.tracks import TracksStream, write_tracks
from stn_cli.media.decode import Pixels
from stn_cli.media.video import Video, VideoFrame, open_video
from stn_cli.records import Box, ImageRecord, Localisation, TrackedFrame, TrackedObject, corners
from stn_cli.report.figures import write_picture
from stn_cli.report.film import Artist, Film
from stn_cli.results import Results
from stn_cli.runtime.stopping import StopRequest
from stn_cli.tracking.detector import Detection, Detector
from stn_cli.tracking.discover import Anchor, Kept, discover
from stn_cli.tracking.follower import Follower
from stn_cli.tracking.identity import settle
from stn_cli.tracking.looks import Looks
from stn_cli.tracking.several import Joiner
from stn_cli.tracking.smooth import refine

if TYPE_CHECKING:
    from stn_cli.coloc.localiser import Localiser

FORMATS = ("csv", "coco")
NAMES = ("tracks.json", "tracks.txt", "tracks.csv", "tracks.coco.json", "video.mp4", "frames", "crops")
BATCH = 32
LIKELY = 0.5
"""Score of a run's localisation from which it is the object."""
SEVERAL_SHORTEST, SEVERAL_SIGMAS = 3, (2.0, 4.0)
LEARN_FROM = 24
"""Frames that a detector of several objects learns from."""
WINDOW = "stn-coloc"
NOTHING = "nothing in the video moves on its own and stays: no object was found. Say where it is with --init"


@dataclass(frozen=True, slots=True)
class TrackOptions:
    """What is wanted.

    Attributes:
        model: a run that knows the object; None learns it from the video, or takes it from `init`.
        init: (x1, y1, x2, y2) of the object in pixels, in frame `init_frame` or the first that is read.
        init_frame: index of that frame.
        objects: how many there are in each frame at most.
        encoder: gives the features where there is no run.
        device: to work on.
        online: give what each frame showed; else gaps are filled and tracks smoothed at the end.
        min_score: objects below it are left out.
        formats: files beside tracks.json and tracks.txt.
        crops, video, show: also cut crops, write an annotated video, show it while it is made.
        stride, start, end, fps: see `open_video`.
        seed: of everything random.
    """

    model: Path | None = None
    init: Box | None = None
    init_frame: int | None = None
    objects: int = 1
    encoder: str = "small"
    device: str = "auto"
    online: bool = False
    min_score: float = 0.0
    formats: tuple[str, ...] = ()
    crops: bool = False
    video: bool = False
    show: bool = False
    stride: int = 1
    start: float = 0.0
    end: float = math.inf
    fps: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.formats:
            if name not in FORMATS:
                raise UsageError("unknown --format", name, f"known: {', '.join(FORMATS)}")
        if self.objects < 1:
            raise UsageError("--objects must be at least 1", self.objects)
        if self.init is not None and not (self.init[0] < self.init[2] and self.init[1] < self.init[3]):
            raise UsageError("--init must be x,y,w,h with w and h above 0", self.init)


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


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a follower begins: a frame's index and the box in it, pixels."""

    frame: int
    box: Box
    score: float


def track_source(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str] = "stn-coloc-tracks",
    options: TrackOptions | None = None,
    *,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> TrackSummary:
    """Follow the object of a video, or several, and write the results.

    Args:
        source: a video file, a folder of frames, or a camera's number.
        out: the results' folder.
        options: what is wanted.
        overwrite: results of an earlier call may be replaced.
        reporter: hears of progress.

    Raises:
        InputError: there is no video, or it cannot be decoded.
        OutputError: the results cannot be written.
        CheckpointError: the run has no usable model.
        ResourceError: no such device, no screen to show the video on, or no `trackers` library.
        Interrupted: a signal came; tracks.json holds what was seen.
    """
    options = options or TrackOptions()
    reporter = reporter or Silent()
    begun = time.monotonic()
    folder = Path(out)
    video = open_video(source, stride=options.stride, start=options.start, end=options.end, fps=options.fps)
    if video.info.live and options.init is None and options.model is None:
        raise UsageError(
            "a camera cannot be learnt from", video.info.file_name, None, "Name a run with --model, or a box with --init"
        )
    if options.show and not _has_screen():
        raise ResourceError("no screen to show the video on", None, "--show", "Use --video and look at the file")
    uses = [p for p in (options.model, options.encoder) if p is not None and os.path.exists(p)]
    results = Results(folder, "track", NAMES, [] if video.info.live else [source], uses, overwrite=overwrite)
    summary = TrackSummary(folder)
    job = _Tracking(video, results, options, reporter, summary)
    with StopRequest() as stop, _half_the_threads():
        with results.open():
            job.run(stop)
        stop.check(f"{summary.frames} frames are in {folder / 'tracks.json'}")
    summary.seconds = time.monotonic() - begun
    summary.notes[:0] = video.notes
    return summary


class _Tracking:
    """One call; an object because its stages share video, model and results."""

    def __init__(
        self, video: Video, results: Results, options: TrackOptions, reporter: Reporter, summary: TrackSummary
    ) -> None:
        self.video, self.results, self.options, self.reporter, self.summary = video, results, options, reporter, summary
        self.folder = results.staging
        self.device = pick_device(options.device)
        self.localiser = _localiser(options.model, options.device) if options.model is not None else None
        self.encoder: Encoder = self._encoder()
        self.proposals: dict[int, list[Box]] = {}
        self.looks: Looks = {}
        self.kept: Kept | None = None
        self.track_begun = time.monotonic()

    def _encoder(self) -> Encoder:
        if self.localiser is not None:
            return self.localiser.parts[0].judge.encoder
        encoder = make_encoder(self.options.encoder)
        encoder.to(self.device)
        return encoder

    def run(self, stop: StopRequest) -> None:
        info = self.video.info
        size = info.height, info.width
        stream = TracksStream(self.folder / "tracks.json", self._info(), self._video_facts(info.frames))
        artist = Artist() if self.options.show else None
        frames: list[TrackedFrame] = []
        try:
            for shown, pixels in self._tracked(stop):
                kept = _above(shown, self.options.min_score)
                frames.append(kept)
                stream.add(kept)
                self.results.keep = True
                if artist is not None:
                    _show(artist.draw(pixels, kept))
                if stop.signum:
                    break
        finally:
            stream.close()
        self.summary.tracking_seconds = time.monotonic() - self.track_begun
        if not self.options.online and not info.live:
            several = self.options.objects > 1
            if several:
                frames = settle(frames, self.looks)
                frames = refine(frames, size, shortest=SEVERAL_SHORTEST, sigmas=SEVERAL_SIGMAS, most=self.options.objects)
            else:
                frames = refine(frames, size)
        frames = _renumbered(frames)
        self._write(frames, stop)
        self.summary.frames = len(frames)
        self.summary.tracks = len({o.id for f in frames for o in f.objects})
        self.summary.seen = sum(bool(f.objects) for f in frames)
        self.summary.filled = sum(o.interpolated for f in frames for o in f.objects)

    # ------------------------------------------------------------------ who is followed

    def _tracked(self, stop: StopRequest) -> Iterator[tuple[TrackedFrame, Pixels]]:
        if self.options.objects > 1:
            yield from self._several()
            return
        start = self._start(stop)
        if start is None:
            for frame in self._read("track"):
                yield TrackedFrame(frame.index, frame.time, ()), frame.pixels
            return
        yield from self._follow(start)

    def _read(self, stage: str) -> Iterator[VideoFrame]:
        self.reporter.stage(stage, self.video.expected)
        if stage == "track":
            self.track_begun = time.monotonic()
        for frame in self.video.frames():
            yield frame
            self.reporter.advance(1)

    def _start(self, stop: StopRequest) -> _Start | None:
        """The frame and the box to begin with; None when nothing was found to follow."""
        if self.options.init is not None:
            return _Start(self.options.init_frame if self.options.init_frame is not None else -1, self.options.init, 1.0)
        if self.localiser is not None:
            return self._start_from_run(stop)
        anchor = self._discover(stop)
        if anchor is None:
            self.summary.notes.append(NOTHING)
            return None
        w, h = self.video.info.width, self.video.info.height
        x1, y1, x2, y2 = anchor.box
        return _Start(anchor.frame, (x1 * w, y1 * h, x2 * w, y2 * h), 1.0)

    def _discover(self, stop: StopRequest) -> Anchor | None:
        self.reporter.stage("learn", None)

        def heard(note: str) -> None:
            self.reporter.advance(1, note)
            stop.check("Nothing was tracked yet")

        self.kept = Kept.of(self.video.frames(), self.video.expected)
        return discover(self.kept, self.encoder, self.device, heard, self.options.seed)

    def _start_from_run(self, stop: StopRequest) -> _Start | None:
        """The frame in which the run is surest of its object; a camera's first one in which it is sure at all."""
        assert self.localiser is not None
        if self.video.info.live:
            return _Start(-1, (0.0, 0.0, 0.0, 0.0), 0.0)
        best: _Start | None = None
        for frames in _batches(self._read("localise"), BATCH):
            stop.check("Nothing was tracked yet")
            for frame, record in zip(frames, self.localiser.localise_batch([f.pixels for f in frames]), strict=True):
                likely = [o for o in record.objects if o.score >= LIKELY]
                self.proposals[frame.index] = [o.box for o in likely[:1]]
                if likely and (best is None or likely[0].score > best.score):
                    best = _Start(frame.index, likely[0].box, likely[0].score)
        if best is None:
            self.summary.notes.append("no frame holds the object of the run: all scores are below 0.5")
        return best

    # ------------------------------------------------------------------ one object

    def _follow(self, start: _Start) -> Iterator[tuple[TrackedFrame, Pixels]]:
        """Forwards from the start to the end; backwards from the start to the beginning, over frames that were put aside."""
        follower: Follower | None = None
        with _Aside() as aside:
            for frame in self._read("track"):
                if follower is None:
                    begins = start if start.score else self._sure(frame)
                    if begins is None:
                        yield TrackedFrame(frame.index, frame.time, ()), frame.pixels
                        continue
                    if frame.index < begins.frame:
                        aside.put(frame)
                        continue
                    box = self._checked(begins.box)
                    follower = self._follower(frame.pixels, box)
                    if len(aside):
                        yield from self._backwards(aside, self._follower(frame.pixels, box))
                    yield _seen(frame, box, min(1.0, begins.score)), frame.pixels
                    continue
                yield self._step(follower, frame), frame.pixels
            if follower is None and start.score:
                raise _no_such_frame(start.frame, len(aside))

    def _sure(self, frame: VideoFrame) -> _Start | None:
        """A camera's frame as a start, if the run is sure of its object in it."""
        boxes = self._proposed(frame)
        return _Start(-1, boxes[0], 1.0) if boxes else None

    def _proposed(self, frame: VideoFrame) -> list[Box]:
        if self.localiser is None:
            return []
        if self.video.info.live:
            objects = self.localiser.localise_batch([frame.pixels])[0].objects
            return [o.box for o in objects[:1] if o.score >= LIKELY]
        return self.proposals.get(frame.index, [])

    def _follower(self, pixels: Pixels, box: Box) -> Follower:
        return Follower(self.encoder, pixels, box, self.device, self.options.seed)

    def _step(self, follower: Follower, frame: VideoFrame) -> TrackedFrame:
        sighting = follower.step(frame.pixels, self._proposed(frame))
        return _seen(frame, sighting.box, sighting.score) if sighting.present else TrackedFrame(frame.index, frame.time, ())

    def _backwards(self, aside: _Aside, follower: Follower) -> Iterator[tuple[TrackedFrame, Pixels]]:
        found = [self._step(follower, frame) for frame in aside.backwards()]
        for result, frame in zip(reversed(found), aside.forwards(), strict=True):
            yield result, frame.pixels

    def _checked(self, box: Box) -> Box:
        """A box cut to the frame.

        Raises:
            UsageError: it lies outside.
        """
        w, h = self.video.info.width, self.video.info.height
        x1, y1, x2, y2 = max(0.0, box[0]), max(0.0, box[1]), min(float(w), box[2]), min(float(h), box[3])
        if x2 - x1 < 1 or y2 - y1 < 1:
            raise UsageError("--init lies outside of the frame", ",".join(f"{v:g}" for v in box), f"{w} x {h} pixels")
        return x1, y1, x2, y2

    # ------------------------------------------------------------------ several objects

    def _several(self) -> Iterator[tuple[TrackedFrame, Pixels]]:
        joiner = Joiner(self.video.info.fps / self.options.stride)
        self.looks = joiner.looks
        if self.localiser is not None:
            for frames in _batches(self._read("track"), 1 if self.video.info.live else BATCH):
                records = self.localiser.localise_batch([f.pixels for f in frames])
                for frame, record in zip(frames, records, strict=True):
                    found = [Detection(o.box, o.score, torch.zeros(1)) for o in record.objects[: self.options.objects]]
                    yield joiner.add(frame.index, frame.time, found), frame.pixels
            return
        detector = self._detector()
        for frame in self._read("track"):
            if detector is None:
                yield TrackedFrame(frame.index, frame.time, ()), frame.pixels
            else:
                detections = detector.detect(frame.pixels)[: self.options.objects]
                yield joiner.add(frame.index, frame.time, detections), frame.pixels

    def _detector(self) -> Detector | None:
        """A detector of the objects' kind, learnt from the video's frames."""
        if self.video.info.live:
            raise UsageError("several objects of a camera need a run", self.video.info.file_name, None, "Name one with --model")
        h, w = self.video.info.height, self.video.info.width
        if self.options.init is None:
            anchor = self._discover(StopRequest())  # signals are heard by the caller's
            if anchor is None:
                self.summary.notes.append(NOTHING)
                return None
            assert self.kept is not None
            pixels = self.kept.frames[self.kept.indices.index(anchor.frame)]
            x1, y1, x2, y2 = anchor.box
            box = x1 * pixels.shape[1], y1 * pixels.shape[0], x2 * pixels.shape[1], y2 * pixels.shape[0]
        else:
            box = self._checked(self.options.init)
            self.reporter.stage("learn", None)
            self.kept = Kept.of(self.video.frames(), self.video.expected)
            pixels = self._frame(self.options.init_frame or 0)
        detector = Detector(self.encoder, pixels, box, self.options.objects, self.device, self.options.seed)
        frames = self.kept.frames[:: max(1, len(self.kept.frames) // LEARN_FROM)]
        detector.scale_to((frames[0].shape[0], frames[0].shape[1]))
        detector.learn(frames, lambda note: self.reporter.advance(1, note))
        detector.scale_to((h, w))
        self.kept = None
        return detector

    def _frame(self, index: int) -> Pixels:
        """The first frame from an index on.

        Raises:
            InputError: there is none.
        """
        count = 0
        for frame in self.video.frames():
            count += 1
            if frame.index >= index:
                return frame.pixels
        raise _no_such_frame(index, count)

    # ------------------------------------------------------------------ files

    def _info(self) -> dict[str, Any]:
        return {
            "tool": "stn-coloc",
            "version": stn_cli.__version__,
            "run": None if self.options.model is None else printable(os.fspath(self.options.model)),
            "orientation": "upright",
        }

    def _video_facts(self, frames: int | None) -> dict[str, Any]:
        info = self.video.info
        facts = {"file_name": info.file_name, "width": info.width, "height": info.height, "fps": info.fps, "frames": frames}
        return facts | {"stride": self.options.stride}

    def _write(self, frames: list[TrackedFrame], stop: StopRequest) -> None:
        count = self.video.info.frames if self.video.info.frames is not None else (frames[-1].frame + 1 if frames else 0)
        write_tracks(self.folder / "tracks.json", self._info(), self._video_facts(count), frames)
        write_mot(self.folder / "tracks.txt", frames)
        if "csv" in self.options.formats:
            write_track_rows(self.folder / "tracks.csv", frames)
        pictures = self.options.video or self.options.crops or "coco" in self.options.formats
        if pictures and frames and not stop.signum:
            if self.video.info.live:
                self.reporter.warn("a camera's frames are gone: no video, crops or COCO file")
                return
            self._write_pictures(frames)

    def _write_pictures(self, frames: list[TrackedFrame]) -> None:
        """One more pass over the video, for what needs its pixels."""
        info = self.video.info
        by_index = {frame.frame: frame for frame in frames}
        artist = Artist()
        film = (
            Film(self.folder / "video.mp4", (info.height, info.width), info.fps / self.options.stride)
            if self.options.video
            else None
        )
        coco = CocoWriter(self.folder / "tracks.coco.json", self._info()) if "coco" in self.options.formats else None
        try:
            for frame in self._read("draw"):
                tracked = by_index.get(frame.index, TrackedFrame(frame.index, frame.time, ()))
                if film is not None:
                    film.add(artist.draw(frame.pixels, tracked))
                if coco is not None:
                    name = f"frames/{frame.index:06d}.jpg"
                    write_picture(self.folder / name, frame.pixels)
                    ranked = replace(tracked, objects=tuple(sorted(tracked.objects, key=lambda o: -o.score)))
                    coco.add(_as_image(name, ranked, info.width, info.height), [o.id for o in ranked.objects])
                if self.options.crops:
                    for found in tracked.objects:
                        write_picture(
                            self.folder / "crops" / str(found.id) / f"{frame.index:06d}.jpg", _cut(frame.pixels, found.box)
                        )
            if coco is not None:
                coco.close()
        except BaseException as error:
            if coco is not None:
                coco.abandon()
            if film is not None:
                film.__exit__(type(error), error, None)
            raise
        if film is not None:
            film.__exit__(None, None, None)


class _Aside:
    """Frames put aside on disk until the start of a track is reached, so that memory does not grow with their number."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="stn-aside-")  # noqa: SIM115 -- closed with this object
        self._entries: list[tuple[int, float, int, int]] = []

    def __enter__(self) -> _Aside:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, frame: VideoFrame) -> None:
        done, data = cv2.imencode(".jpg", cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 97])
        if not done:
            raise OutputError("cannot put a frame aside", frame.index)
        try:
            at = self._file.seek(0, os.SEEK_END)
            self._file.write(data.tobytes())
        except OSError as error:
            raise OutputError("cannot put frames aside", tempfile.gettempdir(), error.strerror, "Free some space") from error
        self._entries.append((frame.index, frame.time, at, len(data)))

    def backwards(self) -> Iterator[VideoFrame]:
        return (self._get(entry) for entry in reversed(self._entries))

    def forwards(self) -> Iterator[VideoFrame]:
        return (self._get(entry) for entry in self._entries)

    def _get(self, entry: tuple[int, float, int, int]) -> VideoFrame:
        index, stamp, at, length = entry
        self._file.seek(at)
        pixels: Any = cv2.imdecode(np.frombuffer(self._file.read(length), np.uint8), cv2.IMREAD_COLOR)
        return VideoFrame(index, stamp, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


def _localiser(model: Path, device: str) -> Localiser:
    from stn_cli.coloc.localiser import Localiser  # half of all imports, which following without a run can do without

    return Localiser.load(model, device)


def _no_such_frame(index: int, count: int) -> InputError:
    return InputError("--init names a frame that the video does not have", index, f"{count} frames were read")


def _batches(frames: Iterable[VideoFrame], size: int) -> Iterator[list[VideoFrame]]:
    them = iter(frames)
    while batch := list(islice(them, size)):
        yield batch


def _seen(frame: VideoFrame, box: Box, score: float) -> TrackedFrame:
    return TrackedFrame(frame.index, frame.time, (TrackedObject(1, box, score, corners(box)),))


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


def _as_image(name: str, frame: TrackedFrame, width: int, height: int) -> ImageRecord:
    objects = []
    for o in frame.objects:
        x1, y1, x2, y2 = o.box
        theta = ((x2 - x1) / width, 0.0, (x1 + x2) / width - 1, 0.0, (y2 - y1) / height, (y1 + y2) / height - 1)
        objects.append(Localisation(name, width, height, o.box, o.quad, theta, o.score))
    return ImageRecord(name, width, height, tuple(objects))


def _cut(pixels: Pixels, box: Box) -> Pixels:
    h, w = pixels.shape[:2]
    x1, y1 = min(w - 1, max(0, math.floor(box[0]))), min(h - 1, max(0, math.floor(box[1])))
    return pixels[y1 : max(y1 + 1, math.ceil(box[3])), x1 : max(x1 + 1, math.ceil(box[2]))]


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


def _has_screen() -> bool:
    """Whether a window can be opened: OpenCV was built with one, and there is a display."""
    try:
        cv2.namedWindow(WINDOW, cv2.WINDOW_NORMAL)
        cv2.destroyWindow(WINDOW)
    except cv2.error:
        return False
    return True


def _show(pixels: Pixels) -> None:
    cv2.imshow(WINDOW, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    cv2.waitKey(1)
