"""Hand-made maps of an image: orientation energies and colour, differentiable, on any device."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

ORIENTATIONS = 8
"""Directions of edges, evenly over half a turn."""
CELL_BLUR = 0.7
"""Sigma of the blur before the edges of appearance cells are taken, pixels."""


def blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur with repeated borders.

    Sums of shifted slices: on the CPU several times faster than a convolution with so few channels.

    Args:
        x: (..., H, W).
        sigma: pixels.

    Returns:
        (..., H, W).

    >>> blur(torch.full((1, 1, 3, 3), 0.5), 1.0)[0, 0, 1].round(decimals=5).tolist()
    [0.5, 0.5, 0.5]
    """
    radius = max(1, math.ceil(2.5 * sigma))
    weights = [math.exp(-(i**2) / (2 * sigma**2)) for i in range(-radius, radius + 1)]
    total = sum(weights)
    h, w = x.shape[-2:]
    x = F.pad(x, (radius, radius, radius, radius), mode="replicate")
    x = sum((k / total * x[..., i : i + w] for i, k in enumerate(weights)), start=torch.zeros(()).to(x))
    return sum((k / total * x[..., i : i + h, :] for i, k in enumerate(weights)), start=torch.zeros(()).to(x))


def orientation_harmonics(grey: Tensor, sigma: float = 1.0) -> Tensor:
    """The gradient's magnitude m and angle a as m (1, cos 2a, sin 2a, cos 4a, sin 4a, cos 6a, sin 6a).

    Sums of these over a cell are all that `orientation_bins` needs, so that the eight channels are made per cell and not per pixel.

    Args:
        grey: (B, 1, H, W) in [0, 1].
        sigma: of the blur before, pixels.

    Returns:
        (B, 7, H, W).
    """
    padded = F.pad(blur(grey, sigma), (1, 1, 1, 1), mode="replicate")
    gx = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    gy = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    xx, yy = gx.square(), gy.square()
    square = xx + yy + 1e-10
    m = square.sqrt()
    c2, s2 = (xx - yy) / square, 2 * gx * gy / square
    c4, s4 = c2 * c2 - s2 * s2, 2 * c2 * s2
    c6, s6 = c4 * c2 - s4 * s2, s4 * c2 + c4 * s2
    return torch.cat([m, m * c2, m * s2, m * c4, m * s4, m * c6, m * s6], 1)


def orientation_bins(harmonics: Tensor) -> Tensor:
    """Energy in 8 orientations of half turns.

    Channel k holds m cos(a - k pi / 8)^6, and cos(x)^6 = (10 + 15 cos 2x + 6 cos 4x + cos 6x) / 32.

    Args:
        harmonics: (B, 7, h, w) sums or means of them over cells.

    Returns:
        (B, 8, h, w).
    """
    mixing = orientation_mixing(harmonics.dtype).to(harmonics.device)
    return torch.einsum("kj,bjhw->bkhw", mixing, harmonics).clamp(min=0)


def orientation_mixing(dtype: torch.dtype) -> Tensor:
    """The matrix of `orientation_bins`.

    Args:
        dtype: of its numbers.

    Returns:
        (8, 7).
    """
    angles = torch.arange(ORIENTATIONS, dtype=dtype) * (math.pi / ORIENTATIONS)
    rows = [10 * torch.ones_like(angles)]
    for n, weight in ((2, 15), (4, 6), (6, 1)):
        rows += [weight * (n * angles).cos(), weight * (n * angles).sin()]
    return torch.stack(rows, 1) / 32


def lab(rgb: Tensor) -> Tensor:
    """CIE Lab (D65) divided by 100, in which equal distances look equally far.

    Args:
        rgb: (B, 3, H, W) sRGB in [0, 1].

    Returns:
        (B, 3, H, W).

    >>> lab(torch.ones(1, 3, 1, 1)).flatten().round(decimals=2).abs().tolist()
    [1.0, 0.0, 0.0]
    """
    r, g, b = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055).pow(2.4), rgb / 12.92).unbind(1)
    xyz = torch.stack(
        [
            (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
            0.2126 * r + 0.7152 * g + 0.0722 * b,
            (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.0890,
        ],
        1,
    )
    f = torch.where(xyz > 0.008856, xyz.clamp(min=1e-6).pow(1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = f.unbind(1)
    return torch.stack([1.16 * y - 0.16, 5 * (x - y), 2 * (y - z)], 1)


def opponent(rgb: Tensor) -> Tensor:
    """Colour without brightness, as amounts of red, green, yellow and blue; all 0 on grey.

    Args:
        rgb: (B, 3, H, W).

    Returns:
        (B, 4, H, W).

    >>> opponent(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)).flatten().tolist()
    [1.0, 0.0, 0.5, 0.0]
    """
    r, g, b = rgb[:, :1], rgb[:, 1:2], rgb[:, 2:]
    red_green, yellow_blue = r - g, (r + g) / 2 - b
    return torch.cat([red_green, -red_green, yellow_blue, -yellow_blue], 1).clamp(min=0)


def pool_cells(x: Tensor, cell: int, stride: int, *, pad: bool = False) -> Tensor:
    """Means over cells.

    Args:
        x: (B, C, H, W).
        cell: side of a cell, pixels.
        stride: pixels between neighbouring cells.
        pad: whether there is a cell for every stride up to the border.

    Returns:
        (B, C, h, w).

    >>> pool_cells(torch.zeros(1, 1, 16, 16), 8, 4).shape, pool_cells(torch.zeros(1, 1, 16, 16), 8, 4, pad=True).shape
    (torch.Size([1, 1, 3, 3]), torch.Size([1, 1, 4, 4]))
    """
    if pad:
        margin = (cell - stride) // 2
        x = F.pad(x, (margin,) * 4, mode="replicate")
    return F.avg_pool2d(x, cell, stride)
