"""Frames put aside on disk until the start of a track is reached, so that memory does not grow with their number."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stn_cli.errors import OutputError
from stn_cli.files import TEMPORARY
from stn_cli.media.header import LONGEST_JPEG
from stn_cli.media.video import VideoFrame


class Aside:
    """Frames in a file that goes away with this object, or with the process.

    Args:
        folder: where the file lies: it may grow as large as the video.

    Raises:
        OutputError: nothing can be written there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries: list[tuple[int, float, int, int]] = []
        try:
            self._file = tempfile.TemporaryFile(prefix=TEMPORARY, dir=folder)  # noqa: SIM115 -- closed with this object
        except OSError as error:
            raise self._failed(error) from error

    def __enter__(self) -> Aside:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # what could not be written is tried once more, and no longer wanted
            self._file.close()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, frame: VideoFrame) -> None:
        """Put the next frame aside.

        Args:
            frame: to be had back later.

        Raises:
            OutputError: the disk is full.
        """
        kind, how = (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 97]) if max(frame.pixels.shape) <= LONGEST_JPEG else (".png", [])
        done, data = cv2.imencode(kind, cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR), how)
        if not done:
            raise OutputError("cannot put a frame aside", frame.index)
        try:
            at = self._file.seek(0, os.SEEK_END)
            self._file.write(data.tobytes())
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error
        self._entries.append((frame.index, frame.time, at, len(data)))

    def stamps(self) -> list[tuple[int, float]]:
        """What the frames are.

        Returns:
            (index, time in seconds) of each, in their order.
        """
        return [(index, time) for index, time, _, _ in self._entries]

    def backwards(self) -> Iterator[VideoFrame]:
        """The frames, the last one first."""
        return (self[place] for place in reversed(range(len(self))))

    def __getitem__(self, place: int) -> VideoFrame:
        index, stamp, at, length = self._entries[place]
        self._file.seek(at)
        pixels: Any = cv2.imdecode(np.frombuffer(self._file.read(length), np.uint8), cv2.IMREAD_COLOR)
        return VideoFrame(index, stamp, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))

    def _failed(self, error: OSError) -> OutputError:
        return OutputError("cannot put frames aside", self._folder, error.strerror, "Free some space or choose another --out")
