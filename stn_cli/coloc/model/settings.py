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


FINDER = FinderSettings()
