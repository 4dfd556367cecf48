"""Which of several processes this is, as torchrun says it; torch is not needed for that."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Launch:
    """How this process was started.

    Attributes:
        rank: of this one among all, from 0.
        size: how many there are; 1 of a process that was started by itself.
        local: its number on this machine, from 0.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def speaks(self) -> bool:
        """Whether this is the process that tells the user what comes of it."""
        return self.rank == 0


def launched() -> Launch:
    """What torchrun has told this process; a process by itself where it did not start it.

    Returns:
        Its place among the others.
    """
    told = [os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")]
    if "MASTER_ADDR" not in os.environ or not all(value.isdecimal() for value in told):
        return Launch()
    return Launch(*map(int, told))
