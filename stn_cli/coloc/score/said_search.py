"""The search for objects where a person said what some images hold: what was said are the anchors, the rest is searched as before."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stn_cli.coloc.said import Said
from stn_cli.coloc.scene import sample_indices
from stn_cli.coloc.score.dense import Anchors, DenseScorer
from stn_cli.coloc.score.object_search import ObjectSearch, as_shares, share_of, taught
from stn_cli.coloc.score.objects import separate
from stn_cli.coloc.score.settings import OBJECTS, SAID, TAUGHT, Evidence
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
    """What a search with what was said came to.

    Attributes:
        proposer: of whole objects, knows what was said.
        scorer: likewise.
        boxes: (N, 4) the best object of each image; what was said where something was.
        there: (N,) whether there is one.
    """

    proposer: Proposer
    scorer: DenseScorer
    boxes: Tensor
    there: Tensor


@dataclass(frozen=True, slots=True)
class Believed:
    """What was found in images of which nothing was said.

    Attributes:
        index: (n,) which images.
        labels: of each.
        share: how often such boxes are right, as far as is known.
    """

    index: Tensor
    labels: list[Labels]
    share: float


@dataclass(frozen=True, slots=True)
class SaidSearch:
    """The search for whole objects of a kind of which some are known.

    Attributes:
        seen: the set; the images of which something was said are among those that it looks at.
        said: of the kind.
        appearance: what the encoder sees of the images that the search looks at.
        taken: (N, K, 4) boxes of objects of other kinds; None of the first kind.
        background: of the set; None where it is not of fixed cameras.
        projection: of the encoder's cells; that of the set when None.
        evidence: what counts beside the odds of the proposer that is begun with.
    """

    seen: SearchedSet
    said: Said
    appearance: Appearance
    taken: Tensor | None
    background: Background | None
    projection: Projection | None = None
    evidence: Evidence = TAUGHT

    def find(self, proposer: Proposer, windows: Tensor) -> FoundAnew:
        """Learn from what was said, and choose the best object of each image.

        Args:
            proposer: of whole objects, of any class or of this kind.
            windows: (N, 4) the one window that was found in each image, normalised letterbox boxes.

        Returns:
            What came of it.
        """
        proposer, scorer = self.learn_all(proposer, windows)
        found = self.search(scorer, windows).candidates(proposer, torch.arange(len(self.seen.cache)), TAUGHT)
        rows = torch.arange(len(found.odds), device=found.odds.device)
        best = found.boxes[rows, found.odds.argmax(1)]
        return FoundAnew(proposer, self.scorer(best), *self.placed(best))

    def learn_all(self, proposer: Proposer, windows: Tensor) -> tuple[Proposer, DenseScorer]:
        """A proposer and a scorer that know what was said.

        Args:
            proposer, windows: as for `find`.

        Returns:
            Both.
        """
        scorer = self.scorer(windows)
        others = self.believed(proposer, scorer, windows)
        steps = SAID.steps * share_of(self.seen.config.steps) * (1 + others.share)  # what was said is seen as often as without them
        proposer = self.learn(proposer, math.ceil(steps), others)
        return self.calibrated(proposer, scorer, windows), scorer

    def search(self, scorer: DenseScorer, windows: Tensor) -> ObjectSearch:
        """The search among proposals with a scorer."""
        return ObjectSearch(self.seen, scorer, windows, self.taken, self.background)

    def scorer(self, boxes: Tensor) -> DenseScorer:
        """The scorer of what was said, and of boxes (N, 4) that were found in the other images."""
        seen = self.seen
        place = {number: row for row, number in enumerate(seen.chosen.tolist())}
        known, wrong = ({place[i]: of for i, of in which.items()} for which in (self.said.boxes, self.said.rejected))
        anchors = Anchors(known, wrong, SAID.share)
        return DenseScorer.of(
            seen.encoder, self.appearance, seen.scene.rectangles, boxes[seen.chosen], anchors, self.projection
        )

    def believed(self, proposer: Proposer, scorer: DenseScorer, windows: Tensor) -> Believed:
        """What is found in the other images that the search looks at, and how far it is to be believed.

        In the images of which something was said it can be seen how often the best box was right. As often, against one canvas of those
        images, one of the others is learnt, and as much its boxes count: a set that was right for the most part does not forget it, and
        mistakes of one that was wrong are not learnt again.

        Args:
            proposer, scorer: as they are before anything is learnt.
            windows: (N, 4) the one window that was found in each image.

        Returns:
            Images, their labels, and the share.
        """
        search = self.search(scorer, windows)
        known = torch.tensor([i for i, boxes in self.said.boxes.items() if len(boxes)], dtype=torch.long)
        others = self.seen.chosen[~torch.isin(self.seen.chosen, torch.tensor(list(self.said.boxes)))]
        if not len(known) or not len(others):
            return Believed(others[:0], [], 0.0)
        found = search.candidates(proposer, known, self.evidence)
        best = found.boxes[torch.arange(len(known)), found.odds.argmax(1)].cpu()
        right = [
            bool((box_iou(box[None], self.said.boxes[i]) > SAID.right).any())
            for i, box in zip(known.tolist(), best, strict=True)
        ]
        share = sum(right) / (len(right) + 1)  # of few images none is certain
        if share == 0:
            return Believed(others[:0], [], 0.0)
        found = search.candidates(proposer, others, self.evidence)
        labels = search.labels(others, found)
        return Believed(others, [replace(own, weights=own.weights * share) for own in labels], share)

    def learn(self, proposer: Proposer, steps: int, others: Believed) -> Proposer:
        """A proposer that has learnt the images of which something was said: their boxes, and that the rest of them is none.

        Args:
            proposer: to begin with; left as it is.
            steps: of the optimiser.
            others: what is learnt beside them.

        Returns:
            The proposer.
        """
        labels = []
        for i, boxes in self.said.boxes.items():
            own = as_shares(self.seen, torch.tensor([i]), boxes[None])[0]
            labels.append(Labels(own, torch.ones(len(own)), torch.ones(len(own), dtype=torch.bool)))
        index, again = list(self.said.boxes), 1
        if others.labels:
            again = max(1, round(len(others.labels) / (others.share * len(index))))
        return taught(
            self.seen,
            proposer,
            torch.cat([torch.tensor(index).repeat(again), others.index]),
            labels * again + others.labels,
            steps,
        )

    def calibrated(self, proposer: Proposer, scorer: DenseScorer, windows: Tensor) -> Proposer:
        """A proposer whose odds are as often right, in images of which something was said, as they say.

        Args:
            proposer: that has learnt them; it is changed.
            scorer: likewise.
            windows: (N, 4) the one window that was found in each image.

        Returns:
            The proposer.
        """
        index = torch.tensor(sorted(self.said.boxes))
        index = index[sample_indices(len(index), SAID.calibrated, self.seen.config.seed)]
        found = self.search(scorer, windows).candidates(proposer, index, TAUGHT)
        chosen, there = separate(found.boxes, found.odds, MOST_OBJECTS, OBJECTS.least)
        odds, right = list[Tensor](), list[Tensor]()
        for row, i in enumerate(index.tolist()):
            own = chosen[row][there[row]]
            odds.append(found.odds[row, own].cpu())
            right.append(torch.tensor(matched(found.boxes[row, own].cpu(), self.said.boxes[i]), dtype=torch.bool))
        proposer.shift(offset_of(torch.cat(odds), torch.cat(right)))
        return proposer

    def placed(self, found: Tensor) -> tuple[Tensor, Tensor]:
        """One object of each image: what was said, the one that is nearest to what was found; elsewhere what was found.

        Args:
            found: (N, 4).

        Returns:
            Boxes (N, 4), and (N,) whether there is an object.
        """
        boxes, there = found.clone(), torch.ones(len(found), dtype=torch.bool, device=found.device)
        for i, known in self.said.boxes.items():
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
        out.append(bool(row[best] > SAID.right) and best not in taken)
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
    for _ in range(SAID.rounds):
        p = torch.sigmoid(x + offset)
        slope = float((p - y).sum()) + offset / SAID.spread**2
        step = slope / (float((p * (1 - p)).sum()) + SAID.spread**-2)
        offset -= max(-1.0, min(1.0, step))  # far off, where odds are all alike, Newton's own steps are too long
    return offset
