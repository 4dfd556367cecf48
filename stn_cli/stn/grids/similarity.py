"""Similarity: isotropic scaling, rotation and translation."""

from __future__ import annotations

import torch
from torch import Tensor

from stn_cli.stn.grids.transformation import matrix_from_rows


class Similarity:
    """A_theta = [[a, -b, tx], [b, a, ty]], a scaled rotation.

    theta = (a, b, tx, ty) with a = s cos(angle), b = s sin(angle): linear, so that no angle wraps around.
    shape = (log s, angle), the angle in radians, clockwise as seen on the screen.
    """

    name = "similarity"
    theta_dim = 4
    shape_dim = 2
    log_sides = 1

    def matrix(self, theta: Tensor) -> Tensor:
        """theta (..., 4) -> (..., 2, 3)."""
        a, b, tx, ty = theta.unbind(-1)
        return matrix_from_rows(a, -b, tx, b, a, ty)

    def theta(self, centre: Tensor, shape: Tensor) -> Tensor:
        """Centre (..., 2) and (log s, angle) (..., 2) -> theta (..., 4)."""
        s, angle = shape[..., :1].exp(), shape[..., 1:]
        return torch.cat([s * angle.cos(), s * angle.sin(), centre], -1)

    def pose(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """theta (..., 4) -> centre (..., 2), (log s, angle) (..., 2)."""
        a, b = theta[..., 0], theta[..., 1]
        return theta[..., 2:], torch.stack([torch.hypot(a, b).log(), torch.atan2(b, a)], -1)

    def shape_of_box(self, sides: Tensor) -> Tensor:
        """Half sides (..., 2) -> the log of their geometric mean, and no rotation (..., 2)."""
        log_s = sides.log().mean(-1)
        return torch.stack([log_s, torch.zeros_like(log_s)], -1)
