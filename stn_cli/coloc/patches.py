"""Random patches I_n^rand, cut on the device in one batched call."""

from __future__ import annotations

import torch
from torch import Tensor

from stn_cli.stn import Pyramid, affine_grid, sample_reduced


def random_boxes(rectangles: Tensor, count: int, sides: Tensor, generator: torch.Generator) -> Tensor:
    """Boxes of given sides at uniform places inside each image.

    Args:
        rectangles: (B, 4) the images' outlines on their canvases, normalised.
        count: R, boxes per image.
        sides: (B, 2) or (2,) full sides (w, h) in normalised units; cut down to the image where they are larger.
        generator: on the CPU, so that every device draws the same places.

    Returns:
        (B, R, 4) normalised boxes.
    """
    low, high = rectangles[:, None, :2], rectangles[:, None, 2:]  # (B, 1, 2)
    at = torch.rand((len(rectangles), count, 2), generator=generator).to(rectangles.device)
    wide = torch.minimum(sides.expand(len(rectangles), 2)[:, None], high - low)
    corner = low + at * (high - low - wide)
    return torch.cat([corner, corner + wide], -1)


def cut(images: Tensor | Pyramid, matrices: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Cut R crops out of each image.

    Args:
        images: (B, 3, S, S), or a pyramid of them.
        matrices: (B, R, 2, 3) thetas.
        size: of the crops, (H', W') or the side of square ones, pixels.

    Returns:
        (B, R, 3, H', W'), differentiable in the matrices.
    """
    pyramid = images if isinstance(images, Pyramid) else Pyramid(images)
    return sample_reduced(pyramid, affine_grid(matrices, (size, size) if isinstance(size, int) else size))
