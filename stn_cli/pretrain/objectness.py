"""Objectness without boxes: a head that tells cells of an object from cells beside it, learned from class labels alone.

The trained classifier, read cell by cell, says where in a picture its own class is (class activation maps, Zhou et al. 2016, arXiv
1512.04150); the largest window that satisfies the margin makes a box of it. A head that does not know the class then learns the inside of these
boxes over all classes (as pseudo-supervised localisation does with a regressor, Zhang et al. 2020, arXiv 2002.11359), and what all
classes of objects have in common holds for classes that were never seen.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.coloc.backbone import FEATURES, WIDTHS, Objectness
from stn_cli.coloc.features import blur
from stn_cli.coloc.windows import largest_windows, otsu
from stn_cli.files import write_text
from stn_cli.pretrain.pictures import Pictures, random_views, standardise
from stn_cli.pretrain.supervised import Classifier

SIDE = 128
"""Side at which pictures are looked at for boxes: maps of 16 x 16 cells."""
SIDES = (64, 80, 96, 112, 128, 144)
CENTRE = 0.2
"""What the middle is favoured by, standard deviations at the middle of a side: a picture's class is seldom at its edge."""
SMALLEST = 0.3


@torch.inference_mode()
def class_boxes(model: Classifier, pictures: Pictures, device: torch.device, batch: int = 128) -> Tensor:
    """A box of each picture's own class, (N, 4) normalised, from the class's activation on each cell.

    Args:
        model: the trained classifier.
        pictures: with their labels.
        device: for the network.
        batch: pictures per call.
    """
    model.eval()
    labels = torch.from_numpy(pictures.labels)
    maps = []
    for index in torch.arange(len(pictures)).split(batch):
        images = F.interpolate(pictures.batch(index, device), (SIDE, SIDE), mode="bilinear", align_corners=False)
        with torch.autocast(device.type, torch.bfloat16):
            features, _, _ = model.network(standardise(images).contiguous(memory_format=torch.channels_last))
        logits = model.classify(features.float().movedim(1, -1)).log_softmax(-1)  # (B, h, w, classes)
        own = logits.gather(-1, labels[index].to(device)[:, None, None, None].expand(*logits.shape[:3], 1))[..., 0]
        maps.append(blur(own[:, None], 1.0)[:, 0].cpu())
    every = torch.cat(maps)
    h, w = every.shape[1:]
    at = (torch.arange(h) + 0.5) * (2 / h) - 1
    off_centre = at[None, :].square() + at[:, None].square()
    boxes = torch.zeros((len(every), 4))
    for label in labels.unique():
        of = labels == label
        values = every[of]
        surplus = (values - otsu(values.flatten())) / values.std().clamp(min=1e-6) - CENTRE * off_centre
        found, _ = largest_windows(surplus)
        boxes[of] = found.float() * boxes.new_tensor([2 / w, 2 / h, 2 / w, 2 / h]) - 1
    return boxes


def train_objectness(
    model: Classifier, pictures: Pictures, boxes: Tensor, folder: Path, device: torch.device, *, steps: int, seed: int = 0
) -> Objectness:
    """Train the head on the frozen network's features to tell the inside of the boxes.

    Args:
        model: the trained classifier.
        pictures: to learn from.
        boxes: (N, 4) of `class_boxes`.
        folder: for the log.
        device: for the network.
        steps: optimiser steps of 128 pictures.
        seed: of everything random.
    """
    torch.manual_seed(seed)
    model.eval()
    head = Objectness(FEATURES + WIDTHS[-1]).to(device)
    optimiser = torch.optim.AdamW(head.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps, pct_start=0.1)
    rows, total, begun = [], 0.0, time.monotonic()
    for step in range(steps):
        g = torch.Generator().manual_seed(seed * 1_000_003 + step)
        index = torch.randint(len(pictures), (128,), generator=g)
        side = SIDES[int(torch.randint(len(SIDES), (1,), generator=g))]
        views = random_views(pictures.batch(index, device), side, g, SMALLEST)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
            features, _, last = model.network(standardise(views.images).contiguous(memory_format=torch.channels_last))
        logits = head(features.float(), last.float())
        inside = box_cells(boxes[index].to(device), views.affine, (logits.shape[-2], logits.shape[-1]))
        loss = F.binary_cross_entropy_with_logits(logits, inside)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        total += float(loss.detach())
        if step % 50 == 49:
            rows.append(f"step {step + 1:5d}  loss {total / 50:.4f}  {time.monotonic() - begun:.0f} s\n")
            total = 0.0
            write_text(folder / "objectness.txt", "".join(rows))
    return head.eval()


def box_cells(boxes: Tensor, affine: Tensor, size: tuple[int, int]) -> Tensor:
    """Which cells of views lie in the boxes of their pictures: boxes (B, 4), view to picture (B, 2, 3) -> (B, h, w) of 0 and 1."""
    grid = F.affine_grid(affine, [len(boxes), 1, *size], align_corners=False)  # (B, h, w, 2) in the picture
    low, high = boxes[:, None, None, :2], boxes[:, None, None, 2:]
    return ((grid > low) & (grid < high)).all(-1).float()
