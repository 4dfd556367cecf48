"""Reading small files from anywhere: plain files only, and never more than they can rightly hold."""

from __future__ import annotations

import errno
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def open_plain(path: str | os.PathLike[str], most: float, buffering: int = -1) -> Iterator[tuple[BinaryIO, int]]:
    """Open a plain file, never waiting: a pipe or a device may stand in its place, or come there at the last moment.

    Args:
        path: of the file.
        most: bytes that it may have; a sparse file can claim more than there is memory.
        buffering: as for `open`.

    Yields:
        The open file and its size in bytes.

    Raises:
        OSError: it cannot be read, is no plain file, or is larger; `strerror` says which.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:
        raise OSError(errno.EINVAL, "a name cannot hold a NUL", os.fspath(path)) from error
    try:
        size = _checked(os.fstat(handle), path, most)
        file = open(handle, "rb", buffering=buffering)  # noqa: SIM115 -- closed below
    except BaseException:
        os.close(handle)
        raise
    with file:
        yield file, size


def read_plain(path: str | os.PathLike[str], most: int) -> bytes:
    """The content of a plain file, see `open_plain`.

    Args:
        path: the file.
        most: bytes that it may have.

    Returns:
        Its content.
    """
    with open_plain(path, most) as (file, size):
        return file.read(size)  # not `most`: Python takes the memory that is asked for before it reads


def check_plain(path: str | os.PathLike[str], most: int) -> int:
    """The size of a plain file that others will open, after the checks of `open_plain`.

    Args:
        path: the file.
        most: bytes that it may have.

    Returns:
        Its size in bytes.
    """
    try:
        return _checked(os.stat(path), path, most)
    except ValueError as error:
        raise OSError(errno.EINVAL, "a name cannot hold a NUL", os.fspath(path)) from error


def is_plain(path: Path, most: float = math.inf) -> bool:
    """Whether a plain file is there, of `most` bytes at most.

    Args:
        path: the file.
        most: bytes that it may have.

    Returns:
        False also where nothing is there.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size <= most


def _checked(found: os.stat_result, path: str | os.PathLike[str], most: float) -> int:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", os.fspath(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    if found.st_size > most:
        raise OSError(errno.EFBIG, f"too large: {found.st_size:,} bytes, at most {most:,}", os.fspath(path))
    return found.st_size
