"""What colours say of a pixel: they are counted at each height of the window, for the object and for what is beside it.

GrabCut (Rother et al. 2004) has one mixture of colours for the object and one for the rest. But scenes lie in layers, and so do many
things: what is left and right of a thing is mostly what is behind it, too, at the same height. And what is taken for the object at first
holds some of what is behind it: of its colours so much is taken off as those beside it explain. So a thin thing that lies askew in its
box is told from the ground that the box holds most of.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from stn_cli.coloc.masks.guide import Floats
from stn_cli.coloc.masks.settings import MaskSettings


class LocalColours:
    """The colours of a window, in steps.

    Args:
        lab: (h, w, 3) in Lab, each channel from 0 to 1.
        settings: of masks.
    """

    def __init__(self, lab: Floats, settings: MaskSettings) -> None:
        self._settings, self._shape = settings, lab.shape[:2]
        self._bins = settings.bands, settings.lightness_bins, settings.colour_bins, settings.colour_bins
        low, high = np.percentile(lab.reshape(-1, 3), [settings.tail, 100 - settings.tail], 0)
        share = np.clip((lab - low) / np.maximum(high - low, settings.least_range / 256), 0, 1)
        steps = np.minimum((share * self._bins[1:]).astype(np.intp), np.array(self._bins[1:]) - 1)  # (h, w, 3)
        bands = np.arange(lab.shape[0]) * settings.bands // lab.shape[0]
        columns = np.broadcast_to(bands[:, None], self._shape), *np.moveaxis(steps, -1, 0)
        self._cells = np.ravel_multi_index(tuple(c.ravel() for c in columns), self._bins)

    def evidence(self, share: Floats) -> Floats:
        """How much more likely each pixel's colour is in the object than beside it, at its height.

        Args:
            share: (h, w) how much of each pixel is believed to be the object's so far, 0 to 1.

        Returns:
            (h, w) difference of the logarithms of the likelihoods.
        """
        s = self._settings
        beside = self._likelihood(1 - share)
        own = np.maximum(self._likelihood(share) - s.explained * beside, 0) / (1 - s.explained)
        difference = np.clip(np.log(own + s.rare) - np.log(beside + s.rare), -s.most, s.most)
        return np.asarray(difference.ravel()[self._cells].reshape(self._shape))

    def _likelihood(self, share: Floats) -> Floats:
        """p(colour | height), (bands, L, a, b), of pixels that count by their share."""
        s = self._settings
        counts = np.bincount(self._cells, share.ravel(), int(np.prod(self._bins))).reshape(self._bins).astype(np.float32)
        for axis, sigma in enumerate((s.band_blur, s.colour_blur, s.colour_blur, s.colour_blur)):
            counts = np.moveaxis(np.tensordot(_blur(self._bins[axis], sigma), counts, (1, axis)), 0, axis)
        band = counts.sum((1, 2, 3), keepdims=True)
        return np.asarray(counts / (band + s.bare * share.sum() + s.rare), np.float32)


@cache
def _blur(length: int, sigma: float) -> Floats:
    """A Gaussian along one axis, as a matrix (length, length)."""
    places = np.arange(length)
    weights = np.exp(-0.5 * ((places[:, None] - places) / sigma) ** 2)
    return np.asarray(weights / weights.sum(0).max(), np.float32)
