"""What is believed of a window's pixels before their colours are looked at: an ellipse in the box, or a map that is given."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch

from stn_cli.coloc.masks.guide import Floats
from stn_cli.coloc.masks.settings import MaskSettings
from stn_cli.geometry import pixels_in_box


def object_prior(
    size: tuple[int, int],
    boxes: npt.NDArray[np.float64],
    given: Sequence[Floats | None],
    settings: MaskSettings,
    sure: Sequence[float] | None = None,
) -> tuple[Floats, Floats]:
    """How likely each pixel of a window is the first box's object, and how much of it the neighbours leave to it.

    Args:
        size: (h, w) of the window.
        boxes: (M, 4) the object's own and those of its neighbours, in the window's pixels.
        given: a map over each box, (h', w') of 0 to 1; None where there is none.
        settings: of masks.
        sure: for each box how likely it is of an object, 0 to 1: a neighbour that is likely none takes little; 1 for all where it is left out.

    Returns:
        (h, w) the prior, between 0 and 1, and (h, w) the claim: 1 where no other object is more likely, 0 where another is certain.
    """
    own, *others = (_alone(size, box, map_, settings) for box, map_ in zip(boxes, given, strict=True))
    likely = [1.0] * len(others) if sure is None else sure[1:]
    rival = np.maximum.reduce([own, *(np.float32(share) * other for share, other in zip(likely, others, strict=True))])
    return own, own / rival


def _alone(size: tuple[int, int], box: npt.NDArray[np.float64], given: Floats | None, settings: MaskSettings) -> Floats:
    """The prior of one box, as if there were no other."""
    places = pixels_in_box(torch.from_numpy(box), size)
    u, v = places[0].numpy()[None, :], places[1].numpy()[:, None]
    if given is None:
        radius = np.hypot(u, v) / settings.ellipse
        prior = 1 / (1 + np.exp(np.minimum((radius - 1) / settings.softness, 50)))
    else:
        h, w = given.shape
        columns, rows = np.broadcast_arrays((u + 1) / 2 * w - 0.5, (v + 1) / 2 * h - 0.5)
        at = columns.astype(np.float32), rows.astype(np.float32)
        read = cv2.remap(given.astype(np.float32), *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        prior = np.clip(read, settings.certain, 1 - settings.certain)
    return np.asarray(np.where((np.abs(u) <= 1) & (np.abs(v) <= 1), prior, settings.outside), np.float32)
