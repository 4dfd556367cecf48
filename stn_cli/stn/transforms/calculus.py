"""The inverse of a transformation, point by point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from stn_cli.stn.transforms.transformation import Transformation

STRIDE = 0.5
"""A step of Newton's method is held to this, normalised: from outside of the crop the slopes there say little."""


def solved(transform: Transformation, theta: Tensor, sources: Tensor, rounds: int) -> Tensor:
    """The targets x with T(x) = sources, by Newton's method from the crop's best affine guess.

    Args:
        transform: T_theta, of pictures.
        theta: (..., theta_dim), not folded.
        sources: (..., N, 2), on the crop or near it.
        rounds: of Newton's method.

    Returns:
        (..., N, 2), NaN where T(x) is further from the source than the square root of the type's rounding error.
    """
    centre = transform.points(theta, theta.new_zeros(1, transform.dims))
    x = _solve(transform.jacobian(theta)[..., None, :, :], sources - centre)
    for _ in range(rounds):
        step = _solve(transform.jacobian(theta, x), transform.points(theta, x) - sources)
        x = x - step * (STRIDE / step.detach().norm(dim=-1, keepdim=True).clamp(min=STRIDE))
    miss = (transform.points(theta, x) - sources).detach().norm(dim=-1, keepdim=True)
    return torch.where(miss <= torch.finfo(x.dtype).eps ** 0.5, x, torch.full_like(x, torch.nan))


def _solve(slopes: Tensor, right: Tensor) -> Tensor:
    """J^-1 b of 2x2 matrices (..., N, 2, 2), (..., N, 2) written out: a singular one gives what is not finite, and no error."""
    (a, b), (c, d) = (row.unbind(-1) for row in slopes.unbind(-2))
    p, q = right.unbind(-1)
    return torch.stack([d * p - b * q, a * q - c * p], -1) / (a * d - b * c)[..., None]
