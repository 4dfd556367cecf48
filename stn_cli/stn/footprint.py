"""Footprints: the ellipse of the source that one output pixel covers, and the few places in it that are read (Heckbert 1989).

What graphics hardware calls anisotropic filtering, with one difference: a place is read from one level of the pyramid and not between two, and
an ellipse has two places along its shorter axis. That is nearer to the mean over the pixel, for as many reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

APART = 1.25
"""How far places along an axis may lie from each other, in pixels of their level: read bilinearly, 2 leave no gap."""
ALONG = 8
"""Most places along the longer axis; a longer ellipse is read from a coarser level."""
ACROSS = 2
"""Most places along the shorter axis."""
BEND = 0.05
"""A crop whose steps differ by less than this share of them is affine: its pixels have one footprint."""
LATTICE = 9
"""Points along a side of the crop at which that is looked at."""


@dataclass(frozen=True, slots=True)
class Footprints:
    """What is read for each output pixel; or, with h = w = 1, for all pixels of each crop. Pairs lie in the first axis.

    Attributes:
        level: (B, R, h, w) of the pyramid, whole numbers.
        along, across: (2, B, R, h, w) steps from place to place along the ellipse's axes, normalised source (x, y).
        count: (2, B, R, h, w) places along the longer and along the shorter axis.
        reach: (2, B, R, h, w) how wide and how high the ellipse is, source pixels.
    """

    level: Tensor
    along: Tensor
    across: Tensor
    count: Tensor
    reach: Tensor

    def first(self) -> Tensor:
        """From a pixel's middle to its first place: (2, B, R, h, w), normalised."""
        return -(self.along * (self.count[0] - 1) + self.across * (self.count[1] - 1)) / 2

    def share(self, i: Tensor, j: Tensor) -> Tensor:
        """What places (i, j), each (T, 1, 1, 1, 1), count in their pixels: (T, B, R, h, w), 0 where there is no such place."""
        return ((self.count[0] > i) & (self.count[1] > j)) / (self.count[0] * self.count[1])

    def places(self, size: tuple[int, int], together: bool) -> list[tuple[list[tuple[int, int]], tuple[slice, slice]]]:
        """The places that any pixel has.

        Args:
            size: (h, w) of the crops.
            together: all in one group; else each by itself.

        Returns:
            Groups of places (i, j), each group with the rows and columns of the crops outside of which no pixel has them.
        """
        whole = slice(0, size[0]), slice(0, size[1])
        if torch.compiler.is_compiling():  # a graph must not depend on numbers
            return [([(i, j) for i in range(ALONG) for j in range(ACROSS)], whole)]
        most = self.count.flatten(1, 2).amax(1) if self.level.numel() else self.count.new_ones(2, 1, 1)  # (2, h, w)
        if together or most[0].numel() == 1:
            every = [(i, j) for i in range(int(most[0].max())) for j in range(int(most[1].max()))]
            return [(every, whole)] if together else [([place], whole) for place in every]
        out = []
        for i, j in product(range(ALONG), range(ACROSS)):
            there = (most[0] > i) & (most[1] > j)
            if bool(there.any()):
                rows, columns = (there.any(axis).nonzero()[:, 0] for axis in (1, 0))
                part = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
                out.append(([(i, j)], part))
        return out

    def reach_out(self, points: Tensor, size: tuple[int, int]) -> bool:
        """Whether any place may lie outside of the image.

        Args:
            points: (2, B, R, h, w) the pixels' middles, normalised.
            size: (H, W) of the images.
        """
        furthest = points.detach().abs().amax((-2, -1)) + (self.reach / 2 / _half(points, size)).amax((-2, -1))
        return bool((furthest > 1).any())


def footprints(grid: Tensor, size: tuple[int, int], levels: int, *, each: bool) -> Footprints:
    """The footprints of a grid.

    Args:
        grid: (B, R, h, w, 2) source coordinates of R crops of each image.
        size: (H, W) of the images.
        levels: of the pyramid.
        each: whether every pixel has a footprint of its own; else each crop has one, from its corners.

    Returns:
        Footprints, without gradients.
    """
    scale = _half(grid, size)
    xx, yy, xy = _spread(grid, size, each)
    gap = ((xx - yy).square() + 4 * xy.square()).sqrt()
    longer, shorter = ((xx + yy + gap) / 2).sqrt(), ((xx + yy - gap) / 2).clamp(min=0).sqrt()
    turned = torch.where(gap > 1e-4 * (xx + yy), (xx - yy) / gap, 1.0)  # cos of twice the longer axis' angle; a circle's is any
    cos, sin = (((1 + sign * turned) / 2).clamp(0, 1).sqrt() for sign in (1, -1))
    sin = torch.where(xy < 0, -sin, sin)
    finest = torch.maximum(shorter, longer * (ACROSS / ALONG)) / APART
    level = (finest.clamp(min=1).log2() + 1e-4).floor().clamp(max=levels - 1)
    n, m = (  # the small number: at a whole one rounding must not decide
        (side / (APART * level.exp2()) + 1e-3).ceil().clamp(1, most) for side, most in ((longer, ALONG), (shorter, ACROSS))
    )
    return Footprints(
        level.long(),
        torch.stack([cos, sin]) * (longer / n) / scale,
        torch.stack([-sin, cos]) * (shorter / m) / scale,
        torch.stack([n, m]),
        torch.stack([xx, yy]).sqrt(),
    )


def reaches(grid: Tensor, size: tuple[int, int]) -> Tensor:
    """The `reach` of the footprints of a grid, alone.

    Args:
        grid: (B, R, h, w, 2) source coordinates.
        size: (H, W) of the images.

    Returns:
        (2, B, R, h, w) how wide and how high each pixel's ellipse is, source pixels.
    """
    return torch.stack(_spread(grid, size, True)[:2]).sqrt()


def _spread(grid: Tensor, size: tuple[int, int], each: bool) -> tuple[Tensor, Tensor, Tensor]:
    """J J^T, whose ellipse it is: its entries xx, yy and xy (B, R, h, w), J the source pixels from output pixel to output pixel."""
    (px, py), (qx, qy) = (_half(grid, size) * _steps(grid.detach().movedim(-1, 0), axis, each) for axis in (-1, -2))
    return px * px + qx * qx, py * py + qy * qy, px * py + qx * qy


def footprints_as_needed(grid: Tensor, size: tuple[int, int], levels: int) -> Footprints:
    """The footprints of a grid: one of each crop where all crops are affine, else one of each pixel.

    Args:
        grid: (B, R, h, w, 2) source coordinates of R crops of each image.
        size: (H, W) of the images.
        levels: of the pyramid.

    Returns:
        Footprints, without gradients. In a graph, which must not branch, both are made and one is taken.
    """
    affine = are_affine(grid, size)
    if not torch.compiler.is_compiling():
        return footprints(grid, size, levels, each=not bool(affine))
    whole, single = (footprints(grid, size, levels, each=each) for each in (False, True))
    names = ("level", "along", "across", "count", "reach")
    return Footprints(*(torch.where(affine, getattr(whole, name), getattr(single, name)) for name in names))


def are_affine(grid: Tensor, size: tuple[int, int]) -> Tensor:
    """Whether all crops are affine, looked at on a lattice of points.

    Args:
        grid: (B, R, h, w, 2) source coordinates.
        size: (H, W) of the images.

    Returns:
        A truth value: no point lies off the affine map of its crop's corners by more than what changes its steps by `BEND`.
    """
    h, w = grid.shape[2:4]
    down_by, across_by = (max(1, (n - 1) // (LATTICE - 1)) for n in (h, w))
    rows, columns = (torch.arange(0, n, by, device=grid.device) for n, by in ((h, down_by), (w, across_by)))
    points = grid.detach()[:, :, ::down_by, ::across_by].movedim(-1, 0) * _half(grid, size)
    across, down = (_steps(grid.detach().movedim(-1, 0), axis, False) * _half(grid, size) for axis in (-1, -2))
    off = points - points[..., :1, :1] - across * columns - down * rows[:, None]
    sides = [s.norm(dim=0) * (n - 1) for s, n in ((across, w), (down, h)) if n > 1]
    if not sides:
        return torch.ones((), dtype=torch.bool, device=grid.device)
    allowed = BEND / 8 * torch.stack(sides).amin(0) + 1e-3  # steps that change by a share of b end b n / 8 off; and rounding
    return (off[0] * off[0] + off[1] * off[1] <= allowed * allowed).all()


def _half(grid: Tensor, size: tuple[int, int]) -> Tensor:
    """(2, 1, 1, 1, 1): half sides of the image, source pixels."""
    return torch.tensor([size[1] / 2, size[0] / 2], device=grid.device, dtype=grid.dtype).view(2, 1, 1, 1, 1)


def _steps(points: Tensor, axis: int, each: bool) -> Tensor:
    """From point to point along an axis of (2, B, R, h, w): the mean of those before and behind, or of the first line's whole length."""
    n = points.shape[axis]
    if not each:
        ends = points[..., :1, :] if axis == -1 else points[..., :1]
        return (ends.narrow(axis, n - 1, 1) - ends.narrow(axis, 0, 1)) / max(1, n - 1)
    if n == 1:
        return torch.zeros_like(points)
    steps = points.narrow(axis, 1, n - 1) - points.narrow(axis, 0, n - 1)
    before = torch.cat([steps.narrow(axis, 0, 1), steps], axis)
    behind = torch.cat([steps, steps.narrow(axis, n - 2, 1)], axis)
    return (before + behind) / 2
