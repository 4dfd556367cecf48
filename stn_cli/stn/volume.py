"""From volumes to pictures: the projection of appendix A.3."""

from __future__ import annotations

from torch import Tensor

from stn_cli.errors import UsageError

AXES = {"x": -1, "y": -2, "z": -3}


def flatten_volume(V: Tensor, axis: str = "z", *, how: str = "sum") -> Tensor:
    """Flatten a sampled volume along one axis, so that a thing found and turned in 3-D can be read by a 2-D network.

    Args:
        V: (B, C, D, H, W).
        axis: `x`, `y` or `z`, the one that goes.
        how: `sum` as in the paper, or `mean`.

    Returns:
        The picture (B, C, H, W), (B, C, D, W) or (B, C, D, H).

    Raises:
        UsageError: not a volume, or an unknown name.

    Example:
        >>> import torch
        >>> flatten_volume(torch.ones(1, 1, 5, 4, 3), "z").shape
        torch.Size([1, 1, 4, 3])
    """
    if V.ndim != 5 or axis not in AXES or how not in ("sum", "mean"):
        raise UsageError(
            "flatten_volume takes (B, C, D, H, W), axis x, y or z, how sum or mean", f"{tuple(V.shape)}, {axis}, {how}"
        )
    return V.sum(AXES[axis]) if how == "sum" else V.mean(AXES[axis])
