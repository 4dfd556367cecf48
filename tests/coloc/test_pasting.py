"""Objects of a folder that are cut out and pasted beside others: exact boxes, and no object hidden."""

from __future__ import annotations

import random

import cv2
import numpy as np
import torch
from torch import Tensor

from stn_cli.coloc.score.cutouts import cut_objects
from stn_cli.instances.labels import Labels
from stn_cli.instances.pasting import Cutouts, paste


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


def test_no_object_is_hidden() -> None:
    touched = 0
    for seed in range(60):
        _, found = paste(
            torch.zeros(3, 96, 96), labels_of((30.0, 30.0, 50.0, 60.0)), [torch.ones(4, 30, 20)], random.Random(seed)
        )
        for number in range(1, len(found.boxes)):
            box, earlier = found.boxes[number], found.boxes[:number]
            common = (torch.minimum(earlier[:, 2:], box[2:]) - torch.maximum(earlier[:, :2], box[:2])).clamp(0).prod(1)
            assert (common <= 0.5 * (earlier[:, 2:] - earlier[:, :2]).prod(1)).all()
            touched += int((common > 0).any())
        assert found.known.all()
    assert touched > 20  # they overlap all the same


def test_where_there_is_no_room_nothing_is_pasted() -> None:
    canvas, labels = torch.zeros(3, 96, 96), labels_of((0.0, 0.0, 96.0, 96.0))
    for seed in range(20):
        changed, found = paste(canvas, labels, [torch.ones(4, 90, 90)], random.Random(seed))
        assert len(found.boxes) == 1 or bool(changed.any())
        assert ((found.boxes[1:, 2:] - found.boxes[1:, :2]).prod(1) <= 0.5 * 96 * 96).all()


def test_the_share_says_how_often() -> None:
    draw, white = random.Random(0), torch.ones(4, 20, 12)
    canvas, labels = torch.zeros(3, 96, 96), labels_of((30.0, 30.0, 50.0, 60.0))
    assert Cutouts().pasted(canvas, labels, draw) == (canvas, labels)
    pasted = sum(bool(Cutouts([white], 0.25).pasted(canvas, labels, draw)[0].any()) for _ in range(400))
    assert 60 < pasted < 140


def test_objects_are_cut_out_along_their_outlines_the_surest_first() -> None:
    red, blue = (210, 40, 30), (30, 60, 210)
    images, labels = [disc(red, 40, 30), disc(blue, 60, 40)], [around(40, 30), around(60, 40)]
    found = cut_objects(images, labels, torch.tensor([0.0, 3.0]), 0.3)
    cutouts = found.objects
    assert (len(cutouts), found.share) == (2, 0.3)
    for cutout, colour in zip(cutouts, (blue, red), strict=True):
        inside = cutout[3] > 0.5
        assert abs(int(inside.sum()) - np.pi * 16**2) < 0.1 * np.pi * 16**2
        assert torch.allclose(cutout[:3, inside].mean(1), torch.tensor(colour) / 255, atol=0.05)


def test_what_an_edge_cuts_and_what_has_no_outline_is_left_out() -> None:
    flat = torch.full((3, 72, 96), 0.5)
    cut = disc((210, 40, 30), 10, 36)
    none = Labels(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.bool))
    assert cut_objects([cut, flat], [labels_of((0.0, 20 / 72, 26 / 96, 52 / 72)), none], torch.zeros(2), 0.3).objects == []
    assert cut_objects([flat], [labels_of((0.5, 0.5, 0.52, 0.52))], torch.zeros(1), 0.3).objects == []  # two pixels


def test_without_groups_nothing_is_cut_out() -> None:
    images, labels = [disc((210, 40, 30), 40, 30)], [around(40, 30)]
    assert len(cut_objects(images, labels, torch.zeros(1), 0.3).objects) == 1
    assert cut_objects(images, labels, torch.zeros(1), 0.0) == Cutouts()
    assert cut_objects([], [], torch.zeros(0), 0.3) == Cutouts()
