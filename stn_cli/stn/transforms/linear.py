"""Small matrices of transformations: made, and multiplied with points in full precision."""

from __future__ import annotations

import torch
from torch import Tensor


def times_basis(matrix: Tensor, basis: Tensor) -> Tensor:
    """M B, in full precision also under autocast.

    One basis for all is one matrix product with the batch in its rows; the result is a view with the coordinates apart.

    Args:
        matrix: (..., d, k).
        basis: (N, k) for all, or (..., N, k).

    Returns:
        (..., N, d).
    """
    with torch.autocast(matrix.device.type, enabled=False):
        if basis.ndim > 2:
            return basis @ matrix.transpose(-1, -2)
        *lead, d, k = matrix.shape
        out = matrix.reshape(-1, k) @ basis.transpose(0, 1)  # (... d, N)
        return out.view(*lead, d, basis.shape[0]).transpose(-1, -2)


def matrix_from_rows(a: Tensor, b: Tensor, tx: Tensor, c: Tensor, d: Tensor, ty: Tensor) -> Tensor:
    """[[a, b, tx], [c, d, ty]].

    Args:
        a, b, tx, c, d, ty: (...) of one shape.

    Returns:
        (..., 2, 3).
    """
    return torch.stack([a, b, tx, c, d, ty], -1).unflatten(-1, (2, 3))
