"""The deformable hypothesis on dense features, from end to end: windows, and their outlines in pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.coloc.scene import Scene
from stn_cli.coloc.search.dense import DenseResult, DenseSearch, believed, look_closely, with_halo
from stn_cli.coloc.search.layout import lay_out
from stn_cli.coloc.search.outline import outline
from stn_cli.coloc.search.searched import Placed, SearchedSet
from stn_cli.coloc.search.settings import OUTLINE
from stn_cli.coloc.search.window_rule import WindowRule
from stn_cli.runtime.memory import hand_back


@dataclass(frozen=True, slots=True)
class OutlinedSearch:
    """What was found on a network's features, in the images that the search looked at.

    Attributes:
        search: on the features.
        windows: of the variant that is believed.
        boxes: (n, 4) of the outlines of the objects in them.
        taken: (N, K, 4) boxes of objects that were found before, in every image of the set; None for the first.
    """

    search: DenseSearch
    windows: DenseResult
    boxes: Tensor
    taken: Tensor | None

    def common(self) -> float:
        """How much the windows have in common, see `DenseSearch.common`."""
        return self.search.common(self.windows.boxes)


def search_outlined(seen: SearchedSet, taken: Tensor | None) -> OutlinedSearch:
    """Search for a deformable thing: windows of the variant that is believed, outlined.

    Args:
        seen: the set.
        taken: (N, K, 4) boxes of objects that were found before, where this one is not.

    Returns:
        What was found in the images that the search looks at.
    """
    large = Scene.of(seen.large, seen.chosen, seen.device)
    hand_back()
    appearance = look_closely(seen.encoder, large, seen.config.imgsz)
    hand_back()
    search = DenseSearch.of(appearance, large.rectangles, seen.sides, seen.held(taken))
    del appearance, large  # hundreds of megabytes that nobody reads any more
    candidates = search.candidates()
    found = candidates[believed(candidates)]
    seen.progress("outlines")
    return OutlinedSearch(search, found, _outlined(seen, seen.chosen, found.boxes, found.margins, found.rule), taken)


def _outlined(seen: SearchedSet, index: Tensor, windows: Tensor, margins: Tensor, rule: WindowRule) -> Tensor:
    """Boxes (B, 4) of the outlines of what windows (B, 4) hold in some images (B,)."""
    pixels, frames = seen.large.pixels[index.numpy()], [seen.large.frames[i] for i in index.tolist()]
    return outline(pixels, frames, windows, margins, rule.threshold, seen.config.workers or None)


def label_all(seen: SearchedSet, found: OutlinedSearch) -> Placed:
    """Place the object in every image of the set: as found where the search looked, by its rules elsewhere.

    Args:
        seen: the set.
        found: what the search found.

    Returns:
        Boxes (N, 4), and angles (N,) of zeros.
    """
    boxes = torch.zeros((len(seen.cache), 4), device=seen.device)
    boxes[seen.chosen] = found.boxes
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
    rule = found.windows.rule
    margins = rule.margins(cells)
    return _outlined(seen, index, rule.windows(margins, layout), margins, rule)
