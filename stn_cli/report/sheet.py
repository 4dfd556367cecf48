"""The contact sheet: small pictures of images, and the boxes that are drawn over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

from stn_cli.errors import printable
from stn_cli.media.decode import MAX_PIXELS, Pixels, Unusable, decoded
from stn_cli.media.scan import ImageFile
from stn_cli.records import ImageRecord, Localisation, Skipped, sureness
from stn_cli.report.figures import data_url
from stn_cli.report.verdict import band_of
from stn_cli.runtime.ordered import ordered_map
from stn_cli.runtime.threads import default_workers

MOST_PICTURES = 960
"""Images that a page shows: some 20 MB."""
MOST_DOUBTFUL = 720
"""Of these, in a larger set, the most doubtful ones; the others are taken evenly from the rest."""
SIDES = ((240, 560), (MOST_PICTURES, 320))
"""Up to so many pictures, their longer side in pixels; a page of few shows more when one is enlarged."""
QUALITY = 74
"""Of the JPEGs."""
MOST_DRAWN = 60
"""Boxes of an image that are drawn, best first."""
CROP = 112
"""Side of a crop on the page, pixels."""


@dataclass(frozen=True, slots=True)
class Shape:
    """An object's outline: its quad as SVG's points, the colour's name, and whether it is the best one of its image."""

    points: str
    band: str
    best: bool
    upper: tuple[float, float] | None
    """The middle of the upper side of a tilted crop, pixels."""


@dataclass(frozen=True, slots=True)
class SheetPicture:
    """An image of the page.

    Attributes:
        name: of the file, printable.
        width, height: of the whole image, pixels; the shapes are in these.
        score: how sure its boxes are, see `sureness`: that of the worst one; None where nothing was found.
        band: name of the score's colour.
        url: the small picture.
        shapes: of its objects, the best one last, which lies on top.
        rank: its place among all images, from 1, most doubtful first.
    """

    name: str
    width: int
    height: int
    score: float | None
    band: str
    url: str
    shapes: tuple[Shape, ...]
    rank: int


@dataclass(frozen=True, slots=True)
class Pictured:
    """What is made of an image's pixels.

    Attributes:
        picture: its place on the page.
        whole, crop: small squares of the whole and of its best crop, where they are wanted.
        best: the score of that crop.
    """

    picture: SheetPicture
    whole: Pixels | None = None
    crop: Pixels | None = None
    best: float = 0.0


def places_shown(ranking: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Places in a ranking that are shown: all where they fit, else the most doubtful ones, and evenly of the others.

    Args:
        ranking: (N,) images, most doubtful first.

    Returns:
        Places from 0, rising; at most `MOST_PICTURES`, the last one among them.
    """
    if len(ranking) <= MOST_PICTURES:
        return np.arange(len(ranking))
    rest = np.linspace(MOST_DOUBTFUL, len(ranking) - 1, MOST_PICTURES - MOST_DOUBTFUL).round().astype(np.intp)
    return np.concatenate([np.arange(MOST_DOUBTFUL), rest])


Cutter = Callable[[Pixels, Localisation, int], Pixels]
"""Cuts an object's crop of a longer side out of a picture of its image: `Localiser.crop`."""


def make_sheet(
    items: Sequence[tuple[int, ImageFile, ImageRecord]], max_pixels: int = MAX_PIXELS, cut: Cutter | None = None
) -> Iterator[Pictured | Skipped]:
    """Decode images once more, reduced, for the page; in threads.

    Args:
        items: place in the ranking from 0, file and record of each image, at most `MOST_PICTURES`.
        max_pixels: images with more are skipped.
        cut: also makes the squares, where it is given.

    Yields:
        For each item what the page shows, or why the image cannot be read any more.
    """
    side = next(side for most, side in SIDES if len(items) <= most)
    yield from ordered_map(partial(_picture, side=side, max_pixels=max_pixels, cut=cut), items, default_workers())


def _picture(item: tuple[int, ImageFile, ImageRecord], side: int, max_pixels: int, cut: Cutter | None) -> Pictured | Skipped:
    place, file, record = item
    try:
        with decoded(file.path, max_pixels=max_pixels, long_side=side) as image:
            small = shrunk(image.pixels, side)
    except Unusable as reason:
        return Skipped(file.name, str(reason))
    score = sureness(found.score for found in record.objects) if record.objects else None
    picture = SheetPicture(
        printable(file.name),
        record.width,
        record.height,
        score,
        "nothing" if score is None else band_of(score),
        data_url(small, QUALITY),
        shapes_of(record),
        place + 1,
    )
    if cut is None or not record.objects:
        return Pictured(picture)
    best = record.objects[0]
    return Pictured(picture, square(small, CROP), square(cut(small, best, CROP), CROP), best.score)


def shapes_of(record: ImageRecord) -> tuple[Shape, ...]:
    """The outlines of an image's objects, the best one last.

    Args:
        record: an image.

    Returns:
        At most `MOST_DRAWN`.
    """
    shapes: list[Shape] = []
    for found in record.objects[:MOST_DRAWN]:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in found.quad)
        (x1, y1), (x2, y2) = found.quad[:2]
        tilted = abs(y2 - y1) > 0.08 * max(1.0, abs(x2 - x1))
        upper = (round((x1 + x2) / 2, 1), round((y1 + y2) / 2, 1)) if tilted else None
        shapes.append(Shape(points, band_of(found.score), not shapes, upper))
    return tuple(reversed(shapes))


def shrunk(pixels: Pixels, side: int) -> Pixels:
    """A picture whose longer side is at most so long.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        side: in pixels.

    Returns:
        (H', W', 3) uint8; a copy.
    """
    h, w = pixels.shape[:2]
    if max(h, w) <= side:
        return pixels.copy()
    scale = side / max(h, w)
    return cv2.resize(pixels, (max(1, round(w * scale)), max(1, round(h * scale))), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def square(picture: Pixels, side: int) -> Pixels:
    """A picture squeezed to a square.

    Args:
        picture: (H, W, 3) uint8 RGB.
        side: of the result, pixels.

    Returns:
        (side, side, 3).
    """
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
