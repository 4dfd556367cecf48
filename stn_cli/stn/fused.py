"""Reading of a pyramid in one kernel on an accelerator (Triton): both levels and all channels of a point at once.

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
def _points(grid, low, fraction, P, POINTS: tl.constexpr):  # type: ignore[no-untyped-def]
    """A program's crop, its points' numbers, which of them there are, their coordinates, the crop's finer level and the share of the next."""
    crop = tl.program_id(0).to(tl.int64)
    p = tl.program_id(1) * POINTS + tl.arange(0, POINTS)
    there = p < P
    x = tl.load(grid + (crop * P + p) * 2, mask=there, other=0.0)
    y = tl.load(grid + (crop * P + p) * 2 + 1, mask=there, other=0.0)
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
    atlas, origins, grid, low, fraction, out, R, C, P, width, area, image_w, image_h, top, POINTS: tl.constexpr
):  # fmt: skip
    crop, p, there, x, y, level, share = _points(grid, low, fraction, P, POINTS)
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
    atlas, origins, grid, low, fraction, given, atlas_grad, grid_grad, R, C, P, width, area, image_w, image_h, top,
    OF_ATLAS: tl.constexpr, OF_GRID: tl.constexpr, POINTS: tl.constexpr,
):  # fmt: skip
    crop, p, there, x, y, level, share = _points(grid, low, fraction, P, POINTS)
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
        ctx: Any, atlas: Tensor, origins: Tensor, grid: Tensor, low: Tensor, fraction: Tensor, size: tuple[int, int]
    ) -> Tensor:
        B, R, h, w, _ = grid.shape
        C = atlas.shape[1]
        out = atlas.new_empty((B, R, C, h, w))
        ctx.save_for_backward(atlas, origins, grid, low, fraction)
        ctx.size = size
        if out.numel():
            _forward[_programs(grid)](
                atlas, origins, grid, low, fraction, out, *_sizes(atlas, origins, grid, size), POINTS=POINTS
            )
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        atlas, origins, grid, low, fraction = ctx.saved_tensors
        of_atlas, of_grid = ctx.needs_input_grad[0], ctx.needs_input_grad[2]
        atlas_grad = torch.zeros_like(atlas, dtype=torch.float32) if of_atlas else None
        grid_grad = torch.zeros_like(grid) if of_grid else None
        if given.numel():
            _backward[_programs(grid)](
                atlas, origins, grid, low, fraction, given.contiguous(), atlas if atlas_grad is None else atlas_grad,
                grid if grid_grad is None else grid_grad, *_sizes(atlas, origins, grid, ctx.size),
                OF_ATLAS=of_atlas, OF_GRID=of_grid, POINTS=POINTS,
            )  # fmt: skip
        return None if atlas_grad is None else atlas_grad.to(atlas.dtype), None, grid_grad, None, None, None


def _programs(grid: Tensor) -> tuple[int, int]:
    B, R, h, w, _ = grid.shape
    return B * R, triton.cdiv(h * w, POINTS)


def _sizes(atlas: Tensor, origins: Tensor, grid: Tensor, size: tuple[int, int]) -> tuple[int, ...]:
    """R, C, P, width and area of the atlas, width and height of the image, last level."""
    _, R, h, w, _ = grid.shape
    _, C, H, W = atlas.shape
    return R, C, h * w, W, H * W, size[1], size[0], len(origins) - 1


def read_levels(atlas: Tensor, origins: Tensor, grid: Tensor, low: Tensor, fraction: Tensor, size: tuple[int, int]) -> Tensor:
    """Trilinear reading of an atlas.

    Args:
        atlas: (B, C, H, W) of a `Pyramid`, float32 or half precision.
        origins: (L, 4) of the same, float32.
        grid: (B, R, h, w, 2) normalised coordinates in the image, float32.
        low: (B, R) the finer level of each crop, whole numbers.
        fraction: (B, R) share of the next level, float32.
        size: (H, W) of the image.

    Returns:
        (B, R, C, h, w) of the atlas's type, once differentiable in atlas and grid.
    """
    out: Tensor = _Read.apply(
        atlas.contiguous(), origins.contiguous(), grid.contiguous(), low.int().contiguous(), fraction.contiguous(), size
    )
    return out
