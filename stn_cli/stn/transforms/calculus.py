"""Derivatives of a transformation, and its inverse point by point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from stn_cli.stn.transforms.transformation import Transformation


def jacobian(transform: Transformation, theta: Tensor, targets: Tensor | None = None) -> Tensor:
    """d source / d target, exact.

    Args:
        transform: T_theta.
        theta: (..., theta_dim).
        targets: (N, dims) points; the crop's centre when left out.

    Returns:
        (..., N, dims, dims), or (..., dims, dims) at the centre.
    """
    at = theta.new_zeros(1, transform.dims) if targets is None else targets
    learned = isinstance(transform, torch.nn.Module) and any(p.requires_grad for p in transform.parameters())
    graph = torch.is_grad_enabled() and (theta.requires_grad or at.requires_grad or learned)
    with torch.enable_grad():
        at = at.expand(*theta.shape[:-1], *at.shape[-2:]).clone()
        at = at if at.requires_grad else at.requires_grad_()
        out = transform.points(theta, at)
        # each source point depends on its own target alone, so the gradient of a sum holds every point's
        rows = [
            torch.autograd.grad(out[..., i].sum(), at, create_graph=graph, retain_graph=True)[0] for i in range(transform.dims)
        ]
    slopes = torch.stack(rows, -2)
    return slopes[..., 0, :, :] if targets is None else slopes


def solved(transform: Transformation, theta: Tensor, sources: Tensor, rounds: int) -> Tensor:
    """The targets x with T(x) = sources, by Newton's method from the crop's best affine guess.

    Args:
        transform: T_theta.
        theta: (..., theta_dim), not folded.
        sources: (..., N, dims), on the crop or near it.
        rounds: of Newton's method.

    Returns:
        (..., N, dims).
    """
    linear = transform.jacobian(theta)
    x = torch.linalg.solve(linear, (sources - transform.points(theta, theta.new_zeros(1, transform.dims))).transpose(-1, -2))
    x = x.transpose(-1, -2)
    for _ in range(rounds):
        miss = (transform.points(theta, x) - sources)[..., None]
        x = x - torch.linalg.solve(transform.jacobian(theta, x), miss)[..., 0]
    return x
