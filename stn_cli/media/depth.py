"""From sixteen bits a channel to eight.

Cameras, microscopes and thermal imagers often use 10 or 12 of the 16 bits, or a narrow range of them: cut to their upper eight bits
their pictures are black. Those are stretched by the range that they use; what uses the full range keeps its upper eight bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Deep = npt.NDArray[np.uint16]

FULL = 1 << 14
"""A spread of values from which on the upper eight bits show enough (64 of 256 steps)."""
LEAST = 16
"""Values that are stretched at least: less is noise."""
SHARE = 0.001
"""Of the values may lie outside the range, at each end: dead and hot pixels."""
MOST_COUNTED = 4_000_000
"""Values that are looked at; of more, every second or third."""


@dataclass(frozen=True, slots=True)
class Levels:
    """The values of 16-bit pixels that become 0 and 255."""

    low: int
    high: int

    @property
    def full(self) -> bool:
        """Nothing is stretched."""
        return self.high - self.low >= FULL

    def apply(self, pixels: Deep) -> npt.NDArray[np.uint8]:
        """Pixels of any shape as 8 bits."""
        if self.full:
            return (pixels >> 8).astype(np.uint8)
        table = np.arange(65_536, dtype=np.float32)
        table = np.clip((table - self.low) * (255 / (self.high - self.low)), 0, 255).round()
        return table.astype(np.uint8)[pixels]


WHOLE = Levels(0, 65_535)


def levels_of(pixels: Deep) -> Levels:
    """The range that a picture's values use, all channels together, so that colours stay as they are.

    Args:
        pixels: (H, W) or (H, W, C) uint16.

    Returns:
        The range.
    """
    values = pixels.reshape(-1)
    counts = np.bincount(values[:: max(1, values.size // MOST_COUNTED)], minlength=65_536).cumsum()
    low = int(np.searchsorted(counts, SHARE * counts[-1], side="right"))
    high = int(np.searchsorted(counts, (1 - SHARE) * counts[-1]))
    if high == low:
        return WHOLE  # one value everywhere: there is nothing to see
    return Levels(low, max(high, low + LEAST))


def common(found: Sequence[Levels]) -> Levels | None:
    """One range for all frames of a video; None of no frames.

    Args:
        found: the ranges of some frames.

    Returns:
        The range that holds them all.
    """
    if not found:
        return None
    return Levels(min(levels.low for levels in found), max(levels.high for levels in found))
