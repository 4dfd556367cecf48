"""Windows on maps of cells: the largest that satisfies the margin, in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.coloc.search.settings import WINDOWS
from stn_cli.geometry import index_to_normalised
from stn_cli.runtime.device import in_double

Sides = tuple[float, float] | None
"""Smallest and largest allowed longer side of a window, shares of the letterbox; None where any is."""
T = TypeVar("T")


@dataclass(slots=True)
class Layout:
    """Where a set's images lie on a grid of cells.

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
        """Take cells in boxes (N, K, 4), normalised letterbox boxes, for no part of the images."""
        if taken is None:
            return
        h, w = self.size
        scale = taken.new_tensor([w / 2, h / 2, w / 2, h / 2])
        for box in ((taken + 1) * scale).unbind(1):
            self.valid &= ~inside_mask(box, (h, w))
        self.border &= self.valid


def lay_out(size: tuple[int, int], rectangles: Tensor) -> Layout:
    """A grid of (h, w) cells on images that lie at `rectangles` (N, 4) of their letterboxes."""
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
    """
    off = offset.abs()
    return inside | ((off <= off.amin(dim, keepdim=True)) & ~inside.any(dim, keepdim=True))


def otsu(values: Tensor) -> Tensor:
    """The threshold that splits values (M,) into two groups of least variance."""
    v = values.sort().values
    return in_double(_least_variance, v[:: max(1, len(v) // WINDOWS.otsu_values)])


def _least_variance(v: Tensor) -> Tensor:
    """`otsu` of sorted values."""
    n, c = len(v), v.cumsum(0)
    if n < 2:
        return v.sum()
    i = torch.arange(1, n, device=v.device)
    low, high = c[:-1] / i, (c[-1] - c[:-1]) / (n - i)
    return v[((i * (n - i)) * (high - low).square()).argmax()]


def quantile(values: Tensor, share: float) -> Tensor:
    """The value (...) below which a share of values (..., M) lies, between two of them where none is there.

    `torch.quantile` reckons in float64, and takes no more than 16 million values.
    """
    ordered = values.sort(-1).values
    at = share * (values.shape[-1] - 1)
    low = int(at)
    return torch.lerp(ordered[..., low], ordered[..., min(low + 1, values.shape[-1] - 1)], at - low)


def largest_windows(score_map: Tensor, sides: Sides = None) -> tuple[Tensor, Tensor]:
    """The window with the largest sum, over every place and a ladder of widths and heights.

    Args:
        score_map: (N, h, w) margin less threshold; strongly negative outside the image.
        sides: smallest and largest allowed longer side of a window, shares of the letterbox.

    Returns:
        boxes (N, 4) in cells, and their sums (N,).
    """
    N, h, w = score_map.shape
    table = F.pad(score_map.cumsum(1).cumsum(2), (1, 0, 1, 0))  # summed-area table: every window in constant time
    best = score_map.new_full((N,), -torch.inf)
    boxes = torch.zeros((N, 4), dtype=torch.long, device=score_map.device)
    ladder = WINDOWS.ladder if sides is None else tuple(sorted({*WINDOWS.ladder, *sides}))
    heights = sorted({max(2, round(h * s)) for s in ladder})
    widths = sorted({max(2, round(w * s)) for s in ladder})
    for bh in heights:
        for bw in widths:
            if not _allowed(max(bh / h, bw / w), min(bh / h, bw / w), sides):
                continue
            sums = table[:, bh:, bw:] - table[:, :-bh, bw:] - table[:, bh:, :-bw] + table[:, :-bh, :-bw]
            value, at = sums.flatten(1).max(1)
            y, x = at // sums.shape[2], at % sums.shape[2]
            better = value > best
            best = torch.where(better, value, best)
            boxes = torch.where(better[:, None], torch.stack([x, y, x + bw, y + bh], 1), boxes)
    return boxes, best


def inside_mask(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Cells (N, h, w) inside boxes (N, 4) given in cells."""
    x = torch.arange(size[1], device=boxes.device)[None, None]
    y = torch.arange(size[0], device=boxes.device)[None, :, None]
    x1, y1, x2, y2 = (v[:, None, None] for v in boxes.unbind(-1))
    return (x >= x1) & (x < x2) & (y >= y1) & (y < y2)


def cells_of(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Cells (N, h, w) whose centres lie in normalised letterbox boxes (N, 4)."""
    h, w = size
    scale = boxes.new_tensor([w / 2, h / 2, w / 2, h / 2])
    return inside_mask(((boxes + 1) * scale - 0.5).ceil(), size)


def normalise_cells(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes in cells (N, 4) -> normalised letterbox boxes (N, 4)."""
    h, w = size
    return boxes * boxes.new_tensor([2 / w, 2 / h, 2 / w, 2 / h], dtype=torch.float32) - 1


def alternate(
    start: Tensor, rounds: int, place: Callable[[Tensor, int], Tensor], learn: Callable[[Tensor, int], tuple[T, Tensor]]
) -> tuple[Tensor, T, Tensor]:
    """Windows from margins, margins from windows, for some rounds: how every search for a deformable thing goes.

    Args:
        start: (N, h, w) margin map of the first round.
        rounds: at least 1.
        place: a margin map (N, h, w) and the round's number -> windows (N, 4) in cells.
        learn: windows and the round's number -> what tells inside from outside, and the margin map that it makes.

    Returns:
        The last round's windows, what was learnt from them, and its margin map.
    """
    margins = start
    for turn in range(rounds):
        boxes = place(margins, turn)
        learnt, margins = learn(boxes, turn)
    return boxes, learnt, margins


def choose_windows(
    margins: Tensor, layout: Layout, threshold: Tensor | float, spread: Tensor | float, prior: float, sides: Sides
) -> Tensor:
    """The largest window of each image that satisfies the margin, the centre favoured by `prior`: (N, 4) in cells."""
    return largest_windows(score_map_of(margins, layout, threshold, spread, prior), sides)[0]


def score_map_of(margins: Tensor, layout: Layout, threshold: Tensor | float, spread: Tensor | float, prior: float) -> Tensor:
    """What windows are chosen by: margin less threshold in standard deviations, the centre favoured by `prior` (N, h, w)."""
    score_map = (margins - threshold) / max(float(spread), 1e-6) - prior * layout.off_centre
    return score_map.masked_fill(~layout.valid, WINDOWS.outside)


def exact_windows(boxes: Tensor, score_map: Tensor, sides: Sides) -> Tensor:
    """Windows (N, 4) in cells moved side by side to the largest sum that is near, in quarters of a cell, on the map between the cells.

    The ladder of `largest_windows` misses a side by up to a tenth. No window becomes smaller than two cells; one that would take a form that
    is not allowed stays as it is.
    """
    fine = F.interpolate(score_map[:, None], scale_factor=WINDOWS.finer, mode="bilinear", align_corners=False)[:, 0]
    found = in_double(_slid, fine, (boxes * WINDOWS.finer).long()) / WINDOWS.finer
    h, w = score_map.shape[1:]
    shares = (found[:, 2:] - found[:, :2]) / found.new_tensor([w, h])
    return torch.where(_allowed(shares.amax(1), shares.amin(1), sides)[:, None], found, boxes.to(found))


def _slid(fine: Tensor, boxes: Tensor) -> Tensor:
    """Windows (N, 4) of whole cells of a map (N, h, w), each side moved in turn to where the sum is largest."""
    table = F.pad(fine.cumsum(1).cumsum(2), (1, 0, 1, 0))
    rows = torch.arange(len(boxes), device=boxes.device)
    across, down = (torch.arange(n, device=boxes.device)[None] for n in (table.shape[2], table.shape[1]))
    x1, y1, x2, y2 = boxes[..., None].unbind(1)  # (N, 1) each
    for _ in range(WINDOWS.sweeps):
        columns = table[rows, y2[:, 0]] - table[rows, y1[:, 0]]  # the sum of what is left of each x, between the two rows
        x1 = _least(columns, across <= x2 - 2 * WINDOWS.finer)
        x2 = _least(-columns, across >= x1 + 2 * WINDOWS.finer)
        lines = table[rows, :, x2[:, 0]] - table[rows, :, x1[:, 0]]
        y1 = _least(lines, down <= y2 - 2 * WINDOWS.finer)
        y2 = _least(-lines, down >= y1 + 2 * WINDOWS.finer)
    return torch.cat([x1, y1, x2, y2], 1)


def _least(values: Tensor, where: Tensor) -> Tensor:
    """The place (N, 1) of the least of values (N, P) where it is allowed (N, P)."""
    return values.masked_fill(~where, torch.inf).argmin(1, keepdim=True)


def _allowed(longer: Any, shorter: Any, sides: Sides) -> Any:
    """Whether a window may have these sides, shares of the letterbox: numbers, or a tensor of each."""
    fits = longer <= WINDOWS.most_aspect * shorter
    return (
        fits
        if sides is None
        else fits & (longer >= sides[0] * (1 - WINDOWS.slack)) & (longer <= sides[1] * (1 + WINDOWS.slack))
    )


def contrast(margins: Tensor, inside: Tensor, valid: Tensor) -> float:
    """(mean margin inside - mean margin outside) in standard deviations, over the images of a set."""
    return _difference(margins, inside, valid) / float(margins[valid].std().clamp(min=1e-6))


def contrast_beyond_place(margins: Tensor, inside: Tensor, valid: Tensor) -> float:
    """`contrast` of what is left of margins (N, h, w) after their mean over the images at each place is taken away.

    Windows at the same place of all images are told from the rest by any trace of place in the features; there is nothing left of them here.
    """
    mean = (margins * valid).sum(0) / valid.sum(0).clamp(min=1)
    return _difference(margins - mean, inside, valid) / float(margins[valid].std().clamp(min=1e-6))


def _difference(values: Tensor, inside: Tensor, valid: Tensor) -> float:
    i, o = inside & valid, valid & ~inside
    mean_i = (values * i).sum((1, 2)) / i.sum((1, 2)).clamp(min=1)
    mean_o = (values * o).sum((1, 2)) / o.sum((1, 2)).clamp(min=1)
    return float((mean_i - mean_o).mean())
