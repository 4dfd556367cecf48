"""Alignment of turned crops: laid over each other exactly, the same way up, with the object in their middle.

The search finds turned things, but leaves three freedoms: where in the crop the thing sits (a turned crop may be shifted along with its
own axes in every image alike), half turns of things that nearly look the same upside down, and the last degrees. Here the crops are
centred on their evidence, then turned and shifted towards a common prototype, from coarse to fine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.coloc.crops import Crops, cut, random_boxes, turned_crops
from stn_cli.coloc.search.settings import RIGID, ROTATION
from stn_cli.encoders import Encoder


@dataclass(frozen=True, slots=True)
class Step:
    """One step: every crop is moved by `centring` in its own frame, then takes the turn and shift nearest to the prototype.

    Attributes:
        centring: (2,) in half sides.
        prototype: (D,) the common embedding.
        turns: radians that are tried.
        shifts: half sides that are tried along both axes.
    """

    centring: Tensor
    prototype: Tensor
    turns: tuple[float, ...]
    shifts: tuple[float, ...]

    def apply(self, encoder: Encoder, images: Tensor, boxes: Tensor, angles: Tensor) -> tuple[Tensor, Tensor]:
        """Move crops by this step.

        Args:
            encoder: gives the structure.
            images: (N, 3, S, S).
            boxes, angles: (N, 4), (N,) the crops.

        Returns:
            Boxes and angles after it.
        """
        tried, turned = _candidates(shifted(boxes, angles, self.centring), angles, self.turns, self.shifts)
        z = _embed_all(encoder, images, tried, turned)
        return _pick(tried, turned, (z - self.prototype).square().sum(-1).argmin(1))


@dataclass(frozen=True, slots=True)
class Alignment:
    """Steps that bring crops of any image into line with those it was learnt from."""

    encoder: Encoder
    steps: list[Step]

    def apply(self, images: Tensor, boxes: Tensor, angles: Tensor) -> tuple[Tensor, Tensor]:
        """Bring crops into line.

        Args:
            images: (N, 3, S, S).
            boxes, angles: (N, 4), (N,) the crops.

        Returns:
            Boxes and angles, aligned.
        """
        for step in self.steps:
            boxes, angles = step.apply(self.encoder, images, boxes, angles)
        return boxes, angles


def learn_alignment(
    encoder: Encoder, images: Tensor, rectangles: Tensor, boxes: Tensor, angles: Tensor, generator: torch.Generator
) -> Alignment:
    """Learn from turned crops how to align them.

    Args:
        encoder: gives the structure.
        images: (N, 3, S, S).
        rectangles: (N, 4) their outlines.
        boxes, angles: (N, 4), (N,) as the search found them.
        generator: of the starts, on the CPU.

    Returns:
        Steps that can be applied to any image.
    """
    patches = Crops.of_boxes(random_boxes(rectangles, ROTATION.random_patches, boxes[:, 2:] - boxes[:, :2], generator))
    ground = _structure(encoder, images, patches).mean((0, 1, 3, 4))  # (C,)
    moved = torch.zeros(2, device=boxes.device)
    for _ in range(ROTATION.centrings):
        centring = evidence_centre(encoder, images, turned_crops(boxes[:, None], angles[:, None]), ground)
        boxes, moved = shifted(boxes, angles, centring), moved + centring
    tried, turned = _candidates(boxes, angles, RIGID.angles, ROTATION.coarse_shifts)
    z = _embed_all(encoder, images, tried, turned)
    prototype, chosen = _agree(z, RIGID.angles, generator)
    steps = [Step(moved, prototype, RIGID.angles, ROTATION.coarse_shifts)]
    boxes, angles = _pick(tried, turned, chosen)
    for turns in (ROTATION.half_turns, ROTATION.fine_turns, ROTATION.fine_turns):
        centring = evidence_centre(encoder, images, turned_crops(boxes[:, None], angles[:, None]), ground)
        middle = turned_crops(shifted(boxes, angles, centring)[:, None], angles[:, None])
        prototype = _structure(encoder, images, middle).mean((0, 1)).flatten()
        steps.append(Step(centring, prototype, turns, ROTATION.fine_shifts))
        boxes, angles = steps[-1].apply(encoder, images, boxes, angles)
    return Alignment(encoder, steps)


def evidence_centre(encoder: Encoder, images: Tensor, crops: Crops, ground: Tensor) -> Tensor:
    """Where in the crops, on average, the object is: the centroid of what stands out from the ground.

    Args:
        encoder: gives the structure.
        images: (N, 3, S, S).
        crops: one or more of each.
        ground: (C,) the mean structure of random patches.

    Returns:
        (2,) in half sides, in the crops' own frames.
    """
    common = _structure(encoder, images, crops).mean((0, 1))  # (C, h, w)
    weight = (common - ground[:, None, None]).clamp(min=0).square().sum(0)
    h, w = weight.shape
    step = 2 * encoder.stride / encoder.patch
    x = (torch.arange(w, device=weight.device) - (w - 1) / 2) * step
    y = (torch.arange(h, device=weight.device) - (h - 1) / 2) * step
    return torch.stack([(weight.sum(0) * x).sum(), (weight.sum(1) * y).sum()]) / weight.sum().clamp(min=1e-9)


def shifted(boxes: Tensor, angles: Tensor, by: Tensor) -> Tensor:
    """Move turned boxes along their own axes.

    Args:
        boxes: (N, 4) before they are turned about their centres.
        angles: (N,) that they are turned by, radians.
        by: (2,) or (N, 2) half sides.

    Returns:
        (N, 4).
    """
    x, y = ((boxes[:, 2:] - boxes[:, :2]) / 2 * by).unbind(-1)
    move = torch.stack([angles.cos() * x - angles.sin() * y, angles.sin() * x + angles.cos() * y], -1)
    return boxes + move.repeat(1, 2)


def _agree(z: Tensor, turns: tuple[float, ...], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The prototype (D,) under which the chosen candidates (N,) of z (N, T, D) agree best, from several single crops as starts.

    A start from one crop and not from the mean: the mean of things and their half turns is its own half turn.
    """
    rows = torch.arange(len(z), device=z.device)
    square = z.square().sum(-1)
    middle = z.shape[1] // len(turns) // 2 * len(turns)  # no shift, no turn
    best, kept = math.inf, (z[0, middle], rows)
    for k in torch.randperm(len(z), generator=generator)[: ROTATION.starts].tolist():
        prototype = z[k, middle]
        for _ in range(ROTATION.rounds):
            chosen = (square - 2 * z @ prototype).argmin(1)
            prototype = z[rows, chosen].mean(0)
        cost = float((z[rows, chosen] - prototype).square().sum(-1).mean())
        if cost < best:
            best, kept = cost, (prototype, chosen)
    return kept


def _candidates(boxes: Tensor, angles: Tensor, turns: tuple[float, ...], shifts: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Boxes (N, S S T, 4) and angles (N, S S T) around boxes (N, 4) and angles (N,); all turns of one shift stand together."""
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    along = boxes.new_tensor(shifts)
    move = torch.cartesian_prod(along, along)[None] * half[:, None]  # (N, S S, 2)
    tried = (boxes[:, None] + move.repeat(1, 1, 2)).repeat_interleave(len(turns), 1)
    return tried, angles[:, None] + boxes.new_tensor(turns).repeat(len(shifts) ** 2)


def _pick(boxes: Tensor, angles: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    rows = torch.arange(len(boxes), device=boxes.device)
    return boxes[rows, chosen], angles[rows, chosen]


def _structure(encoder: Encoder, images: Tensor, crops: Crops) -> Tensor:
    """Structure of R crops of each image (N, R, C, h, w): finer than e(), which takes every second cell."""
    pictures = cut(images, crops, encoder.patch)
    return encoder.structure(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2])


def _embed_all(encoder: Encoder, images: Tensor, boxes: Tensor, angles: Tensor) -> Tensor:
    parts = torch.arange(len(images), device=images.device).split(ROTATION.images_at_once)
    return torch.cat([_structure(encoder, images[i], turned_crops(boxes[i], angles[i])).flatten(2) for i in parts])
