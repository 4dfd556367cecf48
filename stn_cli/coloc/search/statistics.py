"""Thresholds and contrasts of a set's score maps."""

from __future__ import annotations

import torch
from torch import Tensor

from stn_cli.coloc.search.settings import WINDOWS
from stn_cli.runtime.device import in_double


def otsu(values: Tensor) -> Tensor:
    """The threshold that splits values into two groups of least variance (Otsu 1979): the largest value of the lower one.

    Args:
        values: (M,).

    Returns:
        A scalar.

    >>> float(otsu(torch.tensor([0.0, 0.125, 0.25, 5.0, 5.125])))
    0.25
    """
    v = values.sort().values
    return in_double(_least_variance, v[:: max(1, len(v) // WINDOWS.otsu_values)])


def _least_variance(v: Tensor) -> Tensor:
    """`otsu` of sorted values."""
    n, c = len(v), v.cumsum(0)
    if n < 2:
        return v.sum()
    i = torch.arange(1, n, device=v.device)
    low, high = c[:-1] / i, (c[-1] - c[:-1]) / (n - i)
    return v[((i * (n - i)) * (high - low).square()).argmax()]


def quantile(values: Tensor, share: float) -> Tensor:
    """The value below which a share of the values lies, between two of them where none is there.

    `torch.quantile` reckons in float64, and takes no more than 16 million values.

    Args:
        values: (..., M).
        share: 0 to 1.

    Returns:
        (...).

    >>> float(quantile(torch.tensor([3.0, 1.0, 2.0]), 0.25))
    1.5
    """
    ordered = values.sort(-1).values
    at = share * (values.shape[-1] - 1)
    low = int(at)
    return torch.lerp(ordered[..., low], ordered[..., min(low + 1, values.shape[-1] - 1)], at - low)


def contrast_of(margins: Tensor, inside: Tensor, valid: Tensor) -> float:
    """How far inside stands out: (mean margin inside - mean margin outside) in standard deviations, over the images of a set.

    Args:
        margins: (N, h, w).
        inside: (N, h, w) which cells are in the windows.
        valid: (N, h, w) which cells lie on the images.

    Returns:
        Standard deviations.
    """
    return _difference(margins, inside, valid) / float(margins[valid].std().clamp(min=1e-6))


def contrast_beyond_place(margins: Tensor, inside: Tensor, valid: Tensor) -> float:
    """`contrast_of` for margins less their mean over the images at each place.

    Features hold traces of where in a picture a cell lies. By these alone windows at one place of all images would stand out; taking the
    mean away removes them.

    Args:
        margins, inside, valid: as for `contrast_of`.

    Returns:
        Standard deviations.
    """
    mean = (margins * valid).sum(0) / valid.sum(0).clamp(min=1)
    return _difference(margins - mean, inside, valid) / float(margins[valid].std().clamp(min=1e-6))


def _difference(values: Tensor, inside: Tensor, valid: Tensor) -> float:
    i, o = inside & valid, valid & ~inside
    mean_i = (values * i).sum((1, 2)) / i.sum((1, 2)).clamp(min=1)
    mean_o = (values * o).sum((1, 2)) / o.sum((1, 2)).clamp(min=1)
    return float((mean_i - mean_o).mean())
