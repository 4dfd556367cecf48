"""Masks as text: the run lengths of the COCO formats, compressed as pycocotools does it.

A mask is read column by column; its runs of pixels that are and are not the object's follow each other, one that is not comes first.
Each length, or from the fourth on its difference from the one before the last, is written in digits of 5 bits, lowest first, each as
a character from `0` on; a sixth bit says that another digit follows. Text may come from a stranger: it is checked before it is used.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

_MOST_DIGITS = 7
"""Of a length: 35 bits are more pixels than an image can have."""

Mask = npt.NDArray[np.bool_]


def encode_mask(pixels: Mask, place: tuple[int, int], size: tuple[int, int]) -> str:
    """The mask of an object as text.

    Args:
        pixels: (h, w) of a part of the image; the object has none outside it.
        place: (left, top) of the part in the image.
        size: (H, W) of the image.

    Returns:
        Its compressed run lengths.
    """
    from pycocotools.mask import frPyObjects

    (left, top), (height, width), (h, w) = place, size, pixels.shape
    edges = np.zeros((w, h + 1), np.int8)
    edges[:, :h] = pixels.T
    steps = np.diff(edges, axis=1, prepend=np.int8(0))  # (w, h + 1): 1 where a run begins, -1 behind its end
    column, row = np.nonzero(steps)
    places = (left + column.astype(np.int64)) * height + top + row
    joined = places[1:] == places[:-1]  # a run that goes on at the top of the next column
    kept = places[~(np.append(joined, False) | np.append(False, joined))] if len(places) else places
    lengths = np.diff(kept, prepend=0, append=height * width)
    if len(lengths) > 1 and not lengths[-1]:
        lengths = lengths[:-1]
    runs = {"counts": lengths.tolist(), "size": [height, width]}
    return str(frPyObjects(runs, height, width)["counts"].decode("ascii"))


def run_lengths(mask: str, size: tuple[int, int]) -> npt.NDArray[np.int64]:
    """The lengths of a mask's runs, the first of what is not the object's.

    Args:
        mask: compressed run lengths.
        size: (H, W) of the image.

    Returns:
        (N,) that add up to the image.

    Raises:
        ValueError: they do not, or the text is none.
    """
    if not mask or not mask.isascii():
        raise ValueError("a mask is no run lengths")
    digits = np.frombuffer(mask.encode("ascii"), np.uint8).astype(np.int64) - 48
    if digits.min() < 0 or digits.max() > 63 or digits[-1] & 32:
        raise ValueError("a mask is no run lengths")
    ends = np.flatnonzero(~digits & 32)
    starts = np.append(0, ends[:-1] + 1)
    count = ends - starts + 1
    if count.max() > _MOST_DIGITS:
        raise ValueError("a mask has a run that is too long")
    shift = 5 * (np.arange(len(digits)) - np.repeat(starts, count))
    values = np.add.reduceat((digits & 31) << shift, starts)
    values = np.where(digits[ends] & 16, values - (np.int64(1) << 5 * count), values)  # the last digit has the sign
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    if values.min() < 0 or values.sum() != size[0] * size[1]:
        raise ValueError("a mask is not as large as its image")
    return values


def checked_mask(mask: object, size: tuple[int, int]) -> str:
    """A mask that was read from a file.

    Args:
        mask: what the file has.
        size: (H, W) of the image.

    Returns:
        The same.

    Raises:
        ValueError: it is no mask of such an image.
    """
    if not isinstance(mask, str):
        raise ValueError("a mask is no text")
    run_lengths(mask, size)
    return mask


def mask_area(mask: str, size: tuple[int, int]) -> int:
    """How many pixels a mask has.

    Args:
        mask: compressed run lengths.
        size: (H, W) of the image.

    Returns:
        Pixels.
    """
    return int(run_lengths(mask, size)[1::2].sum())


def instance_map(masks: Iterable[str], size: tuple[int, int]) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """The objects of an image as one picture of their numbers.

    Args:
        masks: of the objects, the first before all others where they overlap.
        size: (H, W) of the image.

    Returns:
        (H, W) 0 where there is no object, else its place in `masks`, from 1; uint16 where there are more than 255.
    """
    listed = list(masks)
    columns = np.zeros(size[0] * size[1], np.uint8 if len(listed) < 256 else np.uint16)
    for number, mask in enumerate(listed, 1):
        lengths = run_lengths(mask, size)
        own = np.repeat(np.arange(len(lengths) - 1) % 2 == 0, lengths[1:])
        part = columns[lengths[0] : lengths[0] + len(own)]
        part[own & (part == 0)] = number
    return np.ascontiguousarray(columns.reshape(size[::-1]).T)


def decode_mask(mask: str, size: tuple[int, int]) -> Mask:
    """A mask as pixels.

    Args:
        mask: compressed run lengths.
        size: (H, W) of the image.

    Returns:
        (H, W) True where the object is.

    Raises:
        ValueError: the text is no mask of such an image.
    """
    return instance_map([mask], size) > 0
