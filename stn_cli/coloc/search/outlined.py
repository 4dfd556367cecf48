"""The deformable hypothesis on dense features, from end to end: windows, their outlines in pixels, and windows once more from the outlines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.coloc.scene import Scene
from stn_cli.coloc.search.dense import DenseResult, DenseSearch, believed, look_closely, with_halo
from stn_cli.coloc.search.layout import lay_out
from stn_cli.coloc.search.outline import Outlines, outline
from stn_cli.coloc.search.searched import Placed, SearchedSet
from stn_cli.coloc.search.settings import OUTLINE


@dataclass(frozen=True, slots=True)
class OutlinedSearch:
    """What was found on a network's features, in the images that the search looked at.

    Attributes:
        search: on the features.
        first: windows.
        outlines: of the objects in them, in pixels.
        last: windows once more, from the outlines.
        outlined: outlines the windows of a result.
        taken: (N, K, 4) boxes of objects that were found before, in every image of the set; None for the first.
    """

    search: DenseSearch
    first: DenseResult
    outlines: Outlines
    last: DenseResult
    outlined: Callable[[DenseResult], Outlines]
    taken: Tensor | None

    def boxes(self) -> Tensor:
        """The objects' boxes (n, 4): the mean of both rounds' outlines."""
        return (self.outlines.boxes + self.outlined(self.last).boxes) / 2

    def common(self) -> float:
        """How much the first windows have in common, see `DenseSearch.common`."""
        return self.search.common(self.first.boxes)


def search_outlined(seen: SearchedSet, taken: Tensor | None) -> OutlinedSearch:
    """Search for a deformable thing: windows of both variants, outlined, and once more from the outlines; the variant to believe.

    Args:
        seen: the set.
        taken: (N, K, 4) boxes of objects that were found before, where this one is not.

    Returns:
        The variant that is believed, with all of its rounds.
    """
    large = Scene.of(seen.large, seen.chosen, seen.device)
    pixels = seen.large.pixels[seen.chosen.numpy()]
    frames = [seen.large.frames[i] for i in seen.chosen.tolist()]

    def outlined(r: DenseResult) -> Outlines:
        seen.progress("outlines")
        return outline(pixels, frames, r.boxes, r.margins, r.rule.threshold, seen.config.workers or None)

    appearance = look_closely(seen.encoder, large, seen.config.imgsz)
    search = DenseSearch.of(appearance, large.rectangles, seen.sides, seen.held(taken))
    firsts = search.candidates()
    outlines = [outlined(first) for first in firsts]
    lasts = [search.again(o.masks > 0.5, first) for o, first in zip(outlines, firsts, strict=True)]
    chosen = believed(lasts)
    return OutlinedSearch(search, firsts[chosen], outlines[chosen], lasts[chosen], outlined, taken)


def label_all(seen: SearchedSet, found: OutlinedSearch, sample: Tensor) -> Placed:
    """Place the object in every image of the set: as found where the search looked, by its rules elsewhere.

    Args:
        seen: the set.
        found: what the search found.
        sample: (n, 4) boxes in the images that it looked at.

    Returns:
        Boxes (N, 4), and angles (N,) of zeros.
    """
    boxes = torch.zeros((len(seen.cache), 4), device=seen.device)
    boxes[seen.chosen] = sample
    rest = torch.ones(len(seen.cache), dtype=torch.bool).index_fill(0, seen.chosen, False).nonzero()[:, 0]
    for number, part in enumerate(rest.split(OUTLINE.images_at_once) if len(rest) else ()):
        seen.progress(f"labelled {number * OUTLINE.images_at_once} of {len(rest)}")
        boxes[part] = label_by_rules(seen, found, part)
    return boxes, boxes[:, 0] * 0


def label_by_rules(seen: SearchedSet, found: OutlinedSearch, index: Tensor) -> Tensor:
    """Boxes in images that the search did not look at, by its rules of windows: they come about as those of its own images did.

    Args:
        seen: the set.
        found: what the search found in its own images.
        index: (B,) which images.

    Returns:
        (B, 4) normalised letterbox boxes.
    """
    large = Scene.of(seen.large, index, seen.device)
    cells = look_closely(seen.encoder, large, seen.config.imgsz).cells
    layout = lay_out((cells.shape[-2], cells.shape[-1]), large.rectangles)
    layout.close(with_halo(None if found.taken is None else found.taken[index.to(found.taken.device)]))
    pixels, frames = seen.large.pixels[index.numpy()], [seen.large.frames[i] for i in index.tolist()]
    rounds = []
    for rule in (found.first.rule, found.last.rule):
        margins = rule.margins(cells)
        windows = rule.windows(margins, layout)
        rounds.append(outline(pixels, frames, windows, margins, rule.threshold, seen.config.workers or None).boxes)
    return torch.stack(rounds).mean(0)
