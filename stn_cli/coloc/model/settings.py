"""The numbers that a model is built with, each with its unit, what was tried, and where in docs/experiments.md it was measured."""

from __future__ import annotations

from dataclasses import dataclass

from stn_cli.provenance import setting


@dataclass(frozen=True)
class FinderSettings:
    """The network that finds one kind of object, `finder.py`; a model that is stored was built with these."""

    width: int = setting(48, "channels of the layers of f_loc")
    crop_side: int = setting(64, "side of the transformer's crops, pixels")
    context: float = setting(
        2.5, "how many times as large as the coarse crop the window is that a finer level looks through: what was missed is still in view"
    )  # fmt: skip
    window_side: int = setting(64, "side at which a finer level sees its window, pixels")
    spread: float = setting(1e-2, "least standard deviation that a map is divided by")


@dataclass(frozen=True)
class FastSettings:
    """How a run's student is made and when it is believed, `fast_learning.py`."""

    sides: tuple[int, ...] = setting((64, 96), "longer sides at which the student may look, pixels, multiples of 32")
    images: int = setting(600, "images at most that it learns from")
    least_images: int = setting(20, "images that it learns from at least")
    worth_another: float = setting(
        2.0, "times as many images as last time from which one that was not believed is learnt again"
    )
    held: float = setting(0.2, "share of them that it is tried on")
    picture: int = setting(192, "longer side at which they are kept, pixels")
    images_at_once: int = setting(64, "of them that the run looks at in one call")
    enough_pixels: int = setting(24, "longer side that objects are to have where they are looked at, pixels")
    smaller: float = setting(0.25, "share of the objects that may be smaller")
    object_pixels: int = setting(12, "longer side below which half of the objects are too small for the largest look, pixels")
    steps_first: int = setting(260, "steps without the images that are held out")
    steps_last: int = setting(120, "steps with them")
    last_rate: float = setting(5e-4, "highest learning rate of the latter")
    newton_rounds: int = setting(30, "of Newton's method, for scores")
    votes: float = setting(
        0.6, "IoU from which a box has a vote on where a better one lies", tried="none", measured="The student's boxes"
    )
    least_same: float = setting(
        0.95, "share of held-out images with the same box below which the student is not believed", tried=".9",
        measured="When a student is believed",
    )  # fmt: skip


FAST = FastSettings()
FINDER = FinderSettings()
