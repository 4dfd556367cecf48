"""Which of many proposed boxes are objects of the common kind, each in a box of its own.

Four pieces of evidence are added up as log odds: that a box is of one whole object, of whatever class (`stn_cli.instances`); that the
score map is higher in it than around it, as it is neither for a part of an object nor for a piece of a group; that what it holds is like
what the set's crops hold; and that it agrees with the one window that the search, or later the transformer, would choose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from stn_cli.coloc.crops import Crops
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.changes import Changes, changes_in
from stn_cli.coloc.score.dense import DenseScorer
from stn_cli.coloc.score.maps import mean_inside
from stn_cli.coloc.score.settings import OBJECTS, UNTAUGHT, Evidence
from stn_cli.coloc.search.background import Background
from stn_cli.geometry import box_iou
from stn_cli.instances.proposer import Proposed
from stn_cli.runtime.suppression import nms


def candidates(
    proposer: Callable[[Tensor, Tensor, int], Proposed],
    scorer: DenseScorer,
    background: Background | None,
    scene: Scene,
    closely: Scene,
    windows: Tensor,
    evidence: Evidence,
) -> Proposed:
    """What could be objects of a kind in a batch of images: the window, what differs from a background, and what is proposed.

    Args:
        proposer: of whole objects: images, their outlines and how many boxes are wanted of each -> boxes; see `Proposer`.
        scorer: of the kind.
        background: of fixed cameras; None where the set was of none.
        scene: B images as the scorer looks at them.
        closely: the same images as the proposer does.
        windows: (B, 4) the one window that would be chosen in each image.
        evidence: what counts beside the proposer's own odds.

    Returns:
        Boxes, the window first, and the log odds that they are objects of the kind.
    """
    changes = changes_in(background, closely)
    proposed = with_windows(proposer(closely.images, closely.rectangles, OBJECTS.proposals), windows, changes)
    return replace(proposed, odds=object_odds(proposed, scorer, scene, windows, changes, evidence))


def with_windows(proposed: Proposed, windows: Tensor, changes: Changes | None) -> Proposed:
    """Add the one window of each image, and regions that differ from a background, to what is proposed.

    Each is as likely a whole object as the proposals that it agrees with, and looks like the one that it agrees with most.

    Args:
        proposed: M boxes of each of B images.
        windows: (B, 4) normalised letterbox boxes.
        changes: what differs; None where there is no background.

    Returns:
        At least 1 + M boxes, the window first.
    """
    more, there = windows[:, None], torch.ones_like(windows[:, :1], dtype=torch.bool)
    if changes is not None:
        more, there = torch.cat([more, changes.boxes.to(more)], 1), torch.cat([there, changes.there], 1)
    alike = box_iou(more[:, :, None], proposed.boxes[:, None]) * proposed.odds.sigmoid()[:, None]
    own = alike.amax(2) if alike.shape[2] else alike.new_zeros(more.shape[:2])
    odds = own.logit(OBJECTS.least_fit).masked_fill(~there, -torch.inf)
    looks = proposed.looks
    if looks is not None:
        theirs = (
            looks.take_along_dim(alike.argmax(2)[..., None], 1)
            if alike.shape[2]
            else looks.new_zeros(*own.shape, looks.shape[2])
        )
        looks = torch.cat([theirs, looks], 1)
    means = None if proposed.means is None else torch.cat([more, proposed.means], 1)
    return Proposed(torch.cat([more, proposed.boxes], 1), torch.cat([odds, proposed.odds], 1), looks, means)


def object_odds(
    proposed: Proposed, scorer: DenseScorer, scene: Scene, windows: Tensor, changes: Changes | None, evidence: Evidence
) -> Tensor:
    """Log odds that boxes are objects of the common kind.

    Args:
        proposed: M boxes of each of B images.
        scorer: of the kind.
        scene: the images as the scorer looks at them.
        windows: (B, 4) the one window that would be chosen in each image.
        changes: what differs from a background: before one that is known, window and likeness are the place's, and are not asked.
        evidence: what counts beside the proposer's own odds.

    Returns:
        (B, M).
    """
    crops = Crops.of_boxes(proposed.boxes)
    alike = scorer.alike(scene, crops).clamp(min=OBJECTS.least_alike).log()
    agree = box_iou(windows[:, None], proposed.boxes)
    out = proposed.odds + evidence.sum(_contrast(scorer.seen(scene)[1], crops), alike, agree)
    if changes is None:
        return out
    usual, nothing = torch.full_like(alike, OBJECTS.usual_alike), torch.zeros_like(agree)
    before_it = proposed.odds + UNTAUGHT.sum(_contrast(changes.score_map.to(out), crops), usual, nothing)
    return torch.where(changes.known[:, None], before_it, out)


def _contrast(score_map: Tensor, crops: Crops) -> Tensor:
    """By how much a map (B, h, w) is higher inside crops (B, M) than around them."""
    zoom = OBJECTS.ring
    inside, whole = (mean_inside(score_map[:, None], crops, OBJECTS.probes, z)[..., 0] for z in (1.0, zoom))
    return inside - (whole * zoom**2 - inside) / (zoom**2 - 1)


def separate(boxes: Tensor, odds: Tensor, most: int, least: float) -> tuple[Tensor, Tensor]:
    """The best boxes that do not lie on a better one.

    Args:
        boxes: (B, M, 4).
        odds: (B, M) log odds; -inf where there is no box.
        most: boxes of an image.
        least: score that all but the best one must have.

    Returns:
        Their numbers (B, R), best first, and (B, R) whether there is one; R is the largest count of an image, at least 1.
    """
    kept = []
    for own, score in zip(boxes, odds.sigmoid(), strict=True):
        some = (score >= torch.clamp(score.max(), max=least)).nonzero()[:, 0]
        kept.append(some[nms(own[some], score[some], OBJECTS.apart)][:most])
    count = max([1, *map(len, kept)])
    index = torch.zeros((len(boxes), count), dtype=torch.long, device=boxes.device)
    there = torch.zeros((len(boxes), count), dtype=torch.bool, device=boxes.device)
    for i, own in enumerate(kept):
        index[i, : len(own)], there[i, : len(own)] = own, True
    return index, there
