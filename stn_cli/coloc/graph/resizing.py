"""Pictures onto letterboxes, in tensors alone: `stn_cli.media.cache.place` and the proposer's sizes as a graph has them.

Along each axis a resize is a matrix, whose rows say what an output pixel is made of; a border that is repeated is a row that is repeated. So
no shape depends on what a picture holds. Placing gives the same uint8 values as OpenCV, but where a value lies within rounding error of a half.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.encoders.pretrained import standardise

LEAST_OVERLAP = 1e-3
"""OpenCV leaves out pixels of which less lies in a cell."""
HALF = 1e-9
"""What is nearer than this to a half is one: sums of double precision are more exact than this in any order."""
FIXED = 2048.0
"""OpenCV enlarges in fixed point: this is 1."""


@dataclass(frozen=True, slots=True)
class OnLetterbox:
    """Where pictures of one size lie on their letterboxes, as `stn_cli.geometry.Frame` says it; all in double precision.

    Attributes:
        size: (2,) height and width of the pictures, pixels.
        begin: (2,) their upper and left edge on the letterbox, whole pixels.
        length: (2,) their height and width there.
        side: of the letterbox, pixels.
    """

    size: Tensor
    begin: Tensor
    length: Tensor
    side: int

    @classmethod
    def of(cls, height: int, width: int, side: int) -> OnLetterbox:
        """Where pictures of a size lie.

        Args:
            height, width: of the pictures, pixels; symbols while a graph is traced.
            side: of the letterbox, pixels.
        """
        size = torch.stack([torch.full((), n, dtype=torch.float64) for n in (height, width)])
        length = (size * (side / size.amax(0))).round().clamp(1, side)
        return cls(size, ((side - length) / 2).floor(), length, side)

    def rectangle(self) -> Tensor:
        """The outline (4,) on the letterbox, normalised."""
        low = self.begin / (self.side / 2) - 1
        return torch.cat([low.flip(0), ((self.begin + self.length) / (self.side / 2) - 1).flip(0)])

    def letterbox_to_image(self) -> Tensor:
        """The affine map (2, 3) from normalised letterbox to normalised image coordinates."""
        low, high = self.rectangle().chunk(2)
        return torch.cat([torch.diag_embed(2 / (high - low)), (-(low + high) / (high - low))[:, None]], 1)

    def cells(self, axis: int) -> Tensor:
        """Which pixel of the resized picture each of a letterbox's is: (side,), the first and last beyond its edges."""
        place = torch.arange(self.side, dtype=torch.float64) - self.begin[axis]
        return torch.minimum(place.clamp(min=0), self.length[axis] - 1)


def place_all(images: Tensor, placed: OnLetterbox) -> Tensor:
    """Resize pictures onto their letterboxes; what lies beside them repeats their edges.

    Args:
        images: (B, H, W, 3) uint8.
        placed: where they lie.

    Returns:
        (B, 3, S, S) whole numbers 0 to 255, float32.
    """
    scale = placed.size / placed.length
    averaged = _averaged(images, placed, scale)
    half = averaged.floor() + 0.5
    # OpenCV rounds a half upwards in means of four pixels, else to even, and by chance where its sums are not exact
    even = torch.where((averaged - half).abs() < HALF, half, averaged).round()
    averaged = torch.where((scale == 2).all(), (averaged + 0.5).floor(), even).float()
    smaller = (placed.size > placed.length).any()
    return torch.where(smaller, averaged, _enlarged(images, placed, scale)).movedim(-1, 1)


def _averaged(images: Tensor, placed: OnLetterbox, scale: Tensor) -> Tensor:
    """Means over cells (B, S, S, 3), as OpenCV's INTER_AREA, before they are rounded; in double precision, so that all runtimes round alike."""
    b, h, w, c = images.shape
    rows, tall = _overlaps(placed.cells(0), scale[0], h)
    columns, wide = _overlaps(placed.cells(1), scale[1], w)
    out = (rows @ images.to(torch.float64).reshape(b, h, w * c)).view(b, placed.side, w, c)  # (B, S, W, 3)
    return (columns @ out) / (tall[:, None] * wide)[..., None]  # (B, S, S, 3)


def _overlaps(cells: Tensor, scale: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """How much of each of `length` pixels lies in each cell of `scale` pixels (S, length), and the cells' lengths (S,)."""
    low = (cells * scale)[:, None]
    at = torch.arange(length, dtype=torch.float64)
    share = (torch.minimum(at + 1, low + scale) - torch.maximum(at, low)).clamp(0, 1)
    share = torch.where(share > LEAST_OVERLAP, share, 0.0)
    return share, torch.minimum(scale, length - low[:, 0])


def _enlarged(images: Tensor, placed: OnLetterbox, scale: Tensor) -> Tensor:
    """Bilinear values (B, S, S, 3), in the fixed point of OpenCV's INTER_LINEAR."""
    down, across = (((placed.cells(a) + 0.5) * scale[a] - 0.5).float() for a in (0, 1))
    columns = _taps(
        across.clamp(0, images.shape[2] - 1), images.shape[2]
    )  # beyond an edge OpenCV moves a column, not its weights
    sums = []
    for row, share in _taps(down, images.shape[1]):
        pixels = images.index_select(1, row).float()
        (left, one), (right, other) = ((pixels.index_select(2, i), w[:, None]) for i, w in columns)
        sums.append((((left * one + right * other) / 16).floor() * share[:, None, None] / 65536).floor())
    return ((sums[0] + sums[1] + 2) / 4).floor().clamp(0, 255)


def _taps(at: Tensor, length: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The two pixels that places (S,) lie between, of `length`, and what they weigh."""
    first = at.floor()
    share = at - first
    low, high = ((first + k).clamp(0, length - 1).long() for k in (0, 1))
    return (low, ((1 - share) * FIXED).round()), (high, (share * FIXED).round())


def sized(images: Tensor, low: Tensor, length: Tensor, side: int, multiple: int) -> tuple[Tensor, Tensor]:
    """Pictures on letterboxes as the instance network looks at them: standardised, resized, their edges repeated up to full blocks.

    Args:
        images: (B, 3, S, S) in [0, 1].
        low: (2,) where they begin on their letterboxes, upper and left edge.
        length: (2,) their height and width there.
        side: the longer side at which they are looked at, pixels.
        multiple: side of a block, pixels; longer sides are at most eight of them.

    Returns:
        (B, 3, h, w), and the size (2,) before edges were repeated.
    """
    size = (length * (side / length.amax(0))).round().clamp(min=4)
    matrices = []
    for axis in (0, 1):
        blocks = (size[axis] / multiple).ceil().long().item()  # a symbol while a graph is traced
        torch._check(blocks >= 1)
        torch._check(blocks <= 8)
        cells = torch.arange(multiple * blocks, dtype=torch.float64)
        matrices.append(_triangles(torch.minimum(cells, size[axis] - 1), low[axis], length[axis], size[axis], images.shape[-1]))
    return standardise(matrices[0] @ images @ matrices[1].T), size


def _triangles(cells: Tensor, low: Tensor, length: Tensor, size: Tensor, side: int) -> Tensor:
    """The weights (n, side) of torch's antialiased bilinear resize from `length` to `size` pixels, of cells (n,)."""
    scale = (length / size).float()  # torch's own precision
    at = torch.arange(side, dtype=torch.float32) - low.float()
    weight = (1 - (at - (cells.float()[:, None] + 0.5) * scale + 0.5).abs() * (1 / scale.clamp(min=1))).clamp(min=0)
    weight = torch.where((at >= 0) & (at < length), weight, 0.0)
    return weight / weight.sum(1, keepdim=True)


def reducing(side: int, to: int) -> Tensor:
    """The matrix of torch's `area` resize of a length.

    Args:
        side: pixels before.
        to: pixels after.

    Returns:
        (to, side).
    """
    i, at = torch.arange(to), torch.arange(side)
    low, high = (i * side) // to, -((-(i + 1) * side) // to)
    inside = ((at >= low[:, None]) & (at < high[:, None])).float()
    return inside / inside.sum(1, keepdim=True)
