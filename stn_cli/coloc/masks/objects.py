"""From boxes to masks: the object's pixels in each box, at the image's full size.

The box and what is beside it are looked at small. What is believed begins with a prior and is turned to and fro: colours are counted in what
is believed to be the object and in the rest, and each pixel is believed by the prior and by its colour. After each round the guided
filter draws the map to the image's edges; of the last round it says what the large image's own pixels are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from stn_cli.coloc.masks.colours import LocalColours
from stn_cli.coloc.masks.guide import Floats, Guide, applied
from stn_cli.coloc.masks.prior import object_prior
from stn_cli.coloc.masks.settings import MASKS, MaskSettings
from stn_cli.media.decode import Pixels


@dataclass(frozen=True, slots=True)
class ObjectMask:
    """One object's pixels.

    Attributes:
        left, top: where `pixels` lie in the image.
        pixels: (h, w) of the box, whole pixels, cut to the image: True where the object is.
    """

    left: int
    top: int
    pixels: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Window:
    """A box and what is beside it, seen small: (left, top, right, bottom) of the image, (width, height) as it is seen."""

    part: tuple[int, int, int, int]
    size: tuple[int, int]

    @classmethod
    def around(cls, box: npt.NDArray[np.float64], image: Pixels, settings: MaskSettings) -> _Window:
        h, w = image.shape[:2]
        x1, y1, x2, y2 = box
        dx, dy = (max(settings.least_reach, settings.reach * side) for side in (x2 - x1, y2 - y1))
        part = max(0, int(x1 - dx)), max(0, int(y1 - dy)), min(w, int(np.ceil(x2 + dx))), min(h, int(np.ceil(y2 + dy)))
        wide, high = part[2] - part[0], part[3] - part[1]
        scale = min(1.0, settings.side / max(wide, high))
        return cls(part, (max(1, round(wide * scale)), max(1, round(high * scale))))

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels as it is seen for each of the image's, along x and y."""
        left, top, right, bottom = self.part
        return self.size[0] / (right - left), self.size[1] / (bottom - top)

    def boxes(self, boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The image's boxes (..., 4) as they are seen."""
        return np.asarray((boxes - np.tile(self.part[:2], 2)) * np.tile(self.scale, 2))

    def meets(self, boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Which of the image's boxes (M, 4) reach into it."""
        left, top, right, bottom = self.part
        return np.asarray((boxes[:, 0] < right) & (boxes[:, 1] < bottom) & (boxes[:, 2] > left) & (boxes[:, 3] > top))


def object_masks(
    image: Pixels,
    boxes: npt.ArrayLike,
    priors: Sequence[Floats | None] | None = None,
    settings: MaskSettings = MASKS,
    sure: Sequence[float] | None = None,
) -> Iterator[ObjectMask]:
    """The pixels of each object, one after the other: memory does not grow with their number.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes: (M, 4) x1, y1, x2, y2 of the objects, pixels; those of an object's neighbours say what is not its own.
        priors: for each box how likely each part of it is the object's: (h, w) of any size that covers the box, 0 to 1; an ellipse is
            taken where it is None, and for all where it is left out.
        settings: numbers to try others.
        sure: for each box how likely it is of an object, 0 to 1, so that one that is likely none takes little from its neighbours; 1 for
            all where it is left out.

    Yields:
        A mask for each box. It lies in the box, rounded outwards to whole pixels, and has at least one pixel where the box has.
    """
    h, w = image.shape[:2]
    inside = np.clip(np.asarray(boxes, np.float64).reshape(-1, 4), 0, [w, h, w, h])
    given: list[Floats | None] = list(priors) if priors is not None else [None] * len(inside)
    for index in range(len(inside)):
        yield _mask(image, inside, given, index, settings, sure)


def _mask(
    image: Pixels,
    boxes: npt.NDArray[np.float64],
    given: list[Floats | None],
    index: int,
    settings: MaskSettings,
    sure: Sequence[float] | None,
) -> ObjectMask:
    left, top = (int(v) for v in np.floor(boxes[index, :2]))
    right, bottom = (int(v) for v in np.ceil(boxes[index, 2:]))
    if right <= left or bottom <= top:
        return ObjectMask(left, top, np.zeros((max(0, bottom - top), max(0, right - left)), bool))
    window = _Window.around(boxes[index], image, settings)
    near = [index, *(int(j) for j in np.flatnonzero(window.meets(boxes)) if j != index)]
    likely = None if sure is None else [sure[j] for j in near]
    prior, claim = object_prior(window.size[::-1], window.boxes(boxes[near]), [given[j] for j in near], settings, likely)
    x1, y1, x2, y2 = window.part
    seen = _lab(np.asarray(cv2.resize(image[y1:y2, x1:x2], window.size, interpolation=cv2.INTER_AREA), np.uint8))
    pixels = _at_full_size(image, (left, top, right, bottom), window, _believed(seen, prior, claim, settings), settings)
    if not pixels.any():
        pixels[:] = True
    return ObjectMask(left, top, pixels)


def _lab(pixels: Pixels) -> Floats:
    """In Lab, from 0 to 1."""
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB), np.float32) / np.float32(255)


def _believed(seen: Floats, prior: Floats, claim: Floats, settings: MaskSettings) -> Floats:
    """The linear functions of colours (h, w, 4) that say how likely a pixel is the object's."""
    colours = LocalColours(seen, settings)
    guide = Guide(seen, max(1, round(settings.radius * max(prior.shape))), settings.edge)
    odds, share = np.log(prior / (1 - prior)), prior
    for _ in range(settings.rounds):
        believed = claim / (1 + np.exp(-odds - settings.weight * colours.evidence(share)))
        share = np.clip(guide.smoothed(np.asarray(believed, np.float32)), 0, 1)
    mask = (share > 0.5).astype(np.uint8)
    if mask.sum() < settings.least_area * (prior > 0.5).sum():
        return np.concatenate([np.zeros_like(seen), prior[..., None]], -1)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    area = stats[:, cv2.CC_STAT_AREA]
    specks = area < settings.least_part * area[1:].max(initial=0)
    specks[0] = False
    return guide.coefficients(np.where(specks[labels], np.float32(0), np.asarray(believed, np.float32)))


def _at_full_size(
    image: Pixels, box: tuple[int, int, int, int], window: _Window, coefficients: Floats, settings: MaskSettings
) -> npt.NDArray[np.bool_]:
    """What the functions say of the image's own pixels in a box of whole pixels (h, w), a strip at a time."""
    left, top, right, bottom = box
    (sx, sy), (x, y) = window.scale, window.part[:2]
    out = np.zeros((bottom - top, right - left), bool)
    rows = max(1, settings.strip // (right - left))
    for first in range(top, bottom, rows):
        last = min(bottom, first + rows)
        matrix = np.array([[sx, 0, (left + 0.5 - x) * sx - 0.5], [0, sy, (first + 0.5 - y) * sy - 0.5]])
        how, size = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, (right - left, last - first)
        here = cv2.warpAffine(coefficients, matrix, size, flags=how, borderMode=cv2.BORDER_REPLICATE)
        out[first - top : last - top] = applied(np.asarray(here, np.float32), _lab(image[first:last, left:right])) > 0.5
    return out
