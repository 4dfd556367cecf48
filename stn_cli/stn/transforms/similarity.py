"""Similarity: isotropic scaling, rotation and translation; Euclidean: the same at a fixed scale."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.stn.transforms.linear import matrix_from_rows
from stn_cli.stn.transforms.matrices import FixedScale, MatrixTransformation


class Similarity(MatrixTransformation):
    """A_theta = [[a, -b, tx], [b, a, ty]], a scaled rotation.

    theta = (a, b, tx, ty) with a = s cos(angle), b = s sin(angle): linear, so that no angle wraps around.
    shape = (log s, angle), the angle in radians, clockwise as seen on the screen.
    """

    name = "similarity"
    theta_dim = 4
    shape_dim = 2
    log_sides = 1
    angle = 1

    def matrix(self, theta: Tensor) -> Tensor:
        """theta (..., 4) -> (..., 2, 3)."""
        a, b, tx, ty = theta.unbind(-1)
        return matrix_from_rows(a, -b, tx, b, a, ty)

    def of_matrix(self, matrix: Tensor) -> Tensor:
        """The first column and the translation."""
        return torch.cat([matrix[..., 0], matrix[..., -1]], -1)

    def theta(self, centre: Tensor, shape: Tensor) -> Tensor:
        """Centre (..., 2) and (log s, angle) (..., 2) -> theta (..., 4)."""
        s, angle = shape[..., :1].exp(), shape[..., 1:]
        return torch.cat([s * angle.cos(), s * angle.sin(), centre], -1)

    def pose(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """theta (..., 4) -> centre (..., 2), (log s, angle) (..., 2)."""
        a, b = theta[..., 0], theta[..., 1]
        return theta[..., 2:], torch.stack([(a.square() + b.square()).log() / 2, torch.atan2(b, a)], -1)

    def shape_of_box(self, sides: Tensor) -> Tensor:
        """Half sides (..., 2) -> the log of their geometric mean, and no rotation (..., 2)."""
        log_s = sides.log().mean(-1)
        return torch.stack([log_s, torch.zeros_like(log_s)], -1)


@dataclass(frozen=True)
class Euclidean(FixedScale, MatrixTransformation):
    """A_theta = scale [[cos r, -sin r], [sin r, cos r]] | (tx, ty): rotation and translation.

    theta = (r, tx, ty), r in radians, clockwise as seen on the screen. shape = (r).

    Args:
        scale: side of the crop as a share of the image's; 1 is the Euclidean group.
    """

    scale: float = 1.0
    name = "euclidean"
    theta_dim = 3
    shape_dim = 1
    log_sides = 0
    angle = 0

    def matrix(self, theta: Tensor) -> Tensor:
        """theta (..., 3) -> (..., 2, 3)."""
        r, tx, ty = theta.unbind(-1)
        a, b = self.scale * r.cos(), self.scale * r.sin()
        return matrix_from_rows(a, -b, tx, b, a, ty)

    def of_matrix(self, matrix: Tensor) -> Tensor:
        """The angle of the first column, and the translation."""
        return torch.cat([torch.atan2(matrix[..., 1, 0], matrix[..., 0, 0])[..., None], matrix[..., -1]], -1)

    def theta(self, centre: Tensor, shape: Tensor) -> Tensor:
        """Centre (..., 2) and angle (..., 1) -> theta (..., 3)."""
        return torch.cat([shape, centre], -1)

    def pose(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """theta (..., 3) -> centre (..., 2), angle (..., 1)."""
        return theta[..., 1:], theta[..., :1]

    def shape_of_box(self, sides: Tensor) -> Tensor:
        """No rotation (..., 1): the scale is fixed."""
        return torch.zeros_like(sides[..., :1])

    def inverse(self, theta: Tensor) -> Tensor:
        """The exact inverse.

        Raises:
            UsageError: at another scale than 1.
        """
        self._closed()
        return super().inverse(theta)

    def compose(self, outer: Tensor, inner: Tensor) -> Tensor:
        """The matrix product.

        Raises:
            UsageError: at another scale than 1.
        """
        self._closed()
        return super().compose(outer, inner)

    def scaled(self, theta: Tensor, factor: Tensor) -> Tensor:
        """theta as it is."""
        del factor
        return theta
