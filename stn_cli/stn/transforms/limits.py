"""Limits of theta: drawn back to a range of sizes and onto the image; inside the limits nothing changes.

Gradients that would push further out stop at a limit; those that lead back pass, so that a crop that has left returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stn_cli.stn.base_grid import base_grid

if TYPE_CHECKING:
    from stn_cli.stn.transforms.transformation import Transformation

POINTS_ALONG = 9
"""Points along a side of the crop that are looked at."""


def points_within(transform: Transformation, theta: Tensor) -> Tensor:
    """Points all over the crop.

    Args:
        transform: T_theta.
        theta: gives the type and the device.

    Returns:
        (POINTS_ALONG ** dims, dims) target points.
    """
    base = base_grid((POINTS_ALONG,) * transform.dims, device=theta.device, dtype=theta.dtype)
    return base.view(-1, transform.dims)


def points_around(transform: Transformation, theta: Tensor) -> Tensor:
    """Points on the crop's border.

    Args:
        transform: T_theta.
        theta: gives the type and the device.

    Returns:
        (N, dims) target points.
    """
    ticks = torch.linspace(-1, 1, POINTS_ALONG, device=theta.device, dtype=theta.dtype)
    base = torch.stack(torch.meshgrid(*[ticks] * transform.dims, indexing="ij"), -1).view(-1, transform.dims)
    return base[(base.abs() == 1).any(-1)]


def held_to_sides(transform: Transformation, theta: Tensor, smallest: float, largest: float) -> Tensor:
    """theta scaled so that the crop's half sides are within bounds.

    Args:
        transform: T_theta.
        theta: (..., theta_dim), of sides that have not vanished.
        smallest, largest: half sides, as shares of the image's.

    Returns:
        (..., theta_dim).
    """
    now = transform.sides(theta)
    return transform.scaled(theta, clamp_inward(now, smallest, largest) / now.clamp(min=torch.finfo(now.dtype).tiny))


def held_inside(transform: Transformation, theta: Tensor) -> Tensor:
    """theta shrunk until the crop fits on the image, then moved onto it.

    Args:
        transform: T_theta.
        theta: (..., theta_dim).

    Returns:
        (..., theta_dim).
    """
    border = transform.points(theta, points_around(transform, theta))
    half = ((border.amax(-2) - border.amin(-2)) / 2).amax(-1, keepdim=True)
    # the division is part of the gradient: what is left is that of the bound half side, which passes inwards only
    factor = clamp_inward(half, 0.0, 1.0) / half.clamp(min=torch.finfo(half.dtype).tiny)
    theta = transform.scaled(theta, factor.expand(*half.shape[:-1], transform.dims))
    border = transform.points(theta, points_around(transform, theta)).detach()
    low, high = -1 - border.amin(-2), 1 - border.amax(-2)  # how far it may move
    zero = torch.zeros_like(low)
    centre = transform.points(theta, theta.new_zeros(1, transform.dims))[..., 0, :]
    held = centre.detach()
    wanted = held + torch.maximum(zero, torch.minimum(low, high)) + torch.minimum(zero, torch.maximum(low, high))
    least, most = torch.minimum(wanted, held + low), torch.maximum(wanted, held + high)
    return transform.shifted(theta, clamp_inward(centre, least, most) - centre)


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
    """x held between two bounds; the gradient outside passes only where it leads back.

    Args:
        x: (...).
        low, high: bounds that fit x's shape.

    Returns:
        (...).
    """
    low, high = (torch.as_tensor(v, device=x.device, dtype=x.dtype) for v in (low, high))
    out: Tensor = _ClampInward.apply(x, low, high)
    return out
