"""What is wanted of `stn-coloc track`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from stn_cli.errors import UsageError
from stn_cli.records import PixelBox

TRACK_FORMATS = ("csv", "coco")
MOST_OBJECTS = 1000
"""Largest `--objects`."""
MOST_TRACK_SEED = 2**63 - 1
"""Largest `--seed`: torch's generators take it."""


@dataclass(frozen=True, slots=True)
class TrackOptions:
    """What is wanted.

    Attributes:
        model: a run that knows the object; None learns it from the video, or takes it from `init`.
        init: (x1, y1, x2, y2) of the object in pixels, in frame `init_frame` or the first that is read.
        init_frame: index of that frame.
        objects: how many there are in each frame at most.
        encoder: gives the features where there is no run.
        device: to work on.
        online: give what each frame showed; else gaps are filled and tracks smoothed at the end.
        min_score: objects below it are left out.
        formats: files beside tracks.json and tracks.txt.
        crops, video, show: also cut crops, write an annotated video, show it while it is made.
        stride, start, end, fps: see `open_video`.
        seed: of the random numbers.

    Raises:
        UsageError: a value makes no sense.
    """

    model: Path | None = None
    init: PixelBox | None = None
    init_frame: int | None = None
    objects: int = 1
    encoder: str = "small"
    device: str = "auto"
    online: bool = False
    min_score: float = 0.0
    formats: tuple[str, ...] = ()
    crops: bool = False
    video: bool = False
    show: bool = False
    stride: int = 1
    start: float = 0.0
    end: float = math.inf
    fps: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.formats:
            if name not in TRACK_FORMATS:
                raise UsageError("unknown --format", name, f"known: {', '.join(TRACK_FORMATS)}")
        if not 1 <= self.objects <= MOST_OBJECTS:
            raise UsageError(f"--objects must be 1 to {MOST_OBJECTS}", self.objects)
        if not 0 <= self.seed <= MOST_TRACK_SEED:
            raise UsageError(f"--seed must be 0 to {MOST_TRACK_SEED}", self.seed)
        if not 0 <= self.min_score <= 1:
            raise UsageError("--min-score must be 0 to 1", self.min_score)
        if self.init is not None and not self._is_box(self.init):
            raise UsageError("--init must be x,y,w,h with w and h above 0", as_typed(self.init))

    @staticmethod
    def _is_box(box: PixelBox) -> bool:
        return all(math.isfinite(v) for v in box) and box[0] < box[2] and box[1] < box[3]


def as_typed(box: PixelBox) -> str:
    """A box as it is typed.

    Args:
        box: (x1, y1, x2, y2).

    Returns:
        `x,y,w,h`.

    >>> as_typed((10.0, 20.0, 40.0, 60.0))
    '10,20,30,40'
    """
    x1, y1, x2, y2 = box
    return ",".join(f"{round(v, 6):.12g}" for v in (x1, y1, x2 - x1, y2 - y1))
