"""Thin plate spline: the smoothest map that takes K x K control points where theta says (Bookstein 1989)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from stn_cli.errors import UsageError
from stn_cli.stn.transforms.control import ControlTransformation

TINY = 1e-30
"""Keeps the logarithm of a squared distance finite where it is 0."""
FOLD_FREE = 0.2
"""Found by trial: of 100,000 random bends of 3, 4, 5 and 7 control points a side none folded, even at 0.24."""


@dataclass(frozen=True)
class ThinPlateSpline(ControlTransformation):
    """`T(x) = a + A x + sum_k w_k U(|x - c_k|)` with `U(r) = r^2 log r^2`, through the control points.

    Args:
        control: K, control points along a side; 4 gives the paper's 16.
        regularisation: lambda >= 0; 0 goes through the control points, more bends less and only comes near them; affine
            maps are reproduced at any lambda.
    """

    regularisation: float = 0.0
    name = "thin_plate_spline"
    fold_free = FOLD_FREE

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.regularisation < float("inf"):
            raise UsageError("regularisation must be 0 or more", self.regularisation)
        # [[U + lambda I, P], [P^T, 0]] [w; a] = [p; 0], in double precision because the system is stiff; no theta changes it
        c = self.control_points(torch.zeros((), dtype=torch.float64, device="cpu"))
        n = len(c)
        P = torch.cat([torch.ones_like(c[:, :1]), c], 1)
        top = torch.cat([radial(c, c) + self.regularisation * torch.eye(n, dtype=c.dtype, device="cpu"), P], 1)
        system = torch.cat([top, torch.cat([P.T, c.new_zeros(3, 3)], 1)])
        values = torch.cat([torch.eye(n, dtype=c.dtype, device="cpu"), c.new_zeros(3, n)])
        object.__setattr__(self, "_coefficients", torch.linalg.solve(system, values))  # (K K + 3, K K)

    _coefficients: ClassVar[Tensor]
    """From the places of the control points to the coefficients of U and of 1, x, y; set once, for each instance."""

    def basis(self, targets: Tensor) -> Tensor:
        """phi: (..., N, 2) -> (..., N, K K)."""
        terms = [radial(targets, self.control_points(targets)), torch.ones_like(targets[..., :1]), targets]
        coefficients = self._coefficients.to(targets.dtype).to(targets.device)
        with torch.autocast(targets.device.type, enabled=False):
            return torch.cat(terms, -1) @ coefficients

    def basis_slopes(self, targets: Tensor) -> Tensor:
        """d phi: (..., N, 2) -> (..., N, 2, K K); of U(r) it is `2 (x - c) (log r^2 + 1)`."""
        away = targets[..., :, None, :] - self.control_points(targets)  # (..., N, K K, 2)
        bends = 2 * away * (away.square().sum(-1, keepdim=True).clamp(min=TINY).log() + 1)
        affine = torch.eye(2, 3, device=targets.device, dtype=targets.dtype).roll(1, -1)  # of 1, x, y
        terms = [bends.transpose(-1, -2), affine.expand(*targets.shape[:-1], 2, 3)]
        coefficients = self._coefficients.to(targets.dtype).to(targets.device)
        with torch.autocast(targets.device.type, enabled=False):
            return torch.cat(terms, -1) @ coefficients

    def bending(self) -> Tensor:
        """What it costs to bend: places x (K K,) of the control points along one axis cost x^T E x.

        Returns:
            E (K K, K K), double precision.
        """
        return self._coefficients[: self.control**2]


def radial(points: Tensor, centres: Tensor) -> Tensor:
    """U(r) = r^2 log r^2 of the distances r, 0 at a centre.

    Args:
        points: (..., N, 2).
        centres: (M, 2).

    Returns:
        (..., N, M).
    """
    square = (points[..., :, None, :] - centres).square().sum(-1).clamp(min=TINY)
    return square * square.log()
