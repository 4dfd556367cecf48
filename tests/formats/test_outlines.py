"""Masks as polygons: what a trainer fills again is the mask."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from stn_cli.formats.outlines import any_mask, outer_polygon
from stn_cli.run_lengths import decode_mask, encode_mask

SIZE = (40, 60)


def filled(mask: np.ndarray, turn: str) -> np.ndarray:
    """(H, W) bool: the polygon filled as trainers do, after its points were cut off or rounded to whole pixels."""
    points = np.array(outer_polygon(encode_mask(mask, (0, 0), SIZE), SIZE))
    assert len(points) >= 3
    whole = np.floor(points) if turn == "cut off" else np.round(points)
    out = np.zeros(SIZE, np.uint8)
    cv2.fillPoly(out, [whole.astype(np.int32)], 1)
    return out > 0


def drawn(*shapes: tuple[tuple[int, int], int]) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    for centre, radius in shapes:
        cv2.circle(mask, centre, radius, 1, -1)
    return mask > 0


@pytest.mark.parametrize("turn", ["cut off", "rounded"])
@pytest.mark.parametrize(
    "mask",
    [drawn(((30, 20), 12)), drawn(((0, 0), 9)), drawn(((59, 39), 15)), drawn(((30, 20), 0)), np.ones(SIZE, bool)],
    ids=["a disc", "at a corner", "at the other corner", "a pixel", "the whole image"],
)
def test_one_part_comes_back_as_it_was(mask: np.ndarray, turn: str) -> None:
    assert (filled(mask, turn) == mask).all()


def test_parts_are_joined_by_a_line_and_holes_are_filled() -> None:
    mask = drawn(((10, 10), 6), ((40, 12), 7), ((30, 33), 3))
    again = filled(mask, "cut off")
    assert again[mask].all()
    assert 0 < (again & ~mask).sum() < 60  # two lines of a pixel's width
    ring = drawn(((30, 20), 12)) & ~drawn(((30, 20), 5))
    assert (filled(ring, "rounded") == drawn(((30, 20), 12))).all()


def test_what_is_no_segmentation() -> None:
    assert any_mask([], SIZE) is None
    assert any_mask([[1, 2, 3, 4]], SIZE) is None  # two points
    assert any_mask([[0.2, 0.2, 0.3, 0.2, 0.3, 0.3]], SIZE) is None  # no pixel
    for wrong in (
        "text",
        [1, 2, 3],
        [["a", "b", "c", "d", "e", "f"]],
        {"size": [40, 60], "counts": [1, 2]},
        {"size": [40, 60], "counts": [-1, 2401]},
        {"size": [60, 40], "counts": [2400]},
        {"size": [40, 60]},
    ):
        with pytest.raises(ValueError, match=r"mask|segmentation|number"):
            any_mask(wrong, SIZE)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools' masks
def test_polygons_of_several_parts() -> None:
    text = any_mask([[5, 5, 15, 5, 15, 15, 5, 15], [30, 20, 50, 20, 50, 30, 30, 30]], SIZE)
    assert text is not None
    expected = np.zeros(SIZE, bool)
    expected[5:15, 5:15] = expected[20:30, 30:50] = True
    assert (decode_mask(text, SIZE) == expected).all()
