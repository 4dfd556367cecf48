"""Transformations that are steered by the places of K x K control points: what `thin_plate_spline` and `piecewise_affine` share.

T(x) = sum_k p_k phi_k(x): theta is where in the source each control point c_k of a regular lattice is read, and phi_k are
functions with phi_k(c_j) = 1 where j = k, else 0, that sum to 1 and reproduce affine maps. So M_theta is theta and B is phi.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from stn_cli.errors import UsageError
from stn_cli.stn.transforms.limits import clamp_inward
from stn_cli.stn.transforms.linear import times_basis
from stn_cli.stn.transforms.transformation import Transformation


@dataclass(frozen=True)
class ControlTransformation(Transformation):
    """theta = (x of every control point, y of every control point), row by row, (2 K K,).

    shape = (log sx, log sy, bends in x (K K - 2), bends in y (K K - 2)): the sides are those of the best fitting box, the bends
    what it leaves over, in units of the sides and in an orthonormal basis. A rotation or shear is a bend here.

    Args:
        control: K, control points along a side; 4 gives the paper's 16.
    """

    control: int = 4
    log_sides = 2
    fold_free: ClassVar[float]
    """How far along either axis, in steps of the lattice, a control point may leave its affine place without a fold."""

    def __post_init__(self) -> None:
        if not 2 <= self.control <= 32:
            raise UsageError("control points along a side must be 2 to 32", self.control)

    @property
    def theta_dim(self) -> int:  # type: ignore[override]
        """2 K K."""
        return 2 * self.control**2

    @property
    def shape_dim(self) -> int:  # type: ignore[override]
        """2 K K - 2: a theta less its centre."""
        return 2 * self.control**2 - 2

    @abstractmethod
    def basis(self, targets: Tensor) -> Tensor:
        """phi: target points (..., N, 2) -> (..., N, K K)."""

    @abstractmethod
    def basis_slopes(self, targets: Tensor) -> Tensor:
        """d phi: target points (..., N, 2) -> (..., N, 2, K K)."""

    def control_points(self, like: Tensor) -> Tensor:
        """The lattice of control points; those at its corners are the crop's.

        Args:
            like: gives the type and the device.

        Returns:
            (K K, 2).
        """
        ticks = torch.linspace(-1, 1, self.control, device=like.device, dtype=like.dtype)
        return torch.stack(torch.meshgrid(ticks, ticks, indexing="ij")[::-1], -1).view(-1, 2)

    def matrix(self, theta: Tensor) -> Tensor:
        """theta (..., 2 K K) -> (..., 2, K K)."""
        return theta.unflatten(-1, (2, -1))

    def after(self, affine: Tensor, matrix: Tensor) -> Tensor:
        """The affine map of every control point."""
        return affine[..., :2] @ matrix + affine[..., 2:]

    def theta(self, centre: Tensor, shape: Tensor) -> Tensor:
        """Centre (..., 2) and shape -> theta (..., 2 K K)."""
        c = self.control_points(shape)
        bends = shape[..., 2:].unflatten(-1, (2, -1))
        out = []
        for axis in range(2):
            bent = c[:, axis] + bends[..., axis, :] @ _rest(c[:, axis]).T
            out.append(centre[..., axis, None] + shape[..., axis, None].exp() * bent)
        return torch.cat(out, -1)

    def pose(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """theta (..., 2 K K) -> centre (..., 2), shape; the centre is the mean of the control points."""
        p, c = self.matrix(theta), self.control_points(theta)
        centre, sides = p.mean(-1), self._sides(p, c)
        bends = [(p[..., a, :] / sides[..., a, None]) @ _rest(c[:, a]) for a in range(2)]
        return centre, torch.cat([sides.log(), *bends], -1)

    def shape_of_box(self, sides: Tensor) -> Tensor:
        """Half sides (..., 2) -> an upright shape without bends."""
        return torch.cat([sides.log(), sides.new_zeros(*sides.shape[:-1], self.shape_dim - 2)], -1)

    def inverse(self, theta: Tensor) -> Tensor:
        """The least-squares inverse: of this family, the one that takes the places of a fine lattice back to the lattice."""
        lattice = self._fine(theta)
        return self.fit(self.points(theta, lattice), lattice.expand(*theta.shape[:-1], *lattice.shape))

    def compose(self, outer: Tensor, inner: Tensor) -> Tensor:
        """Where the outer transformation sends the inner one's control points: exact there, and for affine maps everywhere."""
        return self.points(outer, self.matrix(inner).transpose(-1, -2)).transpose(-1, -2).flatten(-2)

    def fit(self, targets: Tensor, sources: Tensor) -> Tensor:
        """The theta whose T comes closest to taking targets to sources, in least squares.

        Args:
            targets, sources: (..., N, 2).

        Returns:
            (..., 2 K K).

        Raises:
            UsageError: fewer points than control points.
        """
        if targets.shape[-2] < self.control**2:
            raise UsageError(f"at least {self.control**2} points are needed to fit {self.name}", targets.shape[-2])
        return torch.linalg.lstsq(self.basis(targets), sources).solution.transpose(-1, -2).flatten(-2)

    def scaled(self, theta: Tensor, factor: Tensor) -> Tensor:
        """Control points scaled about their mean along the image's axes."""
        p = self.matrix(theta)
        centre = p.mean(-1, keepdim=True)
        return (centre + (p - centre) * factor[..., None]).flatten(-2)

    def shifted(self, theta: Tensor, shift: Tensor) -> Tensor:
        """All control points moved."""
        return (self.matrix(theta) + shift[..., None]).flatten(-2)

    def sides(self, theta: Tensor) -> Tensor:
        """Sides of the best fitting upright box, not negative."""
        return self._sides(self.matrix(theta), self.control_points(theta)).abs()

    def thickened(self, theta: Tensor, least: float) -> Tensor:
        """The missing width added, bends as they are: of a lattice that lies across, scaling would blow them up."""
        p, c = self.matrix(theta), self.control_points(theta)
        sides = self._sides(p, c)
        missing = clamp_inward(sides.abs(), least, torch.inf) - sides.abs()
        return (p + torch.where(sides < 0, -missing, missing)[..., None] * c.T).flatten(-2)

    def unfolded(self, theta: Tensor) -> Tensor:
        """Bends shrunk until no control point is further than `fold_free` from where the best fitting affine map puts it."""
        p, c = self.matrix(theta), self.control_points(theta)
        homogeneous = torch.cat([c, torch.ones_like(c[:, :1])], -1)
        affine = p @ torch.linalg.pinv(homogeneous).T  # (..., 2, 3)
        linear = affine[..., :2]
        determinant = torch.linalg.det(linear)
        if not torch.compiler.is_compiling() and bool((determinant.abs() < 1e-9).any()):
            raise UsageError(f"theta of {self.name} is singular: its control points lie on a line", None)
        bend = torch.linalg.solve(linear, p - times_basis(affine, homogeneous).transpose(-1, -2))  # in the crop's own frame
        most = self.fold_free * 2 / (self.control - 1)
        factor = (most / bend.detach().abs().amax((-2, -1), keepdim=True).clamp(min=1e-12)).clamp(max=1)
        return (p + linear @ (bend * factor - bend)).flatten(-2)

    def _sides(self, p: Tensor, c: Tensor) -> Tensor:
        return (p * c.T).sum(-1) / c.square().sum(0)

    def _fine(self, theta: Tensor) -> Tensor:
        ticks = torch.linspace(-1, 1, 4 * self.control - 3, device=theta.device, dtype=theta.dtype)
        return torch.stack(torch.meshgrid(ticks, ticks, indexing="ij")[::-1], -1).view(-1, 2)


def _rest(axis: Tensor) -> Tensor:
    """An orthonormal basis (K K, K K - 2) of what is orthogonal to 1 and to one coordinate of the control points (K K,).

    Two Householder reflections written out, so that it is the same basis on every device and a stored pose keeps its meaning.
    """
    q = torch.eye(len(axis), device=axis.device, dtype=axis.dtype)
    for j, taken in enumerate((torch.ones_like(axis), axis)):
        u = torch.cat([torch.zeros_like(axis[:j]), (q.T @ taken)[j:]])
        u = u + u.norm() * torch.copysign(q.new_ones(()), u[j]) * (torch.arange(len(u), device=u.device) == j)
        q = q - 2 * torch.outer(q @ u, u) / u.square().sum()
    return q[:, 2:]
