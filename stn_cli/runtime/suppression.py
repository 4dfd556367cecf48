"""Suppression of overlapping boxes by torchvision's kernel, without torchvision.

The package loads torch's compiler and all of its models on import: 1.5 seconds and 170 MB. The kernel's library alone takes a millisecond.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

KERNELS = ("_C*.so", "_C*.pyd")
"""How torchvision calls its library of kernels; some versions add an ending to the name."""


def nms(boxes: Tensor, scores: Tensor, alike: float) -> Tensor:
    """Which boxes to keep: those that are not like a better one that is kept.

    Args:
        boxes: (M, 4) x1, y1, x2, y2.
        scores: (M,).
        alike: IoU above which two boxes are one.

    Returns:
        (K,) indices, the best first.

    >>> nms(torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 1.9], [3, 0, 5, 2]]), torch.tensor([0.1, 0.2, 0.3]), 0.5).tolist()
    [2, 1]
    """
    return _kernel()(boxes, scores, alike)


@cache
def _kernel() -> Any:
    """The operator, from its library; from the whole package where the library has another name or does not load by itself."""
    found = importlib.util.find_spec("torchvision")
    folders = () if found is None else found.submodule_search_locations or ()
    for library in [path for folder in folders for kind in KERNELS for path in sorted(Path(folder).glob(kind))]:
        try:
            torch.ops.load_library(library)
            return torch.ops.torchvision.nms
        except (OSError, AttributeError):
            break
    from torchvision.ops import nms as whole

    return whole
