"""Sampling with reduction: the limit that the paper names, a crop larger than its output that aliases, lifted by a pyramid."""

from __future__ import annotations

import importlib.util
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.errors import UsageError
from stn_cli.geometry import index_to_normalised, pixel_index
from stn_cli.stn.sampler import check_finite

REDUCED_PADDINGS = ("border", "zeros")


class Pyramid:
    """`U` and its halvings laid out in one picture, so that crops of every size are cut in two batched reads.

    Level l is U averaged over 2^l x 2^l pixels. Each level carries a border of one repeated pixel, so that a bilinear
    read at its edge never touches its neighbour.

    Args:
        U: (B, C, H, W), floating point.
        levels: how many halvings at most; as many as the size allows when left out.

    Raises:
        UsageError: U has a wrong shape or type.
    """

    def __init__(self, U: Tensor, levels: int | None = None) -> None:
        if U.ndim != 4 or not U.is_floating_point() or min(U.shape[-2:]) < 1:
            raise UsageError("U of a pyramid must be a floating-point tensor (B, C, H, W)", f"{tuple(U.shape)} {U.dtype}")
        pictures = [U]
        while min(pictures[-1].shape[-2:]) >= 2 and (levels is None or len(pictures) <= levels):
            pictures.append(F.avg_pool2d(pictures[-1], 2, ceil_mode=True, count_include_pad=False))
        self.size = U.shape[-2], U.shape[-1]
        self.count = len(pictures)
        padded = [F.pad(p, (1, 1, 1, 1), mode="replicate") for p in pictures]
        width = padded[0].shape[-1] + (padded[1].shape[-1] if self.count > 1 else 0)
        height = max(padded[0].shape[-2], sum(p.shape[-2] for p in padded[1:]))
        self.atlas = U.new_zeros((*U.shape[:2], height, width))
        origins = []
        y = 0
        for level, p in enumerate(padded):
            x, top = (0, 0) if level == 0 else (padded[0].shape[-1], y)
            self.atlas[..., top : top + p.shape[-2], x : x + p.shape[-1]] = p
            origins.append((x + 1.0, top + 1.0, p.shape[-1] - 2.0, p.shape[-2] - 2.0))
            y += 0 if level == 0 else p.shape[-2]
        self.origins = torch.tensor(
            origins, dtype=torch.promote_types(U.dtype, torch.float32), device=U.device
        )  # (L, 4): x, y, W_l, H_l

    def read(self, grid: Tensor, level: Tensor) -> Tensor:
        """Read one level of each crop, bilinearly; outside, the border.

        Args:
            grid: (B, R, h, w, 2) source coordinates of R crops of each image.
            level: (B, R) whole numbers.

        Returns:
            (B, C, R, h, w).
        """
        B, R, h, w, _ = grid.shape
        x0, y0, width, height = self.origins[level].unbind(-1)  # (B, R) each
        # A level made with ceil_mode covers 2^l H_l >= H pixels: read in units of whole level pixels.
        step = 2.0 ** level.to(grid.dtype)
        H, W = self.size
        x = (pixel_index(grid[..., 0], W) + 0.5) / step[..., None, None] - 0.5
        y = (pixel_index(grid[..., 1], H) + 0.5) / step[..., None, None] - 0.5
        zero = torch.zeros_like(width)[..., None, None]
        x = torch.minimum(torch.maximum(x, zero), (width - 1)[..., None, None]) + x0[..., None, None]
        y = torch.minimum(torch.maximum(y, zero), (height - 1)[..., None, None]) + y0[..., None, None]
        at = torch.stack([index_to_normalised(x, self.atlas.shape[-1]), index_to_normalised(y, self.atlas.shape[-2])], -1)
        atlas = self.atlas.to(at.dtype)
        V = F.grid_sample(atlas, at.view(B, R * h, w, 2), mode="bilinear", align_corners=False)
        return V.view(B, atlas.shape[1], R, h, w).to(self.atlas.dtype)


def sample_reduced(pyramid: Pyramid, grid: Tensor, *, padding: str = "border") -> Tensor:
    """Cut R crops out of each image without aliasing.

    A crop that covers rho source pixels per output pixel is read between the pyramid levels floor(log2 rho) and the next, blended
    by the fraction (trilinear filtering); rho <= 1 reads the image itself and equals `sample`.

    Args:
        pyramid: of B images.
        grid: (B, R, h, w, 2) source coordinates of R crops per image, finite (see `sample`).
        padding: `border` or `zeros`.

    Returns:
        (B, R, C, h, w), differentiable in the images and in grid.

    Raises:
        UsageError: an argument has a wrong shape, type or name, or grid is not finite.
    """
    _check(pyramid, grid, padding)
    grid = grid.to(torch.promote_types(grid.dtype, torch.float32))  # coordinates of half precision are pixels off
    V = _read_fused(pyramid, grid) if _can_fuse(pyramid, grid) else _read(pyramid, grid)
    if padding == "zeros":
        V = (V * _coverage(grid, pyramid.size)[:, :, None]).to(V.dtype)
    return V


def _check(pyramid: Pyramid, grid: Tensor, padding: str) -> None:
    B = len(pyramid.atlas)
    if grid.ndim != 5 or grid.shape[0] != B or grid.shape[-1] != 2 or not grid.is_floating_point():
        raise UsageError(
            f"grid must be floating point ({B}, R, H', W', 2)", f"{tuple(grid.shape)} {grid.dtype}".replace("torch.", "")
        )
    if padding not in REDUCED_PADDINGS:
        raise UsageError("unknown padding", padding, f"known: {', '.join(REDUCED_PADDINGS)}")
    check_finite(grid)


def _read(pyramid: Pyramid, grid: Tensor) -> Tensor:
    rho = _source_pixels_per_step(grid.detach(), pyramid.size)  # (B, R)
    height = rho.clamp(min=1).log2().clamp(max=pyramid.count - 1).nan_to_num(0.0)  # no place: its level must be one
    low = height.floor().long()
    fraction = height - low
    V = pyramid.read(grid, low)
    if torch.compiler.is_compiling() or bool((fraction > 0).any()):
        above = pyramid.read(grid, (low + 1).clamp(max=pyramid.count - 1))
        V = torch.lerp(V, above, fraction[:, None, :, None, None].to(V.dtype))
    return V.transpose(1, 2)  # (B, C, R, h, w) -> (B, R, C, h, w)


def _can_fuse(pyramid: Pyramid, grid: Tensor) -> bool:
    known = grid.dtype == torch.float32 and pyramid.atlas.dtype in (torch.float32, torch.float16, torch.bfloat16)
    return known and grid.device.type == "cuda" and not torch.compiler.is_compiling() and has_triton()


@cache
def has_triton() -> bool:
    """Whether the fused kernels can be built.

    Returns:
        True with Triton, which torch's wheels for Linux bring; others do not.
    """
    return importlib.util.find_spec("triton") is not None


def _read_fused(pyramid: Pyramid, grid: Tensor) -> Tensor:
    from stn_cli.stn.fused import read_reduced  # Triton is loaded where it is used

    return read_reduced(pyramid.atlas, pyramid.origins, grid, pyramid.size)


def _source_pixels_per_step(grid: Tensor, size: tuple[int, int]) -> Tensor:
    """rho (B, R): source pixels between neighbouring points, the longer of the two directions, from the crop's middle."""
    _, _, h, w, _ = grid.shape
    steps = []
    for axis, n in ((3, w), (2, h)):
        if n > 1:
            dx, dy = (grid.select(axis, n - 1) - grid.select(axis, 0)).unbind(-1)  # (B, R, n') each
            steps.append(((dx * size[1]).square() + (dy * size[0]).square()).sqrt().mean(-1) / (2 * (n - 1)))
    return torch.stack(steps).amax(0) if steps else grid.new_ones(grid.shape[:2])


def _coverage(grid: Tensor, size: tuple[int, int]) -> Tensor:
    """How much of a bilinear read lies inside the image: (B, R, h, w, 2) -> (B, R, h, w) in [0, 1]."""
    inside = grid.new_ones(grid.shape[:-1])
    for axis, n in ((0, size[1]), (1, size[0])):
        index = pixel_index(grid[..., axis], n)
        inside = inside * torch.minimum(index + 1, n - index).clamp(0, 1)
    return inside
