"""The cells that a set's images and boxes cover."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.coloc.search.settings import WINDOWS
from stn_cli.geometry import index_to_normalised


@dataclass(slots=True)
class Layout:
    """The cells that a set's images cover.

    Attributes:
        valid: (N, h, w) whether the cell's centre lies on the image, and not on an object that was found before; of an image
            that is thinner than a cell, the cells along its middle.
        border: (N, h, w) whether it lies in the band along the image's border.
        off_centre: (N, h, w) squared distance from the image's middle, 1 at the middle of a side.
    """

    valid: Tensor
    border: Tensor
    off_centre: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """(h, w)."""
        return self.valid.shape[-2], self.valid.shape[-1]

    def close(self, taken: Tensor | None) -> None:
        """Take cells in boxes for no part of the images.

        Args:
            taken: (N, K, 4) normalised letterbox boxes, or None.
        """
        if taken is None:
            return
        h, w = self.size
        scale = taken.new_tensor([w / 2, h / 2, w / 2, h / 2])
        for box in ((taken + 1) * scale).unbind(1):
            self.valid &= ~inside_mask(box, (h, w))
        self.border &= self.valid


def lay_out(size: tuple[int, int], rectangles: Tensor) -> Layout:
    """Say which cells of the letterboxes the images cover.

    Args:
        size: (h, w) cells of a letterbox.
        rectangles: (N, 4) the images' outlines, normalised letterbox boxes.

    Returns:
        The layout.
    """
    h, w = size
    x1, y1, x2, y2 = (v[:, None, None] for v in rectangles.unbind(-1))
    xs = index_to_normalised(torch.arange(w, device=rectangles.device, dtype=rectangles.dtype), w)[None, None]
    ys = index_to_normalised(torch.arange(h, device=rectangles.device, dtype=rectangles.dtype), h)[None, :, None]
    shape = (len(rectangles), h, w)
    u, v = (xs - x1) / (x2 - x1), (ys - y1) / (y2 - y1)
    valid = or_middle((u > 0) & (u < 1), u - 0.5, -1) & or_middle((v > 0) & (v < 1), v - 0.5, -2)
    u, v = u.expand(shape), v.expand(shape)
    inner = torch.minimum(torch.minimum(u, 1 - u), torch.minimum(v, 1 - v))  # distance to the border, share of the side
    off_centre = (u.clamp(0, 1) - 0.5).square() + (v.clamp(0, 1) - 0.5).square()
    return Layout(valid, valid & (inner < WINDOWS.border), 4 * off_centre)


def or_middle(inside: Tensor, offset: Tensor, dim: int) -> Tensor:
    """Cells along one axis that lie on an image, or the nearest to its middle where none does: panoramas are thinner than a cell.

    Args:
        inside: (N, ...) whether a cell's centre lies on the image.
        offset: (N, ...) of the cell's centre from the image's middle.
        dim: the axis.

    Returns:
        (N, ...) bool.
    """
    off = offset.abs()
    return inside | ((off <= off.amin(dim, keepdim=True)) & ~inside.any(dim, keepdim=True))


def inside_mask(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Which cells lie in boxes.

    Args:
        boxes: (N, 4) in cells.
        size: (h, w).

    Returns:
        (N, h, w) bool.

    >>> inside_mask(torch.tensor([[1, 0, 3, 1]]), (2, 3)).int().tolist()
    [[[0, 1, 1], [0, 0, 0]]]
    """
    x = torch.arange(size[1], device=boxes.device)[None, None]
    y = torch.arange(size[0], device=boxes.device)[None, :, None]
    x1, y1, x2, y2 = (v[:, None, None] for v in boxes.unbind(-1))
    return (x >= x1) & (x < x2) & (y >= y1) & (y < y2)


def cells_of(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Which cells have their centres in boxes.

    Args:
        boxes: (N, 4) normalised letterbox boxes.
        size: (h, w).

    Returns:
        (N, h, w) bool.

    >>> cells_of(torch.tensor([[-1.0, -1.0, 0.2, 0.2]]), (2, 2)).int().tolist()
    [[[1, 0], [0, 0]]]
    """
    h, w = size
    scale = boxes.new_tensor([w / 2, h / 2, w / 2, h / 2])
    return inside_mask(((boxes + 1) * scale - 0.5).ceil(), size)


def normalise_cells(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """From cells to the letterbox.

    Args:
        boxes: (N, 4) in cells.
        size: (h, w).

    Returns:
        (N, 4) normalised letterbox boxes.

    >>> normalise_cells(torch.tensor([[0, 1, 2, 4]]), (4, 4)).tolist()
    [[-1.0, -0.5, 0.0, 1.0]]
    """
    h, w = size
    return boxes * boxes.new_tensor([2 / w, 2 / h, 2 / w, 2 / h], dtype=torch.float32) - 1
