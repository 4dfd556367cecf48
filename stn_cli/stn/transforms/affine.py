"""Affine: the full matrix of equation 1, in 2-D and 3-D."""

from __future__ import annotations

import torch
from torch import Tensor

from stn_cli.stn.transforms.linear import matrix_from_rows
from stn_cli.stn.transforms.matrices import MatrixTransformation


def linear_of_shape(shape: Tensor) -> Tensor:
    """rotation(angle) [[1, shear], [0, 1]] diag(sx, sy).

    Args:
        shape: (..., 4): log sx, log sy, angle in radians, shear.

    Returns:
        (..., 2, 2).
    """
    sx, sy = shape[..., 0].exp(), shape[..., 1].exp()
    cos, sin, shear = shape[..., 2].cos(), shape[..., 2].sin(), shape[..., 3]
    entries = [cos * sx, (cos * shear - sin) * sy, sin * sx, (sin * shear + cos) * sy]
    return torch.stack(entries, -1).unflatten(-1, (2, 2))


def shape_of_linear(linear: Tensor) -> Tensor:
    """The inverse of `linear_of_shape`.

    Args:
        linear: (..., 2, 2) with a positive determinant.

    Returns:
        (..., 4).
    """
    a, b, c, d = linear.flatten(-2).unbind(-1)
    sx = (a.square() + c.square()).sqrt()  # ONNX has no hypot
    cos, sin = a / sx, c / sx
    sy = cos * d - sin * b
    return torch.stack([sx.log(), sy.log(), torch.atan2(c, a), (cos * b + sin * d) / sy], -1)


class Affine(MatrixTransformation):
    """A_theta = [[t11, t12, t13], [t21, t22, t23]].

    theta = (t11, t12, t13, t21, t22, t23).
    shape = (log sx, log sy, angle, shear) of the decomposition
    linear part = rotation(angle) [[1, shear], [0, 1]] diag(sx, sy), which covers every orientation-preserving map.
    """

    name = "affine"
    theta_dim = 6
    shape_dim = 4
    log_sides = 2
    angle = 2

    def matrix(self, theta: Tensor) -> Tensor:
        """theta (..., 6) -> (..., 2, 3)."""
        return theta.unflatten(-1, (2, 3))

    def of_matrix(self, matrix: Tensor) -> Tensor:
        """Row by row."""
        return matrix.flatten(-2)

    def theta(self, centre: Tensor, shape: Tensor) -> Tensor:
        """Centre (..., 2) and shape (..., 4) -> theta (..., 6)."""
        linear = linear_of_shape(shape)
        (a, b), (c, d) = (row.unbind(-1) for row in linear.unbind(-2))
        return matrix_from_rows(a, b, centre[..., 0], c, d, centre[..., 1]).flatten(-2)

    def pose(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """theta (..., 6) -> centre (..., 2), shape (..., 4)."""
        m = self.matrix(theta)
        return m[..., 2], shape_of_linear(m[..., :2])

    def shape_of_box(self, sides: Tensor) -> Tensor:
        """Half sides (..., 2) -> an upright shape (..., 4)."""
        return torch.cat([sides.log(), torch.zeros_like(sides)], -1)


class Affine3d(MatrixTransformation):
    """theta = the 3x4 matrix row by row (12). shape = its linear part row by row (9)."""

    name = "affine3d"
    dims = 3
    theta_dim = 12
    shape_dim = 9
    log_sides = 0

    def matrix(self, theta: Tensor) -> Tensor:
        """theta (..., 12) -> (..., 3, 4)."""
        return theta.unflatten(-1, (3, 4))

    def of_matrix(self, matrix: Tensor) -> Tensor:
        """Row by row."""
        return matrix.flatten(-2)

    def theta(self, centre: Tensor, shape: Tensor) -> Tensor:
        """Centre (..., 3) and linear part (..., 9) -> theta (..., 12)."""
        return torch.cat([shape.unflatten(-1, (3, 3)), centre[..., None]], -1).flatten(-2)

    def pose(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """theta (..., 12) -> centre (..., 3), linear part (..., 9)."""
        m = self.matrix(theta)
        return m[..., 3], m[..., :3].flatten(-2)

    def shape_of_box(self, sides: Tensor) -> Tensor:
        """Half sides (..., 3) -> their diagonal matrix (..., 9)."""
        return torch.diag_embed(sides).flatten(-2)


def affine_grid(matrix: Tensor, size: tuple[int, int]) -> Tensor:
    """T_theta(G) for a 2x3 matrix: equation 1.

    Args:
        matrix: (..., 2, 3).
        size: (H', W') of the crop.

    Returns:
        Source coordinates (..., H', W', 2).

    Example:
        >>> affine_grid(torch.eye(2, 3), (1, 2)).tolist()
        [[[-0.5, 0.0], [0.5, 0.0]]]
    """
    return Affine().grid(matrix.flatten(-2), size)
