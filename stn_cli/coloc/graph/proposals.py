"""The instance network in a graph: proposals of whole objects in pictures of one size, as many in every picture."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cli.coloc.graph.choosing import Chosen, best
from stn_cli.coloc.graph.resizing import OnLetterbox, sized
from stn_cli.instances.network import COARSEST
from stn_cli.instances.proposals import ALIKE, EACH, LARGEST, SIDES, SMALLEST, voted
from stn_cli.instances.proposer import Proposed, Proposer


class ProposerGraph(nn.Module):
    """What a `Proposer` proposes.

    Args:
        proposer: whose network is taken over, in single precision.
    """

    def __init__(self, proposer: Proposer) -> None:
        super().__init__()
        self.network = copy.deepcopy(proposer.network).float()

    def forward(self, images: Tensor, placed: OnLetterbox, most: int) -> Proposed:
        """Propose boxes.

        Args:
            images: (B, 3, S, S) on letterboxes, in [0, 1].
            placed: where they lie.
            most: M, boxes of an image.

        Returns:
            M boxes of each image, best first.
        """
        parts = [self._look(images, placed, side) for side in SIDES]
        boxes, scores = torch.cat([p[0] for p in parts], 1), torch.cat([p[1] for p in parts], 1)
        found = best(boxes, scores, ALIKE, most)
        low, high = placed.rectangle().float().chunk(2)
        there = found.scores >= 0
        own = found.of(boxes)
        means = voted(own, boxes, scores, ALIKE).clamp(0, 1)
        odds = found.scores.logit(1e-4).masked_fill(~there, -torch.inf)
        low, scale = low.repeat(2), (high - low).repeat(2)
        own, means = ((low + of * scale).masked_fill(~there[..., None], 0.0) for of in (own, means))
        return Proposed(own, odds, None, means)

    def _look(self, images: Tensor, placed: OnLetterbox, side: int) -> tuple[Tensor, Tensor]:
        """Boxes (B, EACH, 4) in shares of the images' sides, and scores (B, EACH), -1 for no box, at one size."""
        seen, size = sized(images, placed.begin, placed.length, side, COARSEST)
        maps = self.network(seen)
        edges = size.float().flip(0).repeat(2)  # w, h, w, h
        boxes = torch.minimum(maps.boxes().flatten(1, 2).clamp(min=0), edges)
        sides = boxes[..., 2:] - boxes[..., :2]
        longer = sides.amax(-1)
        fits = (longer >= SMALLEST) & (longer <= edges.amax(0).clamp(max=LARGEST)) & (sides.amin(-1) > 1)
        scores = torch.where(fits, maps.fit.flatten(1).sigmoid(), -1.0)
        scores, boxes = F.pad(scores, (0, EACH), value=-1.0), F.pad(boxes / edges, (0, 0, 0, EACH))
        top = scores.topk(EACH, 1)
        return Chosen(top.indices, top.values).of(boxes), top.values
