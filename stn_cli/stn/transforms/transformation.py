"""What every transformation can do. All of them are T_theta(G) = M_theta B (paper, section 3.2): a basis B of functions of the target
point, which does not depend on the image, times a matrix M_theta, which does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from stn_cli.errors import UsageError
from stn_cli.stn.base_grid import base_grid

OUTLINE = 9
"""Points along a side of the outline that `bound` and `check` look at."""


class Transformation(ABC):
    """T_theta: where each target point is read from in the source.

    Convention: points are normalised (x, y) or (x, y, z), `align_corners=False`; T maps target to source (backward warping).

    A transformation has two parameterisations. `theta` is the paper's, what a localisation network regresses and what
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
        """theta (..., theta_dim) -> M_theta (..., dims, k); (..., 3, 3) for `projective`."""

    @abstractmethod
    def theta(self, centre: Tensor, shape: Tensor) -> Tensor:
        """Pose (..., dims), (..., shape_dim) -> theta (..., theta_dim)."""

    @abstractmethod
    def pose(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """theta -> (centre, shape); the inverse of `theta`."""

    @abstractmethod
    def shape_of_box(self, sides: Tensor) -> Tensor:
        """The shape (..., shape_dim) of an upright crop with half sides (..., dims)."""

    @abstractmethod
    def inverse(self, theta: Tensor) -> Tensor:
        """The theta that undoes this one: T(T'(x)) = x; for bending transformations the least-squares one.

        Raises:
            UsageError: theta is singular, or the family is not closed.
        """

    @abstractmethod
    def compose(self, outer: Tensor, inner: Tensor) -> Tensor:
        """The theta of T_outer(T_inner(x)); for bending transformations the least-squares one.

        Raises:
            UsageError: the family is not closed.
        """

    @abstractmethod
    def scaled(self, theta: Tensor, factor: Tensor) -> Tensor:
        """theta with its crop scaled about its own centre, along its own axes: factor (..., dims)."""

    @abstractmethod
    def shifted(self, theta: Tensor, shift: Tensor) -> Tensor:
        """theta with its crop moved by shift (..., dims)."""

    @abstractmethod
    def sides(self, theta: Tensor) -> Tensor:
        """Half sides of the crop along its own axes (..., dims), as shares of the image's."""

    def basis(self, targets: Tensor) -> Tensor:
        """B: target points (..., N, dims) -> (..., N, k). Homogeneous coordinates unless overridden."""
        return torch.cat([targets, torch.ones_like(targets[..., :1])], -1)

    def combine(self, matrix: Tensor, basis: Tensor) -> Tensor:
        """M_theta B: (..., dims, k), (N, k) or (..., N, k) -> source points (..., N, dims)."""
        return product(matrix, basis)

    def after(self, affine: Tensor, matrix: Tensor) -> Tensor:
        """M of x -> affine(T(x)): (..., 2, 3) and M (..., dims, k) -> (..., dims, k).

        Linear in M, because each basis holds the constant function: as its last of homogeneous coordinates, unless overridden.
        """
        out = affine[..., :-1] @ matrix
        return torch.cat([out[..., :-1], out[..., -1:] + affine[..., -1:]], -1)

    def unfolded(self, theta: Tensor) -> Tensor:
        """theta drawn back to where the transformation is one-to-one on the crop; matrices never fold."""
        return theta

    def identity(self, dtype: torch.dtype | None = None) -> Tensor:
        """The theta (theta_dim,) at which training starts: the whole image unchanged, or the centred crop of a fixed scale."""
        return self.theta(torch.zeros(self.dims, dtype=dtype), self.shape_of_box(torch.ones(self.dims, dtype=dtype)))

    def points(self, theta: Tensor, targets: Tensor) -> Tensor:
        """T_theta: theta (..., theta_dim), targets (N, dims) or (..., N, dims) -> sources (..., N, dims).

        Coordinates of half precision would be pixels off: they are computed in float32 at least.

        Raises:
            UsageError: an argument has a wrong shape or type.
        """
        wide = torch.promote_types(self._theta(theta).dtype, torch.float32)
        if targets.ndim < 2 or targets.shape[-1] != self.dims or not targets.is_floating_point():
            raise UsageError(f"target points must be floating point (..., N, {self.dims})", _describe(targets))
        return self.combine(self.matrix(theta.to(wide)), self.basis(targets.to(wide)))

    def grid(self, theta: Tensor, size: tuple[int, ...]) -> Tensor:
        """T_theta(G): theta (..., theta_dim) -> sources (..., H', W', 2), or (..., D', H', W', 3).

        Raises:
            UsageError: theta has a wrong shape or type, or a side of `size` is below 1.
        """
        wide = torch.promote_types(self._theta(theta).dtype, torch.float32)
        base = base_grid(size, device=theta.device, dtype=wide)
        if len(size) != self.dims:
            raise UsageError(f"{self.name} needs a size of {self.dims} sides", size)
        return self.points(theta, base.view(-1, self.dims)).unflatten(-2, size)

    def corners(self, theta: Tensor) -> Tensor:
        """The crop's outline: (..., 4, 2), clockwise from its own upper left; in 3-D the 8 corners (..., 8, 3)."""
        signs = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
        if self.dims == 3:
            signs = [(x, y, z) for z in (-1, 1) for x, y in signs]  # type: ignore[misc]
        return self.points(theta, torch.tensor(signs, device=theta.device, dtype=theta.dtype))

    def jacobian(self, theta: Tensor, targets: Tensor | None = None) -> Tensor:
        """d source / d target, exact.

        Args:
            theta: (..., theta_dim).
            targets: (N, dims) points; the crop's centre when left out.

        Returns:
            (..., N, dims, dims), or (..., dims, dims) at the centre.
        """
        at = theta.new_zeros(1, self.dims) if targets is None else targets
        learned = isinstance(self, torch.nn.Module) and any(p.requires_grad for p in self.parameters())
        graph = torch.is_grad_enabled() and (theta.requires_grad or at.requires_grad or learned)
        with torch.enable_grad():
            at = at.expand(*theta.shape[:-1], *at.shape[-2:]).clone()
            at = at if at.requires_grad else at.requires_grad_()
            out = self.points(theta, at)
            # each source point depends on its own target alone, so the gradient of a sum holds every point's
            rows = [
                torch.autograd.grad(out[..., i].sum(), at, create_graph=graph, retain_graph=True)[0] for i in range(self.dims)
            ]
        jacobian = torch.stack(rows, -2)
        return jacobian[..., 0, :, :] if targets is None else jacobian

    def targets(self, theta: Tensor, sources: Tensor, rounds: int = 12) -> Tensor:
        """T^-1 point by point, by Newton's method from the crop's best affine guess: where in the crop a source point lands.

        Args:
            theta: (..., theta_dim), not folded.
            sources: (..., N, dims), on the crop or near it.
            rounds: of Newton's method; quadratic, so that 12 end at rounding error.

        Returns:
            (..., N, dims).
        """
        linear = self.jacobian(theta)
        x = torch.linalg.solve(linear, (sources - self.points(theta, theta.new_zeros(1, self.dims))).transpose(-1, -2))
        x = x.transpose(-1, -2)
        for _ in range(rounds):
            miss = (self.points(theta, x) - sources)[..., None]
            x = x - torch.linalg.solve(self.jacobian(theta, x), miss)[..., 0]
        return x

    def area(self, theta: Tensor) -> Tensor:
        """Signed area (volume) of the crop as a share of the image's: negative where it is mirrored."""
        return torch.linalg.det(self.jacobian(theta, self._inner(theta))).mean(-1)

    def orientation(self, theta: Tensor) -> Tensor:
        """Angle of the crop's x axis in the source's x-y plane, radians, clockwise as seen on the screen."""
        first = self.jacobian(theta)[..., :, 0]
        return torch.atan2(first[..., 1], first[..., 0])

    def folds(self, theta: Tensor) -> Tensor:
        """Whether the crop folds over itself or is singular: its Jacobian changes sign or vanishes somewhere (...,) bool."""
        determinant = torch.linalg.det(self.jacobian(theta, self._inner(theta)))
        return ~((determinant > 0).all(-1) | (determinant < 0).all(-1))

    def leaves(self, theta: Tensor, slack: float = 1e-5) -> Tensor:
        """Whether the crop reaches outside the image by more than `slack` (...,) bool."""
        return (self.points(theta, self._outline(theta)).abs() > 1 + slack).flatten(-2).any(-1)

    def check(self, theta: Tensor, *, inside: bool = False) -> Tensor:
        """theta as it is, if it is usable.

        Raises:
            UsageError: wrong shape or type, not finite, folded or singular, or (with `inside`) outside the image; names the item.
        """
        self._theta(theta)
        faults = [
            ("holds values that are not finite", ~theta.isfinite().all(-1)),
            ("is singular or folds over", self.folds(theta)),
        ]
        if inside:
            faults.append(("leaves the image", self.leaves(theta)))
        for what, bad in faults:
            if bool(bad.any()):
                item = bad.flatten().nonzero()[0, 0]
                raise UsageError(
                    f"theta of {self.name} {what}", theta.reshape(-1, self.theta_dim)[item].tolist(), f"item {item}"
                )
        return theta

    def bound(
        self, theta: Tensor, *, sides: tuple[float, float] | None = None, inside: bool = False, fold: bool = True
    ) -> Tensor:
        """theta drawn back into bounds; inside them it is unchanged.

        Gradients that would push further out stop at a bound; those that lead back pass, so that a crop that has left returns.

        Args:
            theta: (..., theta_dim).
            sides: smallest and largest half side of the crop, as shares of the image's (no effect where the scale is fixed).
            inside: the crop stays on the image: shrunk to fit, then moved.
            fold: False draws bends back until the crop cannot fold over itself.
        """
        if not fold:
            theta = self.unfolded(theta)
        if sides is not None:
            now = self.sides(theta).clamp(min=1e-6)
            theta = self.scaled(theta, clamp_inward(now, *sides) / now.detach())
        if inside:
            outline = self.points(theta, self._outline(theta))
            half = (outline.amax(-2) - outline.amin(-2)) / 2
            factor = 1 / half.amax(-1, keepdim=True).clamp(min=1)
            theta = self.scaled(theta, factor.detach().expand(half.shape))
            outline = self.points(theta, self._outline(theta)).detach()
            low, high = -1 - outline.amin(-2), 1 - outline.amax(-2)  # how far it may move
            zero = torch.zeros_like(low)
            centre = self.points(theta, theta.new_zeros(1, self.dims))[..., 0, :]
            held = centre.detach()
            wanted = held + torch.maximum(zero, torch.minimum(low, high)) + torch.minimum(zero, torch.maximum(low, high))
            theta = self.shifted(
                theta, clamp_inward(centre, torch.minimum(wanted, held + low), torch.maximum(wanted, held + high)) - centre
            )
        return theta

    def _theta(self, theta: Tensor) -> Tensor:
        if theta.ndim < 1 or theta.shape[-1] != self.theta_dim or not theta.is_floating_point():
            raise UsageError(f"theta of {self.name} must be floating point (..., {self.theta_dim})", _describe(theta))
        return theta

    def _inner(self, theta: Tensor) -> Tensor:
        base = base_grid((OUTLINE,) * self.dims, device=theta.device, dtype=theta.dtype)
        return base.view(-1, self.dims)

    def _outline(self, theta: Tensor) -> Tensor:
        ticks = torch.linspace(-1, 1, OUTLINE, device=theta.device, dtype=theta.dtype)
        base = torch.stack(torch.meshgrid(*[ticks] * self.dims, indexing="ij"), -1).view(-1, self.dims)
        return base[(base.abs() == 1).any(-1)]


def product(matrix: Tensor, basis: Tensor) -> Tensor:
    """(..., d, k) and (N, k) or (..., N, k) -> (..., N, d), in full precision also under autocast.

    One basis for all is one matrix product with the batch in its rows; the result is a view with the coordinates apart.
    """
    with torch.autocast(matrix.device.type, enabled=False):
        if basis.ndim > 2:
            return basis @ matrix.transpose(-1, -2)
        *lead, d, k = matrix.shape
        out = matrix.reshape(-1, k) @ basis.transpose(0, 1)  # (... d, N)
        return out.view(*lead, d, basis.shape[0]).transpose(-1, -2)


def matrix_from_rows(a: Tensor, b: Tensor, tx: Tensor, c: Tensor, d: Tensor, ty: Tensor) -> Tensor:
    """[[a, b, tx], [c, d, ty]] from six tensors of one shape: (...) -> (..., 2, 3)."""
    return torch.stack([a, b, tx, c, d, ty], -1).unflatten(-1, (2, 3))


class _ClampInward(torch.autograd.Function):
    """clamp, whose gradient also passes outside when a descent step along it leads back in."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: Tensor, high: Tensor) -> Tensor:
        ctx.save_for_backward(x, low, high)
        return torch.minimum(torch.maximum(x, low), high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        x, low, high = ctx.saved_tensors
        (g,) = gradients
        return torch.where((x < low) & (g > 0) | (x > high) & (g < 0), torch.zeros_like(g), g), None, None


def clamp_inward(x: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    """x held between low and high; the gradient outside passes only where it leads back."""
    low, high = (torch.as_tensor(v, device=x.device, dtype=x.dtype) for v in (low, high))
    out: Tensor = _ClampInward.apply(x, low, high)
    return out


def _describe(x: Tensor) -> str:
    return f"{tuple(x.shape)} {x.dtype}".replace("torch.", "")
