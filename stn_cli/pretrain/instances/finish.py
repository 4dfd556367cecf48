"""What is done to a finished canvas: colour, sharpness, noise, compression, so that pastings cannot be told by them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stn_cli.encoders.gradient_maps import blur

BLOCK = 8
"""Pixels along a side of JPEG's blocks."""


def disguise(images: Tensor, generator: torch.Generator) -> Tensor:
    """Change a batch (B, 3, S, S) in [0, 1], each image in its own way.

    Args:
        images: S a multiple of 8.
        generator: on their device.

    Returns:
        (B, 3, S, S) in [0, 1].
    """
    n, device = len(images), images.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand((n, *(shape or (1, 1, 1))), generator=generator, device=device)

    def some(share: float) -> Tensor:
        return (uniform(0, 1) < share).to(images)

    soft = blur(images, 1.0)
    images = images + (images - soft) * torch.where(uniform(0, 1) < 0.35, uniform(-0.8, 0.0), uniform(0.0, 1.5))
    grey = images.mean(1, keepdim=True)
    images = torch.lerp(images, grey, uniform(-0.3, 0.6))
    drained = some(0.15)
    images = torch.lerp(images, grey.expand_as(images), drained)
    mean = images.mean((1, 2, 3), keepdim=True)
    images = (mean + (images - mean) * uniform(0.6, 1.3)) * uniform(0.75, 1.25) * uniform(0.88, 1.12, 3, 1, 1)
    images = images.clamp(0, 1)
    images = torch.lerp(images, 1 - images, some(0.06))
    noise = torch.randn(images.shape, generator=generator, device=device)
    images = images + noise * uniform(0, 0.05) * some(0.5)
    return torch.lerp(images, compressed(images, uniform(0.01, 0.06)), some(0.5)).clamp(0, 1)


def compressed(images: Tensor, step: Tensor) -> Tensor:
    """As JPEG coarsens: the cosine transform of blocks of 8 x 8, rounded to steps that grow with the frequency.

    Args:
        images: (B, 3, S, S), S a multiple of 8.
        step: (B, 1, 1, 1) of the lowest frequency.

    Returns:
        (B, 3, S, S).
    """
    B, C, S, _ = images.shape
    at = torch.arange(BLOCK, device=images.device, dtype=images.dtype)
    basis = (math.pi / BLOCK * (at + 0.5)[None] * at[:, None]).cos() * (2 / BLOCK) ** 0.5
    basis[0] *= 0.5**0.5
    # (B, C, rows, 8, columns, 8): one axis after the other, each as one product of matrices
    forth = (images.reshape(B, C, S // BLOCK, BLOCK, S // BLOCK, BLOCK) @ basis.T).transpose(3, 5) @ basis.T
    steps = step[..., None, None] * (1 + 0.5 * (at[:, None, None] + at))  # symmetric: it does not matter which axis is last
    rounded = (forth / steps).round() * steps
    return ((rounded @ basis).transpose(3, 5) @ basis).reshape(B, C, S, S)
