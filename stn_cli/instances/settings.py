"""The numbers by which a student learns, each with its unit, what was tried, and where in docs/experiments.md it was measured."""

from __future__ import annotations

from dataclasses import dataclass

from stn_cli.provenance import setting


@dataclass(frozen=True)
class DistillingSettings:
    """How a student learns what a run finds, `distil.py`."""

    rate: float = setting(1e-3, "highest learning rate", tried="3e-3", measured="The student's learning rate")
    warm: int = setting(20, "steps in which the rate rises")
    decay: float = setting(0.01, "weight decay")
    longest: float = setting(5.0, "norm to which gradients are cut")
    canvases: int = setting(16, "of a step")
    jitter: tuple[float, float] = setting((0.85, 1.18), "sizes in units of the one at which images are looked at")
    often_closer: float = setting(
        0.7, "share of the lessons of which a part is looked at", tried="0", measured="Parts of images"
    )
    closer: tuple[float, float] = setting(
        (0.55, 1.0), "sides of such a part, shares of the image's", measured="Parts of images"
    )
    best_shown: float = setting(0.75, "share of the best box that a part must show, else the whole is looked at")
    shown: float = setting(0.6, "share of a box that a part must show to be one of its boxes")
    sides: float = setting(1.5, "how much the sides of boxes count beside their scores")
    nothing: float = setting(0.75, "how much a cell that speaks for nothing counts, times its score squared (varifocal loss)")
    least_reach: float = setting(0.6, "cells from a box's middle that speak for it at least")
    as_likely: float = setting(0.5, "share of the best score at a cell from which the smaller box goes first")


DISTILLING = DistillingSettings()
