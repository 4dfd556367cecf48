"""What defines a family of transformations. All are T_theta(G) = M_theta B (paper, section 3.2): a basis B of functions of the target
point, which does not depend on the image, times a matrix M_theta, which does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from stn_cli.stn.transforms.linear import times_basis

VANISHED = 1e-9
"""A side below this share of the least one has no direction any more that rounding did not give it."""


class Family(ABC):
    """One kind of T_theta.

    A family has two parameterisations. `theta` is the paper's, what a localisation network regresses and what
    is stored. The *pose* splits it into a `centre` (..., dims) and a `shape` (..., shape_dim) in logarithms and
    angles, in which averages, differences and random jitter mean the same at every size. A pose keeps orientation: a
    mirrored theta has none, and its logarithms are NaN.

    Attributes:
        name: the field's name for it.
        dims: 2 or 3.
        theta_dim, shape_dim: lengths of theta and of a pose's shape.
        log_sides: how many of the shape's first entries are logs of sides; the others are angles, shears, bends.
        angle: which entry of the shape is a rotation in radians, None where there is none.
    """

    name: str
    dims: int = 2
    theta_dim: int
    shape_dim: int
    log_sides: int
    angle: int | None = None

    @abstractmethod
    def matrix(self, theta: Tensor) -> Tensor:
        """M_theta.

        Args:
            theta: (..., theta_dim).

        Returns:
            (..., dims, k) with k functions in the basis; (..., 3, 3) for `projective`.
        """

    @abstractmethod
    def theta(self, centre: Tensor, shape: Tensor) -> Tensor:
        """The theta of a pose.

        Args:
            centre: (..., dims) of the crop, normalised.
            shape: (..., shape_dim).

        Returns:
            (..., theta_dim).
        """

    @abstractmethod
    def pose(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """The pose of a theta: the inverse of `theta`.

        Args:
            theta: (..., theta_dim), not mirrored.

        Returns:
            centre (..., dims), shape (..., shape_dim).
        """

    @abstractmethod
    def shape_of_box(self, sides: Tensor) -> Tensor:
        """The shape of an upright crop.

        Args:
            sides: (..., dims) half sides, as shares of the image's.

        Returns:
            (..., shape_dim).
        """

    @abstractmethod
    def inverse(self, theta: Tensor) -> Tensor:
        """The theta that undoes another: T(T'(x)) = x; for bending transformations the one that comes closest (least squares).

        Args:
            theta: (..., theta_dim).

        Returns:
            (..., theta_dim).

        Raises:
            UsageError: theta is singular, or the inverse is of another kind.
        """

    @abstractmethod
    def compose(self, outer: Tensor, inner: Tensor) -> Tensor:
        """The theta of T_outer(T_inner(x)); for bending transformations the one that comes closest (least squares).

        Args:
            outer, inner: (..., theta_dim).

        Returns:
            (..., theta_dim).

        Raises:
            UsageError: the composition is of another kind.
        """

    @abstractmethod
    def scaled(self, theta: Tensor, factor: Tensor) -> Tensor:
        """theta with its crop scaled about its own centre, along its own axes.

        Args:
            theta: (..., theta_dim).
            factor: (..., dims).

        Returns:
            (..., theta_dim).
        """

    @abstractmethod
    def shifted(self, theta: Tensor, shift: Tensor) -> Tensor:
        """theta with its crop moved.

        Args:
            theta: (..., theta_dim).
            shift: (..., dims), normalised.

        Returns:
            (..., theta_dim).
        """

    @abstractmethod
    def sides(self, theta: Tensor) -> Tensor:
        """Half sides of the crop along its own axes.

        Args:
            theta: (..., theta_dim).

        Returns:
            (..., dims), as shares of the image's.
        """

    def basis(self, targets: Tensor) -> Tensor:
        """B at target points: homogeneous coordinates unless overridden.

        Args:
            targets: (..., N, dims).

        Returns:
            (..., N, k).
        """
        return torch.cat([targets, torch.ones_like(targets[..., :1])], -1)

    def basis_slopes(self, targets: Tensor) -> Tensor:
        """dB / d target: of homogeneous coordinates unless overridden.

        Args:
            targets: (..., N, dims).

        Returns:
            (..., N, dims, k): for each axis of the target the slopes of B along it.
        """
        eye = torch.eye(self.dims, self.dims + 1, device=targets.device, dtype=targets.dtype)
        return eye.expand(*targets.shape[:-1], *eye.shape)

    def slopes(self, matrix: Tensor, targets: Tensor) -> Tensor:
        """d source / d target, in closed form: M_theta dB unless overridden.

        Args:
            matrix: (..., dims, k).
            targets: (N, dims) or (..., N, dims).

        Returns:
            (..., N, dims, dims).
        """
        steps = self.basis_slopes(targets)  # (..., N, dims, k)
        return times_basis(matrix, steps.flatten(-3, -2)).unflatten(-2, steps.shape[-3:-1]).transpose(-1, -2)

    def combine(self, matrix: Tensor, basis: Tensor) -> Tensor:
        """M_theta B.

        Args:
            matrix: (..., dims, k).
            basis: (N, k) or (..., N, k).

        Returns:
            Source points (..., N, dims).
        """
        return times_basis(matrix, basis)

    def after(self, affine: Tensor, matrix: Tensor) -> Tensor:
        """M of x -> affine(T(x)).

        Linear in M, because each basis holds the constant function: as its last of homogeneous coordinates, unless overridden.

        Args:
            affine: (..., dims, dims + 1).
            matrix: M (..., dims, k).

        Returns:
            (..., dims, k).
        """
        out = affine[..., :-1] @ matrix
        return torch.cat([out[..., :-1], out[..., -1:] + affine[..., -1:]], -1)

    def thickened(self, theta: Tensor, least: float) -> Tensor:
        """theta whose sides are large enough to be scaled: an upright side of `least` is added to one that has (almost) vanished.

        Args:
            theta: (..., theta_dim).
            least: half side, as a share of the image's.

        Returns:
            (..., theta_dim).
        """
        sides = self.sides(theta.detach())
        added = torch.where(sides < VANISHED * least, torch.full_like(sides, least), torch.zeros_like(sides))
        return theta + self.theta(torch.zeros_like(added), self.shape_of_box(added))  # the logarithm of 0 is a side of 0

    def unfolded(self, theta: Tensor) -> Tensor:
        """theta drawn back to where the transformation is one-to-one on the crop; matrices never fold.

        Args:
            theta: (..., theta_dim).

        Returns:
            (..., theta_dim).
        """
        return theta

    def identity(self, dtype: torch.dtype | None = None) -> Tensor:
        """The theta at which training starts: the whole image unchanged, or the centred crop of a fixed scale.

        Args:
            dtype: of the result; torch's default when left out.

        Returns:
            (theta_dim,).
        """
        return self.theta(torch.zeros(self.dims, dtype=dtype), self.shape_of_box(torch.ones(self.dims, dtype=dtype)))
