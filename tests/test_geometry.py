from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stn_cli import geometry as g
from stn_cli.records import overlap

sides = st.integers(1, 5000)


@given(sides, sides, st.integers(32, 256))
def test_image_keeps_its_shape_on_the_letterbox_and_stays_inside(width: int, height: int, letterbox: int) -> None:
    left, top, w, h = g.Frame(width, height, letterbox).content
    assert max(w, h) == letterbox
    assert left >= 0
    assert top >= 0
    assert left + w <= letterbox
    assert top + h <= letterbox
    assert abs(min(w, h) - max(1, letterbox * min(width, height) / max(width, height))) <= 1


@given(sides, sides, st.integers(32, 256))
def test_boxes_go_to_the_letterbox_and_back(width: int, height: int, letterbox: int) -> None:
    frame = g.Frame(width, height, letterbox)
    box = torch.tensor([[0.1 * width, 0.2 * height, 0.7 * width, 0.9 * height]], dtype=torch.float64)
    torch.testing.assert_close(frame.boxes_from_letterbox(frame.boxes_to_letterbox(box)), box)


def test_whole_image_is_the_identity() -> None:
    frame = g.Frame(200, 100, 64)
    theta = g.box_to_matrix(torch.tensor(frame.rectangle, dtype=torch.float64))
    moved = frame.letterbox_to_image()
    out = moved[:, :2] @ theta + torch.cat([torch.zeros(2, 2, dtype=torch.float64), moved[:, 2:]], 1)
    torch.testing.assert_close(out, torch.tensor([[1, 0, 0], [0, 1, 0]], dtype=torch.float64))


def test_theta_of_a_box_has_the_box_as_its_outline() -> None:
    box = torch.tensor([-0.5, 0.1, 0.3, 0.7])
    quad = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]]) @ g.box_to_matrix(box).T
    torch.testing.assert_close(quad, torch.tensor([[-0.5, 0.1], [0.3, 0.1], [0.3, 0.7], [-0.5, 0.7]]))
    torch.testing.assert_close(g.points_to_box(quad), box)


def test_pixel_centres_are_at_a_half() -> None:
    # the centre of pixel 0 of 4 is at +0.5 pixels, which is -0.75 of [-1, 1]
    assert g.index_to_normalised(torch.tensor(0.0), 4) == -0.75
    assert g.pixel_index(torch.tensor(-0.75), 4) == 0
    torch.testing.assert_close(g.normalised_to_pixels(torch.tensor([-0.75, 1.0]), (2, 4)), torch.tensor([0.5, 2.0]))


@pytest.mark.parametrize(
    ("a", "b", "iou"),
    [
        ([0, 0, 2, 2], [0, 0, 2, 2], 1.0),
        ([0, 0, 2, 2], [1, 0, 3, 2], 1 / 3),
        ([0, 0, 1, 1], [1, 1, 2, 2], 0.0),  # they touch in a point
        ([0, 0, 4, 4], [1, 1, 2, 2], 1 / 16),
        ([0, 0, 0, 0], [0, 0, 0, 0], 0.0),  # both empty: no NaN
    ],
)
def test_iou_closed_forms(a: list[float], b: list[float], iou: float) -> None:
    assert float(g.box_iou(torch.tensor(a).double(), torch.tensor(b).double())) == pytest.approx(iou)


def test_points_of_a_part_are_the_same_pixels() -> None:
    points = torch.tensor([[0.2, -0.1], [-0.3, 0.4]], dtype=torch.float64)
    whole = g.normalised_to_pixels(points, (80, 100))
    part = (30, 10, 90, 70)
    moved = g.image_to_part((80, 100), part)
    inner = g.normalised_to_pixels(points @ moved[:, :2].T + moved[:, 2], (60, 60))
    torch.testing.assert_close(inner + torch.tensor([30.0, 10.0], dtype=torch.float64), whole)


def test_clipped_boxes_lie_inside() -> None:
    out = g.clip_boxes(torch.tensor([[-5.0, 2.0, 300.0, 40.0]]), (30, 200))
    assert out.tolist() == [[0.0, 2.0, 200.0, 30.0]]


def test_images_of_many_sizes_at_once() -> None:
    sizes = [(30, 200), (64, 48)]
    points = torch.tensor([[[-1.2, 0.5], [0.25, 1.5]], [[0.0, 0.0], [1.0, -1.0]]], dtype=torch.float64)
    together = torch.tensor(sizes, dtype=torch.float64)
    pixels = g.normalised_to_pixels(points, together[:, None])
    boxes = g.clip_boxes(pixels.flatten(1), together)
    for i, size in enumerate(sizes):
        assert torch.equal(pixels[i], g.normalised_to_pixels(points[i], size))
        assert torch.equal(boxes[i], g.clip_boxes(pixels[i].flatten(), size))


def test_boxes_of_centres_and_overlaps_of_plain_numbers() -> None:
    boxes = g.boxes_around(torch.tensor([[10.0, 20.0], [0.0, 0.0]]), torch.tensor([[4.0, 6.0], [2.0, 2.0]]))
    assert boxes.tolist() == [[8, 17, 12, 23], [-1, -1, 1, 1]]
    a, b = (0.0, 0.0, 10.0, 10.0), (5.0, 0.0, 15.0, 10.0)
    assert overlap(a, b) == pytest.approx(1 / 3)
    assert overlap(a, b) == pytest.approx(float(g.box_iou(torch.tensor(a), torch.tensor(b))))
    assert overlap(a, (20.0, 20.0, 30.0, 30.0)) == 0
    assert overlap((1.0, 1.0, 1.0, 1.0), (1.0, 1.0, 1.0, 1.0)) == 0
