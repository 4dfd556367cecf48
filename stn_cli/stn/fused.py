"""Reading of a pyramid in two kernels on an accelerator (Triton): one chooses each crop's levels, one reads both levels and all channels.

The same numbers as the reads in `reduction`, without their intermediate tensors: a point's coordinates are read once, its values written
once, and its neighbours come from the cache. The gradient of the images is added up atomically: sums of float32 in no fixed order.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

POINTS = 256
"""Points of one program."""
LINES = 64
"""Rows or columns that a crop's scale is summed over at once."""


@triton.jit  # type: ignore[untyped-decorator]
def _pace(first, last, lines, stride, axis, steps, image_w, image_h, LINES: tl.constexpr):  # type: ignore[no-untyped-def]
    """Mean length of a step, source pixels, over lines of points from `first` to `last`, each `stride` behind the one before."""
    total = tl.zeros((LINES,), tl.float32)
    for begin in range(0, lines, LINES):
        line = begin + tl.arange(0, LINES)
        at, there = line * stride, line < lines
        dx = tl.load(last + at, mask=there, other=0.0) - tl.load(first + at, mask=there, other=0.0)
        dy = tl.load(last + at + axis, mask=there, other=0.0) - tl.load(first + at + axis, mask=there, other=0.0)
        dx, dy = dx * image_w, dy * image_h
        total += tl.sqrt(dx * dx + dy * dy)
    return tl.sum(total, 0) / (lines * 2.0 * steps)


@triton.jit  # type: ignore[untyped-decorator]
def _levels(  # type: ignore[no-untyped-def]
    grid, of_crop, of_point, of_axis, low, fraction, h, w, image_w, image_h, top, LINES: tl.constexpr
):  # fmt: skip
    crop = tl.program_id(0).to(tl.int64)
    begin = grid + crop * of_crop
    row, across = w * of_point, (w - 1) * of_point
    along = _pace(begin, begin + across, h, row, of_axis, tl.maximum(w - 1, 1), image_w, image_h, LINES)
    down = _pace(begin, begin + (h - 1) * row, w, of_point, of_axis, tl.maximum(h - 1, 1), image_w, image_h, LINES)
    rho = tl.maximum(along, down)
    height = tl.where(rho > 1, tl.minimum(tl.log2(tl.maximum(rho, 1.0)), top), 0.0)  # NaN is no place: level 0
    floor = tl.floor(height)
    tl.store(low + crop, floor.to(tl.int32))
    tl.store(fraction + crop, height - floor)


@triton.jit
def _place(coordinate, length, step, origin, size):  # type: ignore[no-untyped-def]
    """Along one axis of a level: a coordinate's left neighbour in the atlas, the share of the right one, and whether it is inside."""
    inside = ((coordinate + 1) * length / 2) / step - 0.5
    held = tl.minimum(tl.maximum(inside, 0.0), size - 1)
    first = tl.floor(held)
    return (first + origin).to(tl.int32), held - first, (inside >= 0) & (inside <= size - 1)


@triton.jit
def _neighbours(x, y, level, origins, width, image_w, image_h, top):  # type: ignore[no-untyped-def]
    """The upper left of a point's four neighbours in the atlas, the shares of the right and lower ones, what is inside, the level's step."""
    held = tl.maximum(tl.minimum(level, top), 0)
    step = tl.exp2(held.to(tl.float32))
    o = origins + held * 4
    i, u, in_x = _place(x, image_w, step, tl.load(o), tl.load(o + 2))
    j, v, in_y = _place(y, image_h, step, tl.load(o + 1), tl.load(o + 3))
    return j * width + i, u, v, in_x, in_y, step


@triton.jit  # type: ignore[untyped-decorator]
def _points(grid, of_crop, of_point, of_axis, low, fraction, P, POINTS: tl.constexpr):  # type: ignore[no-untyped-def]
    """A program's crop, its points' numbers, which of them there are, their coordinates, the crop's finer level and the share of the next."""
    crop = tl.program_id(0).to(tl.int64)
    p = tl.program_id(1) * POINTS + tl.arange(0, POINTS)
    there = p < P
    at = grid + crop * of_crop + p * of_point
    x = tl.load(at, mask=there, other=0.0)
    y = tl.load(at + of_axis, mask=there, other=0.0)
    level, share = tl.load(low + crop), tl.load(fraction + crop) + tl.zeros((POINTS,), tl.float32)
    return crop, p, there, x, y, level, share


@triton.jit
def _corners(at, width, wanted):  # type: ignore[no-untyped-def]
    """The four neighbours' values, row by row."""
    a = tl.load(at, mask=wanted, other=0.0).to(tl.float32)
    b = tl.load(at + 1, mask=wanted, other=0.0).to(tl.float32)
    d = tl.load(at + width, mask=wanted, other=0.0).to(tl.float32)
    e = tl.load(at + width + 1, mask=wanted, other=0.0).to(tl.float32)
    return a, b, d, e


@triton.jit
def _bilinear(at, width, u, v, wanted):  # type: ignore[no-untyped-def]
    a, b, d, e = _corners(at, width, wanted)
    return (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * d + u * e)


@triton.jit  # type: ignore[untyped-decorator]
def _forward(  # type: ignore[no-untyped-def]
    atlas, origins, grid, of_crop, of_point, of_axis, low, fraction, out, R, C, P, width, area, image_w, image_h, top, POINTS: tl.constexpr
):  # fmt: skip
    crop, p, there, x, y, level, share = _points(grid, of_crop, of_point, of_axis, low, fraction, P, POINTS)
    base = atlas + (crop // R) * C * area
    near, u, v, _, _, _ = _neighbours(x, y, level, origins, width, image_w, image_h, top)
    far, s, t, _, _, _ = _neighbours(x, y, level + 1, origins, width, image_w, image_h, top)
    above = there & (share > 0)
    for c in range(C):
        value = _bilinear(base + c * area + near, width, u, v, there)
        value += share * (_bilinear(base + c * area + far, width, s, t, above) - value)
        tl.store(out + (crop * C + c) * P + p, value.to(out.dtype.element_ty), mask=there)


@triton.jit  # type: ignore[untyped-decorator]
def _backward(  # type: ignore[no-untyped-def]
    atlas, origins, grid, of_crop, of_point, of_axis, low, fraction, given, atlas_grad, grid_grad,
    R, C, P, width, area, image_w, image_h, top,
    OF_ATLAS: tl.constexpr, OF_GRID: tl.constexpr, POINTS: tl.constexpr,
):  # fmt: skip
    crop, p, there, x, y, level, share = _points(grid, of_crop, of_point, of_axis, low, fraction, P, POINTS)
    image = (crop // R) * C * area
    along_x, along_y = tl.zeros((POINTS,), tl.float32), tl.zeros((POINTS,), tl.float32)
    for turn in tl.static_range(2):
        weight = share if turn else 1 - share
        first, u, v, in_x, in_y, step = _neighbours(x, y, level + turn, origins, width, image_w, image_h, top)
        wanted = there & (weight > 0)
        for c in range(C):
            at = image + c * area + first
            g = weight * tl.load(given + (crop * C + c) * P + p, mask=wanted, other=0.0).to(tl.float32)
            if OF_ATLAS:
                tl.atomic_add(atlas_grad + at, g * (1 - v) * (1 - u), mask=wanted, sem="relaxed")
                tl.atomic_add(atlas_grad + at + 1, g * (1 - v) * u, mask=wanted, sem="relaxed")
                tl.atomic_add(atlas_grad + at + width, g * v * (1 - u), mask=wanted, sem="relaxed")
                tl.atomic_add(atlas_grad + at + width + 1, g * v * u, mask=wanted, sem="relaxed")
            if OF_GRID:
                a, b, d, e = _corners(atlas + at, width, wanted)
                slope_x = g * ((1 - v) * (b - a) + v * (e - d))
                slope_y = g * ((1 - u) * (d - a) + u * (e - b))
                along_x += tl.where(in_x, slope_x * image_w / (2 * step), 0.0)
                along_y += tl.where(in_y, slope_y * image_h / (2 * step), 0.0)
    if OF_GRID:
        tl.store(grid_grad + (crop * P + p) * 2, along_x, mask=there)
        tl.store(grid_grad + (crop * P + p) * 2 + 1, along_y, mask=there)


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, atlas: Tensor, origins: Tensor, points: Tensor, lattice: tuple[int, int], size: tuple[int, int]
    ) -> Tensor:
        n, P, _ = points.shape
        out = atlas.new_empty((n, atlas.shape[1], P))
        low, fraction = points.new_empty(n, dtype=torch.int32), points.new_empty(n)
        if out.numel():
            _levels[(n,)](
                points, *points.stride(), low, fraction, *lattice, size[1], size[0], len(origins) - 1, LINES=LINES
            )  # fmt: skip
            _forward[_programs(points)](
                atlas,
                origins,
                points,
                *points.stride(),
                low,
                fraction,
                out,
                *_sizes(atlas, origins, points, size),
                POINTS=POINTS,
            )
        ctx.save_for_backward(atlas, origins, points, low, fraction)
        ctx.size = size
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        atlas, origins, points, low, fraction = ctx.saved_tensors
        of_atlas, of_points = ctx.needs_input_grad[0], ctx.needs_input_grad[2]
        atlas_grad = torch.zeros_like(atlas, dtype=torch.float32) if of_atlas else None
        points_grad = points.new_zeros(points.shape) if of_points else None
        if given.numel():
            _backward[_programs(points)](
                atlas, origins, points, *points.stride(), low, fraction, given.contiguous(),
                atlas if atlas_grad is None else atlas_grad, points if points_grad is None else points_grad,
                *_sizes(atlas, origins, points, ctx.size), OF_ATLAS=of_atlas, OF_GRID=of_points, POINTS=POINTS,
            )  # fmt: skip
        return None if atlas_grad is None else atlas_grad.to(atlas.dtype), None, points_grad, None, None


def _programs(points: Tensor) -> tuple[int, int]:
    n, P, _ = points.shape
    return n, triton.cdiv(P, POINTS)


def _sizes(atlas: Tensor, origins: Tensor, points: Tensor, size: tuple[int, int]) -> tuple[int, ...]:
    """R, C, P, width and area of the atlas, width and height of the image, last level."""
    B, C, H, W = atlas.shape
    n, P, _ = points.shape
    return n // B, C, P, W, H * W, size[1], size[0], len(origins) - 1


def read_reduced(atlas: Tensor, origins: Tensor, grid: Tensor, size: tuple[int, int]) -> Tensor:
    """Trilinear reading of an atlas, each crop between the two levels that its scale asks for.

    Args:
        atlas: (B, C, H, W) of a `Pyramid`, float32 or half precision.
        origins: (L, 4) of the same, float32.
        grid: (B, R, h, w, 2) normalised coordinates in the image, float32.
        size: (H, W) of the image.

    Returns:
        (B, R, C, h, w) of the atlas's type, once differentiable in atlas and grid.
    """
    B, R, h, w, _ = grid.shape
    points = grid.reshape(B * R, h * w, 2)  # in the order of memory that it has: of a matrix, all x and then all y
    out: Tensor = _Read.apply(atlas.contiguous(), origins.contiguous(), points, (h, w), size)
    return out.view(B, R, atlas.shape[1], h, w)
