"""What the maps should have said of canvases whose truth is known, and by how much they were wrong."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cli.instances.network import STRIDE, Maps
from stn_cli.instances.overlap import iou_and_giou
from stn_cli.pretrain.instances.canvases import Canvases

CENTRAL = 0.5
"""Half sides of the ellipse whose cells may score, as a share of the box's."""
SURE = 0.3
"""The same for cells that speak for a box although they are not on the object, as in a ring."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Whose cells are whose.

    Attributes:
        owner: (B, h, w) the object that a cell speaks for, -1 for none.
        central: (B, h, w) whether its box may score.
        asked: (B, h, w) whether anything is asked of the cell: not where things are too hidden to be called.
        on: (B, h, w) share of the cell that is on an object.
    """

    owner: Tensor
    central: Tensor
    asked: Tensor
    on: Tensor


def targets_of(truth: Canvases) -> Targets:
    """What each cell speaks for: the object that is topmost in it.

    A cell in an object's middle but not on it, as in a ring, speaks for it, too, where no other object is.

    Args:
        truth: of canvases.

    Returns:
        What each cell should say.
    """
    h, w = truth.seen.shape[-2:]
    at = torch.stack(
        [
            (torch.arange(w, device=truth.boxes.device) + 0.5)[None].expand(h, w) * STRIDE,
            (torch.arange(h, device=truth.boxes.device) + 0.5)[:, None].expand(h, w) * STRIDE,
        ],
        -1,
    )
    low, high = truth.boxes[..., :2], truth.boxes[..., 2:]
    middle, half = ((low + high) / 2)[:, :, None, None], ((high - low) / 2)[:, :, None, None]
    off = (at[None, None] - middle).abs()  # (B, K, h, w, 2)
    within = (off / (half * CENTRAL).clamp(min=0.6 * STRIDE)).square().sum(-1) < 1
    sure = (off / (half * SURE).clamp(min=0.6 * STRIDE)).square().sum(-1) < 1
    known, unsure = truth.known[..., None, None], truth.unsure[..., None, None]
    seen = truth.seen * known
    most, topmost = seen.max(1)
    area = ((high - low).prod(-1))[..., None, None].masked_fill(~known, torch.inf)
    smallest, nearest = torch.where(sure & known, area, torch.inf).min(1)
    covered = truth.seen.amax(1) > 0.5
    owner = torch.where(most > 0.5, topmost, torch.where((smallest < torch.inf) & ~covered, nearest, -1))
    central = within.gather(1, owner.clamp(min=0)[:, None])[:, 0] & (owner >= 0)
    hidden = (truth.seen * unsure).amax(1) > 0.2
    return Targets(owner, central, ~hidden | (owner >= 0), seen.sum(1).clamp(0, 1))


def losses(maps: Maps, truth: Canvases, classifier: nn.Module) -> dict[str, Tensor]:
    """How wrong the maps are, by part; every object counts the same, whatever its size.

    Args:
        maps: of the canvases.
        truth: theirs.
        classifier: looks (M, 64) -> logits, for training only: what an object is sharpens what one object is.

    Returns:
        A scalar for each part, by name.
    """
    t = targets_of(truth)
    K = truth.known.shape[1]
    theirs = t.owner[:, None] == torch.arange(K, device=t.owner.device)[:, None, None]  # (B, K, h, w)
    slot = t.owner.clamp(min=0)[:, None]
    owned = t.owner >= 0
    boxes = truth.boxes.gather(1, slot.flatten(1)[..., None].expand(-1, -1, 4)).view(*t.owner.shape, 4)
    iou, giou = iou_and_giou(maps.boxes(), boxes)

    def counted(cells: Tensor) -> Tensor:
        """Of each cell's object, how many of these cells it has (B, h, w)."""
        counts = (theirs & cells[:, None]).sum((2, 3)).float()
        return counts.gather(1, slot.flatten(1)).view_as(cells).clamp(min=1)

    objects = truth.known.sum().clamp(min=1)
    cores = counted(t.central)
    weight = t.central / cores + 0.5 * owned / counted(owned)
    box = (weight * (1 - giou)).sum() / objects
    goal = (iou.detach() * t.central).clamp(0, 1)
    wrong = F.binary_cross_entropy_with_logits(maps.fit, goal, reduction="none")
    negative = 0.75 * maps.fit.detach().sigmoid().square() * (~t.central & t.asked)
    fit = ((t.central * cores.rsqrt() + negative) * wrong).sum() / objects
    inside = F.binary_cross_entropy_with_logits(maps.inside, t.on, reduction="none")
    inside = (inside * t.asked).sum() / t.asked.sum().clamp(min=1)
    middles = (theirs * (t.central / cores)[:, None]).flatten(2)  # (B, K, h w)
    look = middles @ maps.looks.flatten(2).transpose(1, 2)  # (B, K, 64)
    name = F.cross_entropy(classifier(look).flatten(0, 1), truth.labels.flatten(), reduction="none", label_smoothing=0.1)
    name = (name * truth.known.flatten()).sum() / objects
    return {"fit": fit, "box": box, "inside": inside, "name": name}
