"""Reading score maps under crops: means inside, and rings around.

Convention: a map is (B, C, h, w), cells of equal size that cover the letterbox; crops are in normalised letterbox coordinates. A crop
reads a map at a grid of points of its own, bilinearly, so that it may lie at any angle and gradients reach its matrix.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stn_cli.coloc.crops import Crops
from stn_cli.coloc.score.settings import SCORE
from stn_cli.stn import sample


def ring_margins(score_map: Tensor, crops: tuple[Crops, ...]) -> Tensor:
    """Margins of crops: the mean of a map inside, less half of its mean in a ring around.

    Args:
        score_map: (B, h, w).
        crops: of the same images, R of each in all.

    Returns:
        (B, R).
    """
    return torch.cat([beyond_ring(score_map[:, None], part, SCORE.probes)[..., 0] for part in crops], 1)


def beyond_ring(maps: Tensor, crops: Crops, probes: int) -> Tensor:
    """What crops hold beyond their surroundings: the mean inside, less half of the mean in a ring around.

    Args:
        maps: (B, C, h, w).
        crops: R of each image.
        probes: points along a side that a crop reads.

    Returns:
        (B, R, C).
    """
    inner, whole = (mean_inside(maps, crops, probes, zoom) for zoom in (1.0, SCORE.ring))
    return inner - SCORE.ring_weight * (whole * SCORE.ring**2 - inner) / (SCORE.ring**2 - 1)


def mean_inside(maps: Tensor, crops: Crops, probes: int, zoom: float = 1.0) -> Tensor:
    """The mean of maps inside crops.

    Args:
        maps: (B, C, h, w).
        crops: R of each image.
        probes: points along a side that a crop reads.
        zoom: how many times as large the crops are taken, about their middles.

    Returns:
        (B, R, C).
    """
    return read_under(maps, crops, probes, zoom).mean((-2, -1)).movedim(1, -1)


def read_under(maps: Tensor, crops: Crops, probes: int, zoom: float = 1.0) -> Tensor:
    """Read maps at T_theta(G), the points of crops.

    Args:
        maps: (B, C, h, w).
        crops: R of each image.
        probes: points along a side that a crop reads.
        zoom: how many times as large the crops are taken, about their middles.

    Returns:
        (B, C, R, probes, probes); gradients reach the crops' matrices.
    """
    points = crops.points((probes, probes), zoom)  # (B, R, probes, probes, 2)
    values = sample(maps, points.flatten(1, 2), padding="border")  # (B, C, R probes, probes)
    return values.unflatten(2, points.shape[1:3])
