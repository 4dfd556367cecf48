"""Boxes that are learnt from are drawn to the outlines of what is in them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from stn_cli.coloc.score.tightening import around_outlines, tightened
from stn_cli.geometry import box_iou
from stn_cli.instances.labels import Labels

TRUE = [60.0, 30.0, 120.0, 110.0]
SIZE = np.array([200, 160, 200, 160], np.float32)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """A red thing with corners on grey noise, (160, 200, 3)."""
    rng = np.random.default_rng(0)
    out = cv2.GaussianBlur(rng.normal(110, 25, (160, 200, 3)), (0, 0), 1.5).clip(0, 255).astype(np.uint8)
    out[30:110, 75:105] = (170, 50, 50)
    out[55:85, 60:120] = (160, 40, 60)
    return out


def believed(*boxes: list[float], known: bool = True) -> Labels:
    """Boxes in pixels, as labels of the image."""
    count = len(boxes)
    return Labels(torch.tensor(boxes) / torch.from_numpy(SIZE), torch.ones(count), torch.full((count,), known))


@pytest.mark.parametrize(
    "off",
    [
        [-9.0, -9.0, 9.0, 9.0],  # too large
        [5.0, 6.0, -5.0, -6.0],  # too small: the outline may leave the box a little
        [-8.0, 4.0, -4.0, 9.0],
        [0.0, 0.0, 0.0, 0.0],
    ],
)
def test_a_box_is_drawn_to_its_object(image: np.ndarray, off: list[float]) -> None:
    given = np.array(TRUE) + off
    (found,) = around_outlines(image, given[None])
    before, after = (float(box_iou(torch.from_numpy(box), torch.tensor(TRUE, dtype=torch.float64))) for box in (given, found))
    assert after > max(0.85, 0.95 * before)


def test_only_boxes_that_are_believed_are_moved(image: np.ndarray) -> None:
    picture = torch.from_numpy(image).movedim(-1, 0) / 255
    loose, tiny = [50.0, 20.0, 130.0, 120.0], [10.0, 10.0, 14.0, 30.0]
    labels = believed(loose, tiny)
    moved = tightened(picture, labels)
    assert float(box_iou(moved.boxes[0] * torch.from_numpy(SIZE), torch.tensor(TRUE))) > 0.9
    assert torch.equal(moved.boxes[1], labels.boxes[1])  # no outline of so few pixels
    assert torch.equal(moved.weights, labels.weights)
    assert torch.equal(moved.known, labels.known)
    assert torch.equal(labels.boxes, believed(loose, tiny).boxes)  # left as they were
    unsure = believed(loose, known=False)
    assert tightened(picture, unsure) is unsure
    none = Labels(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.bool))
    assert tightened(picture, none) is none


def test_a_box_at_the_border_stays_on_the_image(image: np.ndarray) -> None:
    cut = np.ascontiguousarray(image[:, 70:])
    found = around_outlines(cut, np.array([[0.0, 20.0, 60.0, 120.0]]))
    assert found[0].tolist() == pytest.approx([0, 30, 50, 110], abs=2)
