"""Videos, folders of frames and cameras as one stream of upright RGB frames, decoded in a thread ahead of whoever reads them.

OpenCV's bundled FFmpeg reads the files. It gets a link with a plain name in a private folder, never the user's path: a name that is not
UTF-8 would end the process, and one such as `concat:a|b` would be taken for a protocol.
"""

from __future__ import annotations

import math
import os
import queue
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # one clear line is ours to say

import cv2

from stn_cli.errors import InputError, UsageError, printable
from stn_cli.media.decode import Levels, Pixels, Unusable, common_levels, load
from stn_cli.media.scan import VIDEO_EXTENSIONS, ImageFile, looks_like_image, scan
from stn_cli.records import reasons

DEFAULT_FPS = 25.0
MOST_FPS = 1000.0
"""What a container says above this is not a frame rate."""
AHEAD_BYTES = 96 << 20
"""Decoded frames that wait may take this much memory."""
MOST_AHEAD = 32


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
        stride: every how manyeth frame is given.
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

    def frames(self, every: int = 1) -> Iterator[VideoFrame]:
        """The frames in their order, decoded ahead in a thread.

        Args:
            every: take only every so manyeth of them; the others are not converted.

        Raises:
            InputError: not one frame could be decoded, or a frame of a folder cannot be used.
        """
        return _ahead(self._read(self.stride * every), self.info.width * self.info.height * 3)

    def _read(self, step: int) -> Iterator[VideoFrame]:
        if isinstance(self.source, list):
            yield from self._read_folder(self.source, step)
            return
        with _capture(self.source) as capture:
            index, given, last = 0, 0, -math.inf
            first: int | None = None
            pixels: Any = None  # reused: a frame's memory costs as much as its conversion
            while capture.grab():
                stamp = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
                time = (
                    stamp if math.isfinite(stamp) and stamp > last else max(last, 0.0) + (1 / self.info.fps if index else 0.0)
                )
                last = time
                if time >= self.end:
                    return
                if time >= self.start:
                    first = index if first is None else first
                    if (index - first) % step == 0:
                        done, pixels = capture.retrieve(pixels)
                        if done and pixels is not None:
                            given += 1
                            yield VideoFrame(index, time, _rgb(pixels))
                index += 1
            if not index:
                raise InputError("video has no frame that can be decoded", self.info.file_name)
            if self.info.frames is not None and index < self.info.frames - 1:
                note = f"{self.info.file_name} is cut off or damaged: {index} of {self.info.frames} frames could be decoded"
                if note not in self.notes:
                    self.notes.append(note)

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


def open_video(
    source: str | os.PathLike[str], *, stride: int = 1, start: float = 0.0, end: float = math.inf, fps: float | None = None
) -> Video:
    """Open a source of frames and see that the first one can be decoded.

    Args:
        source: a video file, a folder of frames (in the order of their names), or a camera's number.
        stride: give every so manyeth frame.
        start, end: seconds.
        fps: of a folder of frames, or of a container that does not say; 25 when left out.

    Raises:
        InputError: there is no such source, or no frame in it.
        UsageError: numbers that make no sense.
    """
    if stride < 1:
        raise UsageError("--vid-stride must be at least 1", stride)
    if not 0 <= start < end:
        raise UsageError("--start must come before --end", f"{start:g}, {end:g}", "seconds")
    if fps is not None and not 0 < fps < math.inf:
        raise UsageError("--fps must be above 0", fps)
    text = os.fspath(source)
    if text.isdecimal() and not os.path.lexists(text):
        return _probe(int(text), f"camera {text}", fps, stride, start, end)
    if os.path.isdir(text):
        return _open_folder(text, stride, start, end, fps)
    if not os.path.isfile(text):
        raise (
            InputError("no such file or folder", text) if not os.path.lexists(text) else InputError("not a regular file", text)
        )
    name = printable(os.path.basename(text))
    if os.path.getsize(text) == 0:
        raise InputError("video is empty", text)
    return _probe(os.path.abspath(text), name, fps, stride, start, end)


def is_video(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a file with a video's extension."""
    return os.path.isfile(path) and os.path.splitext(os.fspath(path))[1].lower() in VIDEO_EXTENSIONS


def _open_folder(root: str, stride: int, start: float, end: float, fps: float | None) -> Video:
    found = scan(root)
    files = found.images
    if not files:
        why = "; ".join(([reasons(found.skipped)] if found.skipped else []) + found.notes)
        raise InputError("folder has no frames", root, why or None)
    try:
        first = load(files[0].path)
    except Unusable as reason:
        raise InputError("frame cannot be used", files[0].name, reason, "Take it out of the folder") from None
    name = printable(os.path.basename(os.path.abspath(root)))
    info = VideoInfo(name, first.shape[1], first.shape[0], fps or DEFAULT_FPS, len(files), False)
    notes = [] if fps else [f"{name} is a folder of frames: {DEFAULT_FPS:g} per second assumed (--fps)"]
    notes += found.notes + ([f"{name}: {reasons(found.skipped)}"] if found.skipped else [])
    levels = common_levels([file.path for file in files])
    if levels is not None and not levels.full:
        notes.append(f"{name} has frames of 16 bits: {levels.low} to {levels.high} used, stretched, all alike")
    return Video(info, files, stride, start, end, notes, levels)


def _probe(source: str | int, name: str, fps: float | None, stride: int, start: float, end: float) -> Video:
    """Decode the first frame: its size is the upright one, whatever the header says."""
    with _capture(source) as capture:
        done, pixels = capture.read()
        if not done or pixels is None:
            what = "camera gives no frame" if isinstance(source, int) else "video has no frame that can be decoded"
            raise InputError(what, name)
        said = float(capture.get(cv2.CAP_PROP_FPS))
        count = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    live = isinstance(source, int)
    known = math.isfinite(said) and 0 < said < MOST_FPS
    frames = int(count) if not live and math.isfinite(count) and 0 < count < 1e9 else None
    info = VideoInfo(name, pixels.shape[1], pixels.shape[0], fps or (said if known else DEFAULT_FPS), frames, live)
    notes = [] if known or fps else [f"{name} does not say its frame rate: {DEFAULT_FPS:g} assumed (--fps)"]
    return Video(info, source, stride, start, end, notes)


@contextmanager
def _capture(source: str | int) -> Iterator[Any]:
    """An opened capture; a file through a link with a plain name."""
    with tempfile.TemporaryDirectory(prefix="stn-video-") as folder:
        if isinstance(source, int):
            capture = cv2.VideoCapture(source)
        else:
            _check_head(source)
            link = Path(folder) / ("video" + _plain_extension(source))
            os.symlink(source, link)
            # decoding runs beside whoever reads the frames, and more threads than are free cost more than they give
            threads = max(1, (os.cpu_count() or 1) // 2)
            capture = cv2.VideoCapture(str(link), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
        try:
            if not capture.isOpened():
                if isinstance(source, int):
                    raise InputError("no such camera", source)
                raise InputError("not a video", source, "or cut off before its index")
            yield capture
        finally:
            capture.release()


def _check_head(path: str) -> None:
    """Refuse what FFmpeg would make a film of or follow elsewhere: pictures, plain text, playlists."""
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError as error:
        raise InputError("cannot read video", path, error.strerror) from error
    if looks_like_image(head) and not head.startswith(b"RIFF"):
        raise InputError("not a video", path, "an image; name a folder of frames")
    if not any(byte < 9 or 13 < byte < 32 or byte > 126 for byte in head):
        raise InputError("not a video", path, "plain text")


def _plain_extension(path: str) -> str:
    extension = os.path.splitext(path)[1].lower()
    return extension if extension in VIDEO_EXTENSIONS else ""


def _rgb(pixels: Any) -> Pixels:
    """What OpenCV gives, grey or BGR with or without alpha, as RGB."""
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2RGB)


def _ahead(frames: Iterator[VideoFrame], frame_bytes: int) -> Iterator[VideoFrame]:
    """An iterator's items, made in a thread; its errors are raised where the items are read, and leaving early stops it."""
    waiting: queue.Queue[VideoFrame | BaseException | None] = queue.Queue(
        max(2, min(MOST_AHEAD, AHEAD_BYTES // max(1, frame_bytes)))
    )
    left = threading.Event()

    def put(item: VideoFrame | BaseException | None) -> bool:
        while not left.is_set():
            with suppress(queue.Full):
                waiting.put(item, timeout=0.1)
                return True
        return False

    def work() -> None:
        try:
            for frame in frames:
                if not put(frame):
                    return
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=work, name="video", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        left.set()
        thread.join(timeout=10)
        frames.close()  # type: ignore[attr-defined]
