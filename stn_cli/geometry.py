"""Boxes, quads, thetas and frames: the only place where pixels and normalised coordinates meet.

Convention:
    Pixel boxes are continuous and 0-based, x right, y down, `[x1, y1, x2, y2)` with the right and lower
    edge outside; a pixel's centre is at +0.5. Normalised coordinates are `align_corners=False`: -1 and 1
    are the outer edges of the outermost pixels. theta maps target to source (backward warping), as in
    Jaderberg et al. 2015. Points are (x, y), sizes (H, W).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Frame:
    """Where an upright image of `width` x `height` pixels lies on a square letterbox of side `letterbox`.

    The image keeps its aspect ratio: its longer side fills the letterbox, the shorter one is centred.
    """

    width: int
    height: int
    letterbox: int

    @property
    def content(self) -> tuple[int, int, int, int]:
        """(left, top, width, height) of the image on the letterbox, in whole letterbox pixels."""
        scale = self.letterbox / max(self.width, self.height)
        w = min(self.letterbox, max(1, round(self.width * scale)))
        h = min(self.letterbox, max(1, round(self.height * scale)))
        return (self.letterbox - w) // 2, (self.letterbox - h) // 2, w, h

    @property
    def rectangle(self) -> tuple[float, float, float, float]:
        """The image's outline (x1, y1, x2, y2) on the letterbox, in normalised coordinates."""
        left, top, w, h = self.content
        half = self.letterbox / 2
        return left / half - 1, top / half - 1, (left + w) / half - 1, (top + h) / half - 1

    def letterbox_to_image(self) -> Tensor:
        """The affine map (2, 3) from normalised letterbox to normalised image coordinates, double precision."""
        x1, y1, x2, y2 = self.rectangle
        return torch.tensor(
            [[2 / (x2 - x1), 0, -(x1 + x2) / (x2 - x1)], [0, 2 / (y2 - y1), -(y1 + y2) / (y2 - y1)]], dtype=torch.float64
        )

    def boxes_from_letterbox(self, boxes: Tensor) -> Tensor:
        """Normalised letterbox boxes (..., 4) -> pixel boxes of the image (..., 4)."""
        x1, y1, x2, y2 = self.rectangle
        scale = boxes.new_tensor([self.width / (x2 - x1), self.height / (y2 - y1)]).repeat(2)
        return (boxes - boxes.new_tensor([x1, y1, x1, y1])) * scale

    def boxes_to_letterbox(self, boxes: Tensor) -> Tensor:
        """Pixel boxes of the image (..., 4) -> normalised letterbox boxes (..., 4)."""
        x1, y1, x2, y2 = self.rectangle
        scale = boxes.new_tensor([(x2 - x1) / self.width, (y2 - y1) / self.height]).repeat(2)
        return boxes * scale + boxes.new_tensor([x1, y1, x1, y1])


def normalised_to_pixels(points: Tensor, size: tuple[int, ...] | Tensor) -> Tensor:
    """Points from normalised coordinates to pixels.

    Args:
        points: (..., 2) x and y, normalised.
        size: (H, W) of the image, or (..., 2) of several.

    Returns:
        (..., 2) x and y, pixels.
    """
    return (points + 1) * (_width_height(points, size) / 2)


def pixel_index(coordinates: Tensor, length: int) -> Tensor:
    """Normalised coordinates along one axis as index space, in which the centre of pixel m is at m.

    Args:
        coordinates: (...) normalised.
        length: of the axis, pixels.

    Returns:
        (...) index space.
    """
    return (coordinates + 1) * (length / 2) - 0.5


def index_to_normalised(index: Tensor, length: int) -> Tensor:
    """The inverse of `pixel_index`.

    Args:
        index: (...) index space, in which the centre of pixel m is at m.
        length: of the axis, pixels.

    Returns:
        (...) normalised coordinates.
    """
    return (index + 0.5) * (2 / length) - 1


def pixels_in_box(box: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Where an image's pixels lie in a box of it: -1 and 1 are the box's edges.

    Args:
        box: (4,) x1, y1, x2, y2, pixels.
        size: (H, W) of the image.

    Returns:
        x of its columns (W,) and y of its rows (H,), at their centres.
    """
    (h, w), (low, high) = size, box.unflatten(-1, (2, 2)).unbind(-2)
    x, y = (2 * (torch.arange(n, device=box.device) + 0.5) for n in (w, h))
    middle, length = low + high, (high - low).clamp(min=1e-6)
    return (x - middle[0]) / length[0], (y - middle[1]) / length[1]


def points_to_box(points: Tensor) -> Tensor:
    """The smallest upright box around points.

    Args:
        points: (..., N, 2).

    Returns:
        (..., 4) x1, y1, x2, y2, in the points' own frame.
    """
    return torch.cat([points.amin(-2), points.amax(-2)], -1)


def box_to_matrix(box: Tensor) -> Tensor:
    """The theta whose crop is a box.

    Args:
        box: (..., 4) normalised.

    Returns:
        (..., 2, 3) from the crop to normalised coordinates.
    """
    x1, y1, x2, y2 = box.unbind(-1)
    zero = torch.zeros_like(x1)
    rows = ((x2 - x1) / 2, zero, (x1 + x2) / 2), (zero, (y2 - y1) / 2, (y1 + y2) / 2)
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def image_to_part(size: tuple[int, ...], part: tuple[int, int, int, int]) -> Tensor:
    """The affine map from an image's normalised coordinates to those of a part of it.

    Args:
        size: (H, W) of the image.
        part: (x1, y1, x2, y2) of it, pixels.

    Returns:
        (2, 3).
    """
    (h, w), (x1, y1, x2, y2) = size, part
    return torch.tensor(
        [[w / (x2 - x1), 0, (w - x1 - x2) / (x2 - x1)], [0, h / (y2 - y1), (h - y1 - y2) / (y2 - y1)]], dtype=torch.float64
    )


def clip_boxes(boxes: Tensor, size: tuple[int, int] | Tensor) -> Tensor:
    """Cut boxes to their image.

    Args:
        boxes: (..., 4) pixels.
        size: (H, W) of the image, or (..., 2) of several.

    Returns:
        (..., 4) pixels.
    """
    corner = _width_height(boxes, size)
    return torch.minimum(boxes.clamp(min=0), torch.cat([corner, corner], -1))


def _width_height(like: Tensor, size: tuple[int, ...] | Tensor) -> Tensor:
    return size.flip(-1) if isinstance(size, Tensor) else like.new_tensor(size[::-1])


def box_area(boxes: Tensor) -> Tensor:
    """Area of boxes.

    Args:
        boxes: (..., 4).

    Returns:
        (...) in the square of the boxes' unit; zero where a box is empty.
    """
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(min=0)


def boxes_around(centres: Tensor, sides: Tensor) -> Tensor:
    """Boxes of given centres and sides.

    Args:
        centres: (..., 2) x and y.
        sides: (..., 2) width and height.

    Returns:
        (..., 4) x1, y1, x2, y2.
    """
    return torch.cat([centres - sides / 2, centres + sides / 2], -1)


def common_area(a: Tensor, b: Tensor) -> Tensor:
    """The area that boxes share.

    Args:
        a, b: (..., 4) x1, y1, x2, y2 in one frame; their leading dimensions are broadcast.

    Returns:
        (...); 0 where they do not meet.
    """
    return box_area(torch.cat([torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])], -1))


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes.

    Args:
        a, b: (..., 4) x1, y1, x2, y2 in one frame; their leading dimensions are broadcast.

    Returns:
        (...) from 0 to 1; 0 where both are empty.
    """
    inter = common_area(a, b)
    return inter / (box_area(a) + box_area(b) - inter).clamp(min=1e-12)
