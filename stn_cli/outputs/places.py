"""Where a path really is: through links, other spellings, and folders mounted twice."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A path's real place.

    Attributes:
        path: without links.
        own: what identifies it, None where nothing is there.
        above: what identifies it and every folder above it.
    """

    path: str
    own: tuple[int, int] | None
    above: frozenset[tuple[int, int]]

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Place:
        """The place of a path, which need not be there."""
        real = os.path.realpath(path)
        above, at = set(), real
        while True:
            with suppress(OSError, ValueError):
                above.add(inode_of(at))
            if at == os.path.dirname(at):
                break
            at = os.path.dirname(at)
        own = None
        with suppress(OSError, ValueError):
            own = inode_of(real)
        return cls(real, own, frozenset(above))

    def is_below(self, other: Place) -> bool:
        """Whether it is the other one, or in it."""
        if other.own is not None:
            return other.own in self.above
        return self.path == other.path or self.path.startswith(other.path + os.sep)


def inode_of(path: str) -> tuple[int, int]:
    """What tells a file or folder from all others: its device and its number there.

    Args:
        path: of a file or folder that is there.

    Returns:
        Device and number.
    """
    found = os.stat(path)
    return found.st_dev, found.st_ino
