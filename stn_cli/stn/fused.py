"""Reading of a pyramid in one kernel on an accelerator (Triton): it finds each point's footprint, and reads its places for all channels.

The same numbers as `footprint` and the reads in `reduction`, without their intermediate tensors: a point's coordinates are read once, its values
written once, and its neighbours come from the cache. The gradient of the images is added up atomically: sums of float32 in no fixed order.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from stn_cli.stn.footprint import ACROSS, ALONG, APART

POINTS = 256
"""Points of one program."""


@triton.jit
def _step(at, of_axis, before, behind, wanted, image_w, image_h):  # type: ignore[no-untyped-def]
    """A point's step along one axis of the crop, source pixels (x, y): between the points before and behind it, where there are such."""
    many = tl.maximum(((before != 0).to(tl.float32) + (behind != 0).to(tl.float32)), 1.0) * 2
    x = tl.load(at + behind, mask=wanted, other=0.0) - tl.load(at - before, mask=wanted, other=0.0)
    y = tl.load(at + behind + of_axis, mask=wanted, other=0.0) - tl.load(at - before + of_axis, mask=wanted, other=0.0)
    return x * image_w / many, y * image_h / many


@triton.jit
def _ellipse(px, py, qx, qy):  # type: ignore[no-untyped-def]
    """Its longer and its shorter axis, and the longer one's direction (cos, sin), as in `footprints`."""
    xx, yy, xy = px * px + qx * qx, py * py + qy * qy, px * py + qx * qy
    gap = tl.sqrt((xx - yy) * (xx - yy) + 4 * xy * xy)
    longer, shorter = tl.sqrt((xx + yy + gap) / 2), tl.sqrt(tl.maximum((xx + yy - gap) / 2, 0.0))
    oval = gap > 1e-4 * (xx + yy)
    turned = tl.where(oval, (xx - yy) / tl.where(oval, gap, 1.0), 1.0)
    cos, sin = tl.sqrt(tl.maximum((1 + turned) / 2, 0.0)), tl.sqrt(tl.maximum((1 - turned) / 2, 0.0))
    return longer, shorter, cos, tl.where(xy < 0, -sin, sin)


@triton.jit  # type: ignore[untyped-decorator]
def _points(  # type: ignore[no-untyped-def]
    grid, of_crop, of_point, of_axis, P, w, image_w, image_h, top,
    POINTS: tl.constexpr, ALONG: tl.constexpr, ACROSS: tl.constexpr, APART: tl.constexpr,
):  # fmt: skip
    """A program's crop, its points' numbers, which of them there are; their first places, the steps to the next ones along either axis,
    how many there are, the level, and its pixels as a share of the image's: all in pixels of the level.
    """
    crop = tl.program_id(0).to(tl.int64)
    p = tl.program_id(1) * POINTS + tl.arange(0, POINTS)
    there = p < P
    at = grid + crop * of_crop + p * of_point
    column, row = p % w, p // w
    last = P // w - 1
    px, py = _step(
        at, of_axis, tl.where(column > 0, of_point, 0), tl.where(column < w - 1, of_point, 0), there, image_w, image_h
    )  # fmt: skip
    line = w * of_point
    qx, qy = _step(at, of_axis, tl.where(row > 0, line, 0), tl.where(row < last, line, 0), there, image_w, image_h)
    longer, shorter, cos, sin = _ellipse(px, py, qx, qy)
    finest = tl.maximum(shorter, longer * ACROSS / ALONG) / APART
    level = tl.minimum(tl.floor(tl.log2(tl.maximum(finest, 1.0)) + 1e-4), top)
    step = tl.exp2(level)
    n = tl.minimum(tl.maximum(tl.ceil(longer / (APART * step) + 1e-3), 1.0), ALONG)
    m = tl.minimum(tl.maximum(tl.ceil(shorter / (APART * step) + 1e-3), 1.0), ACROSS)
    along, across = longer / (n * step), shorter / (m * step)
    ax, ay, bx, by = along * cos, along * sin, -across * sin, across * cos
    x = ((tl.load(at, mask=there, other=0.0) + 1) * image_w / 2) / step - 0.5 - (ax * (n - 1) + bx * (m - 1)) / 2
    y = ((tl.load(at + of_axis, mask=there, other=0.0) + 1) * image_h / 2) / step - 0.5 - (ay * (n - 1) + by * (m - 1)) / 2
    return crop, p, there, x, y, ax, ay, bx, by, n, m, level.to(tl.int32), step


@triton.jit
def _neighbours(x, y, origins, level, step, width, image_w, image_h):  # type: ignore[no-untyped-def]
    """The upper left of a place's four neighbours in the atlas, the shares of the right and lower ones, and whether it is on the image."""
    right, lower = image_w / step - 0.5, image_h / step - 0.5
    held_x, held_y = tl.minimum(tl.maximum(x, -0.5), right), tl.minimum(tl.maximum(y, -0.5), lower)
    i, j = tl.floor(held_x), tl.floor(held_y)
    left, top = tl.load(origins + level * 4), tl.load(origins + level * 4 + 1)
    inside_x, inside_y = (x >= -0.5) & (x <= right), (y >= -0.5) & (y <= lower)
    return (j + top).to(tl.int32) * width + (i + left).to(tl.int32), held_x - i, held_y - j, inside_x, inside_y


@triton.jit
def _corners(at, width, wanted):  # type: ignore[no-untyped-def]
    """The four neighbours' values, row by row."""
    a = tl.load(at, mask=wanted, other=0.0).to(tl.float32)
    b = tl.load(at + 1, mask=wanted, other=0.0).to(tl.float32)
    d = tl.load(at + width, mask=wanted, other=0.0).to(tl.float32)
    e = tl.load(at + width + 1, mask=wanted, other=0.0).to(tl.float32)
    return a, b, d, e


@triton.jit  # type: ignore[untyped-decorator]
def _forward(  # type: ignore[no-untyped-def]
    atlas, origins, grid, of_crop, of_point, of_axis, out, R, C, P, w, width, area, image_w, image_h, top,
    POINTS: tl.constexpr, ALONG: tl.constexpr, ACROSS: tl.constexpr, APART: tl.constexpr,
):  # fmt: skip
    crop, p, there, x, y, ax, ay, bx, by, n, m, level, step = _points(
        grid, of_crop, of_point, of_axis, P, w, image_w, image_h, top, POINTS, ALONG, ACROSS, APART
    )  # fmt: skip
    base = atlas + (crop // R) * C * area
    share = 1 / (n * m)
    most = tl.max(tl.where(there, n, 1.0), 0).to(tl.int32)
    for c in range(C):
        total = tl.zeros((POINTS,), tl.float32)
        for i in range(most):
            for j in tl.static_range(ACROSS):
                wanted = there & (i < n) & (j < m)
                near, u, v, _, _ = _neighbours(
                    x + i * ax + j * bx, y + i * ay + j * by, origins, level, step, width, image_w, image_h
                )  # fmt: skip
                a, b, d, e = _corners(base + c * area + near, width, wanted)
                total += (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * d + u * e)  # 0 where it is not wanted
        tl.store(out + (crop * C + c) * P + p, (total * share).to(out.dtype.element_ty), mask=there)


@triton.jit  # type: ignore[untyped-decorator]
def _backward(  # type: ignore[no-untyped-def]
    atlas, origins, grid, of_crop, of_point, of_axis, given, atlas_grad, grid_grad,
    R, C, P, w, width, area, image_w, image_h, top,
    OF_ATLAS: tl.constexpr, OF_GRID: tl.constexpr,
    POINTS: tl.constexpr, ALONG: tl.constexpr, ACROSS: tl.constexpr, APART: tl.constexpr,
):  # fmt: skip
    crop, p, there, x, y, ax, ay, bx, by, n, m, level, step = _points(
        grid, of_crop, of_point, of_axis, P, w, image_w, image_h, top, POINTS, ALONG, ACROSS, APART
    )  # fmt: skip
    image = (crop // R) * C * area
    share = 1 / (n * m)
    along_x, along_y = tl.zeros((POINTS,), tl.float32), tl.zeros((POINTS,), tl.float32)
    most = tl.max(tl.where(there, n, 1.0), 0).to(tl.int32)
    for i in range(most):
        for j in tl.static_range(ACROSS):
            wanted = there & (i < n) & (j < m)
            near, u, v, in_x, in_y = _neighbours(
                x + i * ax + j * bx, y + i * ay + j * by, origins, level, step, width, image_w, image_h
            )  # fmt: skip
            for c in range(C):
                at = image + c * area + near
                g = share * tl.load(given + (crop * C + c) * P + p, mask=wanted, other=0.0).to(tl.float32)
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


_NUMBERS = {"POINTS": POINTS, "ALONG": ALONG, "ACROSS": ACROSS, "APART": APART}


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, atlas: Tensor, origins: Tensor, points: Tensor, columns: int, size: tuple[int, int]) -> Tensor:
        n, P, _ = points.shape
        out = atlas.new_empty((n, atlas.shape[1], P))
        if out.numel():
            _forward[_programs(points)](
                atlas, origins, points, *points.stride(), out, *_sizes(atlas, origins, points, columns, size), **_NUMBERS
            )  # fmt: skip
        ctx.save_for_backward(atlas, origins, points)
        ctx.columns, ctx.size = columns, size
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        atlas, origins, points = ctx.saved_tensors
        of_atlas, of_points = ctx.needs_input_grad[0], ctx.needs_input_grad[2]
        atlas_grad = torch.zeros_like(atlas, dtype=torch.float32) if of_atlas else None
        points_grad = points.new_zeros(points.shape) if of_points else None
        if given.numel():
            _backward[_programs(points)](
                atlas, origins, points, *points.stride(), given.contiguous(),
                atlas if atlas_grad is None else atlas_grad, points if points_grad is None else points_grad,
                *_sizes(atlas, origins, points, ctx.columns, ctx.size), OF_ATLAS=of_atlas, OF_GRID=of_points, **_NUMBERS,
            )  # fmt: skip
        return None if atlas_grad is None else atlas_grad.to(atlas.dtype), None, points_grad, None, None


def _programs(points: Tensor) -> tuple[int, int]:
    n, P, _ = points.shape
    return n, triton.cdiv(P, POINTS)


def _sizes(atlas: Tensor, origins: Tensor, points: Tensor, columns: int, size: tuple[int, int]) -> tuple[int, ...]:
    """R, C, P, w of the crops, width and area of the atlas, width and height of the image, last level."""
    B, C, H, W = atlas.shape
    n, P, _ = points.shape
    return n // B, C, P, columns, W, H * W, size[1], size[0], len(origins) - 1


def read_reduced(atlas: Tensor, origins: Tensor, grid: Tensor, size: tuple[int, int]) -> Tensor:
    """The mean over each pixel's footprint, read from an atlas; outside, the border.

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
    out: Tensor = _Read.apply(atlas.contiguous(), origins.contiguous(), points, w, size)
    return out.view(B, R, atlas.shape[1], h, w)
