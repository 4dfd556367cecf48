"""The rule of windows that a search on dense features learnt: it places windows in images that the search did not look at."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from stn_cli.coloc.search.discriminant import LinearMargin, Projection
from stn_cli.coloc.search.layout import Layout, normalise_cells
from stn_cli.coloc.search.settings import DENSE
from stn_cli.coloc.search.windows import Sides, exact_windows, largest_windows, score_map_of


@dataclass(frozen=True, slots=True)
class WindowRule:
    """From an image's cells to its window, by the statistics of the images that were searched.

    Attributes:
        projection: of the cells.
        margin: of the projected cells.
        threshold: of the score map, at which a cell counts for the object.
        spread: of the score map, its standard deviation.
        sides: smallest and largest allowed longer side of a window, shares of the letterbox.
    """

    projection: Projection
    margin: LinearMargin
    threshold: float
    spread: float
    sides: Sides

    def margins(self, cells: Tensor) -> Tensor:
        """The smoothed margin of each cell: (B, C, h, w) -> (B, h, w)."""
        return self.margin.map(self.projection(cells), DENSE.smoothing)

    def score_map(self, margins: Tensor, layout: Layout) -> Tensor:
        """What windows are chosen by.

        Args:
            margins: (B, h, w).
            layout: of these images.

        Returns:
            (B, h, w) standard deviations above the threshold, the centre favoured.
        """
        return score_map_of(margins, layout, self.threshold, self.spread, DENSE.faded_prior)

    def windows(self, margins: Tensor, layout: Layout) -> Tensor:
        """The largest window of each image that satisfies the margin, its sides between the cells.

        Args:
            margins: (B, h, w).
            layout: of these images.

        Returns:
            (B, 4) normalised letterbox boxes.
        """
        score_map = self.score_map(margins, layout)
        return normalise_cells(exact_windows(largest_windows(score_map, self.sides)[0], score_map, self.sides), layout.size)
