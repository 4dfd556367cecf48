"""What every transformation can do, whatever its family."""

from __future__ import annotations

import torch
from torch import Tensor

from stn_cli.errors import UsageError
from stn_cli.stn.base_grid import base_grid
from stn_cli.stn.precision import at_least_single
from stn_cli.stn.transforms.calculus import solved
from stn_cli.stn.transforms.family import Family
from stn_cli.stn.transforms.limits import held_inside, held_to_sides, points_around, points_within


class Transformation(Family):
    """T_theta: where each target point is read from in the source.

    Convention: points are normalised (x, y) or (x, y, z), `align_corners=False`; T maps target to source (backward warping).
    What a family must define stands in `Family`; what follows from it stands here.
    """

    def points(self, theta: Tensor, targets: Tensor) -> Tensor:
        """T_theta at points.

        Coordinates of half precision would be pixels off: they are computed in float32 at least.

        Args:
            theta: (..., theta_dim).
            targets: (N, dims) or (..., N, dims).

        Returns:
            Source points (..., N, dims).

        Raises:
            UsageError: an argument has a wrong shape or type.

        Example:
            >>> from stn_cli.stn import by_name
            >>> by_name("attention").points(torch.tensor([0.5, 0.25, 0.0]), torch.tensor([[1.0, 1.0]])).tolist()
            [[0.75, 0.5]]
        """
        wide = at_least_single(self._theta(theta).dtype)
        if targets.ndim < 2 or targets.shape[-1] != self.dims or not targets.is_floating_point():
            raise UsageError(f"target points must be floating point (..., N, {self.dims})", _describe(targets))
        return self.combine(self.matrix(theta.to(wide)), self.basis(targets.to(wide)))

    def grid(self, theta: Tensor, size: tuple[int, ...]) -> Tensor:
        """T_theta(G): the sampling coordinates of a crop.

        Args:
            theta: (..., theta_dim).
            size: (H', W') of the crop, or (D', H', W').

        Returns:
            (..., H', W', 2) or (..., D', H', W', 3).

        Raises:
            UsageError: theta has a wrong shape or type, or a side of `size` is below 1.
        """
        wide = at_least_single(self._theta(theta).dtype)
        base = base_grid(size, device=theta.device, dtype=wide)
        if len(size) != self.dims:
            raise UsageError(f"{self.name} needs a size of {self.dims} sides", size)
        return self.points(theta, base.view(-1, self.dims)).unflatten(-2, size)

    def corners(self, theta: Tensor) -> Tensor:
        """The crop's outline.

        Args:
            theta: (..., theta_dim).

        Returns:
            (..., 4, 2), clockwise from the crop's own upper left; in 3-D its corners (..., 8, 3).
        """
        signs = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
        if self.dims == 3:
            signs = [(x, y, z) for z in (-1, 1) for x, y in signs]  # type: ignore[misc]
        return self.points(theta, torch.tensor(signs, device=theta.device, dtype=theta.dtype))

    def jacobian(self, theta: Tensor, targets: Tensor | None = None) -> Tensor:
        """d source / d target, in closed form: it needs no autograd, and gradients pass through it.

        Args:
            theta: (..., theta_dim).
            targets: (N, dims) points; the crop's centre when left out.

        Returns:
            (..., N, dims, dims), or (..., dims, dims) at the centre.
        """
        wide = at_least_single(self._theta(theta).dtype)
        at = theta.new_zeros(1, self.dims) if targets is None else targets
        out = self.slopes(self.matrix(theta.to(wide)), at.to(wide))
        return out[..., 0, :, :] if targets is None else out

    def targets(self, theta: Tensor, sources: Tensor, rounds: int = 12) -> Tensor:
        """T^-1 point by point: where in the crop a source point lands.

        By the inverse matrix where there is one; of transformations that bend by Newton's method from the crop's best affine guess,
        which is looked at: a point that it did not reach is NaN.

        Args:
            theta: (..., theta_dim), not folded.
            sources: (..., N, dims), for Newton's method on the crop or near it.
            rounds: of Newton's method; quadratic, so that 12 end at rounding error.

        Returns:
            (..., N, dims); NaN where no target was found, not finite where theta is singular.
        """
        wide = at_least_single(self._theta(theta).dtype)
        return solved(self, theta.to(wide), sources.to(wide), rounds)

    def area(self, theta: Tensor) -> Tensor:
        """Signed area (volume) of the crop as a share of the image's: negative where it is mirrored.

        Args:
            theta: (..., theta_dim).

        Returns:
            (...).
        """
        return torch.linalg.det(self.jacobian(theta, points_within(self, theta))).mean(-1)

    def orientation(self, theta: Tensor) -> Tensor:
        """Angle of the crop's x axis in the source's x-y plane.

        Args:
            theta: (..., theta_dim).

        Returns:
            (...) radians, clockwise as seen on the screen.
        """
        first = self.jacobian(theta)[..., :, 0]
        return torch.atan2(first[..., 1], first[..., 0])

    def folds(self, theta: Tensor) -> Tensor:
        """Whether the crop folds over itself or is singular: its Jacobian changes sign or vanishes somewhere.

        Args:
            theta: (..., theta_dim).

        Returns:
            (...) bool.
        """
        determinant = torch.linalg.det(self.jacobian(theta, points_within(self, theta)))
        return ~((determinant > 0).all(-1) | (determinant < 0).all(-1))

    def leaves(self, theta: Tensor, slack: float = 1e-5) -> Tensor:
        """Whether the crop reaches outside the image.

        Args:
            theta: (..., theta_dim).
            slack: by more than this, normalised.

        Returns:
            (...) bool.
        """
        return (self.points(theta, points_around(self, theta)).abs() > 1 + slack).flatten(-2).any(-1)

    def check(self, theta: Tensor, *, inside: bool = False) -> Tensor:
        """theta as it is, if it is usable.

        Args:
            theta: (..., theta_dim).
            inside: whether the crop must lie on the image.

        Returns:
            theta.

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

        Returns:
            (..., theta_dim).
        """
        own = self._theta(theta).dtype
        theta = theta.to(at_least_single(own))
        if sides is not None:
            theta = self.thickened(theta, sides[0])
        if not fold:
            theta = self.unfolded(theta)  # after what may fold, and before what cannot
        if sides is not None:
            theta = held_to_sides(self, theta, *sides)
        return (held_inside(self, theta) if inside else theta).to(own)

    def _theta(self, theta: Tensor) -> Tensor:
        if theta.ndim < 1 or theta.shape[-1] != self.theta_dim or not theta.is_floating_point():
            raise UsageError(f"theta of {self.name} must be floating point (..., {self.theta_dim})", _describe(theta))
        return theta


def _describe(x: Tensor) -> str:
    return f"{tuple(x.shape)} {x.dtype}".replace("torch.", "")
