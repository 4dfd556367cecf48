"""Piecewise affine: a control lattice of triangles, each moved by an affine map of its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.stn.transforms.control import ControlTransformation


@dataclass(frozen=True)
class PiecewiseAffine(ControlTransformation):
    """Every cell of the lattice of control points is cut from its upper right to its lower left corner into two triangles; inside each the
    map is the affine one through its three corners. Outside the lattice the triangles at its edge go on.

    Args:
        control: K, control points along a side.
    """

    name = "piecewise_affine"
    fold_free = 0.24  # at 1/4 a triangle of the lattice can turn over

    def basis(self, targets: Tensor) -> Tensor:
        """phi, the barycentric coordinates: (..., N, 2) -> (..., N, K K), three of them different from 0."""
        a, b, lower, corners = self._triangles(targets)
        weights = torch.stack(
            [torch.where(lower, 1 - a - b, a + b - 1), torch.where(lower, a, 1 - b), torch.where(lower, b, 1 - a)], -1
        )
        return (weights[..., None] * corners).sum(-2)

    def basis_slopes(self, targets: Tensor) -> Tensor:
        """d phi: (..., N, 2) -> (..., N, 2, K K), the same all over a triangle."""
        _, _, lower, corners = self._triangles(targets)
        steps = targets.new_tensor([[-1.0, 1.0, 0.0], [-1.0, 0.0, 1.0]]) * ((self.control - 1) / 2)  # along x, along y
        mirrored = steps[:, [0, 2, 1]] * -1  # of the upper triangle: from its corner back along the other side
        with torch.autocast(targets.device.type, enabled=False):
            return torch.where(lower[..., None, None], steps, mirrored) @ corners

    def _triangles(self, targets: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Where points lie in their cells (..., N) twice, whether in the lower triangle, and which control points its corners are."""
        n = self.control - 1
        at = (targets + 1) * (n / 2)  # in cells
        cell = at.detach().floor().clamp(0, n - 1)
        a, b = (at - cell).unbind(-1)
        lower = a.detach() + b.detach() <= 1
        first = (cell[..., 1] * self.control + cell[..., 0]).long()
        corner = torch.where(lower, first, first + self.control + 1)
        corners = torch.stack([corner, first + 1, first + self.control], -1)  # (..., N, 3)
        every = torch.arange(self.control**2, device=targets.device)
        return a, b, lower, (corners[..., None] == every).to(targets.dtype)
