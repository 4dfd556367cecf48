"""The images that a search looks at among all of a set; dense features of their larger pictures, and labels of all the others by them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.coloc.scene import Scene
from stn_cli.coloc.search.dense import DenseResult, DenseSearch, believed, look_closely, with_halo
from stn_cli.coloc.search.outline import Outlines, outline
from stn_cli.coloc.search.rigid import LADDER, TURNS, UPRIGHT
from stn_cli.coloc.search.windows import lay_out
from stn_cli.encoders import Encoder
from stn_cli.media.cache import Cache
from stn_cli.runs.config import TrainConfig
from stn_cli.stn import by_name


@dataclass(slots=True)
class SearchedSet:
    """What a search works on: the whole set, and the images of it that the search looks at."""

    cache: Cache
    large: Cache
    encoder: Encoder
    config: TrainConfig
    device: torch.device
    chosen: Tensor
    scene: Scene
    progress: Callable[[str], None]

    @property
    def sides(self) -> tuple[float, float] | None:
        """The sides that were asked for."""
        return None if self.config.size == (0.0, 0.0) else self.config.size

    @property
    def ladder(self) -> tuple[float, ...]:
        """Sides that are tried: with a cascade also smaller ones, for the angles only every second."""
        step = LADDER[1] / LADDER[0]
        count = round(math.log(2) / math.log(step)) * (self.config.cascade - 1)
        smaller = tuple(LADDER[0] / step**i for i in range(count, 0, -1))
        whole = smaller + LADDER
        return whole if self.angles == UPRIGHT else whole[::2]

    @property
    def angles(self) -> tuple[float, ...]:
        """Angles that are tried: all around where the transformation turns."""
        return UPRIGHT if by_name(self.config.transform).angle is None else TURNS


@dataclass(frozen=True, slots=True)
class CloseSearch:
    """What was found on a network's features.

    Attributes:
        search: on the set's features.
        first: windows.
        outlines: of the objects in them, in pixels.
        last: windows once more, from the outlines.
        outlined: outlines the windows of a result.
    """

    search: DenseSearch
    first: DenseResult
    outlines: Outlines
    last: DenseResult
    outlined: Callable[[DenseResult], Outlines]


def search_closely(seen: SearchedSet, held: Tensor | None) -> CloseSearch:
    """Windows of both variants, outlined, and once more from the outlines: the one to believe."""
    large = Scene.of(seen.large, seen.chosen, seen.device)
    pixels = seen.large.pixels[seen.chosen.numpy()]
    frames = [seen.large.frames[i] for i in seen.chosen.tolist()]

    def outlined(r: DenseResult) -> Outlines:
        seen.progress("outlines")
        return outline(pixels, frames, r.boxes, r.margins, r.rule.threshold, seen.config.workers or None)

    search = DenseSearch.of(look_closely(seen.encoder, large, seen.config.imgsz), large.rectangles, seen.sides, held)
    firsts = search.candidates()
    outlines = [outlined(first) for first in firsts]
    lasts = [search.again(o.masks > 0.5, first) for o, first in zip(outlines, firsts, strict=True)]
    chosen = believed(lasts)
    return CloseSearch(search, firsts[chosen], outlines[chosen], lasts[chosen], outlined)


def label_closely(seen: SearchedSet, dense: CloseSearch, index: Tensor, taken: Tensor | None, out_of: Tensor | None) -> Tensor:
    """Boxes (B, 4) in images that the search did not look at, by its rules: as those of its own images came about.

    Args:
        seen: the set.
        dense: what was found in the images that the search looked at.
        index: (B,) which images.
        taken: (N, K, 4) boxes of objects that were found before the kind.
        out_of: (N, K, 4) the same, where the kind's next best windows are wanted.
    """
    large = Scene.of(seen.large, index, seen.device)
    cells = look_closely(seen.encoder, large, seen.config.imgsz).cells
    layout = lay_out((cells.shape[-2], cells.shape[-1]), large.rectangles)
    for boxes in (taken, out_of):
        layout.close(with_halo(None if boxes is None else boxes[index.to(boxes.device)]))
    pixels, frames = seen.large.pixels[index.numpy()], [seen.large.frames[i] for i in index.tolist()]
    found = []
    for rule in (dense.first.rule, dense.last.rule) if out_of is None else (dense.last.rule,):
        margins = rule.margins(cells)
        windows = rule.windows(margins, layout)
        if out_of is not None:
            margins = margins.masked_fill(~layout.valid, float(margins.min()))
        found.append(outline(pixels, frames, windows, margins, rule.threshold, seen.config.workers or None).boxes)
    return torch.stack(found).mean(0)
