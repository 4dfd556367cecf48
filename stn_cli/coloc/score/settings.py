"""The numbers that steer scorers and scores, each with its unit, what was tried, and where in docs/experiments.md it was measured."""

from __future__ import annotations

from dataclasses import dataclass

from stn_cli.provenance import setting


@dataclass(frozen=True)
class ScoreSettings:
    """Margins of crops, and what is believed to be there."""

    probes: int = setting(12, "points along a side at which a crop reads the margin map")
    likeness_probes: int = setting(6, "points along a side at which a crop reads what it holds")
    ring: float = setting(1.6, "how many times as large the surroundings are", measured="mean inside - .5 x ring of 1.6")
    ring_weight: float = setting(0.5, "of the mean in the ring", tried="0, 1", measured="mean inside - .5 x ring of 1.6")
    read: int = setting(32, "components of a cell that f_loc reads", tried="8", measured="reads 8 components instead of 32")
    hopeless: float = setting(
        0.1, "an image whose best crop has less margin than this share of all random patches holds nothing to learn from", tried=".25",
        measured="Only hopeless ones left out (below a tenth of random patches)",
    )  # fmt: skip
    same_kind: float = setting(0.5, "share of the images in which a further object must score as a known kind to be one")
    boxes_at_once: int = setting(4096, "images whose turned crops are boxed at once")


@dataclass(frozen=True)
class CalibrationSettings:
    """From margins to scores, `calibration.py`."""

    images: int = setting(1024, "images at most whose margins the scores are fitted on")
    random_patches: int = setting(8, "random patches of each image that its crop is compared with")
    apart: float = setting(0.2, "IoU with a crop below which a random patch is one of the background")
    images_at_once: int = setting(64, "images whose margins are taken at once")
    observed: int = setting(512, "images from which a rigid scorer learns what crops and random patches look like")
    least_common: float = setting(
        0.37, "crops that have less in common (`DenseSearch.common`) are of no common object",
        measured=".37 divides them",
    )  # fmt: skip
    further_common: float = setting(
        0.7, "the same for further kinds, as a share of what the first kind's crops have in common: what lies around an object has "
        "something in common too", tried=".37 for further kinds too", measured="A further kind must have .7 of what the",
    )  # fmt: skip
    doubtful: float = setting(0.5, "highest score where there may be no common object")


@dataclass(frozen=True)
class CollapseSettings:
    """When the boxes of a set look as if no object was found, `calibration.collapse`."""

    images: int = setting(8, "images below which nothing is said")
    place: float = setting(0.02, "spread of the centres, and")
    sides: float = setting(0.05, "relative spread of the sides, below which all boxes are alike")
    inside: float = setting(0.5, "share of a box that must lie on its image, and")
    outside_images: float = setting(0.2, "share of the images in which it may lie off it")
    edge: float = setting(0.01, "distance from the border, share of the image, that counts as touching, for")
    small: float = setting(0.5, "boxes of less than this share of the image")
    edge_images: float = setting(0.8, "share of the images in which boxes may touch the border")


SCORE = ScoreSettings()
CALIBRATION = CalibrationSettings()
COLLAPSE = CollapseSettings()
