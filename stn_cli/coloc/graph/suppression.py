"""Suppression of overlaps as one operator of a graph: torch computes it here, ONNX has its own of the same rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import nms


@torch.library.custom_op("stn_coloc::apart", mutates_args=())
def apart(boxes: Tensor, alike: float) -> Tensor:
    """Which boxes are not like a better one that is kept.

    Args:
        boxes: (B, M, 4) best first; one without an area is like none.
        alike: IoU above which two boxes are one.

    Returns:
        (B, M) bool.
    """
    falling = torch.arange(boxes.shape[1], 0, -1, dtype=boxes.dtype)
    out = torch.zeros(boxes.shape[:2], dtype=torch.bool)
    for row, own in zip(out, boxes, strict=True):
        row[nms(own, falling, alike)] = True
    return out


@apart.register_fake
def _(boxes: Tensor, alike: float) -> Tensor:
    del alike
    return boxes.new_empty(boxes.shape[:2], dtype=torch.bool)


def in_onnx() -> dict[Callable[..., Any], Callable[..., Any]]:
    """What ONNX's exporter puts in place of operators that it does not know: `apart`, and stable sorting.

    Returns:
        Operators, and the functions that write them; onnxscript must be installed.
    """
    from onnxscript import opset18

    op: Any = opset18

    def written(boxes: Any, alike: float) -> Any:
        shape = op.Shape(boxes)
        count = op.Gather(shape, op.Constant(value_ints=[1]))
        most = op.Squeeze(count)
        falling = op.Cast(op.Range(most, op.Constant(value_int=0), op.Constant(value_int=-1)), to=1)
        scores = op.Expand(
            falling, op.Concat(op.Gather(shape, op.Constant(value_ints=[0])), op.Constant(value_ints=[1]), count, axis=0)
        )
        kept = op.NonMaxSuppression(boxes, scores, count, op.Constant(value_floats=[alike]))  # (n, 3): image, class, box
        where = op.Gather(kept, op.Constant(value_ints=[0, 2]), axis=1)
        one = op.Expand(op.Constant(value_floats=[1.0]), op.Shape(where, start=0, end=1))
        nothing = op.Expand(
            op.Constant(value_floats=[0.0]), op.Slice(shape, op.Constant(value_ints=[0]), op.Constant(value_ints=[2]))
        )
        return op.Greater(op.ScatterND(nothing, where, one), op.Constant(value_float=0.0))

    def in_order(x: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
        del stable  # of equal values TopK gives the first one first
        return op.TopK(x, op.Shape(x, start=dim, end=dim + 1), axis=dim, largest=int(descending))

    return {torch.ops.stn_coloc.apart.default: written, torch.ops.aten.sort.stable: in_order}
