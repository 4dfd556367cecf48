"""Masks: colours and edges give the object's pixels in its box, in any image, and neighbours keep theirs."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from stn_cli.coloc.masks.colours import LocalColours
from stn_cli.coloc.masks.guide import Guide, applied
from stn_cli.coloc.masks.objects import ObjectMask, object_masks
from stn_cli.coloc.masks.prior import object_prior
from stn_cli.coloc.masks.settings import MASKS
from stn_cli.geometry import pixels_in_box

Shape = Callable[[np.ndarray], object]


def ground(size: tuple[int, int], seed: int = 0, level: int = 110) -> np.ndarray:
    """Grey noise, RGB."""
    rng = np.random.default_rng(seed)
    return cv2.GaussianBlur(rng.normal(level, 25, (*size, 3)), (0, 0), 1.5).clip(0, 255).astype(np.uint8)


def scene(shape: Shape, size: tuple[int, int] = (160, 200)) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """A red shape with stains on grey noise, its true mask, and its box."""
    mask = np.zeros(size, np.uint8)
    shape(mask)
    image = ground(size)
    red = ground(size, 1) // 3 + np.array([130, 20, 20], np.uint8)
    image[mask > 0] = red[mask > 0]
    x, y, w, h = cv2.boundingRect(mask)
    return image, mask > 0, [x, y, x + w, y + h]


def whole(found: ObjectMask, image: np.ndarray) -> np.ndarray:
    out = np.zeros(image.shape[:2], bool)
    h, w = found.pixels.shape
    out[found.top : found.top + h, found.left : found.left + w] = found.pixels
    return out


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def person(m: np.ndarray) -> None:
    """A head, a body, and legs apart."""
    cv2.circle(m, (100, 30), 12, 1, -1)
    cv2.rectangle(m, (85, 42), (115, 95), 1, -1)
    cv2.fillPoly(m, [np.array([[85, 95], [115, 95], [135, 145], [122, 145], [100, 105], [78, 145], [65, 145]])], 1)


# what is drawn, and the IoU that its mask must have; the share of its box that it fills runs from a fifth to all
SHAPES: list[tuple[Shape, float]] = [
    (lambda m: cv2.circle(m, (90, 80), 45, 1, -1), 0.95),
    (person, 0.9),
    (lambda m: cv2.line(m, (50, 40), (150, 120), 1, 12), 0.85),  # thin and askew: most of the box is ground
    (lambda m: cv2.rectangle(m, (60, 30), (140, 130), 1, -1), 0.9),  # fills the box
    (lambda m: cv2.circle(m, (100, 80), 40, 1, 14), 0.85),  # a ring
    (lambda m: cv2.circle(m, (0, 80), 50, 1, -1), 0.9),  # cut by the border
    (lambda m: cv2.circle(m, (100, 80), 6, 1, -1), 0.8),
]


@pytest.mark.parametrize(("shape", "least"), SHAPES)
def test_a_mask_is_the_object(shape: Shape, least: float) -> None:
    image, true, box = scene(shape)
    (found,) = object_masks(image, [box])
    assert iou(whole(found, image), true) > least
    box_alone = np.zeros_like(true)
    box_alone[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = True
    assert iou(whole(found, image), true) > iou(box_alone, true) - 0.1


def test_edges_are_those_of_the_full_resolution() -> None:
    """A cell of what is looked at is 14 pixels wide here; the mask's edge lies within two."""
    image, true, box = scene(lambda m: cv2.circle(m, (1000, 800), 640, 1, -1), (1600, 2000))
    (found,) = object_masks(image, [box])
    wrong = whole(found, image) ^ true
    near = cv2.dilate(true.astype(np.uint8), np.ones((5, 5))) - cv2.erode(true.astype(np.uint8), np.ones((5, 5)))
    assert wrong[near == 0].mean() < 0.002
    assert iou(whole(found, image), true) > 0.98


def test_a_neighbour_keeps_what_is_its_own() -> None:
    """Two discs of one colour, one half before the other: by its colour all is the first one's."""
    mask = np.zeros((160, 260), np.uint8)
    cv2.circle(mask, (90, 80), 40, 1, -1)
    cv2.circle(mask, (135, 80), 40, 2, -1)
    image = ground(mask.shape)
    image[mask > 0] = (180, 40, 40)
    boxes = [[50, 40, 130, 120], [95, 40, 175, 120]]
    both = [whole(found, image) for found in object_masks(image, boxes)]
    alone = whole(next(object_masks(image, boxes[:1])), image)
    assert (both[0] & (mask == 2)).sum() < 0.8 * (alone & (mask == 2)).sum()
    assert iou(both[0], mask == 1) > iou(alone, mask == 1)
    assert iou(both[1], mask == 2) > 0.85


def test_a_box_that_is_likely_of_nothing_takes_nothing() -> None:
    """A person, and a box on the legs: what a certain neighbour would take is the person's where the box is likely none."""
    image, true, box = scene(person)
    legs = [60, 95, 140, 146]
    kept = [iou(whole(next(object_masks(image, [box, legs], sure=[1.0, share])), image), true) for share in (1.0, 0.5, 0.05)]
    assert kept[0] < 0.9
    assert min(kept[1:]) > 0.95
    left_out, certain = (next(object_masks(image, [box, legs], sure=sure)) for sure in (None, [0.3, 1.0]))
    assert np.array_equal(left_out.pixels, certain.pixels)


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((50, 60), [10, 10, 11, 11]),  # one pixel
        ((50, 60), [59, 49, 60, 50]),  # in the corner
        ((50, 60), [10.2, 10.2, 10.4, 10.4]),  # less than one
        ((50, 60), [0, 0, 60, 50]),  # nothing beside it
        ((50, 60), [-8, -9, 20.5, 20]),  # reaches outside
        ((50, 60), [0, 20, 60, 21]),  # a line
        ((1, 1), [0, 0, 1, 1]),
        ((1, 40), [3, 0, 30, 1]),
        ((40, 1), [0, 3, 1, 9]),
        ((10, 40_000), [50, 0, 39_900, 10]),  # OpenCV counts some sides in 16 bits
    ],
)
def test_any_box_has_a_mask_that_lies_in_it(size: tuple[int, int], box: list[float]) -> None:
    (found,) = object_masks(ground(size), [box])
    left, top, right, bottom = max(0, box[0]), max(0, box[1]), min(size[1], box[2]), min(size[0], box[3])
    assert (found.left, found.top) == (int(left), int(top))
    assert found.pixels.shape == (int(np.ceil(bottom)) - int(top), int(np.ceil(right)) - int(left))
    assert found.pixels.any()


def test_boxes_that_are_none_have_masks_without_pixels() -> None:
    for box in ([60, 50, 60, 50], [70, 10, 90, 20], [10, 10, 10, 30]):
        (found,) = object_masks(ground((50, 60)), [box])
        assert not found.pixels.any()
    assert list(object_masks(ground((50, 60)), [])) == []


def test_where_there_is_nothing_to_tell_apart_the_ellipse_is_taken() -> None:
    (found,) = object_masks(np.full((100, 100, 3), 128, np.uint8), [[20, 20, 80, 80]])
    rows, columns = np.mgrid[:60, :60] - 29.5
    assert iou(found.pixels, np.hypot(rows, columns) < 30 * MASKS.ellipse) > 0.7


def test_a_mask_that_is_none_is_replaced_by_the_ellipse() -> None:
    """All inside looks as what is beside it, but for a speck: a box was found there all the same."""
    image = ground((120, 120))
    image[58:61, 58:61] = 255
    (found,) = object_masks(image, [[20, 20, 100, 100]])
    assert found.pixels.mean() > 0.25


def test_specks_go() -> None:
    image, _, box = scene(lambda m: cv2.circle(m, (80, 80), 40, 1, -1))
    box[2] += 20
    image[55:58, 128:131] = (200, 40, 40)
    (found,) = object_masks(image, [box])
    assert not whole(found, image)[50:63, 124:136].any()


def test_a_prior_that_is_given_says_which_of_two_it_is() -> None:
    """Both halves of the box stand out alike; the map knows the left one. It may have any size."""
    image = ground((120, 160))
    image[30:90, 30:70] = image[30:90, 90:130] = (180, 40, 40)
    box = [25, 25, 135, 95]
    for h, w in ((1, 12), (7, 10), (200, 300)):
        left = np.zeros((h, w), np.float32)
        left[:, : w // 2] = 1
        (found,) = object_masks(image, [box], [left])
        mask = whole(found, image)
        assert mask[30:90, 30:70].mean() > 0.9
        assert mask[30:90, 90:130].mean() < 0.1
    plain, other = object_masks(image, [box, [0, 0, 9, 9]], [None, np.ones((3, 3))])
    assert np.array_equal(plain.pixels, next(object_masks(image, [box])).pixels)
    assert other.pixels.any()


def test_masks_come_one_after_the_other() -> None:
    """So that memory does not grow with their number, and none depends on whether others were asked for."""
    image = ground((400, 400))
    rng = np.random.default_rng(2)
    corners = rng.random((300, 2)) * 340
    boxes = np.concatenate([corners, corners + 50], 1)
    masks = object_masks(image, boxes)
    first = next(masks)
    assert np.array_equal(first.pixels, next(object_masks(image, boxes)).pixels)
    assert sum(1 for _ in masks) == 299


def test_the_prior_is_an_ellipse_and_neighbours_have_their_claims() -> None:
    boxes = np.array([[10.0, 10, 50, 30], [40, 10, 80, 30]])
    own, claim = object_prior((40, 90), boxes, [None, None], MASKS)
    assert own.shape == claim.shape == (40, 90)
    assert own.argmax() % 90 in range(25, 35)
    assert own[20, 30] > 0.9
    assert (own[:, 51:] == np.float32(MASKS.outside)).all()
    assert claim[20, 30] == 1
    assert claim[20, 41] == 1 > claim[20, 49]
    alone, everything = object_prior((40, 90), boxes[:1], [None], MASKS)
    np.testing.assert_array_equal(alone, own)
    assert (everything == 1).all()


def test_pixels_in_a_box_are_at_their_centres() -> None:
    import torch

    x, y = pixels_in_box(torch.tensor([2.0, 0.0, 6.0, 2.0]), (2, 8))
    torch.testing.assert_close(x, torch.tensor([-1.75, -1.25, -0.75, -0.25, 0.25, 0.75, 1.25, 1.75]))
    torch.testing.assert_close(y, torch.tensor([-0.5, 0.5]))


def test_a_colour_tells_at_its_own_height_alone() -> None:
    """Blue is the object's above and the ground's below."""
    lab = np.zeros((80, 80, 3), np.float32) + np.array([0.5, 0.5, 0.5], np.float32)
    blue = np.array([0.4, 0.6, 0.2], np.float32)
    share = np.zeros((80, 80), np.float32)
    share[:, 20:60] = 1
    lab[:40, 20:60] = blue
    lab[40:, :20] = lab[40:, 60:] = blue
    evidence = LocalColours(lab, MASKS).evidence(share)
    assert evidence[10, 40] > 1
    assert evidence[70, 5] < -1
    assert evidence[70, 40] > 1
    flat = LocalColours(np.full((20, 20, 3), 0.5, np.float32), MASKS).evidence(np.full((20, 20), 0.3, np.float32))
    np.testing.assert_allclose(flat, 0, atol=0.2)  # what is everywhere says nothing


def test_the_guided_filter_keeps_edges_and_levels() -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((40, 60, 3), np.float32) + rng.normal(0, 0.01, (40, 60, 3)).astype(np.float32)
    image[:, 30:] += 0.8
    step = (image[..., 0] > 0.4).astype(np.float32)
    noisy = np.clip(step + rng.normal(0, 0.3, step.shape), 0, 1).astype(np.float32)
    guide = Guide(image, 3, 0.003)
    smooth = guide.smoothed(noisy)
    assert float(np.abs(smooth - noisy)[:, 5:25].std()) > 0.05
    assert smooth[:, 29].mean() < 0.35 < 0.65 < smooth[:, 30].mean()
    np.testing.assert_allclose(guide.smoothed(np.full((40, 60), 0.7, np.float32)), 0.7, atol=1e-4)
    np.testing.assert_array_equal(applied(guide.coefficients(noisy), image), smooth)
