"""Objects of a folder that are cut out and pasted beside others: exact boxes, and nothing asked of what they hide."""

from __future__ import annotations

import random

import cv2
import numpy as np
import torch
from torch import Tensor

from stn_cli.coloc.score.cutouts import cut_out
from stn_cli.instances.labels import Labels
from stn_cli.instances.pasting import paste


def labels_of(*boxes: tuple[float, float, float, float]) -> Labels:
    count = len(boxes)
    return Labels(torch.tensor(boxes), torch.full((count,), 0.5), torch.ones(count, dtype=torch.bool))


def disc(colour: tuple[int, int, int], x: int, y: int) -> Tensor:
    """(3, 72, 96), a disc of radius 16 on blurred noise."""
    image = cv2.GaussianBlur(np.random.default_rng(x).integers(70, 150, (72, 96, 3), np.uint8), (0, 0), 2)
    cv2.circle(image, (x, y), 16, colour, -1)
    return torch.from_numpy(image).movedim(-1, 0).float() / 255


def around(x: int, y: int) -> Labels:
    return labels_of(((x - 16) / 96, (y - 16) / 72, (x + 16) / 96, (y + 16) / 72))


def test_what_is_pasted_lies_in_its_box_and_nothing_else_changes() -> None:
    white = torch.ones(4, 20, 12)
    for seed in range(30):
        black = torch.zeros(3, 96, 96)
        canvas, found = paste(black, labels_of((30.0, 30.0, 50.0, 60.0)), [white], random.Random(seed))
        assert not black.any()
        covered = torch.zeros(96, 96, dtype=torch.bool)
        for x1, y1, x2, y2 in found.boxes[1:].long().tolist():
            covered[y1:y2, x1:x2] = True
        assert torch.equal(canvas.amax(0) > 0, covered)
        assert len(found.boxes) == len(found.weights) == len(found.known)
        assert (found.weights[1:] == 1).all()
        assert found.boxes.min() >= 0
        assert found.boxes.max() <= 96


def test_nothing_is_asked_of_an_object_that_is_hidden() -> None:
    hidden, beside = 0, 0
    for seed in range(60):
        _, found = paste(torch.zeros(3, 96, 96), labels_of((30.0, 30.0, 50.0, 60.0)), [torch.ones(4, 30, 20)], random.Random(seed))
        first, others = found.boxes[0], found.boxes[1:]
        common = (torch.minimum(first[2:], others[:, 2:]) - torch.maximum(first[:2], others[:, :2])).clamp(0).prod(1)
        covered = bool((common / 600 > 0.6).any())
        assert bool(found.known[0]) is not covered
        hidden, beside = hidden + covered, beside + bool((common > 0).any() and not covered)
    assert hidden  # both happen
    assert beside > 20


def test_objects_are_cut_out_along_their_outlines_the_surest_first() -> None:
    red, blue = (210, 40, 30), (30, 60, 210)
    images, labels = [disc(red, 40, 30), disc(blue, 60, 40)], [around(40, 30), around(60, 40)]
    cutouts = cut_out(images, labels, torch.tensor([0.0, 3.0]))
    assert len(cutouts) == 2
    for cutout, colour in zip(cutouts, (blue, red), strict=True):
        inside = cutout[3] > 0.5
        assert abs(int(inside.sum()) - np.pi * 16**2) < 0.1 * np.pi * 16**2
        assert torch.allclose(cutout[:3, inside].mean(1), torch.tensor(colour) / 255, atol=0.05)


def test_what_an_edge_cuts_and_what_has_no_outline_is_left_out() -> None:
    flat = torch.full((3, 72, 96), 0.5)
    cut = disc((210, 40, 30), 10, 36)
    none = Labels(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.bool))
    assert cut_out([cut, flat], [labels_of((0.0, 20 / 72, 26 / 96, 52 / 72)), none], torch.zeros(2)) == []
    assert cut_out([flat], [labels_of((0.5, 0.5, 0.52, 0.52))], torch.zeros(1)) == []  # two pixels
