"""What the objects of a whole video looked like, in little memory: an hour of several objects has half a million looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from stn_cli.records import PixelBox

Look = npt.NDArray[np.float16]
Looks = Mapping[tuple[int, PixelBox], Look]
"""What an object looked like, by the frame's index and its box; unit vectors."""

BLOCK = 4096
"""Looks that are kept in one array: one array each would take twice the memory of what is in it."""


class KeptLooks(Mapping[tuple[int, PixelBox], Look]):
    """Looks as they come, frame by frame, all of one length."""

    def __init__(self) -> None:
        self._blocks: list[Look] = []
        self._count = 0
        self._frames: dict[int, tuple[int, tuple[PixelBox, ...]]] = {}

    def add(self, frame: int, boxes: Sequence[PixelBox], looks: Sequence[Look]) -> None:
        """Keep the looks of the objects of one frame, once for each frame.

        Args:
            frame: its index.
            boxes: of the objects.
            looks: (D,) of each of them.
        """
        self._frames[frame] = self._count, tuple(boxes)
        for look in looks:
            if self._count % BLOCK == 0:
                self._blocks.append(np.empty((BLOCK, len(look)), np.float16))
            self._blocks[-1][self._count % BLOCK] = look
            self._count += 1

    def __getitem__(self, key: tuple[int, PixelBox]) -> Look:
        first, boxes = self._frames[key[0]]
        if key[1] not in boxes:
            raise KeyError(key)
        row = first + boxes.index(key[1])
        return self._blocks[row // BLOCK][row % BLOCK]

    def __iter__(self) -> Iterator[tuple[int, PixelBox]]:
        return ((frame, box) for frame, (_, boxes) in self._frames.items() for box in boxes)

    def __len__(self) -> int:
        return self._count
