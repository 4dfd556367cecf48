"""Affine: the full 2x3 matrix of equation 1."""

from __future__ import annotations

import torch
from torch import Tensor

from stn_cli.stn.grids.transformation import matrix_from_rows


class Affine:
    """A_theta = [[t11, t12, t13], [t21, t22, t23]].

    theta = (t11, t12, t13, t21, t22, t23).
    shape = (log sx, log sy, angle, shear) of the decomposition
    linear part = rotation(angle) [[1, shear], [0, 1]] diag(sx, sy), which covers every orientation-preserving map.
    """

    name = "affine"
    theta_dim = 6
    shape_dim = 4
    log_sides = 2

    def matrix(self, theta: Tensor) -> Tensor:
        """theta (..., 6) -> (..., 2, 3)."""
        return theta.view(*theta.shape[:-1], 2, 3)

    def theta(self, centre: Tensor, shape: Tensor) -> Tensor:
        """Centre (..., 2) and shape (..., 4) -> theta (..., 6)."""
        sx, sy = shape[..., 0].exp(), shape[..., 1].exp()
        cos, sin, shear = shape[..., 2].cos(), shape[..., 2].sin(), shape[..., 3]
        rows = matrix_from_rows(
            cos * sx, (cos * shear - sin) * sy, centre[..., 0], sin * sx, (sin * shear + cos) * sy, centre[..., 1]
        )
        return rows.flatten(-2)

    def pose(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """theta (..., 6) -> centre (..., 2), shape (..., 4)."""
        a, b, tx, c, d, ty = theta.unbind(-1)
        sx = torch.hypot(a, c)
        cos, sin = a / sx, c / sx
        sy = cos * d - sin * b
        shape = torch.stack([sx.log(), sy.log(), torch.atan2(c, a), (cos * b + sin * d) / sy], -1)
        return torch.stack([tx, ty], -1), shape

    def shape_of_box(self, sides: Tensor) -> Tensor:
        """Half sides (..., 2) -> an upright shape (..., 4)."""
        return torch.cat([sides.log(), torch.zeros_like(sides)], -1)
