"""Attention: cropping, translation and isotropic scaling (equation 2), in 2-D and 3-D, and at a fixed scale."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.stn.transforms.matrices import FixedScale, MatrixTransformation


def diagonal(sides: Tensor, centre: Tensor) -> Tensor:
    """[diag(sides) | centre]: (..., d), (..., d) -> (..., d, d + 1)."""
    return torch.cat([torch.diag_embed(sides), centre[..., None]], -1)


class Attention(MatrixTransformation):
    """A_theta = [[s, 0, tx], [0, s, ty]].

    theta = (s, tx, ty): s is the crop's side as a share of the image's, (tx, ty) its centre in normalised coordinates.
    shape = (log s).
    """

    name = "attention"
    theta_dim = 3
    shape_dim = 1
    log_sides = 1

    def matrix(self, theta: Tensor) -> Tensor:
        """theta (..., 1 + dims) -> (..., dims, dims + 1)."""
        return diagonal(theta[..., :1].expand(*theta.shape[:-1], self.dims), theta[..., 1:])

    def of_matrix(self, matrix: Tensor) -> Tensor:
        """The first of the equal diagonal entries, and the translation."""
        return torch.cat([matrix[..., :1, 0], matrix[..., -1]], -1)

    def theta(self, centre: Tensor, shape: Tensor) -> Tensor:
        """Centre (..., dims) and log s (..., 1) -> theta (..., 1 + dims)."""
        return torch.cat([shape.exp(), centre], -1)

    def pose(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """theta -> centre (..., dims), log s (..., 1)."""
        return theta[..., 1:], theta[..., :1].log()

    def shape_of_box(self, sides: Tensor) -> Tensor:
        """Half sides (..., dims) -> the log of their geometric mean (..., 1)."""
        return sides.log().mean(-1, keepdim=True)


class Attention3d(Attention):
    """[[s, 0, 0, tx], [0, s, 0, ty], [0, 0, s, tz]]; theta = (s, tx, ty, tz)."""

    name = "attention3d"
    dims = 3
    theta_dim = 4


@dataclass(frozen=True)
class FixedAttention(FixedScale, MatrixTransformation):
    """Attention at a fixed scale, as in the paper's CUB-200-2011 experiment (section 4.3).

    theta = (tx, ty), the crop's centre. shape is empty.

    Args:
        scale: side of the crop as a share of the image's; 0.5 in the paper.
    """

    scale: float = 0.5
    name = "fixed_attention"
    theta_dim = 2
    shape_dim = 0
    log_sides = 0

    def matrix(self, theta: Tensor) -> Tensor:
        """theta (..., 2) -> (..., 2, 3)."""
        return diagonal(torch.full_like(theta, self.scale), theta)

    def of_matrix(self, matrix: Tensor) -> Tensor:
        """The translation."""
        return matrix[..., -1]

    def theta(self, centre: Tensor, shape: Tensor) -> Tensor:
        """Centre (..., 2) -> theta (..., 2)."""
        del shape
        return centre

    def pose(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """theta -> centre (..., 2), nothing (..., 0)."""
        return theta, theta[..., :0]

    def shape_of_box(self, sides: Tensor) -> Tensor:
        """Nothing (..., 0): the scale is fixed."""
        return sides[..., :0]

    def inverse(self, theta: Tensor) -> Tensor:
        """At scale 1 the opposite shift.

        Raises:
            UsageError: at any other scale the inverse is an `attention`.
        """
        self._closed()
        return -theta

    def compose(self, outer: Tensor, inner: Tensor) -> Tensor:
        """At scale 1 the sum of the shifts.

        Raises:
            UsageError: at any other scale the composition is an `attention`.
        """
        self._closed()
        return outer + inner

    def scaled(self, theta: Tensor, factor: Tensor) -> Tensor:
        """theta as it is."""
        del factor
        return theta
