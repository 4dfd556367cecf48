"""Which images look alike: copies, resized copies, and frames of one clip, which must not be trained on and tested on.

Two images are near-duplicates where they differ less, after the best move, than either of them differs from itself moved a little. The
comparison is within the pair: no other image of the set changes it, so that added files part no group. What is alike to the same image is in
one group: a clip holds together though its first and last frames differ.

It is asked twice. On a coarse grid of mean brightness, where frames match though things in them move; that leaves few pairs. Then, of those,
on a fine grid on which each place counts alike, whatever its contrast: one bright thing at the same place on another ground is no copy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from stn_cli.media.decode import Pixels

CELLS = 12
"""Of a side of the coarse grid. Moves of up to one cell are tried, and an image is compared with itself moved by one; 8 to 32 were tried."""
FINER = 4
"""Fine cells of a side of a coarse one, and so the furthest move that is tried; 2 to 4 were tried, see docs/interop.md."""
OWN_MOVE = 2
"""Fine cells by which an image is moved to be compared with itself: what a blur of one cell leaves of any texture is still alike after one."""
SHARP, AROUND = 1.0, 4.0
"""Standard deviations in fine cells: of the blur that makes moves of parts of a cell harmless; of the surroundings that set the contrast."""
LEAST_CONTRAST = 0.5
"""Standard deviation in grey levels below which a picture is one colour: rounding makes as much."""
FINE = CELLS * FINER
DECODED = 8 * FINE
"""Pixels of the longer side that are enough to know the grid."""
ROUNDING = 1e-6
"""Of a product of rows in single precision."""
AT_ONCE, AGAINST = 512, 1024
"""Images that are compared at a time, and with how many, so that memory grows with the number of images and not with its square."""

Thumbnail = npt.NDArray[np.float16]
Rows = npt.NDArray[np.float32]
_ONE_LEFT_RIGHT_UP_DOWN = ((0, 1), (2, 1), (1, 0), (1, 2))


def thumbnail(pixels: Pixels) -> Thumbnail:
    """What is kept of an image, to compare it.

    Args:
        pixels: (H, W, 3) uint8 RGB, upright.

    Returns:
        (FINE, FINE) mean brightness of even cells; the picture is squashed to a square.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return cv2.resize(grey, (FINE, FINE), interpolation=cv2.INTER_AREA).astype(np.float16)


def near_duplicates(thumbnails: Sequence[Thumbnail]) -> list[int]:
    """Groups of images that look alike.

    Args:
        thumbnails: of N images.

    Returns:
        For each image the place of the first one of its group.
    """
    first = list(range(len(thumbnails)))

    def root(at: int) -> int:
        while first[at] != at:
            first[at] = first[first[at]]
            at = first[at]
        return at

    coarse = _CoarseGrids.of(thumbnails) if thumbnails else None
    for begin in range(0, len(first), AT_ONCE):
        for a, others in coarse.alike(begin).items() if coarse else ():
            apart = [b for b in others if root(b) != root(a)]
            for b in _finely_alike(thumbnails, a, apart):
                low, high = sorted((root(a), root(b)))
                first[high] = low
    return [root(at) for at in range(len(first))]


@dataclass(frozen=True, slots=True)
class _CoarseGrids:
    """What is compared first of N images, one kilobyte of each.

    Rows have length 1, so that |a - b|^2 = 2 - 2 ab: the move after which two differ least is that of the largest product.

    Attributes:
        cells: (N, CELLS, CELLS) mean brightness.
        centre: (N, (CELLS - 2)^2) the inner cells as rows.
        own: (N,) the product with the image itself, moved by one.
        plain: (N,) whether the inner cells are of one colour.
    """

    cells: Rows
    centre: Rows
    own: Rows
    plain: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, thumbnails: Sequence[Thumbnail]) -> _CoarseGrids:
        """What is compared, of some images at a time: the copies on the way are larger than what is kept."""
        parts = [_compared(np.stack(thumbnails[at : at + AT_ONCE])) for at in range(0, len(thumbnails), AT_ONCE)]
        cells, centre, own, plain = (np.concatenate(column) for column in zip(*parts, strict=True))
        return cls(cells, centre, own, plain)

    def alike(self, begin: int) -> dict[int, list[int]]:
        """For each of `AT_ONCE` images from `begin` on those of all images that may be its near-duplicates, rising."""
        rows, found = slice(begin, begin + AT_ONCE), defaultdict[int, list[int]](list)
        moved = [_inner(self.cells[rows], down, right) for down in range(3) for right in range(3)]
        best, other = np.empty((2, len(self.own[rows]), AGAINST), np.float32)
        for start in range(0, len(self.own), AGAINST):  # of a size that stays in the processor's cache
            those = slice(start, start + AGAINST)
            centre = self.centre[those].T
            most, product = best[:, : centre.shape[1]], other[:, : centre.shape[1]]
            most.fill(-1)
            for pictures in moved:
                np.matmul(pictures, centre, out=product)
                np.maximum(most, product, out=most)
            near = np.greater_equal(most, np.maximum(self.own[rows, None], self.own[those]) - ROUNDING)
            near |= self.plain[rows, None] & self.plain[those]
            for a, b in zip(*(axis.tolist() for axis in np.nonzero(near)), strict=True):
                found[begin + a].append(start + b)
        return found


def _compared(grids: Thumbnail) -> tuple[Rows, Rows, Rows, npt.NDArray[np.bool_]]:
    """The columns of `_CoarseGrids`, of grids (n, FINE, FINE)."""
    cells: Rows = grids.reshape(-1, CELLS, FINER, CELLS, FINER).mean((2, 4), np.float32)
    centre = _inner(cells, 1, 1)
    own: Rows = np.max([(centre * _inner(cells, *move)).sum(1) for move in _ONE_LEFT_RIGHT_UP_DOWN], axis=0)
    plain: npt.NDArray[np.bool_] = np.abs(centre).max(1) == 0
    return cells, centre, own, plain


def _inner(cells: Rows, down: int, right: int) -> Rows:
    """The inner cells of moved coarse grids as rows (N, (CELLS - 2)^2); of pictures of one colour 0."""
    rows = cells[:, down : down + CELLS - 2, right : right + CELLS - 2].reshape(len(cells), -1)
    plain = rows.std(1, keepdims=True) < LEAST_CONTRAST
    return np.where(plain, 0, _unit(rows)).astype(np.float32)


def _finely_alike(grids: Sequence[Thumbnail], a: int, others: Sequence[int]) -> list[int]:
    """Those of `others` that are near-duplicates of image `a`."""
    if not others:
        return []
    inner = FINE - 2 * FINER
    flat = [_flat(grids[at]) for at in (a, *others)]
    moved = sliding_window_view(flat[0], (inner, inner)).reshape(-1, inner * inner)  # every move of up to FINER cells
    centres = _unit(np.stack([picture[FINER:-FINER, FINER:-FINER].ravel() for picture in flat]))  # (1 + K, inner^2)
    own = np.array([_own(picture, inner) for picture in flat])
    best: Rows = (_unit(moved) @ centres[1:].T).max(0)  # (K,)
    return [b for b, like, least in zip(others, best, np.maximum(own[0], own[1:]), strict=True) if like >= least - ROUNDING]


def _flat(grid: Thumbnail) -> Rows:
    """A fine grid whose every place has one contrast: brightness against that around, over how much that varies; (FINE, FINE)."""
    blurred = cv2.GaussianBlur(grid.astype(np.float32), (0, 0), SHARP)
    against = blurred - cv2.GaussianBlur(blurred, (0, 0), AROUND)
    varies = np.sqrt(cv2.GaussianBlur(against**2, (0, 0), AROUND))
    return (against / np.maximum(varies, 2 * LEAST_CONTRAST)).astype(np.float32)


def _own(picture: Rows, inner: int) -> float:
    """How alike a picture is to itself, moved by `OWN_MOVE`; 1 is the same."""
    at = [
        (FINER, FINER),
        (FINER - OWN_MOVE, FINER),
        (FINER + OWN_MOVE, FINER),
        (FINER, FINER - OWN_MOVE),
        (FINER, FINER + OWN_MOVE),
    ]
    centre, *moved = _unit(np.stack([picture[y : y + inner, x : x + inner].ravel() for y, x in at]))
    return float(max(centre @ other for other in moved))


def _unit(rows: Rows) -> Rows:
    """Rows of mean 0 and length 1; 0 where all of a row is one value."""
    rows = rows - rows.mean(1, keepdims=True)
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)).astype(np.float32)
