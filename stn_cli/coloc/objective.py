"""The triplet margin objective of appendix A.2, and the size rule that it needs.

sum_n sum_{m != n} max(0, |e(I_n^T) - e(I_m^T)|^2 - |e(I_n^T) - e(I_n^rand)|^2 + alpha)

Two things are added to the paper's loss, both measured in docs/method.md. Distances are squared distances in a space whose
scale is fixed over the whole data set (the mean squared norm of its windows is 1): with embeddings of unit length a speck of
clutter is "more common" than the object. And among crops that satisfy the margin the largest is wanted:
the loss is lowered by `SIZE_REWARD` times the logarithm of the crop's area, or every crop would shrink to a fragment.
"""

from __future__ import annotations

import torch
from torch import Tensor

ALPHA = 1.0
"""The margin, in units of the set's mean squared norm; not measured."""
SIZE_REWARD = 0.22
"""What e times the area is worth, in units of the loss. Tried: .05 to .30; docs/experiments.md, "Choosing by loss - lambda log(area)"."""


def triplet_margin_loss(positive: Tensor, random: Tensor, alpha: float = ALPHA) -> Tensor:
    """The loss of N crops, averaged over pairs and random patches.

    Args:
        positive: (N, D) embeddings of the crops.
        random: (N, R, D) embeddings of random patches of the same images.
        alpha: the margin, in units of the mean squared norm.

    Returns:
        A scalar; 0 when every crop is closer to every other crop than to its random patches by alpha.
    """
    n = len(positive)
    apart = squared_distances(positive, positive)  # (N, N)
    away = (positive[:, None] - random).square().sum(-1)  # (N, R)
    hinge = (apart[:, :, None] - away[:, None, :] + alpha).clamp(min=0).mean(-1)  # (N, N)
    others = 1 - torch.eye(n, device=hinge.device, dtype=hinge.dtype)
    return (hinge * others).sum() / max(1, n * (n - 1))


def sized_loss(positive: Tensor, random: Tensor, log_area: Tensor, alpha: float = ALPHA) -> Tensor:
    """The triplet margin loss less the reward for size: what sizes are compared by.

    Args:
        positive, random, alpha: as for `triplet_margin_loss`.
        log_area: of the crops, any shape, as shares of the letterbox.

    Returns:
        A scalar.
    """
    return triplet_margin_loss(positive, random, alpha) - SIZE_REWARD * log_area.mean()


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """|a_i - b_j|^2, never negative.

    Args:
        a: (..., N, D).
        b: (..., M, D).

    Returns:
        (..., N, M).

    >>> squared_distances(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 0.0]])).tolist()
    [[0.0], [25.0]]
    """
    cross = a @ b.transpose(-1, -2)
    return (a.square().sum(-1)[..., :, None] - 2 * cross + b.square().sum(-1)[..., None, :]).clamp(min=0)
