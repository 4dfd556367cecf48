"""Memory that decoding threads share: huge pictures are not decoded side by side."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

LEAST, MOST = 256 << 20, 4 << 30
"""Bytes that the budget has at least and at most."""
SHARE = 4
"""One part in so many of the free memory is for pictures that are being decoded."""
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class Budget:
    """A number of bytes; who wants more than is free waits, in the order of coming.

    Whoever wants more than all of it goes alone. Nobody may ask while he holds some: then nobody can wait for himself.

    Args:
        total: bytes.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._used = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Take `amount` bytes for as long as the block runs."""
        amount = min(max(0, amount), self.total)
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                self._changed.wait_for(lambda: self._queue[0] is ticket and self._used + amount <= self.total)
                self._used += amount
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._used -= amount
                self._changed.notify_all()


@cache
def shared() -> Budget:
    """The budget of this process, a quarter of the memory that was free when it was first asked for.

    Returns:
        The one that all decoding threads share.
    """
    return Budget(min(MOST, max(LEAST, free_memory() // SHARE)))


def free_memory() -> int:
    """Bytes that this process may take, as far as the system says: free ones on Linux, all on other systems, else 4 GiB.

    Returns:
        Bytes.
    """
    pages = getattr(os, "sysconf_names", {})
    everything = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if "SC_PHYS_PAGES" in pages else 4 << 30
    limits = [value for path in _LIMITS if (value := _number(path)) is not None]
    return min([_available() or everything, *limits])


def _available() -> int | None:
    """What Linux calls available: free memory and caches that it can give up."""
    with suppress(OSError), open("/proc/meminfo", encoding="ascii") as lines:
        return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), None)
    return None


def _number(path: str) -> int | None:
    """A container's limit; None where there is none."""
    with suppress(OSError, ValueError), open(path, encoding="ascii") as file:
        return int(file.read())
    return None
