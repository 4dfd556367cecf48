"""Many pictures of one size: in memory where they are few, in a file where they are many."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stn_cli.errors import OutputError
from stn_cli.files import TEMPORARY

IN_MEMORY = 64 << 20
"""Bytes above which pictures are kept in a file: what a training takes must not grow with the number of its images."""
ZEROS = 1 << 20
"""Bytes that are written at once where room on the disk can only be taken by writing."""
UNKNOWN = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems say that cannot take room at once."""


class Rows:
    """Pictures (N, S, S, 3) of uint8 in a file, read and written one by one.

    Plain reads and writes, no memory map: pages of a map count as the process's memory, and a full disk ends a process that writes to one.
    The file has no name, or is deleted as it is closed where a system insists on names, so it goes away however the process ends.

    Args:
        folder: whose file system has the room.
        shape: (N, S, S, 3).

    Raises:
        OutputError: the folder cannot be written to, or its disk has no room for all of them.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...]) -> None:
        self.folder, self.shape = folder, shape
        self.row = int(np.prod(shape[1:]))
        self._lock = threading.Lock()
        try:
            self._file = tempfile.TemporaryFile(dir=folder, prefix=TEMPORARY, buffering=0)  # noqa: SIM115
            weakref.finalize(self, self._file.close)
            reserve(self._file, self.nbytes)
        except OSError as error:
            todo = "Free some space, choose another --out, or lower --imgsz"
            raise OutputError(
                f"no room for {self.nbytes / 1e9:.1f} GB of decoded images", folder, error.strerror, todo
            ) from error

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Size of all pictures."""
        return self.shape[0] * self.row

    def __getitem__(self, index: int | npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """One picture (S, S, 3), or several (B, S, S, 3)."""
        if isinstance(index, np.ndarray):
            out = np.empty((len(index), *self.shape[1:]), np.uint8)
            for place, i in zip(out, index.tolist(), strict=True):
                self._read(i, place)
            return out
        out = np.empty(self.shape[1:], np.uint8)
        self._read(index, out)
        return out

    def __setitem__(self, index: int, picture: npt.NDArray[np.uint8]) -> None:
        if not 0 <= index < len(self):
            raise IndexError(index)
        left = np.ascontiguousarray(picture).data.cast("B")
        with self._at(index):
            while left:
                left = left[self._file.write(left) :]

    def _read(self, index: int, into: npt.NDArray[np.uint8]) -> None:
        if not 0 <= index < len(self):  # who goes through them one by one hears of the end by this
            raise IndexError(index)
        left = into.data.cast("B")
        with self._at(index):
            while left:
                count = self._file.readinto(left)
                if not count:
                    raise OSError("it was cut short")
                left = left[count:]

    @contextmanager
    def _at(self, index: int) -> Iterator[None]:
        """The file, at a picture, for one thread."""
        with self._lock:
            try:
                self._file.seek(index * self.row)
                yield
            except OSError as error:
                raise OutputError("cannot keep the decoded images", self.folder, error.strerror or error) from error

    def shortened(self, count: int) -> Rows:
        """The first `count` of them."""
        self.shape = (count, *self.shape[1:])
        return self


def reserve(file: Any, size: int) -> None:
    """Take a file's room on the disk now: a full disk is known before anything is decoded.

    Args:
        file: open for writing.
        size: bytes.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
            return
        except OSError as error:
            if error.errno not in UNKNOWN:
                raise
    zeros = bytes(ZEROS)
    for start in range(0, size, ZEROS):
        file.write(zeros[: size - start])
    file.seek(0)


def make_rows(folder: Path | None, shape: tuple[int, ...]) -> npt.NDArray[np.uint8] | Rows:
    """Room for pictures (N, S, S, 3).

    Args:
        folder: for the file of those that take more than `IN_MEMORY`; None keeps any in memory.
        shape: (N, S, S, 3).

    Returns:
        The room, its content not set.

    Raises:
        OutputError: as `Rows`.
    """
    if folder is None or np.prod(shape, dtype=np.int64) <= IN_MEMORY:
        return np.empty(shape, np.uint8)
    return Rows(folder, shape)
