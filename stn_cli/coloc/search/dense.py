"""Search on a network's dense features, for a thing of any pose: which windows of all images are alike and unlike what lies beside them.

A mean-pooled embedding makes the triplet margin of a window the mean of its cells' margins, so that every window of every image is
judged from one map per image. From a first map each image takes the largest window that satisfies the margin, in closed form; the
windows say what is inside and what is not, from which the margins are computed anew; some rounds. The first map is how unlike a cell
is to the borders of all images: photographers leave background there. Which variant to believe is decided without truth, see `worth`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.coloc.scene import Scene
from stn_cli.coloc.search.discriminant import LinearMargin, Projection, likeness, unlikeness
from stn_cli.coloc.search.rule import CENTRE_PRIOR, FADED_PRIOR, SMOOTHING, WindowRule
from stn_cli.coloc.search.windows import (
    Layout,
    Sides,
    cells_of,
    choose_windows,
    contrast,
    contrast_beyond_place,
    exact_windows,
    inside_mask,
    lay_out,
    normalise_cells,
    otsu,
)
from stn_cli.encoders import Appearance, Encoder
from stn_cli.encoders.gradient_maps import blur

SCALES = (0.75, 1.125, 1.625)
"""Sides at which the search looks at images, in units of `imgsz`: what an object's parts look like, and what its whole does."""
PAD = 16
GRID = 24
"""Cells along a side of the search's maps."""
ROUNDS = 8
FIRST_ROUNDS = 3
HALO = 2.0
"""Cells around an object that is taken in which its own blurred margins would be found again."""
MEANS_GAIN = 1.3
"""How many times the discriminant's worth the mean difference must have to be believed."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to make margins.

    Attributes:
        name: for people.
        whiten: of the features, see `Projection`.
        shrinkage: of the discriminant; None is the mean difference.
        above: how far above Otsu's the threshold of the rounds lies, standard deviations of the margin map.
        last_above: the same, of the last windows.
    """

    name: str
    whiten: float
    shrinkage: float | None
    above: float
    last_above: float


VARIANTS = (Variant("means", 0.5, None, 0.0, 0.0), Variant("discriminant", 0.0, 1.0, 0.25, 0.1))
"""Half-whitened means find small things on plain ground, the discriminant finds things in scenes; there the threshold must rise, or the
ground that a thing stands on passes for a part of it."""


@dataclass(frozen=True, slots=True)
class DenseResult:
    """What a search on dense features found.

    Attributes:
        boxes: (N, 4) chosen windows, between the cells; normalised letterbox boxes.
        margins: (N, h, w) the last margin map.
        rule: that made the map, and makes windows of it.
        contrast: (mean margin inside - mean outside) in standard deviations, over the set.
        worth: what it was chosen by.
        variant: number of its variant.
        name: of its start and variant.
    """

    boxes: Tensor
    margins: Tensor
    rule: WindowRule
    contrast: float
    worth: float
    variant: int
    name: str


@dataclass(frozen=True, slots=True)
class DenseSearch:
    """A set's features, ready to be searched.

    Attributes:
        layout: of the set.
        projections: of the features, for each of `VARIANTS`.
        views: the features (N, h, w, d), projected by them.
        unlike: (N, h, w) how unlike a cell is to all images' borders.
        objectness: (N, h, w), or None.
        sides: smallest and largest allowed longer side of a window, shares of the letterbox.
    """

    layout: Layout
    projections: list[Projection]
    views: list[Tensor]
    unlike: Tensor
    objectness: Tensor | None
    sides: Sides

    @classmethod
    def of(cls, appearance: Appearance, rectangles: Tensor, sides: Sides = None, taken: Tensor | None = None) -> DenseSearch:
        """Project features and lay out the set.

        Args:
            appearance: of the set, from `look_closely`.
            rectangles: (N, 4) the images' outlines.
            sides: smallest and largest allowed longer side of a window, shares of the letterbox.
            taken: (N, K, 4) boxes of objects that were found before, where this one is not.
        """
        layout = lay_out((appearance.cells.shape[-2], appearance.cells.shape[-1]), rectangles)
        every = appearance.cells.movedim(1, -1)[layout.valid]
        layout.close(with_halo(taken))
        projections = [Projection.of(every, variant.whiten) for variant in VARIANTS]
        views = [projection(appearance.cells) for projection in projections]
        unlike = unlikeness(views[-1], layout, SMOOTHING)
        return cls(layout, projections, views, unlike, appearance.objectness, sides)

    def candidates(self) -> list[DenseResult]:
        """Of each variant the result that is worth most of all starts."""
        starts = list(self._starts())
        return [
            max((self.iterate(start, number, name) for name, start in starts), key=lambda r: r.worth)
            for number in range(len(VARIANTS))
        ]

    def _starts(self) -> Iterator[tuple[str, Tensor]]:
        yield "unlike borders", self.unlike
        if self.objectness is not None:
            yield "objectness", blur(self.objectness[:, None], SMOOTHING)[:, 0]

    def iterate(self, start: Tensor, variant: int, name: str = "") -> DenseResult:
        """Windows from margins, margins from windows, for some rounds.

        Args:
            start: (N, h, w) margin map of the first round.
            variant: number of the features and the discriminant.
            name: of the start.
        """
        margins = start
        for turn in range(ROUNDS):
            above = VARIANTS[variant].above if turn + 1 < ROUNDS else VARIANTS[variant].last_above
            boxes = self.windows(margins, CENTRE_PRIOR if turn < FIRST_ROUNDS else FADED_PRIOR, above)
            margin, margins = self.margins(inside_mask(boxes, self.layout.size), variant)
        return self._result(boxes, margin, margins, variant, f"{name}, {VARIANTS[variant].name}")

    def again(self, masks: Tensor, found: DenseResult) -> DenseResult:
        """One more round of a result, from masks (N, h, w) of the objects themselves instead of boxes around them."""
        margin, margins = self.margins(masks, found.variant)
        windows = self.windows(margins, FADED_PRIOR, VARIANTS[found.variant].last_above)
        return self._result(windows, margin, margins, found.variant, found.name)

    def outside(self, result: DenseResult, taken: Tensor) -> DenseResult:
        """The next best windows of a result, outside of boxes (N, K, 4) that are taken."""
        layout = Layout(self.layout.valid.clone(), self.layout.border.clone(), self.layout.off_centre)
        layout.close(with_halo(taken))
        closed = result.margins.masked_fill(~layout.valid, float(result.margins[self.layout.valid].min()))
        return replace(result, boxes=result.rule.windows(result.margins, layout), margins=closed)

    def threshold(self, margins: Tensor, above: float) -> Tensor:
        """Otsu's threshold of a margin map, raised by `above` standard deviations."""
        values = margins[self.layout.valid]
        return otsu(values) + above * values.std()

    def windows(self, margins: Tensor, prior: float, above: float) -> Tensor:
        """The largest window of each image that satisfies the margin, (N, 4) in cells."""
        spread = margins[self.layout.valid].std()
        return choose_windows(margins, self.layout, self.threshold(margins, above), spread, prior, self.sides)

    def margins(self, inside: Tensor, variant: int) -> tuple[LinearMargin, Tensor]:
        """The margin, given which cells are inside (N, h, w), and its map (N, h, w)."""
        z = self.views[variant]
        margin = LinearMargin.fit(z, inside, self.layout, VARIANTS[variant].shrinkage)
        return margin, margin.map(z, SMOOTHING)

    def _result(self, boxes: Tensor, margin: LinearMargin, margins: Tensor, variant: int, name: str) -> DenseResult:
        inside = inside_mask(boxes, self.layout.size)
        threshold = float(self.threshold(margins, VARIANTS[variant].last_above))
        spread = float(margins[self.layout.valid].std())
        rule = WindowRule(self.projections[variant], margin, threshold, spread, self.sides)
        exact = exact_windows(boxes, rule.score_map(margins, self.layout), self.sides)
        return DenseResult(
            normalise_cells(exact, self.layout.size),
            margins,
            rule,
            contrast(margins, inside, self.layout.valid),
            self.worth(margins, inside),
            variant,
            name,
        )

    def worth(self, margins: Tensor, inside: Tensor) -> float:
        """What variants are compared by: the margin's contrast beyond what place alone explains, times the contrast of unlikeness.

        The first is high for a part of the object too, the second for anything that is no background: whole objects are both.
        """
        own = contrast_beyond_place(margins, inside, self.layout.valid)
        return max(0.0, own) * max(0.0, contrast(self.unlike, inside, self.layout.valid))

    def common(self, boxes: Tensor) -> float:
        """How much the windows (N, 4) have in common: the likeness of the middle one of them to the rest, see `likeness`.

        Measured on the development sets: 0.41 (cats) to 0.87 (one clamp in every image); 0.25 to 0.34 on mixtures of three to eight of them.
        """
        inside = cells_of(boxes, self.layout.size) & self.layout.valid
        outside = self.layout.valid & ~inside
        z = self.views[-1]
        p, r = (torch.einsum("nhwd,nhw->nd", z, m.to(z)) / m.sum((1, 2))[:, None].clamp(min=1) for m in (inside, outside))
        return float(likeness(p - r, p - r).median())


def believed(results: list[DenseResult]) -> int:
    """The number of the variant to believe.

    Args:
        results: of each variant, after the round from outlines: windows that hold an object's ground too gain little by it.
    """
    means, discriminant = results
    return means.variant if means.worth > MEANS_GAIN * discriminant.worth else discriminant.variant


def with_halo(taken: Tensor | None) -> Tensor | None:
    """Boxes (N, K, 4) that are taken, and what lies around them."""
    if taken is None:
        return None
    reach = HALO * 2 / GRID
    return taken + taken.new_tensor([-reach, -reach, reach, reach])


def look_closely(encoder: Encoder, scene: Scene, imgsz: int, chunk: int = 32) -> Appearance:
    """What the cells of images look like at several scales: (N, C x scales, GRID, GRID)."""
    parts = []
    for images in scene.images.split(chunk):
        cells, odds = [], []
        for scale in SCALES:
            side = max(32, round(imgsz * scale / 16) * 16)
            shrinks = side < images.shape[-1]
            resized = F.interpolate(images, (side, side), mode="bilinear", antialias=shrinks, align_corners=False)
            seen = encoder.appearance(resized, PAD)
            cells.append(_to_grid(seen.cells))
            if seen.objectness is not None:
                odds.append(_to_grid(seen.objectness[:, None])[:, 0])
        parts.append(Appearance(torch.cat(cells, 1), torch.stack(odds).mean(0) if odds else None))
    return Appearance.join(parts)


def _to_grid(maps: Tensor) -> Tensor:
    return F.interpolate(maps, (GRID, GRID), mode="bilinear", antialias=maps.shape[-1] > GRID, align_corners=False)
