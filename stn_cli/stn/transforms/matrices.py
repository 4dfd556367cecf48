"""Transformations whose basis is the homogeneous point (x, y, 1): M_theta is a matrix, and so are inverse and composition."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from stn_cli.errors import UsageError
from stn_cli.stn.precision import at_least_single
from stn_cli.stn.transforms.linear import times_basis
from stn_cli.stn.transforms.transformation import Transformation

SINGULAR = 1e-9
"""A matrix whose determinant is smaller has no inverse."""


class MatrixTransformation(Transformation):
    """A family of affine maps, M_theta (..., dims, dims + 1)."""

    @abstractmethod
    def of_matrix(self, matrix: Tensor) -> Tensor:
        """The theta of a matrix: the inverse of `matrix`.

        Args:
            matrix: M (..., dims, dims + 1) of this family.

        Returns:
            (..., theta_dim).
        """

    def inverse(self, theta: Tensor) -> Tensor:
        """The exact inverse, of the same family."""
        return self.of_matrix(_inverse(with_last_row(self.matrix(theta)), self.name)[..., : self.dims, :])

    def compose(self, outer: Tensor, inner: Tensor) -> Tensor:
        """The matrix product."""
        return self.of_matrix(self.matrix(outer) @ with_last_row(self.matrix(inner)))

    def targets(self, theta: Tensor, sources: Tensor, rounds: int = 0) -> Tensor:
        """The inverse matrix times the points, in the type that `points` gives; also where the inverse is of another family."""
        del rounds
        wide = at_least_single(theta.dtype)
        m = self.matrix(theta.to(wide))
        away = sources.to(wide) - m[..., None, :, -1]
        return times_basis(torch.linalg.inv_ex(m[..., :-1]).inverse, away)

    def scaled(self, theta: Tensor, factor: Tensor) -> Tensor:
        """Columns of the linear part times the factors."""
        m = self.matrix(theta)
        return self.of_matrix(torch.cat([m[..., :-1] * factor[..., None, :], m[..., -1:]], -1))

    def shifted(self, theta: Tensor, shift: Tensor) -> Tensor:
        """The translation moved."""
        m = self.matrix(theta)
        return self.of_matrix(torch.cat([m[..., :-1], m[..., -1:] + shift[..., None]], -1))

    def sides(self, theta: Tensor) -> Tensor:
        """Lengths of the linear part's columns."""
        return self.matrix(theta)[..., :-1].norm(dim=-2)


def with_last_row(matrix: Tensor) -> Tensor:
    """A matrix of affine maps with the row (0, ..., 0, 1) below it, so that it can be multiplied and inverted.

    Args:
        matrix: (..., d, d + 1).

    Returns:
        (..., d + 1, d + 1).
    """
    row = torch.zeros_like(matrix[..., :1, :])
    row[..., -1] = 1
    return torch.cat([matrix, row], -2)


def _inverse(matrix: Tensor, name: str) -> Tensor:
    if bool((torch.linalg.det(matrix).abs() < SINGULAR).any()):
        raise UsageError(f"theta of {name} is singular: it has no inverse", f"determinant below {SINGULAR:g}")
    return torch.linalg.inv(matrix)


class FixedScale:
    """What families of a fixed scale cannot do: undo or repeat it."""

    name: str
    scale: float

    def _closed(self) -> None:
        if self.scale != 1:
            raise UsageError(
                f"{self.name} at scale {self.scale:g} is not closed under inverse and composition", None, None, "Use similarity"
            )
