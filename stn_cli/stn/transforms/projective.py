"""Projective: a plane seen in perspective, 8 parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from stn_cli.errors import UsageError
from stn_cli.stn.precision import at_least_single
from stn_cli.stn.transforms.affine import linear_of_shape, shape_of_linear
from stn_cli.stn.transforms.limits import clamp_inward
from stn_cli.stn.transforms.linear import times_basis
from stn_cli.stn.transforms.matrices import SINGULAR, with_last_row
from stn_cli.stn.transforms.transformation import Transformation

MOST_PERSPECTIVE = 0.9
"""|p| + |q| below 1 keeps the denominator positive on the whole crop; what is left of it bounds how far a corner can go."""


class Projective(Transformation):
    """H = [[a, b, tx], [c, d, ty], [p, q, 1]], (x, y) -> (H (x, y, 1))_12 / (H (x, y, 1))_3.

    theta = (a, b, tx, c, d, ty, p, q). In other words x -> t + L x / (1 + p x + q y) with L = A - t (p, q).
    shape = (log sx, log sy, angle, shear) of L as in `affine`, then p and q, so that centre, size and perspective are apart.
    """

    name = "projective"
    theta_dim = 8
    shape_dim = 6
    log_sides = 2
    angle = 2

    def matrix(self, theta: Tensor) -> Tensor:
        """theta (..., 8) -> H (..., 3, 3)."""
        return torch.cat([theta, torch.ones_like(theta[..., :1])], -1).unflatten(-1, (3, 3))

    def combine(self, matrix: Tensor, basis: Tensor) -> Tensor:
        """H (..., 3, 3), homogeneous points (..., N, 3) -> (..., N, 2); a denominator of 0 is infinitely far, not NaN."""
        out = times_basis(matrix, basis)
        return out[..., :2] / _not_zero(out[..., 2:])

    def slopes(self, matrix: Tensor, targets: Tensor) -> Tensor:
        """The quotient's: (H_12 - T(x) H_3) / (H (x, y, 1))_3, the columns of x and y."""
        sources = self.combine(matrix, self.basis(targets))
        w = times_basis(matrix[..., 2:, :], self.basis(targets))  # (..., N, 1)
        lower = matrix[..., None, 2:, :2]
        return (matrix[..., None, :2, :2] - sources[..., None] * lower) / _not_zero(w)[..., None]

    def after(self, affine: Tensor, matrix: Tensor) -> Tensor:
        """The product of the 3x3 matrices."""
        return with_last_row(affine) @ matrix

    def theta(self, centre: Tensor, shape: Tensor) -> Tensor:
        """Centre (..., 2) and shape (..., 6) -> theta (..., 8)."""
        perspective = shape[..., 4:]
        linear = linear_of_shape(shape[..., :4]) + centre[..., :, None] * perspective[..., None, :]
        return torch.cat([torch.cat([linear, centre[..., None]], -1).flatten(-2), perspective], -1)

    def pose(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """theta (..., 8) -> centre (..., 2), shape (..., 6)."""
        linear, centre, perspective = self._parts(theta)
        return centre, torch.cat([shape_of_linear(linear), perspective], -1)

    def shape_of_box(self, sides: Tensor) -> Tensor:
        """Half sides (..., 2) -> an upright shape without perspective (..., 6)."""
        return torch.cat([sides.log(), torch.zeros_like(sides), torch.zeros_like(sides)], -1)

    def inverse(self, theta: Tensor) -> Tensor:
        """The inverse matrix."""
        h = self.matrix(theta)
        if bool((torch.linalg.det(h).abs() < SINGULAR).any()):
            raise UsageError("theta of projective is singular: it has no inverse", f"determinant below {SINGULAR:g}")
        return self._of_matrix(torch.linalg.inv(h))

    def compose(self, outer: Tensor, inner: Tensor) -> Tensor:
        """The matrix product."""
        return self._of_matrix(self.matrix(outer) @ self.matrix(inner))

    def targets(self, theta: Tensor, sources: Tensor, rounds: int = 0) -> Tensor:
        """The inverse matrix times the homogeneous points."""
        del rounds
        wide = at_least_single(theta.dtype)
        return self.combine(torch.linalg.inv_ex(self.matrix(theta.to(wide))).inverse, self.basis(sources.to(wide)))

    def scaled(self, theta: Tensor, factor: Tensor) -> Tensor:
        """Columns of L times the factors, the perspective kept."""
        linear, centre, perspective = self._parts(theta)
        return self._joined(linear * factor[..., None, :], centre, perspective)

    def shifted(self, theta: Tensor, shift: Tensor) -> Tensor:
        """The centre moved."""
        linear, centre, perspective = self._parts(theta)
        return self._joined(linear, centre + shift, perspective)

    def sides(self, theta: Tensor) -> Tensor:
        """Lengths of L's columns: the sides as they are at the centre."""
        return self._parts(theta)[0].norm(dim=-2)

    def unfolded(self, theta: Tensor) -> Tensor:
        """`|p| + |q|` held below 1: the horizon stays outside the crop."""
        linear, centre, perspective = self._parts(theta)
        total = perspective.abs().sum(-1, keepdim=True)
        factor = clamp_inward(total, 0.0, MOST_PERSPECTIVE) / total.detach().clamp(min=1e-12)
        return self._joined(linear, centre, torch.where(total > MOST_PERSPECTIVE, perspective * factor, perspective))

    def _parts(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.matrix(theta)
        centre, perspective = h[..., :2, 2], h[..., 2, :2]
        return h[..., :2, :2] - centre[..., :, None] * perspective[..., None, :], centre, perspective

    def _joined(self, linear: Tensor, centre: Tensor, perspective: Tensor) -> Tensor:
        upper = torch.cat([linear + centre[..., :, None] * perspective[..., None, :], centre[..., None]], -1)
        return torch.cat([upper.flatten(-2), perspective], -1)

    def _of_matrix(self, h: Tensor) -> Tensor:
        if bool((h[..., 2, 2].abs() < SINGULAR).any()):
            raise UsageError("theta of projective sends its centre to infinity", "h33 is 0")
        return (h / h[..., 2:, 2:]).flatten(-2)[..., :8]


def _not_zero(w: Tensor) -> Tensor:
    tiny = torch.finfo(w.dtype).tiny ** 0.5
    return torch.where(w.abs() < tiny, torch.full_like(w, tiny), w)
