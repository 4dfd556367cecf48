"""The regular target lattice G (paper, section 3.2), in 2-D and 3-D."""

from __future__ import annotations

import torch
from torch import Tensor

from stn_cli.errors import UsageError


def base_grid(size: tuple[int, ...], *, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """Centres of the target's pixels (voxels).

    Convention: normalised (x, y) or (x, y, z), `align_corners=False`, row by row.

    Args:
        size: (H', W') or (D', H', W') of the target.
        device, dtype: of the result; torch's defaults when left out.

    Returns:
        (H', W', 2) or (D', H', W', 3) coordinates in (-1, 1).

    Raises:
        UsageError: a side is below 1.

    Example:
        >>> base_grid((1, 4))[0, :, 0].tolist()
        [-0.75, -0.25, 0.25, 0.75]
    """
    if len(size) not in (2, 3) or min(size) < 1:
        raise UsageError("crop size must be at least 1 x 1 (or 1 x 1 x 1)", " x ".join(map(str, size)))
    dtype = dtype or torch.get_default_dtype()
    axes = [torch.linspace(1 / n - 1, 1 - 1 / n, n, device=device, dtype=dtype) for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)
