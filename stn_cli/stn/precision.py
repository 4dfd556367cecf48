"""What coordinates and reads are computed in: half precision would be pixels off."""

from __future__ import annotations

from functools import reduce

import torch


def at_least_single(*types: torch.dtype) -> torch.dtype:
    """The type that values of several types are computed in.

    Args:
        types: floating point.

    Returns:
        The widest of them, float32 at least.

    >>> at_least_single(torch.float16, torch.bfloat16)
    torch.float32
    """
    return reduce(torch.promote_types, types, torch.float32)
