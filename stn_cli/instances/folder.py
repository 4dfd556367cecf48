"""The instance network learns a folder: boxes of it that are believed, looked at in other sizes, places, colours and mirrored."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cli.encoders.pretrained import standardise
from stn_cli.encoders.small import quick_halves
from stn_cli.errors import DivergedError
from stn_cli.instances.labels import CellTargets, Labels
from stn_cli.instances.network import COARSEST, InstanceNetwork, Maps
from stn_cli.instances.overlap import iou_and_giou
from stn_cli.instances.pasting import NOTHING, Cutouts
from stn_cli.instances.proposals import SIDES

PIXELS = 8 * 108 * 108
"""Of the canvases of a step, together."""
MOST = 32
"""Canvases of a step."""
RATE = 3e-4
"""Highest learning rate; a third of it for the stages that know pictures."""
WARM = 20
"""Steps in which the rate rises."""
DECAY = 0.01
BOX = 1.5
"""How much the sides of boxes count beside their scores."""
NEGATIVE = 0.75
"""How much a cell that speaks for nothing counts, times its score squared (varifocal loss)."""
LONGEST = 5.0
"""Norm to which gradients are cut."""
JITTER = (0.85, 1.18)
"""Sizes in units of those at which images are looked at."""


def learn_folder(
    network: InstanceNetwork,
    images: Sequence[Tensor],
    labels: Sequence[Labels],
    steps: int,
    seed: int,
    device: torch.device,
    check: Callable[[str], None] = lambda _: None,
    cutouts: Cutouts = NOTHING,
) -> InstanceNetwork:
    """Go on training with a folder's own images.

    Args:
        network: to begin with; left as it is.
        images: N of (3, H, W) in [0, 1], each of its own size.
        labels: of each, boxes in shares of the image's sides.
        steps: of the optimiser.
        seed: of all random numbers.
        device: to work on.
        check: told of each tenth step; may end the training by an exception.
        cutouts: of the folder's objects, that are pasted beside others.

    Returns:
        A copy that has learnt.

    Raises:
        DivergedError: the loss is not finite.
    """
    draw, order = random.Random(seed), list[int]()
    learner = (
        copy.deepcopy(network).float().to(device).requires_grad_(True).eval()
    )  # norms keep what they know: batches are small
    learner = learner.to(memory_format=torch.channels_last)
    optimiser = _optimiser(learner)
    with torch.enable_grad():
        for step in range(steps):
            rate = RATE * min(1.0, (step + 1) / WARM) * 0.5 * (1 + math.cos(math.pi * step / steps))
            for group, share in zip(optimiser.param_groups, (1.0, 1 / 3), strict=True):
                group["lr"] = rate * share
            loss = _descend(learner, optimiser, *_batch(images, labels, cutouts, order, draw), device)
            if not math.isfinite(loss):
                raise DivergedError("loss is not finite", f"step {step} of learning the objects", None, "Try another --seed")
            if step % 10 == 0:
                check(f"objects learnt, step {step} of {steps}")
    return learner.requires_grad_(False)


def _descend(
    learner: InstanceNetwork, optimiser: torch.optim.Optimizer, canvases: Tensor, cells: CellTargets, device: torch.device
) -> float:
    """One step; the loss before it."""
    standard = standardise(canvases.to(device)).contiguous(memory_format=torch.channels_last)
    with torch.autocast(device.type, torch.bfloat16, enabled=quick_halves(device)):
        maps = learner(standard)
    loss = folder_loss(maps, cells)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(learner.parameters(), LONGEST)
    optimiser.step()
    return float(loss.detach())


def _optimiser(learner: InstanceNetwork) -> torch.optim.Optimizer:
    """Two groups: what is beyond the stages, and the stages, which know pictures."""
    known = {id(p) for part in (learner.stem, learner.stages) for p in part.parameters()}
    groups = [[p for p in learner.parameters() if (id(p) in known) is old] for old in (False, True)]
    return torch.optim.AdamW([{"params": group} for group in groups], lr=RATE, weight_decay=DECAY)


def folder_loss(maps: Maps, cells: CellTargets) -> Tensor:
    """How wrong maps are: sides by generalised IoU, scores by the IoU that the box has.

    Args:
        maps: of B images.
        cells: what they should say.

    Returns:
        A scalar, for each object.
    """
    device = maps.fit.device
    owned, boxes, box_weight, fit_weight, asked = (
        v.to(device) for v in (cells.owned, cells.boxes, cells.box_weight, cells.fit_weight, cells.asked)
    )
    iou, giou = iou_and_giou(maps.boxes(), boxes)
    sides = (box_weight * (1 - giou) * owned).sum()
    goal = (iou.detach() * owned).clamp(0, 1)
    right = (fit_weight * owned * F.binary_cross_entropy_with_logits(maps.fit, goal, reduction="none")).sum()
    nothing = (NEGATIVE * maps.fit.detach().sigmoid().square() * asked * ~owned * F.softplus(maps.fit)).sum()
    return (BOX * sides + right + nothing) / cells.objects


def _batch(
    images: Sequence[Tensor], labels: Sequence[Labels], cutouts: Cutouts, order: list[int], draw: random.Random
) -> tuple[Tensor, CellTargets]:
    """Canvases (B, 3, S, S) of images that are next, and what their cells should say."""
    longer = int(draw.choice(SIDES) * draw.uniform(*JITTER))
    side = -(-longer // COARSEST) * COARSEST
    canvases, theirs = [], []
    for _ in range(max(2, min(MOST, PIXELS // side**2))):
        if not order:
            order += draw.sample(range(len(images)), len(images))
        number = order.pop()
        canvas, own = cutouts.pasted(*_placed(images[number], labels[number], longer, side, draw), draw)
        canvases.append(canvas)
        theirs.append(own)
    return torch.stack(canvases), CellTargets.of(theirs, side)


def _placed(image: Tensor, labels: Labels, longer: int, side: int, draw: random.Random) -> tuple[Tensor, Labels]:
    """An image at a size, somewhere on a canvas, perhaps mirrored, in other light."""
    h, w = image.shape[-2:]
    scale = longer / max(h, w)
    high, wide = max(4, round(h * scale)), max(4, round(w * scale))
    small = F.interpolate(image[None].cpu(), (high, wide), mode="bilinear", align_corners=False, antialias=True)
    boxes = labels.boxes.cpu() * torch.tensor([wide, high, wide, high])
    if draw.random() < 0.5:
        small = small.flip(-1)
        boxes = torch.stack([wide - boxes[:, 2], boxes[:, 1], wide - boxes[:, 0], boxes[:, 3]], 1)
    small = small * draw.uniform(0.8, 1.2)
    small = (small - 0.5) * draw.uniform(0.8, 1.2) + 0.5
    small = (small * torch.tensor([draw.uniform(0.93, 1.07) for _ in range(3)])[:, None, None]).clamp(0, 1)
    left, top = draw.randint(0, side - wide), draw.randint(0, side - high)
    canvas = F.pad(small, (left, side - wide - left, top, side - high - top), mode="replicate")[0]
    return canvas, Labels(boxes + torch.tensor([left, top, left, top]), labels.weights.cpu(), labels.known.cpu())
