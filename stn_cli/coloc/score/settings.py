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


SCORE = ScoreSettings()
