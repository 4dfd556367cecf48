"""Masks as text: the same text as pycocotools', and no text of a stranger does harm."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from stn_cli.run_lengths import checked_mask, decode_mask, encode_mask, instance_map, mask_area, run_lengths


@st.composite
def parts(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, int], tuple[int, int]]:
    """Pixels of a part, where it lies, and the size of the image."""
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    h, w = draw(st.integers(0, height)), draw(st.integers(0, width))
    place = draw(st.integers(0, width - w)), draw(st.integers(0, height - h))
    share = draw(st.sampled_from([0, 0.1, 0.5, 0.9, 1]))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    return rng.random((h, w)) < share, place, (height, width)


def laid(pixels: np.ndarray, place: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    out = np.zeros(size, bool)
    out[place[1] : place[1] + pixels.shape[0], place[0] : place[0] + pixels.shape[1]] = pixels
    return out


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools' masks
@given(parts())
def test_a_mask_is_what_pycocotools_makes_of_it(part: tuple[np.ndarray, tuple[int, int], tuple[int, int]]) -> None:
    pixels, place, size = part
    whole = laid(pixels, place, size)
    mask = encode_mask(pixels, place, size)
    theirs = coco.encode(np.asfortranarray(whole.astype(np.uint8)))
    assert mask == theirs["counts"].decode()
    np.testing.assert_array_equal(decode_mask(mask, size), whole)
    assert mask_area(mask, size) == whole.sum() == coco.area(theirs)
    assert checked_mask(mask, size) == mask
    assert run_lengths(mask, size).sum() == whole.size


def test_long_runs_need_several_digits() -> None:
    size = (3000, 4000)
    pixels = np.zeros(size, bool)
    pixels[10:2900, 100:3900] = True
    pixels[500, 500] = False
    mask = encode_mask(pixels, (0, 0), size)
    np.testing.assert_array_equal(decode_mask(mask, size), pixels)


@pytest.mark.parametrize(
    "mask",
    [
        "",
        "PPPP",  # a digit that another must follow
        "4",  # less than the image
        "d1",  # more
        "0d10",  # and a run too much
        "é",
        "\x00",
        "~~",
        " ",
        "O",  # a negative length
        "oooooooo0",  # a length beyond all images
        "oooooooooooooooooooooooooo0",
    ],
)
def test_text_that_is_no_mask_is_told(mask: str) -> None:
    for read in (run_lengths, decode_mask, checked_mask, mask_area):
        with pytest.raises(ValueError, match="mask"):
            read(mask, (4, 5))


def test_what_is_no_text_is_told() -> None:
    for value in (None, 3, ["1"], {"counts": "1"}):
        with pytest.raises(ValueError, match="no text"):
            checked_mask(value, (4, 5))


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=40))
def test_any_text_is_a_mask_or_told(text: str) -> None:
    with suppress(ValueError):
        assert decode_mask(text, (6, 7)).shape == (6, 7)


def test_instances_have_numbers_and_the_first_is_in_front() -> None:
    size = (6, 8)
    first = encode_mask(np.ones((3, 3), bool), (1, 1), size)
    second = encode_mask(np.ones((4, 4), bool), (2, 2), size)
    numbers = instance_map([first, second], size)
    assert numbers.dtype == np.uint8
    assert numbers[3, 3] == numbers[1, 1] == 1
    assert numbers[5, 5] == numbers[4, 3] == 2
    assert numbers[0, 0] == 0
    np.testing.assert_array_equal(np.bincount(numbers.ravel()), [48 - 9 - 12, 9, 12])
    assert not instance_map([], size).any()


def test_more_instances_than_a_byte_has_numbers() -> None:
    size = (20, 20)
    masks = [encode_mask(np.ones((1, 1), bool), (n % 20, n // 20), size) for n in range(300)]
    assert instance_map(masks[:255], size).dtype == np.uint8
    numbers = instance_map(masks, size)
    assert numbers.dtype == np.uint16
    np.testing.assert_array_equal(numbers.ravel(), [*range(1, 301), *[0] * 100])
