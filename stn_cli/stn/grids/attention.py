"""Attention: cropping, translation and isotropic scaling (equation 2)."""

from __future__ import annotations

import torch
from torch import Tensor

from stn_cli.stn.grids.transformation import matrix_from_rows


class Attention:
    """A_theta = [[s, 0, tx], [0, s, ty]].

    theta = (s, tx, ty): s is the crop's side as a share of the image's, (tx, ty) its centre in normalised coordinates.
    shape = (log s).
    """

    name = "attention"
    theta_dim = 3
    shape_dim = 1
    log_sides = 1

    def matrix(self, theta: Tensor) -> Tensor:
        """theta (..., 3) -> (..., 2, 3)."""
        s, tx, ty = theta.unbind(-1)
        zero = torch.zeros_like(s)
        return matrix_from_rows(s, zero, tx, zero, s, ty)

    def theta(self, centre: Tensor, shape: Tensor) -> Tensor:
        """Centre (..., 2) and log s (..., 1) -> theta (..., 3)."""
        return torch.cat([shape.exp(), centre], -1)

    def pose(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """theta (..., 3) -> centre (..., 2), log s (..., 1)."""
        return theta[..., 1:], theta[..., :1].log()

    def shape_of_box(self, sides: Tensor) -> Tensor:
        """Half sides (..., 2) -> the log of their geometric mean (..., 1)."""
        return sides.log().mean(-1, keepdim=True)
