"""The best of many boxes, as many in every image: what is elsewhere chosen one image at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.coloc.graph.suppression import apart


@dataclass(frozen=True, slots=True)
class Chosen:
    """The best boxes of each image.

    Attributes:
        index: (B, R) which they are.
        scores: (B, R) falling, below 0 where an image has fewer.
    """

    index: Tensor
    scores: Tensor

    def of(self, values: Tensor) -> Tensor:
        """What else is known of them: (B, M, ...) -> (B, R, ...)."""
        index = self.index.view(*self.index.shape, *[1] * (values.ndim - 2))
        return values.gather(1, index.expand(*self.index.shape, *values.shape[2:]))


def best(boxes: Tensor, scores: Tensor, alike: float, most: int) -> Chosen:
    """The best boxes that are not like a better one.

    Args:
        boxes: (B, M, 4).
        scores: (B, M); below 0 is no box.
        alike: IoU above which two boxes are one.
        most: R, at most M.

    Returns:
        The boxes.
    """
    first = _falling(scores)
    kept = apart(first.of(boxes).float(), alike) & (first.scores >= 0)
    found = _falling(torch.where(kept, first.scores, -1.0))
    return Chosen(first.index.gather(1, found.index[:, :most]), found.scores[:, :most])


def _falling(scores: Tensor) -> Chosen:
    """All by falling scores; of equal ones the first comes first, as it does in records and in ONNX."""
    order = scores.sort(dim=1, descending=True, stable=True)
    return Chosen(order.indices, order.values)
