"""Search for a deformable thing on a network's dense features: windows that are alike in all images, and unlike what lies beside them.

A mean-pooled embedding makes the triplet margin of a window the mean of its cells' margins, so that every window of every image is
scored from one map per image. From a first map each image takes the largest window that satisfies the margin, in closed form; the
windows say what is inside and what is not, from which the margins are computed anew; some rounds. The first map is how unlike a cell
is to the borders of all images: photographers leave background there. Which variant to believe is decided without truth, see `worth`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.coloc.scene import Scene
from stn_cli.coloc.search.discriminant import LinearMargin, Projection, likeness, unlikeness
from stn_cli.coloc.search.layout import Layout, cells_of, inside_mask, lay_out, normalise_cells
from stn_cli.coloc.search.settings import DENSE
from stn_cli.coloc.search.statistics import contrast_beyond_place, contrast_of, otsu
from stn_cli.coloc.search.window_rule import WindowRule
from stn_cli.coloc.search.windows import Sides, alternate, choose_windows, exact_windows
from stn_cli.encoders import Appearance, Encoder
from stn_cli.encoders.gradient_maps import blur


@dataclass(frozen=True, slots=True)
class DenseResult:
    """What a search on dense features found.

    Attributes:
        boxes: (N, 4) chosen windows, between the cells; normalised letterbox boxes.
        margins: (N, h, w) the last score map.
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
        projections: of the features, for each of `DENSE.variants`.
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
        projections = Projection.several(every, [variant.whiten for variant in DENSE.variants])
        del every  # as large as the features
        views = [projection(appearance.cells) for projection in projections]
        unlike = unlikeness(views[-1], layout, DENSE.smoothing)
        return cls(layout, projections, views, unlike, appearance.objectness, sides)

    def candidates(self) -> list[DenseResult]:
        """Iterate from every start with every variant.

        Returns:
            Of each variant the result that is worth most.
        """
        starts = list(self._starts())
        return [
            max((self.iterate(start, number, name) for name, start in starts), key=lambda r: r.worth)
            for number in range(len(DENSE.variants))
        ]

    def _starts(self) -> Iterator[tuple[str, Tensor]]:
        yield "unlike borders", self.unlike
        if self.objectness is not None:
            yield "objectness", blur(self.objectness[:, None], DENSE.smoothing)[:, 0]

    def iterate(self, start: Tensor, variant: int, name: str = "") -> DenseResult:
        """Windows from margins, margins from windows, for some rounds.

        Args:
            start: (N, h, w) score map of the first round.
            variant: number of the features and the discriminant.
            name: of the start.
        """

        def place(margins: Tensor, turn: int) -> Tensor:
            above = DENSE.variants[variant].above if turn + 1 < DENSE.rounds else DENSE.variants[variant].last_above
            return self.windows(margins, DENSE.centre_prior if turn < DENSE.first_rounds else DENSE.faded_prior, above)

        def learn(boxes: Tensor, _: int) -> tuple[LinearMargin, Tensor]:
            return self.margins(inside_mask(boxes, self.layout.size), variant)

        boxes, margin, margins = alternate(start, DENSE.rounds, place, learn)
        return self._result(boxes, margin, margins, variant, f"{name}, {DENSE.variants[variant].name}")

    def threshold(self, margins: Tensor, above: float) -> Tensor:
        """Otsu's threshold of a score map (N, h, w), raised by `above` standard deviations: a scalar."""
        values = margins[self.layout.valid]
        return otsu(values) + above * values.std()

    def windows(self, margins: Tensor, prior: float, above: float) -> Tensor:
        """The largest window of each image that satisfies the margin.

        Args:
            margins: (N, h, w).
            prior: what the centre is favoured by, standard deviations of the map at the middle of a side.
            above: how far above Otsu's the threshold lies, standard deviations of the map.

        Returns:
            (N, 4) in cells.
        """
        spread = margins[self.layout.valid].std()
        return choose_windows(margins, self.layout, self.threshold(margins, above), spread, prior, self.sides)

    def margins(self, inside: Tensor, variant: int) -> tuple[LinearMargin, Tensor]:
        """Learn the margin from what is inside.

        Args:
            inside: (N, h, w) which cells are.
            variant: number of the features and the discriminant.

        Returns:
            The margin, and its map (N, h, w).
        """
        z = self.views[variant]
        margin = LinearMargin.fit(z, inside, self.layout, DENSE.variants[variant].shrinkage)
        return margin, margin.map(z, DENSE.smoothing)

    def _result(self, boxes: Tensor, margin: LinearMargin, margins: Tensor, variant: int, name: str) -> DenseResult:
        inside = inside_mask(boxes, self.layout.size)
        threshold = float(self.threshold(margins, DENSE.variants[variant].last_above))
        spread = float(margins[self.layout.valid].std())
        rule = WindowRule(self.projections[variant], margin, threshold, spread, self.sides)
        exact = exact_windows(boxes, rule.score_map(margins, self.layout), self.sides)
        return DenseResult(
            normalise_cells(exact, self.layout.size),
            margins,
            rule,
            contrast_of(margins, inside, self.layout.valid),
            self.worth(margins, inside),
            variant,
            name,
        )

    def worth(self, margins: Tensor, inside: Tensor) -> float:
        """What variants are compared by: the margin's contrast beyond what place alone explains, times the contrast of unlikeness.

        The first is high for a part of the object too, the second for anything that is no background: whole objects are both.

        Args:
            margins: (N, h, w).
            inside: (N, h, w) which cells are in the windows.
        """
        own = contrast_beyond_place(margins, inside, self.layout.valid)
        return max(0.0, own) * max(0.0, contrast_of(self.unlike, inside, self.layout.valid))

    def common(self, boxes: Tensor) -> float:
        """How much the windows have in common: the likeness of the middle one of them to the rest, see `likeness`.

        Measured on the development sets: 0.41 (cats) to 0.87 (one clamp in every image); 0.25 to 0.34 on mixtures of three to eight of them.

        Args:
            boxes: (N, 4) normalised letterbox boxes.
        """
        inside = cells_of(boxes, self.layout.size) & self.layout.valid
        outside = self.layout.valid & ~inside
        z = self.views[-1]
        p, r = (torch.einsum("nhwd,nhw->nd", z, m.to(z)) / m.sum((1, 2))[:, None].clamp(min=1) for m in (inside, outside))
        return float(likeness(p - r, p - r).median())


def believed(results: list[DenseResult]) -> int:
    """Which variant to believe.

    Args:
        results: of each variant.

    Returns:
        Its number.
    """
    means, discriminant = results
    return means.variant if means.worth > DENSE.means_gain * discriminant.worth else discriminant.variant


def with_halo(taken: Tensor | None) -> Tensor | None:
    """Boxes that are taken, and what lies around them, where the objects' own blurred margins would be found again.

    Args:
        taken: (N, K, 4) normalised letterbox boxes, or None.

    Returns:
        The same, larger on all sides.
    """
    if taken is None:
        return None
    reach = DENSE.halo * 2 / DENSE.cells
    return taken + taken.new_tensor([-reach, -reach, reach, reach])


def look_closely(encoder: Encoder, scene: Scene, imgsz: int, chunk: int = DENSE.images_at_once) -> Appearance:
    """What the cells of images look like at several scales.

    Args:
        encoder: a dense one.
        scene: N images.
        imgsz: the size that the transformer looks at, pixels; the scales are in units of it.
        chunk: images that are looked at at once.

    Returns:
        Cells (N, C x scales, h, w), h = w = `DENSE.cells`, and their objectness averaged over the scales.
    """
    every: Tensor | None = None
    objectness = list[Tensor]()
    for begin, images in zip(range(0, len(scene), chunk), scene.images.split(chunk), strict=True):
        cells, odds = [], []
        for scale in DENSE.scales:
            side = max(32, round(imgsz * scale / 16) * 16)
            shrinks = side < images.shape[-1]
            resized = F.interpolate(images, (side, side), mode="bilinear", antialias=shrinks, align_corners=False)
            seen = encoder.appearance(resized, DENSE.pad)
            cells.append(_to_grid(seen.cells))
            if seen.objectness is not None:
                odds.append(_to_grid(seen.objectness[:, None])[:, 0])
        if every is None:  # room for all: parts that are joined at the end would take twice as much
            every = cells[0].new_empty((len(scene), sum(own.shape[1] for own in cells), DENSE.cells, DENSE.cells))
        torch.cat(cells, 1, out=every[begin : begin + len(images)])
        objectness += [torch.stack(odds).mean(0)] if odds else []
    assert every is not None
    return Appearance(every, torch.cat(objectness) if objectness else None)


def _to_grid(maps: Tensor) -> Tensor:
    return F.interpolate(
        maps, (DENSE.cells, DENSE.cells), mode="bilinear", antialias=maps.shape[-1] > DENSE.cells, align_corners=False
    )
