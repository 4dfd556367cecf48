"""Search on a network's dense features, for a thing of any pose: which windows of all images are alike and unlike what lies beside them.

A mean-pooled embedding makes the triplet margin of a window the mean of its cells' margins, so that every window of every image is
judged from one map per image. From a first map each image takes the largest window that satisfies the margin, in closed form; the
windows say what is inside and what is not, from which the margins are computed anew; some rounds. Which variant to believe is decided
by the objective, without truth: see `worth`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.coloc.encoders import Appearance, Encoder
from stn_cli.coloc.features import blur
from stn_cli.coloc.linear import LinearMargin, Projection
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.windows import (
    Layout,
    Sides,
    choose_windows,
    contrast,
    criterion,
    inside_mask,
    lay_out,
    normalise_cells,
    otsu,
)

SCALES = (0.46, 0.7, 1.0)
"""Sizes at which the search looks at the canvases: what an object's parts look like, and what its whole does."""
GRID = 24
"""Cells along a side of the search's maps."""
ROUNDS = 8
FIRST_ROUNDS = 3
CENTRE_PRIOR, FADED_PRIOR = 0.3, 0.1
"""What the centre is favoured by in the first rounds and afterwards, standard deviations of the margin map."""
SMOOTHING = 0.7
COMPONENTS = 4
VARIANTS: tuple[tuple[float, float | None], ...] = ((0.5, None), (0.0, 0.1), (0.0, 1.0))
"""(whitening, shrinkage): mean differences of half-whitened features, and discriminants."""


@dataclass(frozen=True, slots=True)
class DenseResult:
    """What a search on dense features found.

    Attributes:
        boxes: (N, 4) chosen windows, normalised canvas boxes.
        contrast: (mean margin inside - mean outside) in standard deviations, over the set.
        worth: what it was chosen by.
        start: the first map's name.
    """

    boxes: Tensor
    contrast: float
    worth: float
    start: str


def look_closely(encoder: Encoder, scene: Scene, chunk: int = 32) -> Appearance:
    """What the cells of images look like at several scales: (N, C x scales, GRID, GRID)."""
    parts = []
    for images in scene.images.split(chunk):
        cells, odds = [], []
        for scale in SCALES:
            side = max(32, round(images.shape[-1] * scale / 16) * 16)
            resized = F.interpolate(images, (side, side), mode="bilinear", antialias=True, align_corners=False)
            seen = encoder.appearance(resized)
            cells.append(_to_grid(seen.cells))
            if seen.objectness is not None:
                odds.append(_to_grid(seen.objectness[:, None])[:, 0])
        parts.append(Appearance(torch.cat(cells, 1), torch.stack(odds).mean(0) if odds else None))
    return Appearance.join(parts)


def _to_grid(maps: Tensor) -> Tensor:
    return F.interpolate(maps, (GRID, GRID), mode="bilinear", antialias=maps.shape[-1] > GRID, align_corners=False)


def search_dense(
    appearance: Appearance, rectangles: Tensor, *, sides: Sides = None, taken: Tensor | None = None
) -> DenseResult:
    """Search from several starts; the one that is worth most is kept.

    Args:
        appearance: of the set, from `look_closely`.
        rectangles: (N, 4) the images' outlines.
        sides: smallest and largest allowed longer side of a window, shares of the canvas.
        taken: (N, K, 4) boxes of objects that were found before, where this one is not.
    """
    layout = lay_out((appearance.cells.shape[-2], appearance.cells.shape[-1]), rectangles)
    layout.close(taken)
    every = appearance.cells.movedim(1, -1)[layout.valid]
    views = [(Projection.of(every, whiten)(appearance.cells), shrinkage) for whiten, shrinkage in VARIANTS]
    best: DenseResult | None = None
    for name, start in _starts(views[-1][0], appearance.objectness, layout):
        for z, shrinkage in views:
            found = iterate(z, layout, start, shrinkage, sides, name)
            if best is None or found.worth > best.worth:
                best = found
    assert best is not None
    return best


def _starts(z: Tensor, objectness: Tensor | None, layout: Layout) -> Iterator[tuple[str, Tensor]]:
    yield "centre", -2 * layout.off_centre
    if objectness is not None:
        yield "objectness", blur(objectness[:, None], SMOOTHING)[:, 0]
    for k in range(min(COMPONENTS, z.shape[-1])):
        component = blur(z[..., k][:, None], SMOOTHING)[:, 0]
        yield f"component {k + 1}", component
        yield f"component -{k + 1}", -component


def iterate(z: Tensor, layout: Layout, start: Tensor, shrinkage: float | None, sides: Sides, name: str = "") -> DenseResult:
    """Windows from margins, margins from windows, for some rounds.

    Args:
        z: (N, h, w, d) projected cells.
        layout: of the set.
        start: (N, h, w) margin map of the first round.
        shrinkage: of the discriminant.
        sides: as for `search_dense`.
        name: of the start.
    """
    margins = start
    for turn in range(ROUNDS):
        values = margins[layout.valid]
        boxes = choose_windows(
            margins, layout, otsu(values), values.std(), CENTRE_PRIOR if turn < FIRST_ROUNDS else FADED_PRIOR, sides
        )
        inside = inside_mask(boxes, layout.size)
        margins = LinearMargin.fit(z, inside, layout, shrinkage).map(z, SMOOTHING)
    seen = contrast(margins, inside, layout.valid)
    covered = (layout.border & inside).sum((1, 2)) / layout.border.sum((1, 2)).clamp(min=1)
    return DenseResult(normalise_cells(boxes, layout.size), seen, criterion(seen, float(covered.mean())), name)
