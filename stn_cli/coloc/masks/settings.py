"""The numbers that steer masks, each with its unit, what was tried, and where in docs/experiments.md it was measured."""

from __future__ import annotations

from dataclasses import dataclass

from stn_cli.provenance import setting

TABLE = "Outlines of objects"
"""The part of docs/experiments.md that compares them."""


@dataclass(frozen=True)
class MaskSettings:
    """Masks of objects in boxes, `objects.py`."""

    reach: float = setting(
        0.2, "how much of what is beside the box is looked at, share of its sides", tried=".12, .3, .5", measured=TABLE
    )
    least_reach: float = setting(2.0, "and never less than this, pixels")
    side: int = setting(
        128, "longer side at which the box and what is beside it are looked at, pixels", tried="96, 160", measured=TABLE
    )
    ellipse: float = setting(
        0.7, "size of the ellipse in which the object is looked for first, share of the box", tried=".6, .8", measured=TABLE
    )
    softness: float = setting(0.35, "how softly the ellipse ends, share of its radius", tried=".15, .6", measured=TABLE)
    certain: float = setting(0.01, "how far from 0 and 1 a prior that is given is kept: colours alone cannot say otherwise")
    outside: float = setting(1e-4, "prior of what is not in the box")
    bands: int = setting(8, "heights of the window that have colours of their own", tried="1, 5, 12", measured=TABLE)
    band_blur: float = setting(1.0, "how far a colour counts above and below, bands")
    lightness_bins: int = setting(16, "steps of lightness")
    colour_bins: int = setting(14, "steps of each of the two other channels of Lab")
    colour_blur: float = setting(0.7, "how far a colour counts for colours like it, steps", tried=".5, 1", measured=TABLE)
    tail: float = setting(1.0, "percent of the pixels that lie below the lowest step of a channel, and above the highest")
    least_range: float = setting(12.0, "range of a channel that its steps always cover, of 256: what is flat has no colours")
    bare: float = setting(
        0.02, "pixels that every band is taken to have besides its own, share of all", tried=".005, .1", measured=TABLE
    )
    rare: float = setting(1e-5, "share of a band's pixels that every colour is taken to have besides its own")
    explained: float = setting(
        0.7, "how much of what is taken for the object at first is none: colours from beside it are taken off its own",
        tried="0, .3, .5", measured=TABLE,
    )  # fmt: skip
    most: float = setting(
        2.0, "logarithm of a ratio of likelihoods beyond which a colour says no more", tried="1.5, 3", measured=TABLE
    )
    weight: float = setting(2.0, "of colours against the prior", tried="1, 3", measured=TABLE)
    rounds: int = setting(4, "of colours from the mask, and the mask from colours", tried="1, 2, 8", measured=TABLE)
    radius: float = setting(
        0.015, "of the guided filter's squares, share of the window's longer side", tried=".03", measured=TABLE
    )
    edge: float = setting(
        0.003, "variance of colours at which the guided filter sees an edge, of 1", tried=".001, .01", measured=TABLE
    )
    least_part: float = setting(0.05, "parts smaller than this share of the largest are specks", tried="0, .15", measured=TABLE)
    least_area: float = setting(0.1, "share of the prior's area below which a mask is none, and the prior is taken")
    strip: int = setting(1 << 18, "pixels of the image that are told apart at once")


MASKS = MaskSettings()
