"""The instance network learns a folder: boxes of it that are believed, looked at in other sizes, places, colours and mirrored."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.instances.course import Course, seen_by
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

    def loss_of(learner: InstanceNetwork) -> Tensor:
        canvases, cells = _batch(images, labels, cutouts, order, draw)
        return folder_loss(seen_by(learner, canvases, device), cells)

    course = Course(steps, RATE, WARM, DECAY, LONGEST, "the objects", "objects learnt, ", "Try another --seed")
    return course.taken(network, loss_of, check, device, lambda learner: (learner.stem, learner.stages))


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
        canvas, own = cutouts.pasted(*placed(images[number], labels[number], longer, (side, side), draw), draw)
        canvases.append(canvas)
        theirs.append(own)
    return torch.stack(canvases), CellTargets.of(theirs, side)


def placed(image: Tensor, labels: Labels, longer: int, size: tuple[int, int], draw: random.Random) -> tuple[Tensor, Labels]:
    """An image at a size, somewhere on a canvas, perhaps mirrored, in other light.

    Args:
        image: (3, H, W) in [0, 1].
        labels: its boxes in shares of its sides.
        longer: its longer side on the canvas, pixels.
        size: (height, width) of the canvas, pixels.
        draw: of all random numbers.

    Returns:
        The canvas (3, height, width) and the labels with boxes in its pixels.
    """
    high, wide = size_on(image, longer)
    small = F.interpolate(image[None].cpu(), (high, wide), mode="bilinear", align_corners=False, antialias=True)
    boxes = labels.boxes.cpu() * torch.tensor([wide, high, wide, high])
    if draw.random() < 0.5:
        small = small.flip(-1)
        boxes = torch.stack([wide - boxes[:, 2], boxes[:, 1], wide - boxes[:, 0], boxes[:, 3]], 1)
    small = small * draw.uniform(0.8, 1.2)
    small = (small - 0.5) * draw.uniform(0.8, 1.2) + 0.5
    small = (small * torch.tensor([draw.uniform(0.93, 1.07) for _ in range(3)])[:, None, None]).clamp(0, 1)
    left, top = draw.randint(0, size[1] - wide), draw.randint(0, size[0] - high)
    canvas = F.pad(small, (left, size[1] - wide - left, top, size[0] - high - top), mode="replicate")[0]
    return canvas, Labels(boxes + torch.tensor([left, top, left, top]), labels.weights.cpu(), labels.known.cpu())


def size_on(image: Tensor, longer: int) -> tuple[int, int]:
    """How large an image is where its longer side has a given length.

    Args:
        image: (3, H, W).
        longer: its longer side there, pixels.

    Returns:
        (height, width) there, at least 4 each way.
    """
    h, w = image.shape[-2:]
    scale = longer / max(h, w)
    return max(4, round(h * scale)), max(4, round(w * scale))
