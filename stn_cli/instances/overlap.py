"""Overlap of boxes as something to descend: gradients also reach boxes that do not meet."""

from __future__ import annotations

import torch
from torch import Tensor

from stn_cli.geometry import box_area, common_area


def iou_and_giou(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU (Rezatofighi et al. 2019, arXiv 1902.09630) of boxes (..., 4) in pairs.

    Args:
        boxes, others: (..., 4) x1, y1, x2, y2.

    Returns:
        Both (...).
    """
    common = common_area(boxes, others)
    union = box_area(boxes) + box_area(others) - common
    hull = torch.maximum(boxes[..., 2:], others[..., 2:]) - torch.minimum(boxes[..., :2], others[..., :2])
    hull_area = hull.prod(-1).clamp(min=1e-6)
    iou = common / union.clamp(min=1e-6)
    return iou, iou - (hull_area - union) / hull_area
