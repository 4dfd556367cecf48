"""The sampler: V_i = sum_n sum_m U_nm k(x_i - m) k(y_i - n) (paper, section 3.3), for pictures and volumes.

Two ways to the same numbers: a direct evaluation for any kernel, and `torch.nn.functional.grid_sample` where that is the
same function (bilinear, integer, bicubic with a = -0.75). They differ in one point: exactly on a pixel's centre, where the bilinear kernel has a
kink, `direct` gives the sub-gradient of the paper's equation 7, `torch` the slope to the right.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.errors import UsageError
from stn_cli.geometry import pixel_index
from stn_cli.stn.kernels import Bicubic, Bilinear, Integer, Kernel, kernel_by_name
from stn_cli.stn.precision import at_least_single

PADDINGS = ("zeros", "border", "reflection")
BACKENDS = ("auto", "direct", "torch")


def sample(
    U: Tensor,
    grid: Tensor,
    *,
    kernel: str | Kernel = "bilinear",
    padding: str = "zeros",
    backend: str = "auto",
) -> Tensor:
    """Read `U` at the points of `grid`, the same warp for every channel.

    Convention: grid points are normalised (x, y) or (x, y, z), `align_corners=False`.

    Args:
        U: (B, C, H, W) or (B, C, D, H, W) source, floating point; B may be 0, sides must be 1 or more.
        grid: (B, H', W', 2) or (B, D', H', W', 3) source coordinates, finite. On the CPU that is checked; on an accelerator a
            coordinate that is not finite reads 0 or the border, because looking would stop the device.
        kernel: `integer`, `bilinear` (`trilinear`), `bicubic`, `lanczos`, `gaussian`, or an object of the Kernel kind.
        padding: what lies outside: `zeros`, `border` (the nearest pixel), `reflection` (mirrored at the picture's edge).
        backend: `direct` evaluates equation 3 tap by tap; `torch` is grid_sample; `auto` takes `torch` where it is the same function.

    Returns:
        (B, C, H', W') or (B, C, D', H', W'), of U's type, differentiable in U, in the kernel's phi and, where the kernel is, in grid.

    Raises:
        UsageError: an argument has a wrong shape, type or name, or grid is not finite.
    """
    kernel = kernel_by_name(kernel) if isinstance(kernel, str) else kernel
    _check(U, grid, padding, backend)
    wide = at_least_single(U.dtype, grid.dtype)
    if U.dtype != wide or grid.dtype != wide:  # half-precision pictures are read in full precision: half is pixels off
        return sample(U.to(wide), grid.to(wide), kernel=kernel, padding=padding, backend=backend).to(U.dtype)
    mode = _torch_mode(kernel, U.ndim - 2)
    if mode is None and backend == "torch":
        raise UsageError("backend 'torch' cannot sample with this kernel", kernel.name)
    if mode is None or backend == "direct":
        return _direct(U, grid, kernel, padding)
    if (
        mode == "nearest"
    ):  # torch rounds halves to even, equation 4 upward: moved by the last bit of a coordinate a half is above itself
        grid = grid.detach() + 2 * torch.finfo(grid.dtype).eps
    return F.grid_sample(U, grid, mode=mode, padding_mode=padding, align_corners=False)


def _torch_mode(kernel: Kernel, dims: int) -> str | None:
    """The mode of grid_sample that is the same function, if there is one."""
    if isinstance(kernel, Bilinear):
        return "bilinear"
    if isinstance(kernel, Integer):
        return "nearest"
    if isinstance(kernel, Bicubic) and kernel.a == -0.75 and dims == 2:
        return "bicubic"
    return None


def _check(U: Tensor, grid: Tensor, padding: str, backend: str) -> None:
    dims = U.ndim - 2
    if dims not in (2, 3) or not U.is_floating_point():
        raise UsageError("U must be a floating-point tensor (B, C, H, W) or (B, C, D, H, W)", f"{tuple(U.shape)} {U.dtype}")
    if min(U.shape[2:]) < 1:
        raise UsageError("U must have sides of at least 1", tuple(U.shape))
    if grid.ndim != dims + 2 or grid.shape[-1] != dims or grid.shape[0] != U.shape[0] or not grid.is_floating_point():
        lattice = "H', W'" if dims == 2 else "D', H', W'"
        raise UsageError(f"grid must be floating point ({U.shape[0]}, {lattice}, {dims})", f"{tuple(grid.shape)} {grid.dtype}")
    if padding not in PADDINGS:
        raise UsageError("unknown padding", padding, f"known: {', '.join(PADDINGS)}")
    if backend not in BACKENDS:
        raise UsageError("unknown sampler backend", backend, f"known: {', '.join(BACKENDS)}")
    check_finite(grid)


def check_finite(grid: Tensor) -> None:
    """See that coordinates are finite, where looking costs nothing: on the CPU, outside a traced graph.

    Args:
        grid: (...) coordinates.

    Raises:
        UsageError: they are not.
    """
    if grid.device.type != "cpu" or torch.compiler.is_compiling():
        return
    # the sum is finite where every coordinate is, and costs a tenth of the reading; huge ones may overflow it: then looked at one by one
    if not math.isfinite(grid.detach().sum().item()) and not bool(torch.isfinite(grid.detach()).all()):
        raise UsageError("grid holds coordinates that are not finite", "NaN or infinity", "theta must be finite")


def _direct(U: Tensor, grid: Tensor, kernel: Kernel, padding: str) -> Tensor:
    B, C, *sizes = U.shape
    flat = U.flatten(2)  # (B, C, HW)
    V = U.new_zeros((B, C, *grid.shape[1:-1]))
    for index, k in _weights(grid, tuple(sizes), kernel, padding):
        taken = flat.gather(2, index.flatten(1)[:, None].expand(B, C, -1)).view_as(V)
        V = V + taken * k[:, None]
    return V


def _weights(grid: Tensor, sizes: tuple[int, ...], kernel: Kernel, padding: str) -> Iterator[tuple[Tensor, Tensor]]:
    """For each tap the pixel that is read, counted row by row, and its weight: (B, H', W') each."""
    axes = [_taps(grid[..., a], n, kernel, padding) for a, n in enumerate(reversed(sizes))]  # x, y (, z)
    strides = [1]
    for n in reversed(sizes[1:]):
        strides.append(strides[-1] * n)
    for taps in product(range(kernel.taps), repeat=len(axes)):
        index = sum(
            (axis[t][0] * s for axis, t, s in zip(axes, taps, strides, strict=True)), start=torch.zeros((), dtype=torch.long)
        )
        k = axes[0][taps[0]][1]
        for axis, t in zip(axes[1:], taps[1:], strict=True):
            k = k * axis[t][1]
        yield index, k


def splat(V: Tensor, grid: Tensor, size: tuple[int, ...], *, kernel: str | Kernel = "bilinear") -> Tensor:
    """The adjoint of `sample` with zeros outside: each value goes to the pixels that it would be read from, in the same shares.

    As linear maps of pictures `<sample(U, grid), V> = <U, splat(V, grid, size)>`; so it is also the gradient of `sample` in U.

    Args:
        V: (B, C, H', W') or (B, C, D', H', W'), floating point.
        grid: (B, H', W', 2) or (B, D', H', W', 3) source coordinates, finite.
        size: (H, W) or (D, H, W) of the source.
        kernel: as of `sample`.

    Returns:
        (B, C, H, W) or (B, C, D, H, W), of V's type, differentiable as `sample` is.

    Raises:
        UsageError: an argument has a wrong shape, type or name, or grid is not finite.

    Example:
        >>> import torch
        >>> splat(torch.ones(1, 1, 1, 1), torch.tensor([[[[0.0, -0.5]]]]), (2, 2))[0, 0].tolist()
        [[0.5, 0.5], [0.0, 0.0]]
    """
    kernel = kernel_by_name(kernel) if isinstance(kernel, str) else kernel
    _check(V, grid, "zeros", "direct")
    if grid.shape[1:-1] != V.shape[2:] or len(size) != V.ndim - 2 or min(size) < 1:
        raise UsageError(
            "V and grid must be of one lattice, the size of as many sides of at least 1", f"{tuple(V.shape)}, {size}"
        )
    wide = at_least_single(V.dtype, grid.dtype)
    U = V.new_zeros((*V.shape[:2], math.prod(size)), dtype=wide)
    for index, k in _weights(grid.to(wide), size, kernel, "zeros"):
        U = U.scatter_add(2, index.flatten(1)[:, None].expand(*V.shape[:2], -1), (V.to(wide) * k[:, None]).flatten(2))
    return U.view(*V.shape[:2], *size).to(V.dtype)


def _taps(coordinates: Tensor, length: int, kernel: Kernel, padding: str) -> list[tuple[Tensor, Tensor]]:
    """Along one axis: for each tap the pixel that is read (long) and its weight."""
    x = pixel_index(coordinates, length)
    # far out floats are too coarse to tell a pixel from its neighbour: brought near, where the same is read
    far = 2.0 * kernel.taps + 2
    x = torch.remainder(x, 2.0 * length) if padding == "reflection" else x.clamp(-far, length + far)
    half = kernel.taps // 2
    first = torch.floor(x.detach() + (0.5 if kernel.taps % 2 else 1.0)) - half
    weights = [kernel.weight(x - (first + t)) for t in range(kernel.taps)]
    if kernel.normalised:
        total = sum(weights[1:], start=weights[0])
        weights = [w / total for w in weights]
    out = []
    for t, w in enumerate(weights):
        m = first + t
        if padding == "zeros":
            w = w * ((m >= 0) & (m < length))
        elif padding == "reflection":  # ... 1 0 | 0 1 2 ... n-1 | n-1 n-2 ...
            m = torch.remainder(m, 2 * length)
            m = torch.minimum(m, 2 * length - 1 - m)
        out.append((m.clamp(0, length - 1).long(), w))
    return out
