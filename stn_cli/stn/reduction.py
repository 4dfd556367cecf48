"""Sampling with reduction: the limit that the paper names, a crop larger than its output that aliases, lifted by a pyramid."""

from __future__ import annotations

import importlib.util
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.errors import UsageError
from stn_cli.geometry import pixel_index
from stn_cli.stn.footprint import Footprints, footprints_as_needed, reaches
from stn_cli.stn.precision import at_least_single
from stn_cli.stn.sampler import check_finite, sample

REDUCED_PADDINGS = ("border", "zeros")
EVERY = slice(None)
POINTS = 1 << 16
"""Points that are read at once: what is made on the way stays in the processor's cache."""


class Pyramid:
    """`U` and its halvings laid out in one picture, so that pixels of every reduction are read in the same calls.

    Level l is U averaged over 2^l x 2^l pixels. Each level carries a border of one repeated pixel, so that a bilinear
    read at its edge never touches its neighbour. The levels are made when something is first read that needs them; U is not copied before.

    Args:
        U: (B, C, H, W), floating point.
        levels: how many halvings at most; as many as the size allows when left out.

    Raises:
        UsageError: U has a wrong shape or type.
    """

    def __init__(self, U: Tensor, levels: int | None = None) -> None:
        if U.ndim != 4 or not U.is_floating_point() or min(U.shape[-2:]) < 1:
            raise UsageError("U of a pyramid must be a floating-point tensor (B, C, H, W)", f"{tuple(U.shape)} {U.dtype}")
        self.U = U
        self.size = U.shape[-2], U.shape[-1]
        sides = [self.size]
        while min(sides[-1]) >= 2 and (levels is None or len(sides) <= levels):
            sides.append(((sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2))
        self.count = len(sides)
        x, tops = self.size[1] + 2, [0]
        for h, _ in sides[1:]:
            tops.append(tops[-1] + h + 2)
        corners = [(1, 1)] + [(x + 1, top + 1) for top in tops[:-1]]
        self.atlas_size = max(self.size[0] + 2, tops[-1]), x + (sides[1][1] + 2 if self.count > 1 else 0)
        self.origins = torch.tensor(
            [(x, y, w, h) for (x, y), (h, w) in zip(corners, sides, strict=True)],
            dtype=at_least_single(U.dtype),
            device=U.device,
        )  # (L, 4): x, y, W_l, H_l
        self._atlas: Tensor | None = None

    @property
    def atlas(self) -> Tensor:
        """(B, C, `atlas_size`): all levels, the image at the left, its halvings one below the other at the right."""
        made = self._atlas
        stale = made is not None and (  # made where gradients were not recorded, and now they are
            (made.is_inference() and not torch.is_inference_mode_enabled())
            or (torch.is_grad_enabled() and self.U.requires_grad and not made.requires_grad)
        )
        if made is None or stale:
            made = self._atlas = self._laid_out()
        return made

    def _laid_out(self) -> Tensor:
        pictures = [self.U]
        while len(pictures) < self.count:
            pictures.append(_halved(pictures[-1]))
        height, width = self.atlas_size
        left, below = width - self.size[1] - 1, height - self.size[0] - 1
        atlas = F.pad(
            self.U, (1, left, 1, below), mode="replicate"
        )  # and then the halvings over the border's rest: one large copy
        y = 0
        for p in pictures[1:]:
            h, w = p.shape[-2:]
            atlas[..., y : y + h + 2, self.size[1] + 2 : self.size[1] + w + 4] = F.pad(p, (1, 1, 1, 1), mode="replicate")
            y += h + 2
        return atlas

    def read(self, grid: Tensor, prints: Footprints, images: slice = EVERY) -> Tensor:
        """The mean over each pixel's places, each read bilinearly from its level; outside, the border.

        Args:
            grid: (B, R, h, w, 2) source coordinates of R crops of each image, of the type that is computed in.
            prints: what is read around each of them.
            images: which ones are read, as many as the grid has.

        Returns:
            (B, C, R, h, w), differentiable in the images and in grid.
        """
        B, R, h, w, _ = grid.shape
        scale, shift = (v[:, prints.level] for v in self._placement())  # (2, B, R, h, w) or (2, B, R, 1, 1)
        along, across = prints.along * scale, prints.across * scale
        points = grid.movedim(-1, 0).contiguous()  # coordinates apart, as all that is added to them
        first = torch.addcmul(shift + prints.first() * scale, points, scale)
        # held half a pixel beyond a level's outermost centres, where its border repeats them
        held = torch.compiler.is_compiling() or prints.reach_out(points, self.size)
        limits = (shift - scale, shift + scale) if held else ()
        atlas = self.atlas[images].to(grid.dtype)
        # at once where each read would be a node of a graph, or make a gradient of the whole atlas
        together = torch.compiler.is_compiling() or (torch.is_grad_enabled() and atlas.requires_grad)
        V = atlas.new_zeros((B, atlas.shape[1], R, h, w))
        for steps, part in prints.places((h, w), together):
            i, j = grid.new_tensor(steps).T.reshape(2, -1, 1, 1, 1, 1, 1)
            place = _part(first, part) + (i * _part(along, part) + j * _part(across, part))  # (T, 2, B, R, n, m)
            if held:
                place = place.clamp(*(_part(limit, part) for limit in limits))
            at = place.movedim(1, -1).movedim(0, 1)  # (B, T, R, n, m, 2)
            taken = F.grid_sample(atlas, at.reshape(B, 1, -1, 2), mode="bilinear", align_corners=False)
            taken = taken.view(B, atlas.shape[1], *at.shape[1:-1])
            share = _part(prints.share(i[:, 0], j[:, 0]), part).movedim(0, 1).to(V.dtype)[:, None]
            whole = taken.shape[-2:] == V.shape[-2:]
            if together:
                V = (taken * share).sum(2)
            elif whole:
                V = torch.addcmul(V, taken[:, :, 0], share[:, :, 0])
            else:
                V[..., part[0], part[1]] = torch.addcmul(_part(V, part), taken[:, :, 0], share[:, :, 0])
        return V

    def _placement(self) -> tuple[Tensor, Tensor]:
        """Of every level (2, L) twice: the atlas's normalised coordinates are image's times the first plus the second."""
        size = self.origins.new_tensor([self.atlas_size[1], self.atlas_size[0]])[:, None]
        half = self.origins.new_tensor([self.size[1], self.size[0]])[:, None] / 2
        halved = half * 0.5 ** torch.arange(
            self.count, device=half.device, dtype=half.dtype
        )  # a level's pixels, also beyond ceil_mode
        return 2 * halved / size, 2 * (halved + self.origins[:, :2].T) / size - 1


def _part(x: Tensor, part: tuple[slice, slice]) -> Tensor:
    """Rows and columns of (..., h, w), all of (..., 1, 1)."""
    return x if x.shape[-2:] == (1, 1) else x[..., part[0], part[1]]


def _halved(U: Tensor) -> Tensor:
    """The means of 2x2 pixels (what avg_pool2d gives in six times the time on a CPU); an odd side's last pixel counts twice."""
    h, w = U.shape[-2:]
    if h % 2 or w % 2:
        U = F.pad(U, (0, w % 2, 0, h % 2), mode="replicate")
    rows = U[..., 0::2, :] + U[..., 1::2, :]
    return (rows[..., 0::2] + rows[..., 1::2]) / 4


def sample_reduced(pyramid: Pyramid, grid: Tensor, *, padding: str = "border") -> Tensor:
    """Cut R crops out of each image without aliasing.

    Each output pixel is the mean over the ellipse that it covers in the source, by a few reads along the ellipse's two axes from
    the pyramid level that fits it. A pixel that covers at most 1.25 source pixels is read as `sample` reads it; beside zeros it fades
    over what it covers.

    Args:
        pyramid: of B images.
        grid: (B, R, h, w, 2) source coordinates of R crops per image, finite (see `sample`).
        padding: `border` or `zeros`.

    Returns:
        (B, R, C, h, w), differentiable in the images and in grid; the footprints are held, so that a gradient says what a move of
        the places brings, not what a change of the blur would.

    Raises:
        UsageError: an argument has a wrong shape, type or name, or grid is not finite.
    """
    _check(pyramid, grid, padding)
    if _can_fuse(pyramid, grid):
        V = _read_fused(pyramid, grid)
        return _faded(V, grid, pyramid.size, reaches(grid, pyramid.size)) if padding == "zeros" else V
    B, R, h, w, _ = grid.shape
    if torch.compiler.is_compiling() or B * R * h * w <= POINTS or (torch.is_grad_enabled() and pyramid.U.requires_grad):
        return _read(pyramid, grid, padding)
    once = max(1, POINTS // (h * w))  # crops of one image: it stays in the processor's cache
    rows = ([_read(pyramid, part, padding, slice(i, i + 1)) for part in grid[i : i + 1].split(once, 1)] for i in range(B))
    return torch.cat([parts[0] if len(parts) == 1 else torch.cat(parts, 1) for parts in rows])


def _check(pyramid: Pyramid, grid: Tensor, padding: str) -> None:
    B = len(pyramid.U)
    if grid.ndim != 5 or grid.shape[0] != B or grid.shape[-1] != 2 or not grid.is_floating_point():
        raise UsageError(
            f"grid must be floating point ({B}, R, H', W', 2)", f"{tuple(grid.shape)} {grid.dtype}".replace("torch.", "")
        )
    if padding not in REDUCED_PADDINGS:
        raise UsageError("unknown padding", padding, f"known: {', '.join(REDUCED_PADDINGS)}")
    check_finite(grid)


def _read(pyramid: Pyramid, grid: Tensor, padding: str, images: slice = EVERY) -> Tensor:
    B, R, h, w, _ = grid.shape
    grid = grid.to(at_least_single(pyramid.U.dtype, grid.dtype))
    prints = footprints_as_needed(grid, pyramid.size, pyramid.count)
    if not torch.compiler.is_compiling() and not bool((prints.count > 1).any()):  # nothing is reduced
        V = sample(pyramid.U[images], grid.reshape(B, R * h, w, 2), padding="border").view(B, pyramid.U.shape[1], R, h, w)
    else:
        V = pyramid.read(grid, prints, images).to(pyramid.U.dtype)
    V = V.transpose(1, 2)  # (B, C, R, h, w) -> (B, R, C, h, w)
    return _faded(V, grid, pyramid.size, prints.reach) if padding == "zeros" else V


def _can_fuse(pyramid: Pyramid, grid: Tensor) -> bool:
    known = grid.dtype == torch.float32 and pyramid.U.dtype in (torch.float32, torch.float16, torch.bfloat16)
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


def _faded(V: Tensor, grid: Tensor, size: tuple[int, int], reach: Tensor) -> Tensor:
    """V (B, R, C, h, w) times how much of each footprint lies inside the image: it fades over its extent, over a pixel at least."""
    inside = grid.new_ones(grid.shape[:-1])
    for axis, n in ((0, size[1]), (1, size[0])):
        index = pixel_index(grid[..., axis], n)
        edge = torch.minimum(index, n - 1 - index) + 0.5  # how far inside, pixels
        inside = inside * (0.5 + edge / reach[axis].clamp(min=1)).clamp(0, 1)
    return V * inside[:, :, None].to(V.dtype)
