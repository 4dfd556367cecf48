"""Reading small files of which nothing is known: plain files only, and never more than they can rightly hold."""

from __future__ import annotations

import errno
import math
import os
import stat
from pathlib import Path


def read_plain(path: str | os.PathLike[str], most: int) -> bytes:
    """The content of a plain file. A pipe or a device would be waited for, and a sparse file can claim more than there is memory.

    Args:
        path: of the file.
        most: bytes that it may have.

    Raises:
        OSError: it cannot be read, is no plain file, or is larger; `strerror` says which.
    """
    size = check_plain(path, most)
    with open(path, "rb") as file:
        return file.read(size)  # not `most`: Python takes the memory that is asked for before it reads


def check_plain(path: str | os.PathLike[str], most: int) -> int:
    """The size of a plain file, after the checks of `read_plain`."""
    try:
        found = os.stat(path)
    except ValueError as error:
        raise OSError(errno.EINVAL, "a name cannot hold a NUL", os.fspath(path)) from error
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", os.fspath(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a plain file", os.fspath(path))
    if found.st_size > most:
        raise _too_large(path, most)
    return found.st_size


def is_plain(path: Path, most: float = math.inf) -> bool:
    """Whether a plain file is there, of `most` bytes at most."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size <= most


def _too_large(path: str | os.PathLike[str], most: int) -> OSError:
    size = f"{most >> 30} GiB" if most >= 1 << 30 else f"{most >> 20} MiB"
    return OSError(errno.EFBIG, f"larger than {size}", os.fspath(path))
