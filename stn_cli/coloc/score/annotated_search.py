"""The search for objects where a person has annotated some images: these are the anchors, the rest is searched as before."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.coloc.annotations import Annotations
from stn_cli.coloc.scene import sample_indices
from stn_cli.coloc.score.dense import Anchors, DenseScorer
from stn_cli.coloc.score.object_search import ObjectSearch, as_shares, pictures_of, share_of, taught
from stn_cli.coloc.score.objects import separate
from stn_cli.coloc.score.settings import ANNOTATIONS, OBJECTS, TAUGHT
from stn_cli.coloc.search.background import Background
from stn_cli.coloc.search.discriminant import Projection
from stn_cli.coloc.search.searched import SearchedSet
from stn_cli.encoders import Appearance
from stn_cli.geometry import box_iou
from stn_cli.instances.labels import Labels
from stn_cli.instances.proposer import Proposer
from stn_cli.runs.config import MOST_OBJECTS


@dataclass(frozen=True, slots=True)
class FoundAnew:
    """What a search with annotations came to.

    Attributes:
        proposer: of whole objects, knows the annotations.
        scorer: likewise.
        boxes: (N, 4) the best object of each image; the annotated one where there is one.
        there: (N,) whether there is one.
    """

    proposer: Proposer
    scorer: DenseScorer
    boxes: Tensor
    there: Tensor


@dataclass(frozen=True, slots=True)
class AnnotatedSearch:
    """The search for whole objects of a kind of which some are known.

    Attributes:
        seen: the set; the annotated images are among those that it looks at.
        annotations: of the kind.
        appearance: what the encoder sees of the images that the search looks at.
        taken: (N, K, 4) boxes of objects of other kinds; None of the first kind.
        background: of the set; None where it is not of fixed cameras.
        projection: of the encoder's cells; that of the set when None.
        known: whether the proposer that is begun with knows the kind already: a single image must not make it forget all others.
    """

    seen: SearchedSet
    annotations: Annotations
    appearance: Appearance
    taken: Tensor | None
    background: Background | None
    projection: Projection | None = None
    known: bool = True

    def find(self, proposer: Proposer, windows: Tensor) -> FoundAnew:
        """Learn from annotations, and choose the best object of each image.

        Args:
            proposer: of whole objects, of any class or of this kind.
            windows: (N, 4) the one window that was found in each image, normalised letterbox boxes.

        Returns:
            What came of it.
        """
        proposer, scorer = self.learn_all(proposer, windows)
        found = self.search(scorer, windows).candidates(proposer, torch.arange(len(self.seen.cache)), TAUGHT)
        rows = torch.arange(len(found.odds), device=found.odds.device)
        best = found.drawn[rows, found.odds.argmax(1)]
        return FoundAnew(proposer, self.scorer(best), *self.placed(best))

    def learn_all(self, proposer: Proposer, windows: Tensor) -> tuple[Proposer, DenseScorer]:
        """A proposer and a scorer that know the annotations.

        Args:
            proposer, windows: as for `find`.

        Returns:
            Both.
        """
        scorer = self.scorer(windows)
        steps = ANNOTATIONS.steps * share_of(self.seen.config.steps)
        if self.known:
            steps = min(steps, ANNOTATIONS.steps_each * len(self.annotations))
        proposer = self.learn(proposer, math.ceil(steps))
        return self.calibrated(proposer, scorer, windows), scorer

    def search(self, scorer: DenseScorer, windows: Tensor) -> ObjectSearch:
        """The search among proposals with a scorer."""
        return ObjectSearch(self.seen, scorer, windows, self.taken, self.background)

    def scorer(self, boxes: Tensor) -> DenseScorer:
        """The scorer of the annotations, and of boxes (N, 4) that were found in the other images."""
        seen = self.seen
        place = {number: row for row, number in enumerate(seen.chosen.tolist())}
        known, wrong = (
            {place[i]: of for i, of in which.items()} for which in (self.annotations.boxes, self.annotations.rejected)
        )
        anchors = Anchors(known, wrong, ANNOTATIONS.share)
        return DenseScorer.of(
            seen.encoder, self.appearance, seen.scene.rectangles, boxes[seen.chosen], anchors, self.projection
        )

    def learn(self, proposer: Proposer, steps: int) -> Proposer:
        """A proposer that has learnt the annotated images: their boxes, and that the rest of them is none.

        Args:
            proposer: to begin with; left as it is.
            steps: of the optimiser.

        Returns:
            The proposer.
        """
        labels = []
        for i, boxes in self.annotations.boxes.items():
            own = as_shares(self.seen, torch.tensor([i]), boxes[None])[0]
            labels.append(Labels(own, torch.ones(len(own)), torch.ones(len(own), dtype=torch.bool)))
        images = pictures_of(self.seen, torch.tensor(list(self.annotations.boxes)))
        return taught(self.seen, proposer, images, labels, steps)

    def calibrated(self, proposer: Proposer, scorer: DenseScorer, windows: Tensor) -> Proposer:
        """A proposer whose odds are as often right, in annotated images, as they say.

        Args:
            proposer: that has learnt them; it is changed.
            scorer: likewise.
            windows: (N, 4) the one window that was found in each image.

        Returns:
            The proposer.
        """
        index = torch.tensor(sorted(self.annotations.boxes))
        index = index[sample_indices(len(index), ANNOTATIONS.calibrated, self.seen.config.seed)]
        found = self.search(scorer, windows).candidates(proposer, index, TAUGHT)
        chosen, there = separate(found.boxes, found.odds, MOST_OBJECTS, OBJECTS.least)
        odds, right = list[Tensor](), list[Tensor]()
        for row, i in enumerate(index.tolist()):
            own = chosen[row][there[row]]
            odds.append(found.odds[row, own].cpu())
            right.append(torch.tensor(matched(found.drawn[row, own].cpu(), self.annotations.boxes[i]), dtype=torch.bool))
        proposer.shift(offset_of(torch.cat(odds), torch.cat(right)))
        return proposer

    def placed(self, found: Tensor) -> tuple[Tensor, Tensor]:
        """One object of each image: the annotated one, the one that is nearest to what was found; elsewhere what was found.

        Args:
            found: (N, 4).

        Returns:
            Boxes (N, 4), and (N,) whether there is an object.
        """
        boxes, there = found.clone(), torch.ones(len(found), dtype=torch.bool, device=found.device)
        for i, known in self.annotations.boxes.items():
            there[i] = bool(len(known))
            if len(known):
                own = known.to(found.device)
                boxes[i] = own[box_iou(own, found[i][None]).argmax()]
        return boxes, there


def matched(boxes: Tensor, known: Tensor) -> list[bool]:
    """Which boxes, best first, are one of the known ones, each of which is taken once.

    Args:
        boxes: (M, 4), best first.
        known: (K, 4).

    Returns:
        M answers.
    """
    if not len(known):
        return [False] * len(boxes)
    taken, out = set[int](), list[bool]()
    for row in box_iou(boxes[:, None], known[None]):
        best = int(row.argmax())
        out.append(bool(row[best] > ANNOTATIONS.right) and best not in taken)
        if out[-1]:
            taken.add(best)
    return out


def offset_of(odds: Tensor, right: Tensor) -> float:
    """What is to be added to log odds so that they are right as often as they say; near 0 where few are known.

    Args:
        odds: (M,) log odds.
        right: (M,) whether each is right.

    Returns:
        The most likely offset, which is normally distributed about 0 before anything is known.

    >>> round(offset_of(torch.full((1000,), 2.0), torch.arange(1000) < 500), 2)
    -1.99
    """
    x, y, offset = odds.cpu().double(), right.cpu().double(), 0.0
    for _ in range(ANNOTATIONS.rounds):
        p = torch.sigmoid(x + offset)
        slope = float((p - y).sum()) + offset / ANNOTATIONS.spread**2
        step = slope / (float((p * (1 - p)).sum()) + ANNOTATIONS.spread**-2)
        offset -= max(-1.0, min(1.0, step))  # far off, where odds are all alike, Newton's own steps are too long
    return offset
