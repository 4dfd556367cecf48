"""Reading score maps under crops, against closed forms."""

from __future__ import annotations

import pytest
import torch

from stn_cli.coloc.crops import Crops, turned_crops
from stn_cli.coloc.score.maps import beyond_ring, mean_inside, ring_margins
from stn_cli.coloc.score.settings import SCORE

WHOLE = torch.tensor([[-1.0, -1.0, 1.0, 1.0]])


def ramp(size: int = 32) -> torch.Tensor:
    """A map (1, 1, h, w) whose value at x is x: linear, so that bilinear reading is exact."""
    x = (2 * torch.arange(size, dtype=torch.float64) + 1) / size - 1
    return x.expand(size, size)[None, None]


def test_the_mean_inside_a_crop_of_a_ramp_is_its_middle() -> None:
    boxes = torch.tensor([[[-0.6, -0.5, 0.2, 0.5], [0.1, -0.2, 0.5, 0.2]]], dtype=torch.float64)
    mean = mean_inside(ramp(), Crops.of_boxes(boxes), 8)[..., 0]
    torch.testing.assert_close(mean, torch.tensor([[-0.2, 0.3]], dtype=torch.float64))
    turned = turned_crops(boxes * 0.5, torch.full((1, 2), 0.7, dtype=torch.float64))
    torch.testing.assert_close(mean_inside(ramp(), turned, 8)[..., 0], torch.tensor([[-0.1, 0.15]], dtype=torch.float64))


def test_a_margin_is_the_mean_inside_less_half_of_the_ring() -> None:
    """Of a constant c the ring's mean is c too."""
    crops = Crops.of_boxes(torch.tensor([[[-0.4, -0.4, 0.4, 0.4]]]))
    constant = torch.full((1, 16, 16), 3.0)
    torch.testing.assert_close(ring_margins(constant, (crops, crops)), torch.full((1, 2), 3.0 * (1 - SCORE.ring_weight)))


def test_what_lies_in_the_ring_counts_against_a_crop() -> None:
    inside = torch.zeros(1, 1, 64, 64)
    inside[..., 24:40, 24:40] = 1
    crops = Crops.of_boxes(torch.tensor([[[-0.25, -0.25, 0.25, 0.25]]]))
    alone = beyond_ring(inside, crops, 16)
    ground = beyond_ring(torch.ones_like(inside), crops, 16)
    assert float(alone) == pytest.approx(1.0, abs=0.15)
    assert float(alone) > float(ground) + 0.3
