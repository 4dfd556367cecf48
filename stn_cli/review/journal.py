"""review.jsonl: what a person did, a line per action, on disk before the page hears that it is done.

Lines are only ever added. Several processes may write at once: each takes the lock, reads what the others wrote, and adds its line with the
next number. A line that was cut short was never confirmed to anyone: it is left where it is, counted, and not taken for an action.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stn_cli.errors import InputError, OutputError

try:
    import fcntl
except ImportError:  # Windows: two windows share one process there, and two processes are not kept apart
    fcntl = None  # type: ignore[assignment]

Line = dict[str, Any]
TODO = "Free some space or mend the folder: the page tries again by itself"
GONE = "Put it back, or start the review again"


class ReviewJournal:
    """A journal that is read and added to; made where there is none.

    Args:
        path: of the file.

    Attributes:
        last: number of the last action that was read; 0 before the first.
        damaged: lines that are no whole action.

    Raises:
        OutputError: it cannot be made or written to.
        InputError: what is there is no plain file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.last, self.damaged = path, 0, 0
        self._at = self._depth = 0
        self._threads = threading.RLock()
        new = not os.path.lexists(path)
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            self._handle = os.open(path, flags, 0o666)
        except OSError as error:
            raise OutputError("cannot write", path, error.strerror, "The review keeps its actions there") from error
        if not stat.S_ISREG(os.fstat(self._handle).st_mode):
            self.close()
            raise InputError("not a regular file", path, None, "Move it away")
        if new:
            _sync_folder(path.parent)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else adds a line while the block runs: no other thread, and no other process."""
        with self._threads:
            if fcntl is not None and not self._depth:
                fcntl.flock(self._handle, fcntl.LOCK_EX)
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if fcntl is not None and not self._depth:  # an inner block must not open what an outer one closed
                    with suppress(OSError):
                        fcntl.flock(self._handle, fcntl.LOCK_UN)

    def read_new(self) -> list[Line]:
        """The actions that were added since the last look, whoever wrote them.

        Returns:
            Their lines, in the order of the file.

        Raises:
            OutputError: the file has gone, or is another one now.
        """
        with self.locked():
            self._check_place()
            data = self._read(self._at)
            whole = data[: data.rfind(b"\n") + 1]
            self._at += len(whole)
            return [line for text in whole.splitlines() if (line := self._parsed(text)) is not None]

    def _check_place(self) -> None:
        """See that the open file is still the one at its path: what is written to one that was removed is lost.

        Raises:
            OutputError: it is not.
        """
        try:
            there = os.stat(self.path)
        except OSError as error:
            raise OutputError("the review's journal has gone", self.path, error.strerror, GONE) from error
        mine = os.fstat(self._handle)
        if (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino) or mine.st_size < self._at:
            raise OutputError("the review's journal is another file now", self.path, None, GONE)

    def _read(self, start: int) -> bytes:
        parts = []
        while part := os.pread(self._handle, 1 << 20, start) if hasattr(os, "pread") else self._read_at(start):
            parts.append(part)
            start += len(part)
        return b"".join(parts)

    def _read_at(self, start: int) -> bytes:
        os.lseek(self._handle, start, os.SEEK_SET)
        return os.read(self._handle, 1 << 20)

    def _parsed(self, text: bytes) -> Line | None:
        """A line as an action; None for what a killed process left, which is counted."""
        if not text.strip():
            return None
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            line = None
        number = line.get("seq") if isinstance(line, dict) else None
        if not isinstance(number, int) or isinstance(number, bool) or number <= self.last:
            self.damaged += 1
            return None
        self.last = number
        return line

    def add(self, action: Line) -> Line:
        """Write an action and wait until the disk has it; the caller holds the lock and has read what is new.

        Args:
            action: without its number.

        Returns:
            The line, with its number.

        Raises:
            OutputError: it cannot be written; the file is as it was.
        """
        line = {"seq": self.last + 1, **action}
        self._check_place()
        size = os.fstat(self._handle).st_size
        torn = size > self._at  # the end of a line is missing: whoever wrote it was killed, as the lock is ours
        data = b"\n" * torn + json.dumps(line, allow_nan=False).encode("ascii") + b"\n"
        try:
            _write_all(self._handle, data)
            os.fsync(self._handle)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._handle, size)
            raise OutputError("cannot write", self.path, error.strerror, TODO) from error
        self.damaged += torn
        self._at = size + len(data)
        self.last += 1
        return line

    def ends_torn(self) -> bool:
        """Whether the last line was cut short; call it after `read_new`.

        Returns:
            True where a process was killed while it wrote, and nobody has written since.
        """
        with self.locked():
            return os.fstat(self._handle).st_size > self._at

    def close(self) -> None:
        """Let go of the file; all is on disk already."""
        with suppress(OSError):
            os.close(self._handle)


def _write_all(handle: int, data: bytes) -> None:
    """One call in all but strange cases: what a full disk takes of it is taken back by the caller."""
    while data:
        written = os.write(handle, data)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        data = data[written:]


def _sync_folder(folder: Path) -> None:
    """Let the disk know the new file's name; systems without such a thing do it by themselves."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
