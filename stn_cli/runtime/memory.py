"""How much of a set is worked on at once, so that what is made of it on the way fits the memory."""

from __future__ import annotations

import ctypes
import sys

BYTES_AT_ONCE = 512 << 20
"""Bytes of working copies; what fits is computed at once, so that small sets give the same bits whatever else is going on."""


def rows_at_once(bytes_each: int) -> int:
    """How many rows of `bytes_each` bytes are worked on at once: as many as fit `BYTES_AT_ONCE`, and at least one.

    Args:
        bytes_each: what one row takes on the way.

    Returns:
        At least 1.

    >>> rows_at_once(1 << 20)
    512
    >>> rows_at_once(1 << 40)
    1
    """
    return max(1, BYTES_AT_ONCE // max(1, bytes_each))


def hand_back() -> None:
    """Give memory that was freed back to the system, where the C library keeps it (glibc keeps what lies below anything in use)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
