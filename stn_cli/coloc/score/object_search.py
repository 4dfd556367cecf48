"""Objects instead of windows: what the network's search found, looked at again among the proposals of the instance network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.cutouts import cut_objects
from stn_cli.coloc.score.dense import DenseScorer
from stn_cli.coloc.score.groups import find_groups
from stn_cli.coloc.score.objects import candidates
from stn_cli.coloc.score.settings import OBJECTS, TAUGHT, UNTAUGHT, Evidence
from stn_cli.coloc.score.tightening import tightened
from stn_cli.coloc.search.background import Background
from stn_cli.coloc.search.searched import SearchedSet
from stn_cli.coloc.search.settings import CHOICE
from stn_cli.geometry import box_area, box_iou, common_area
from stn_cli.instances.folder import learn_folder
from stn_cli.instances.labels import Labels
from stn_cli.instances.pasting import NOTHING, Cutouts
from stn_cli.instances.proposals import suppress
from stn_cli.instances.proposer import Proposed, Proposer, pixel_corners
from stn_cli.runtime.memory import hand_back


@dataclass(frozen=True, slots=True)
class ObjectSearch:
    """The search for whole objects of a kind, after windows of it were found.

    The windows' margin says what the common thing is made of, the proposals say what a whole one is. Those that both speak for are what the
    proposer goes on learning from, in the images that the search looks at; then it proposes, and the objects are chosen, once more.

    Attributes:
        seen: the set.
        scorer: of the search's windows.
        windows: (N, 4) the search's, one in each image of the set, normalised letterbox boxes.
        taken: (N, K, 4) boxes of objects that were found before, where this one is not; None for the first.
        background: of the set; None where it is not of fixed cameras.
    """

    seen: SearchedSet
    scorer: DenseScorer
    windows: Tensor
    taken: Tensor | None
    background: Background | None

    def find(self, proposer: Proposer) -> tuple[Proposer, Tensor]:
        """Choose the best object of each image, after the proposer has learnt the set's objects.

        Args:
            proposer: of whole objects of any class.

        Returns:
            A proposer that knows the set, and the best object of each image (N, 4).
        """
        every = torch.arange(len(self.seen.cache))
        learnt = self.learn(proposer, self.candidates(proposer, self.seen.chosen, UNTAUGHT))
        hand_back()
        found = self.candidates(learnt, every, TAUGHT)
        return learnt, found.drawn[every.to(found.odds.device), found.odds.argmax(1)]

    def candidates(self, proposer: Proposer, index: Tensor, evidence: Evidence) -> Proposed:
        """What could be objects in some images of the set.

        Args:
            proposer: of whole objects.
            index: (n,) which images.
            evidence: what counts beside its own odds.

        Returns:
            As many boxes of each of the n images as the richest one has, and the log odds that they are objects of the kind.
        """
        seen, parts = self.seen, list[Proposed]()
        for number, i in enumerate(index.split(CHOICE.images_at_once)):
            seen.progress(f"objects in {number * CHOICE.images_at_once} of {len(index)}")
            at = i.to(self.windows.device)
            scene, closely = Scene.of(seen.cache, i, seen.device, keep=True), Scene.of(seen.large, i, seen.device)
            own = candidates(proposer, self.scorer, self.background, scene, closely, self.windows[at], evidence)
            parts.append(outside(own, None if self.taken is None else self.taken[at]))
        return side_by_side(parts)

    def learn(self, proposer: Proposer, found: Proposed) -> Proposer:
        """A proposer that has learnt what was found in the images that the search looks at.

        Args:
            proposer: to begin with; left as it is.
            found: in these images.

        Returns:
            The proposer.
        """
        seen, shares, odds = self.seen, as_shares(self.seen, self.seen.chosen, found.boxes), found.odds.cpu()
        groups = torch.zeros(len(odds), dtype=torch.bool) if self.background is not None else find_groups(found)
        labels = [label(own, its.sigmoid()) for own, its in zip(shares, odds, strict=True)]
        labels = [unsure(own) if group else own for own, group in zip(labels, groups.tolist(), strict=True)]
        images, single = pictures_of(seen, seen.chosen), (~groups).nonzero()[:, 0].tolist()
        labels = [tightened(image, own) for image, own in zip(images, labels, strict=True)]
        cutouts = cut_objects(
            [images[i] for i in single], [labels[i] for i in single], odds.amax(1)[single], float(groups.float().mean())
        )
        return taught(seen, proposer, images, labels, share_of(seen.config.steps), cutouts)


def as_shares(seen: SearchedSet, index: Tensor, boxes: Tensor) -> Tensor:
    """Boxes as the instance network has them.

    Args:
        seen: the set.
        index: (n,) which images.
        boxes: (n, M, 4) normalised letterbox boxes.

    Returns:
        (n, M, 4) shares of the images' sides, on the CPU.
    """
    rectangles = seen.large.rectangles()[index][:, None].to(boxes.device)
    low, high = rectangles[..., :2].repeat(1, 1, 2), rectangles[..., 2:].repeat(1, 1, 2)
    return ((boxes - low) / (high - low)).cpu()


def pictures_of(seen: SearchedSet, index: Tensor) -> list[Tensor]:
    """Images of a set without what lies beside them on their letterboxes.

    Args:
        seen: the set.
        index: (n,) which images; one may stand there several times.

    Returns:
        Of each (3, h, w) in [0, 1], on the CPU.
    """
    images = dict[int, Tensor]()
    for i in index.unique().split(CHOICE.images_at_once):
        scene = Scene.of(seen.large, i, seen.device)
        corners = pixel_corners(scene.rectangles, scene.images.shape[-1])
        for number, image, (x1, y1, x2, y2) in zip(i.tolist(), scene.images, corners, strict=True):
            images[number] = image[:, y1:y2, x1:x2].cpu()
    return [images[number] for number in index.tolist()]


def taught(
    seen: SearchedSet,
    proposer: Proposer,
    images: Sequence[Tensor],
    labels: Sequence[Labels],
    steps: int,
    cutouts: Cutouts = NOTHING,
) -> Proposer:
    """A proposer that has learnt objects of some images.

    Args:
        seen: the set.
        proposer: to begin with; left as it is.
        images: of `pictures_of`; what stands there several times is looked at more often.
        labels: of each.
        steps: of the optimiser.
        cutouts: of the set's objects, that are pasted beside others.

    Returns:
        The proposer.
    """
    network = learn_folder(proposer.network, images, labels, steps, seen.config.seed, seen.device, seen.progress, cutouts)
    return Proposer.of(network).to(seen.device)


def share_of(steps: int) -> int:
    """How many steps are enough where objects are proposed.

    Args:
        steps: of a setting.

    Returns:
        A share of them, rounded up: 0 of none.
    """
    return -(-steps // OBJECTS.share_of_steps)


def outside(proposed: Proposed, taken: Tensor | None) -> Proposed:
    """Proposals less those that lie on boxes that are taken.

    Args:
        proposed: in N images, the window of each first, which is kept.
        taken: (N, K, 4), or None.

    Returns:
        The same boxes; those on taken ones are no objects.
    """
    if taken is None:
        return proposed
    on = (box_iou(proposed.boxes[:, :, None], taken[:, None]) > OBJECTS.apart).any(2)
    on[:, 0] = False
    return replace(proposed, odds=proposed.odds.masked_fill(on, -torch.inf))


def side_by_side(parts: Sequence[Proposed]) -> Proposed:
    """Proposals of several batches in one.

    Args:
        parts: as many boxes of each image as the richest one of its batch has.

    Returns:
        As many as the richest one of all has.
    """
    count = max(part.odds.shape[1] for part in parts)
    missing = [count - part.odds.shape[1] for part in parts]

    def joined(values: Sequence[Tensor | None]) -> Tensor | None:
        there = [F.pad(own, (0, 0, 0, more)) for own, more in zip(values, missing, strict=True) if own is not None]
        return torch.cat(there) if len(there) == len(parts) else None

    boxes = joined([part.boxes for part in parts])
    assert boxes is not None
    odds = torch.cat([F.pad(part.odds, (0, more), value=-torch.inf) for part, more in zip(parts, missing, strict=True)])
    return Proposed(boxes, odds, joined([part.looks for part in parts]), joined([part.means for part in parts]))


def unsure(labels: Labels) -> Labels:
    """The same boxes, of which nothing is asked.

    Args:
        labels: of an image.

    Returns:
        Labels, none of them believed.
    """
    return replace(labels, known=torch.zeros_like(labels.known))


def label(boxes: Tensor, scores: Tensor) -> Labels:
    """What an image's proposals teach: the best ones that neither hold one another nor lie in each other are its objects.

    Nothing is asked where a less likely one lies; but what is a part of an object that is believed, or a box around several, is none.

    Args:
        boxes: (M, 4).
        scores: (M,) probabilities.

    Returns:
        Labels, the objects first.
    """
    order = scores.argsort(descending=True, stable=True)
    order = order[suppress(boxes[order], OBJECTS.apart)]
    boxes, scores = boxes[order], scores[order]
    area = box_area(boxes).clamp(min=1e-9)
    held = common_area(boxes[:, None], boxes[None]) / torch.minimum(area[:, None], area[None]) > OBJECTS.held
    known = torch.zeros(len(boxes), dtype=torch.bool)
    for i in range(len(boxes)):
        if scores[i] < OBJECTS.taught * scores[0] or int(known.sum()) == OBJECTS.taught_most:
            break
        known[i] = not bool((held[i] & known).any())
    unsure = (scores >= OBJECTS.unsure * scores[0]) & ~(held & known[None]).any(1)
    kept = known | unsure
    return Labels(boxes[kept], (scores / scores[0]).clamp(0.1, 1)[kept], known[kept])
