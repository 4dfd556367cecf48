"""Dense prediction: what a network says about a crop, put back where the crop was cut."""

from __future__ import annotations

import torch
from torch import Tensor

from stn_cli.errors import UsageError
from stn_cli.stn.base_grid import base_grid
from stn_cli.stn.precision import at_least_single
from stn_cli.stn.reduction import Pyramid, sample_reduced
from stn_cli.stn.sampler import sample, splat
from stn_cli.stn.transforms import Transformation
from stn_cli.stn.transforms.linear import times_basis

WAYS_BACK = ("inverse", "adjoint")
ELSEWHERE = 4.0
"""A target coordinate that is off every crop."""
FAR = 1e4
"""A target coordinate that is off every crop, and still a number that can be computed with."""


def unwarp(
    transform: Transformation, prediction: Tensor, theta: Tensor, size: tuple[int, ...], *, how: str = "inverse"
) -> Tensor:
    """Put maps of crops back into their images; 0 where an image lies under no crop.

    Two different maps deserve the name. The *inverse* asks at each pixel of the image what the crop says there: for labels,
    probabilities, depths. Values stay what they are, whatever the crop's size. The *adjoint* A^T of the warp A gives each value of the
    crop to the pixels that it was read from, in the shares in which it was read: for amounts, such as counts, densities, votes or
    gradients. Sums stay what they are where the crop lies on the image.

    Convention: as in `sample`; the inverse reads a prediction that is finer than the image by its pyramid.

    Args:
        transform: T_theta of the crops.
        prediction: (B, C, H', W') of the crops, or (B, C, D', H', W'), floating point.
        theta: (B, theta_dim), that the crops were cut with.
        size: (H, W) of the images, or (D, H, W).
        how: `inverse` or `adjoint`.

    Returns:
        (B, C, H, W) or (B, C, D, H, W), of the prediction's type, differentiable in prediction and theta. Of `inverse` also 0 where
        `Transformation.targets` finds nothing.

    Raises:
        UsageError: an argument has a wrong shape, type or name.

    Example:
        >>> from stn_cli.stn import by_name, unwarp
        >>> quarter = torch.tensor([[0.5, 0.5, 0.5]])
        >>> unwarp(by_name("attention"), torch.ones(1, 1, 2, 2), quarter, (4, 4))[0, 0].tolist()[2:]
        [[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]]
    """
    if how not in WAYS_BACK:
        raise UsageError("unknown way to put crops back", how, f"known: {', '.join(WAYS_BACK)}")
    if prediction.ndim != transform.dims + 2 or len(size) != transform.dims or not prediction.is_floating_point():
        raise UsageError(
            f"a prediction for {transform.name} must be floating point of {transform.dims + 2} dimensions, the size of {transform.dims}",
            f"{tuple(prediction.shape)} {prediction.dtype}, {size}".replace("torch.", ""),
        )
    if how == "adjoint":
        return splat(prediction, transform.grid(theta, tuple(prediction.shape[2:])), size)
    return _asked(transform, prediction, theta, size)


def _asked(transform: Transformation, prediction: Tensor, theta: Tensor, size: tuple[int, ...]) -> Tensor:
    """The inverse: each pixel of the image asks the crop."""
    wide = at_least_single(theta.dtype)
    theta = theta.to(wide)
    pixels = base_grid(size, device=theta.device, dtype=wide).flatten(0, -2)  # (N, dims)
    back = transform.targets(theta, pixels.expand(len(theta), -1, -1)).unflatten(1, size)
    edge = 1 + 1 / back.new_tensor(prediction.shape[:1:-1])  # the crop ends with its last half pixel
    near = (back.abs() <= edge).all(-1, keepdim=True)  # not where there is no target
    # far from the crop the steps of its best affine map: there is always a footprint
    guess = _affine_guess(transform, theta.detach(), pixels).unflatten(1, size)
    grid = torch.where((back.abs() <= ELSEWHERE).all(-1, keepdim=True), back, guess)
    volume = transform.dims == 3
    out = sample(prediction, grid) if volume else sample_reduced(Pyramid(prediction), grid[:, None], padding="zeros")[:, 0]
    return out * near.movedim(-1, 1)


def _affine_guess(transform: Transformation, theta: Tensor, sources: Tensor) -> Tensor:
    """Where the affine map at the crop's centre would be asked: (B, N, dims), finite, not infinitely far."""
    centre = transform.points(theta, theta.new_zeros(1, transform.dims))
    inverse = torch.linalg.inv_ex(transform.jacobian(theta)).inverse
    return times_basis(inverse, sources - centre).nan_to_num(FAR, FAR, -FAR).clamp(-FAR, FAR)
