"""The regular target lattice G (paper, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from stn_cli.errors import UsageError
from stn_cli.geometry import index_to_normalised


def regular_lattice(
    size: tuple[int, int], *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Centres of the target's pixels.

    Convention: normalised (x, y), `align_corners=False`, row by row.

    Args:
        size: (H', W') of the target.
        device, dtype: of the result; torch's defaults when left out.

    Returns:
        (H', W', 2) coordinates in (-1, 1).

    Raises:
        UsageError: a side is below 1.
    """
    h, w = size
    if h < 1 or w < 1:
        raise UsageError("crop size must be at least 1 x 1", f"{h} x {w}")
    y = index_to_normalised(torch.arange(h, device=device, dtype=dtype or torch.get_default_dtype()), h)
    x = index_to_normalised(torch.arange(w, device=device, dtype=dtype or torch.get_default_dtype()), w)
    return torch.stack([x[None, :].expand(h, w), y[:, None].expand(h, w)], -1)


def affine_grid(matrix: Tensor, size: tuple[int, int]) -> Tensor:
    """T_theta(G) for a 2x3 matrix: (..., 2, 3) -> source coordinates (..., H', W', 2). Equation 1."""
    x, y = regular_lattice(size, device=matrix.device, dtype=matrix.dtype).unbind(-1)  # (H', W') each
    # written out and not as a matrix product, which autocast would round to bfloat16: a coordinate needs all its bits
    columns = matrix[..., None, None, :, :].unbind(-1)  # (..., 1, 1, 2) each
    return columns[0] * x[..., None] + columns[1] * y[..., None] + columns[2]
