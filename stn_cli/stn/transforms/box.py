"""Box: attention with a scale of its own along each axis."""

from __future__ import annotations

import torch
from torch import Tensor

from stn_cli.stn.transforms.attention import diagonal
from stn_cli.stn.transforms.matrices import MatrixTransformation


class Box(MatrixTransformation):
    """A_theta = [[sx, 0, tx], [0, sy, ty]].

    theta = (sx, sy, tx, ty): the crop's sides as shares of the image's, its centre in normalised coordinates.
    shape = (log sx, log sy).
    """

    name = "box"
    theta_dim = 4
    shape_dim = 2
    log_sides = 2

    def matrix(self, theta: Tensor) -> Tensor:
        """theta (..., 4) -> (..., 2, 3)."""
        return diagonal(theta[..., :2], theta[..., 2:])

    def of_matrix(self, matrix: Tensor) -> Tensor:
        """The diagonal and the translation."""
        return torch.cat([torch.diagonal(matrix[..., :2], dim1=-2, dim2=-1), matrix[..., -1]], -1)

    def theta(self, centre: Tensor, shape: Tensor) -> Tensor:
        """Centre (..., 2) and log sides (..., 2) -> theta (..., 4)."""
        return torch.cat([shape.exp(), centre], -1)

    def pose(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """theta (..., 4) -> centre (..., 2), log sides (..., 2)."""
        return theta[..., 2:], theta[..., :2].log()

    def shape_of_box(self, sides: Tensor) -> Tensor:
        """Half sides (..., 2) -> their logs (..., 2)."""
        return sides.log()
