"""Boxes at random around the best ones so far: what a search tries next."""

from __future__ import annotations

import torch
from torch import Tensor

from stn_cli.geometry import boxes_around
from stn_cli.tracking.settings import VIEW


def with_varied(boxes: Tensor, spread: float, count: int, generator: torch.Generator) -> Tensor:
    """Boxes, and others around them.

    Args:
        boxes: (N, 4).
        spread: of their places, in units of their sides; they are stretched by less.
        count: of the others, about.
        generator: of the random numbers.

    Returns:
        (N + about count, 4), the given ones first.
    """
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    drawn = torch.randn((len(boxes), count // len(boxes), 4), generator=generator).to(boxes.device) * spread
    moved = centres[:, None] + drawn[..., :2] * sides[:, None]
    stretched = sides[:, None] * (drawn[..., 2:] * VIEW.stretch).exp()
    return torch.cat([boxes, boxes_around(moved.flatten(0, 1), stretched.flatten(0, 1))])
