"""Videos, folders of frames and cameras as one stream of upright RGB frames.

Whoever reads waits in short steps and never in a call of the system: a camera or a file system that gives nothing keeps no signal away.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2

from stn_cli.errors import InputError, UsageError, counted, printable
from stn_cli.media.ahead import ahead, nothing
from stn_cli.media.capture import CONVERT, codec_of, open_capture
from stn_cli.media.decode import Levels, Pixels, Unusable, common_levels, load
from stn_cli.media.scan import VIDEO_EXTENSIONS, ImageFile, scan
from stn_cli.records import reasons

DEFAULT_FPS = 25.0
"""Frames per second where nobody says."""
MOST_FPS = 1000.0
"""What a container says above this is not a frame rate."""
FPS_RANGE = 1e-6, 1e6
"""Of what is taken for one when a person says it."""
LATEST = 1e9
"""Seconds; a video does not go on for thirty years."""
MOST_STRIDE, MOST_CAMERAS = 1_000_000_000, 1000
"""Largest `--vid-stride`; numbers below the other are cameras."""
AHEAD_BYTES, MOST_AHEAD = 96 << 20, 32
"""Memory that decoded frames may take while they wait, and how many may wait."""


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One frame.

    Attributes:
        index: its number in the whole video, from 0.
        time: its time stamp, seconds.
        pixels: (H, W, 3) uint8 RGB, upright.
    """

    index: int
    time: float
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What is known of a video before it is decoded.

    Attributes:
        file_name: for people.
        width, height: of the upright frames, pixels.
        fps: frames per second; 25 where the container does not say.
        frames: how many the container claims, None where it does not say (cameras).
        live: a camera: it can be read only once.
    """

    file_name: str
    width: int
    height: int
    fps: float
    frames: int | None
    live: bool


@dataclass(slots=True)
class Video:
    """A source of frames; `frames()` may be called again and again, but for a camera.

    Attributes:
        info: what is known of it.
        stride: every how many frames one is given.
        start, end: seconds between which frames are given.
        notes: remarks for the user, more of them once frames have been read.
        levels: of a folder of 16-bit frames, the one range of values that all of them are reduced by.
    """

    info: VideoInfo
    source: str | int | list[ImageFile]
    stride: int = 1
    start: float = 0.0
    end: float = math.inf
    notes: list[str] = field(default_factory=list)
    levels: Levels | None = None

    @property
    def expected(self) -> int | None:
        """How many frames `frames()` will give, as far as the container tells."""
        if self.info.frames is None:
            return None
        first = math.ceil(self.start * self.info.fps)
        last = self.info.frames if self.end == math.inf else min(self.info.frames, math.ceil(self.end * self.info.fps))
        return max(0, -(-(last - first) // self.stride))

    def frames(self, every: int = 1, poll: Callable[[], None] = nothing) -> Iterator[VideoFrame]:
        """The frames in their order, decoded ahead in a thread.

        Args:
            every: take one of so many frames; the others are not converted.
            poll: called with each frame, and several times a second while none comes; an error of it ends the reading.

        Raises:
            InputError: not one frame could be decoded, there is none between `start` and `end`, or a frame of a folder cannot be used.
        """
        room = AHEAD_BYTES // max(1, self.info.width * self.info.height * 3)
        return ahead(self._read(self.stride * every), max(2, min(MOST_AHEAD, room)), poll)

    def _read(self, step: int) -> Iterator[VideoFrame]:
        if isinstance(self.source, list):
            if self.expected == 0:
                raise self._no_frame_between()
            yield from self._read_folder(self.source, step)
            return
        with open_capture(self.source) as capture:
            index, given, time, last = 0, 0, 0.0, -math.inf
            first: int | None = None
            pixels: Any = None  # reused: a frame's memory costs as much as its conversion
            while capture.grab():
                stamp = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
                time = (
                    stamp if math.isfinite(stamp) and stamp > last else max(last, 0.0) + (1 / self.info.fps if index else 0.0)
                )
                last = time
                if time >= self.end:
                    break
                if time >= self.start:
                    first = index if first is None else first
                    if (index - first) % step == 0:
                        done, pixels = capture.retrieve(pixels)
                        if done and pixels is not None:
                            given += 1
                            yield VideoFrame(index, time, self._of_one_size(_rgb(pixels)))
                index += 1
            if not index or (first is not None and not given):
                raise _undecodable(self.info.file_name, capture)
            if first is None:
                raise self._no_frame_between()
            if time < self.end and self.info.frames is not None and index < self.info.frames - 1:
                self._note(
                    f"{self.info.file_name} is cut off or damaged: {index} of {counted(self.info.frames, 'frame')} could be decoded"
                )

    def _of_one_size(self, pixels: Pixels) -> Pixels:
        """A frame as large as the first: streams of calls and broadcasts change their size on the way."""
        h, w = self.info.height, self.info.width
        if pixels.shape[:2] == (h, w):
            return pixels
        self._note(f"{self.info.file_name} has frames of several sizes: all are brought to {w} x {h}")
        return cv2.resize(pixels, (w, h), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _no_frame_between(self) -> InputError:
        span = f"{self.start:g} to {self.end:g} s" if self.end < math.inf else f"{self.start:g} s"
        return InputError("video has no frame between --start and --end", self.info.file_name, span)

    def _read_folder(self, files: list[ImageFile], step: int) -> Iterator[VideoFrame]:
        first = math.ceil(self.start * self.info.fps)
        for index in range(first, len(files), step):
            time = index / self.info.fps
            if time >= self.end:
                return
            try:
                pixels = load(files[index].path, levels=self.levels)
            except Unusable as reason:
                raise InputError("frame cannot be used", files[index].name, reason, "Take it out of the folder") from None
            if pixels.shape[:2] != (self.info.height, self.info.width):
                size = f"{pixels.shape[1]} x {pixels.shape[0]}, the first is {self.info.width} x {self.info.height}"
                raise InputError("frames must be of one size", files[index].name, size)
            yield VideoFrame(index, time, pixels)


VideoSource = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A video file, a folder of frames, a camera's number, or several pictures one after the other."""


def open_video(
    source: VideoSource, *, stride: int = 1, start: float = 0.0, end: float = math.inf, fps: float | None = None
) -> Video:
    """Open a source of frames and see that the first one can be decoded.

    Args:
        source: a video file, a folder of frames (in the order of their names), several frames (as they are given), or a camera's number.
        stride: give one of so many frames.
        start, end: seconds.
        fps: of a folder of frames, or of a container that does not say; 25 when left out.

    Returns:
        The source, its first frame decoded.

    Raises:
        InputError: there is no such source, or no frame in it.
        UsageError: numbers that make no sense.
    """
    if not 1 <= stride <= MOST_STRIDE:
        raise UsageError(f"--vid-stride must be 1 to {MOST_STRIDE}", stride)
    if not (0 <= start < end and start <= LATEST):
        raise UsageError("--start must come before --end", f"{start:g}, {end:g}", "seconds from 0 on")
    if fps is not None and not FPS_RANGE[0] <= fps <= FPS_RANGE[1]:
        raise UsageError("--fps must be {:g} to {:g}".format(*FPS_RANGE), f"{fps:g}")
    end = end if end <= LATEST else math.inf
    paths = [os.fspath(p) for p in ([source] if isinstance(source, str | os.PathLike) else source)]
    if len(paths) != 1:
        return _open_folder(paths, stride, start, end, fps)
    text = paths[0]
    if text.isdecimal() and not os.path.lexists(text):
        if len(text) > 4 or int(text) >= MOST_CAMERAS:
            raise InputError("no such camera, file or folder", text)
        return _probe(int(text), f"camera {text}", fps, stride, start, end)
    if os.path.isdir(text):
        return _open_folder(text, stride, start, end, fps)
    if not os.path.lexists(text):
        raise InputError("no such file or folder", text)
    if not os.path.exists(text):
        raise InputError("no such file or folder", text, "a link to nowhere")
    if not os.path.isfile(text):
        raise InputError("not a regular file", text)
    name = printable(os.path.basename(text))
    if os.path.getsize(text) == 0:
        raise InputError("video is empty", text)
    return _probe(os.path.abspath(text), name, fps, stride, start, end)


def is_video(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a file with a video's extension.

    Args:
        path: of any file.

    Returns:
        False also where nothing is there.
    """
    return os.path.isfile(path) and os.path.splitext(os.fspath(path))[1].lower() in VIDEO_EXTENSIONS


def _open_folder(root: str | list[str], stride: int, start: float, end: float, fps: float | None) -> Video:
    films = [path for path in root if is_video(path)] if isinstance(root, list) else []
    if films:
        raise UsageError("one video at a time is followed", films[0], f"{len(root)} paths were named")
    found = scan(root)
    files = list(found.images)
    if not files:
        why = "; ".join(([reasons(found.skipped)] if found.skipped else []) + found.notes)
        raise InputError("folder has no frames", root if isinstance(root, str) else "no path", why or None)
    try:
        first = load(files[0].path)
    except Unusable as reason:
        raise InputError("frame cannot be used", files[0].name, reason, "Take it out of the folder") from None
    folder = root if isinstance(root, str) else os.path.dirname(files[0].path)
    name = printable(os.path.basename(os.path.abspath(folder)))
    info = VideoInfo(name, first.shape[1], first.shape[0], fps or DEFAULT_FPS, len(files), False)
    notes = [] if fps else [f"{name} is a folder of frames: {DEFAULT_FPS:g} per second assumed (--fps)"]
    notes += found.notes + ([f"{name}: {reasons(found.skipped)}"] if found.skipped else [])
    levels = common_levels([file.path for file in files])
    if levels is not None and not levels.full:
        notes.append(f"{name} has frames of 16 bits: {levels.low} to {levels.high} used, stretched, all alike")
    return Video(info, files, stride, start, end, notes, levels)


def _probe(source: str | int, name: str, fps: float | None, stride: int, start: float, end: float) -> Video:
    """Decode the first frame: its size is the upright one, whatever the header says."""
    pixels, said, count = next(ahead(_first_frame(source, name), 1))
    live = isinstance(source, int)
    known = math.isfinite(said) and 0 < said <= MOST_FPS
    frames = int(count) if not live and math.isfinite(count) and 0 < count < 1e9 else None
    info = VideoInfo(name, pixels.shape[1], pixels.shape[0], fps or (said if known else DEFAULT_FPS), frames, live)
    notes = [] if known or fps else [f"{name} does not say its frame rate: {DEFAULT_FPS:g} assumed (--fps)"]
    return Video(info, source, stride, start, end, notes)


def _first_frame(source: str | int, name: str) -> Iterator[tuple[Any, float, float]]:
    """The first frame, and what the container says of frames per second and their number."""
    with open_capture(source) as capture:
        done, pixels = capture.read()
        if not done or pixels is None:
            raise InputError("camera gives no frame", name) if isinstance(source, int) else _undecodable(name, capture)
        yield pixels, float(capture.get(cv2.CAP_PROP_FPS)), float(capture.get(cv2.CAP_PROP_FRAME_COUNT))


def _undecodable(name: str, capture: Any) -> InputError:
    codec = codec_of(capture)
    if codec.upper() == "AV01":
        return InputError("video has no frame that can be decoded", name, "AV1, for which OpenCV has no decoder here", CONVERT)
    return InputError("video has no frame that can be decoded", name, f"codec {codec}" if codec else None)


def _rgb(pixels: Any) -> Pixels:
    """What OpenCV gives, grey or BGR with or without alpha, as RGB."""
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2RGB)
