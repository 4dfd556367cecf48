"""The annotated video as a file that browsers play: H.264 in MP4, or VP8 in WebM where no H.264 encoder is there.

PyAV writes it: it tells of a disk that is full, which OpenCV's writer does not, and brings an encoder for H.264.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import cv2
import numpy as np

from stn_cli.errors import OutputError
from stn_cli.media.decode import Pixels
from stn_cli.runtime.threads import default_workers

MOST_SIDE = 8192
"""Pixels along the longer side of a video: encoders and players end above it, and larger frames are reduced."""
RATES = Fraction(1, 1000), Fraction(1000)
"""Frames per second that players know what to do with; slower and faster videos are written as these."""
FINEST = 60_000
"""Largest denominator of a frame rate."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """A way to write a video.

    Attributes:
        codec: FFmpeg's name of the encoder.
        container: FFmpeg's name of the kind of file, and its extension.
        options: of the encoder.
    """

    codec: str
    container: str
    options: dict[str, str]


ENCODINGS = (
    Encoding("libx264", "mp4", {"preset": "veryfast", "crf": "20"}),
    Encoding("libopenh264", "mp4", {}),
    Encoding("libvpx", "webm", {"deadline": "realtime", "cpu-used": "4", "crf": "10", "b": "8M"}),
)


def pick_encoding(size: tuple[int, int], fps: float) -> Encoding:
    """The first encoding that works here for frames of a size (height, width); each is tried on one frame.

    Args:
        size: (height, width) of the frames.
        fps: frames per second.

    Returns:
        The encoding.

    Raises:
        OutputError: none does.
    """
    reasons = []
    for encoding in ENCODINGS:
        try:
            stream = _Stream(io.BytesIO(), encoding, size, fps)
            stream.add(np.zeros((*size, 3), np.uint8))
            stream.close()
        except (OSError, ImportError) as error:
            reasons.append(f"{encoding.codec}: {error}")
        else:
            return encoding
    todo = "Leave --video out, or see whether pip install --upgrade av brings an encoder"
    raise OutputError("cannot write a video", f"{size[1]} x {size[0]}, {fps:g} frames/s", "; ".join(reasons), todo)


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """FFmpeg's errors have a tree of their own."""
    import av  # brings FFmpeg: nothing else needs it

    try:
        yield
    except (av.FFmpegError, ValueError, RuntimeError) as error:
        raise OSError(str(error)) from error


class _Sink:
    """What the encoder writes to: a file whose first error is kept, not raised. FFmpeg goes on to write after an error, and PyAV prints the
    traceback of every further one.

    Args:
        file: to write to; after an error nothing more goes there.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._at = 0
        self._error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write a piece, or drop it."""
        self._at += len(data)
        self._do(lambda: self._file.write(data))
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; in a broken file, only in name."""
        self._at = offset + (self._at if whence == os.SEEK_CUR else 0)
        self._do(lambda: self._file.seek(offset, whence))
        if self._error is None:
            self._at = self._file.tell()
        return self._at

    def tell(self) -> int:
        """Where the next piece goes."""
        return self._at

    def check(self) -> None:
        """Raise what went wrong."""
        if self._error is not None:
            raise self._error

    def _do(self, work: Callable[[], object]) -> None:
        if self._error is None:
            try:
                work()
            except OSError as error:
                self._error = error


class _Stream:
    """Frames encoded into an open file.

    Args:
        file: to write to.
        encoding: how.
        size: (height, width) of the frames that are given; odd ones are padded by their last row or column, which the encoders want.
        fps: frames per second.
        again: opens what was written so far for reading, where that can be done: then what players need first is moved to the front of
            the file at the end, and a browser plays it while it is still being loaded.
    """

    def __init__(
        self, file: Any, encoding: Encoding, size: tuple[int, int], fps: float, again: Callable[[], Any] | None = None
    ) -> None:
        import av

        self._sink = _Sink(file)
        self._frame = av.VideoFrame.from_ndarray
        self._shrink = min(1.0, MOST_SIDE / max(size))
        h, w = (max(2, round(side * self._shrink)) for side in size)
        self._size = h, w
        rate = min(RATES[1], max(RATES[0], Fraction(fps).limit_denominator(FINEST)))
        with _as_os_errors():
            front: dict[str, Any] = {}
            if again is not None and encoding.container == "mp4":
                front = {"container_options": {"movflags": "+faststart"}, "io_open": lambda *_: again()}
            self._container = av.open(cast(Any, self._sink), "w", format=encoding.container, **front)
            self._stream = cast(Any, self._container.add_stream(encoding.codec, rate=rate, options=encoding.options))
        self._stream.width, self._stream.height = w + w % 2, h + h % 2
        self._stream.pix_fmt = "yuv420p"
        self._stream.thread_count = max(1, default_workers() // 2)  # frames are decoded and drawn beside it

    def add(self, pixels: Pixels) -> None:
        """Encode one RGB frame (H, W, 3)."""
        if self._shrink < 1:
            pixels = cv2.resize(pixels, self._size[::-1], interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        down, right = self._size[0] % 2, self._size[1] % 2
        if down or right:
            pixels = cv2.copyMakeBorder(pixels, 0, down, 0, right, cv2.BORDER_REPLICATE)  # type: ignore[assignment]
        with _as_os_errors():
            self._container.mux(self._stream.encode(self._frame(np.ascontiguousarray(pixels), format="rgb24")))
        self._sink.check()

    def close(self) -> None:
        """Encode what waits, and end the file."""
        with _as_os_errors():
            try:
                self._container.mux(self._stream.encode(None))
            finally:
                self._container.close()
        self._sink.check()


class Film:
    """A video file being written; a block that ends with an error leaves none.

    Args:
        path: the target without its extension, which is the encoding's.
        encoding: one that works: `pick_encoding`.
        size: (height, width) of the frames.
        fps: frames per second.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path, encoding: Encoding, size: tuple[int, int], fps: float) -> None:
        self.path = path.with_name(f"{path.name}.{encoding.container}")
        self._size = size
        try:
            self._file = open(self.path, "wb")  # noqa: SIM115 -- closed with this object
        except OSError as error:
            raise self._failed(error) from error
        try:
            self._stream = _Stream(self._file, encoding, size, fps, self._written)
        except BaseException as error:
            self._file.close()
            self.path.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise self._failed(error) from error
            raise

    def __enter__(self) -> Film:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()

    def close(self) -> None:
        """End the file, and wait until the disk has it.

        Raises:
            OutputError: it cannot be written; nothing of it is left.
        """
        try:
            self._stream.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except BaseException as failure:
            self.abandon()
            if isinstance(failure, OSError):
                raise self._failed(failure) from failure
            raise

    def abandon(self) -> None:
        """Remove the file."""
        for end in (self._stream.close, self._file.close):
            with suppress(OSError):  # it is thrown away
                end()
        self.path.unlink(missing_ok=True)

    def add(self, pixels: Pixels) -> None:
        """Write one RGB frame.

        Raises:
            OutputError: the disk is full, or the frame has another size.
        """
        if pixels.shape[:2] != self._size:
            raise OutputError("cannot write video", self.path, f"a frame of {pixels.shape[1]} x {pixels.shape[0]}")
        try:
            self._stream.add(pixels)
        except OSError as error:
            raise self._failed(error) from error

    def _written(self) -> Any:
        self._file.flush()
        return open(self.path, "rb")

    def _failed(self, error: OSError) -> OutputError:
        return OutputError("cannot write", self.path, error.strerror or error, "Free some space or choose another --out")
