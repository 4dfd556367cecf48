"""The sampler: V_i = sum_n sum_m U_nm k(x_i - m) k(y_i - n) (paper, section 3.3).

Two ways to the same numbers: a direct evaluation for any kernel, and `torch.nn.functional.grid_sample` where that is the
same function (bilinear). `sample_reduced` lifts the limit that the paper names: a crop larger than its
output is read from a pyramid, so that it does not alias.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.errors import UsageError
from stn_cli.geometry import index_to_normalised, pixel_index
from stn_cli.stn.kernels import KERNELS, Kernel

PADDINGS = ("zeros", "border")


def sample(
    U: Tensor,
    grid: Tensor,
    *,
    kernel: str | Kernel = "bilinear",
    padding: str = "zeros",
    backend: str = "auto",
) -> Tensor:
    """Read `U` at the points of `grid`, the same warp for every channel.

    Convention: grid points are normalised (x, y), `align_corners=False`.

    Args:
        U: (B, C, H, W) source, floating point.
        grid: (B, H', W', 2) source coordinates.
        kernel: `bilinear`, `integer`, or an object of the Kernel kind.
        padding: what lies outside: `zeros`, or `border` (the nearest pixel).
        backend: `direct` evaluates equation 3 tap by tap; `torch` is grid_sample (bilinear only); `auto`
            takes `torch` where it is the same function.

    Returns:
        (B, C, H', W'), differentiable in U and, where the kernel is, in grid.

    Raises:
        UsageError: an argument has a wrong shape, type or name.
    """
    kernel = _kernel(kernel)
    _check(U, grid, padding)
    if U.dtype != grid.dtype:  # half-precision pictures are read at coordinates of full precision
        wide = torch.promote_types(U.dtype, grid.dtype)
        return sample(U.to(wide), grid.to(wide), kernel=kernel, padding=padding, backend=backend).to(U.dtype)
    same = kernel.name == "bilinear"
    if backend == "torch" and not same:
        raise UsageError("backend 'torch' samples bilinearly only", kernel.name)
    if backend not in ("auto", "direct", "torch"):
        raise UsageError("unknown sampler backend", backend, "known: auto, direct, torch")
    if same and backend != "direct":
        return F.grid_sample(U, grid, mode="bilinear", padding_mode=padding, align_corners=False)
    return _direct(U, grid, kernel, padding)


def _kernel(kernel: str | Kernel) -> Kernel:
    if isinstance(kernel, str):
        if kernel not in KERNELS:
            raise UsageError("unknown sampling kernel", kernel, f"known: {', '.join(KERNELS)}")
        return KERNELS[kernel]
    return kernel


def _check(U: Tensor, grid: Tensor, padding: str) -> None:
    if U.ndim != 4 or not U.is_floating_point():
        raise UsageError("U must be a floating-point tensor (B, C, H, W)", f"{tuple(U.shape)} {U.dtype}")
    if grid.ndim != 4 or grid.shape[-1] != 2 or grid.shape[0] != U.shape[0]:
        raise UsageError(f"grid must be ({U.shape[0]}, H', W', 2)", tuple(grid.shape))
    if padding not in PADDINGS:
        raise UsageError("unknown padding", padding, f"known: {', '.join(PADDINGS)}")


def _direct(U: Tensor, grid: Tensor, kernel: Kernel, padding: str) -> Tensor:
    B, C, H, W = U.shape
    x, y = pixel_index(grid[..., 0], W), pixel_index(grid[..., 1], H)  # (B, H', W')
    if padding == "border":
        x, y = x.clamp(0, W - 1), y.clamp(0, H - 1)
    flat = U.flatten(2)  # (B, C, HW)
    x0, y0 = kernel.first_tap(x), kernel.first_tap(y)
    V = U.new_zeros((B, C, *grid.shape[1:3]))
    for j in range(kernel.taps):
        n = y0 + j
        ky = kernel.weight(y - n)
        for i in range(kernel.taps):
            m = x0 + i
            k = ky * kernel.weight(x - m)  # (B, H', W')
            inside = (m >= 0) & (m < W) & (n >= 0) & (n < H)
            index = (n.clamp(0, H - 1) * W + m.clamp(0, W - 1)).long().flatten(1)  # (B, H'W')
            taken = flat.gather(2, index[:, None].expand(B, C, -1)).view_as(V)
            V = V + taken * (k * inside)[:, None]
    return V


class Pyramid:
    """`U` and its halvings laid out in one picture, so that crops of every size are cut in two batched reads.

    Level l is U averaged over 2^l x 2^l pixels. Each level carries a border of one repeated pixel, so that a bilinear
    read at its edge never touches its neighbour.

    Args:
        U: (B, C, H, W), floating point.
        levels: how many halvings at most; as many as the size allows when left out.
    """

    def __init__(self, U: Tensor, levels: int | None = None) -> None:
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
        self.origins = U.new_tensor(origins)  # (L, 4): x, y, W_l, H_l

    def read(self, grid: Tensor, level: Tensor) -> Tensor:
        """Bilinear read of one level: grid (B, R, h, w, 2), level (B, R) whole numbers -> (B, C, R, h, w), border outside."""
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
        return V.view(B, -1, R, h, w).to(self.atlas.dtype)


def sample_reduced(pyramid: Pyramid, grid: Tensor, *, padding: str = "border") -> Tensor:
    """Cut R crops out of each image without aliasing.

    A crop that covers rho source pixels per output pixel is read between the pyramid levels floor(log2 rho) and the next, blended
    by the fraction (trilinear filtering); rho <= 1 reads the image itself and equals `sample`.

    Args:
        pyramid: of B images.
        grid: (B, R, h, w, 2) source coordinates of R crops per image.
        padding: `border` or `zeros`.

    Returns:
        (B, R, C, h, w), differentiable in the images and in grid.
    """
    rho = _source_pixels_per_step(grid.detach(), pyramid.size)  # (B, R)
    height = rho.clamp(min=1).log2().clamp(max=pyramid.count - 1)
    low = height.floor().long()
    fraction = (height - low)[:, None, :, None, None]
    V = pyramid.read(grid, low)
    if bool((fraction > 0).any()):
        above = pyramid.read(grid, (low + 1).clamp(max=pyramid.count - 1))
        V = torch.lerp(V, above, fraction.to(V.dtype))
    if padding == "zeros":
        V = V * _coverage(grid, pyramid.size)[:, None]
    elif padding != "border":
        raise UsageError("unknown padding", padding, f"known: {', '.join(PADDINGS)}")
    return V.transpose(1, 2)  # (B, C, R, h, w) -> (B, R, C, h, w)


def _source_pixels_per_step(grid: Tensor, size: tuple[int, int]) -> Tensor:
    """rho (B, R): source pixels between neighbouring points, the longer of the two directions, from the crop's middle."""
    _, _, h, w, _ = grid.shape
    scale = grid.new_tensor([size[1] / 2, size[0] / 2])
    steps = []
    for axis, n in ((3, w), (2, h)):
        if n > 1:
            span = (grid.select(axis, n - 1) - grid.select(axis, 0)) * scale / (n - 1)  # (B, R, n', 2)
            steps.append(span.norm(dim=-1).mean(-1))
    return torch.stack(steps).amax(0) if steps else grid.new_ones(grid.shape[:2])


def _coverage(grid: Tensor, size: tuple[int, int]) -> Tensor:
    """How much of a bilinear read lies inside the image: (B, R, h, w, 2) -> (B, R, h, w) in [0, 1]."""
    inside = grid.new_ones(grid.shape[:-1])
    for axis, n in ((0, size[1]), (1, size[0])):
        index = pixel_index(grid[..., axis], n)
        inside = inside * torch.minimum(index + 1, n - index).clamp(0, 1)
    return inside
