"""Crops of images and random patches I_n^rand, cut on the device in one batched call."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.geometry import box_to_matrix, points_to_box
from stn_cli.stn import Affine, Pyramid, Transformation, base_grid, sample_reduced

OUTLINE = 64
"""Points on the ellipse that a crop's upright box is drawn around; a multiple of 4, so that upright crops are exact."""
EDGE = 8
"""Points along a side of the polygon that a crop's area is taken of."""


@dataclass(frozen=True, slots=True)
class Crops:
    """R crops of each of B images, of any transformation.

    Attributes:
        transform: T_theta.
        matrix: M_theta (B, R, d, k), from the crop to normalised letterbox coordinates.
    """

    transform: Transformation
    matrix: Tensor

    @classmethod
    def of_boxes(cls, boxes: Tensor) -> Crops:
        """Upright crops of boxes (B, R, 4)."""
        return cls(Affine(), box_to_matrix(boxes))

    def __getitem__(self, index: Tensor | slice | tuple[slice, slice]) -> Crops:
        """Some of the images, or of their crops."""
        return Crops(self.transform, self.matrix[index])

    def detach(self) -> Crops:
        """The same crops, without gradients."""
        return Crops(self.transform, self.matrix.detach())

    def after(self, affine: Tensor) -> Crops:
        """Every crop moved by an affine map (..., 2, 3) of the letterbox."""
        return Crops(self.transform, self.transform.after(affine.to(self.matrix.dtype), self.matrix))

    def at(self, targets: Tensor) -> Tensor:
        """Where points (N, 2) of a crop lie: (B, R, N, 2)."""
        return self.transform.combine(self.matrix, self.transform.basis(targets.to(self.matrix)))

    def points(self, size: tuple[int, int], zoom: float = 1.0) -> Tensor:
        """T_theta(G), `zoom` times as large about the middle: (B, R, H', W', 2)."""
        base = base_grid(size, device=self.matrix.device, dtype=self.matrix.dtype).view(-1, 2)
        return self.at(zoom * base).unflatten(-2, size)

    def quads(self) -> Tensor:
        """Corners (B, R, 4, 2), clockwise from the crop's own upper left."""
        return self.at(self.matrix.new_tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]]))

    def centres(self) -> Tensor:
        """(B, R, 2)."""
        return self.at(self.matrix.new_zeros(1, 2))[..., 0, :]

    def boxes(self) -> Tensor:
        """Upright boxes (B, R, 4) around the ellipse inscribed in each crop.

        An upright crop's own box. A tilted crop's corners seldom hold any of the object: the box around them would be up to 1.4 times too large.
        """
        angle = torch.arange(OUTLINE, device=self.matrix.device, dtype=self.matrix.dtype) * (2 * math.pi / OUTLINE)
        return points_to_box(self.at(torch.stack([angle.cos(), angle.sin()], -1)))

    def log_area(self) -> Tensor:
        """Log of each crop's area as a share of the letterbox (B, R), by the polygon of its outline."""
        t = torch.arange(EDGE, device=self.matrix.device, dtype=self.matrix.dtype) * (2 / EDGE) - 1
        one = torch.ones_like(t)
        edge = torch.cat([torch.stack(side, -1) for side in ((t, -one), (one, t), (-t, one), (-one, -t))])
        x, y = self.at(edge).unbind(-1)
        doubled = (x * y.roll(-1, -1) - y * x.roll(-1, -1)).sum(-1)
        return (doubled.abs() / 8).clamp(min=1e-8).log()


def turned_crops(boxes: Tensor, angles: Tensor) -> Crops:
    """Crops of boxes that are turned about their centres.

    Args:
        boxes: (N, R, 4) normalised letterbox boxes before they are turned.
        angles: (N, R) radians, clockwise as seen on the screen.

    Returns:
        R crops of each image.
    """
    half, centre = (boxes[..., 2:] - boxes[..., :2]) / 2, (boxes[..., 2:] + boxes[..., :2]) / 2
    shape = torch.cat([half.clamp(min=1e-6).log(), angles[..., None], torch.zeros_like(angles)[..., None]], -1)
    return Crops(Affine(), Affine().matrix(Affine().theta(centre, shape)))


def random_boxes(rectangles: Tensor, count: int, sides: Tensor, generator: torch.Generator) -> Tensor:
    """Boxes of given sides at uniform places inside each image.

    Args:
        rectangles: (B, 4) the images' outlines on their letterboxes, normalised.
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


def cut(images: Tensor | Pyramid, crops: Crops, size: int | tuple[int, int]) -> Tensor:
    """Cut R crops out of each image.

    Args:
        images: (B, 3, S, S), or a pyramid of them.
        crops: R of each.
        size: of the crops, (H', W') or the side of square ones, pixels.

    Returns:
        (B, R, 3, H', W'), differentiable in the crops' matrices.
    """
    pyramid = images if isinstance(images, Pyramid) else Pyramid(images)
    return sample_reduced(pyramid, crops.points((size, size) if isinstance(size, int) else size))
