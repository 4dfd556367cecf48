"""Objectness without boxes: a head that tells cells of an object from cells beside it, learned from class labels alone.

Each class is a set of pictures with a common object, so that the search of this package finds it: it starts where the trained
classifier, read cell by cell, sees the class (class activation maps, Zhou et al. 2016, arXiv 1512.04150). A head that does not know the
class then learns the inside of the found boxes over all classes (as pseudo-supervised localisation does with a regressor, Zhang et al.
2020, arXiv 2002.11359), and what all classes of objects have in common holds for classes that were never seen.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.coloc.search.discriminant import LinearMargin, Projection
from stn_cli.coloc.search.layout import inside_mask, lay_out, normalise_cells
from stn_cli.coloc.search.statistics import otsu
from stn_cli.coloc.search.windows import alternate, choose_windows
from stn_cli.encoders.gradient_maps import blur
from stn_cli.encoders.pretrained import standardise
from stn_cli.encoders.small_network import FEATURES, WIDTHS, Objectness
from stn_cli.files import write_text
from stn_cli.pretrain.pictures import Pictures, random_views
from stn_cli.pretrain.supervised import Classifier
from stn_cli.runtime.seeds import step_generator

SIDE = 128
"""Side at which pictures are looked at for boxes: maps of 16 x 16 cells."""
SIDES = (64, 80, 96, 112, 128, 144)
"""Sides of the views that the head learns from, pixels."""
ROUNDS = 5
"""Rounds of windows from margins and margins from windows."""
SHRINKAGE = 1.0
"""Share of the mean variance that is added to the scatter in all directions."""
CENTRE = 0.3
"""What the middle is favoured by, standard deviations at the middle of a side: a picture's class is seldom at its edge."""
SMALLEST = 0.3
"""Least area of a view, share of its picture's."""


@torch.inference_mode()
def class_boxes(model: Classifier, pictures: Pictures, device: torch.device) -> Tensor:
    """A box of each picture's own class, (N, 4) normalised.

    Args:
        model: the trained classifier.
        pictures: with their labels.
        device: for the network.

    Returns:
        (N, 4) normalised.
    """
    model.eval()
    pictures = pictures.to(device)
    boxes = torch.zeros((len(pictures), 4))
    for label in pictures.labels.unique().tolist():
        index = (pictures.labels == label).nonzero()[:, 0]
        cells, activation = _look(model, pictures, index, label, device)
        boxes[index.cpu()] = search_class(cells, activation)[0].cpu()
    return boxes


def _look(
    model: Classifier, pictures: Pictures, index: Tensor, label: int, device: torch.device, batch: int = 128
) -> tuple[Tensor, Tensor]:
    """Cells (n, C, h, w) of a class's pictures and the class's activation on each (n, h, w)."""
    cells, activation = [], []
    for part in index.split(batch):
        images = F.interpolate(pictures.batch(part), (SIDE, SIDE), mode="bilinear", align_corners=False)
        with torch.autocast(device.type, torch.bfloat16):
            features, _, last = model.network(standardise(images).contiguous(memory_format=torch.channels_last))
        features, last = features.float().contiguous(), last.float().contiguous()
        wide = F.interpolate(F.normalize(last, dim=1), features.shape[-2:], mode="bilinear", align_corners=False)
        cells.append(torch.cat([F.normalize(features, dim=1), wide], 1))
        logits = model.classify(features.movedim(1, -1))
        activation.append(logits[..., label] - logits.mean(-1))
    return torch.cat(cells), torch.cat(activation)


def search_class(cells: Tensor, activation: Tensor) -> tuple[Tensor, Tensor]:
    """What the pictures of one class share, searched from where a classifier sees the class.

    Args:
        cells: (n, C, h, w).
        activation: (n, h, w) of the class.

    Returns:
        Windows (n, 4) normalised, and the map (n, h, w) that placed them, above 0 where the object is.
    """
    whole = torch.tensor([[-1.0, -1.0, 1.0, 1.0]], device=cells.device).expand(len(cells), 4)
    layout = lay_out((cells.shape[-2], cells.shape[-1]), whole)
    z = Projection.of(cells.movedim(1, -1).flatten(0, 2), 0.0)(cells)
    seen = blur(activation[:, None], 1.0)[:, 0]
    seen = seen - 0.5 * seen.mean((1, 2), keepdim=True)  # half of how sure the classifier is of the whole picture is no place
    seen = seen / seen.std().clamp(min=1e-6)

    def place(margins: Tensor, _: int) -> Tensor:
        return choose_windows(margins, layout, otsu(margins.flatten()), margins.std(), CENTRE, None)

    def learn(boxes: Tensor, _: int) -> tuple[LinearMargin, Tensor]:
        margin = LinearMargin.fit(z, inside_mask(boxes, layout.size), layout, SHRINKAGE)
        found = margin.map(z, 1.0)
        return margin, found / found.std().clamp(min=1e-6) + seen

    *_, margins = alternate(seen, ROUNDS, place, learn)
    return normalise_cells(place(margins, ROUNDS), layout.size), margins - otsu(margins.flatten())


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
        seed: of the random numbers.

    Returns:
        The head.
    """
    torch.manual_seed(seed)
    model.eval()
    pictures, boxes = pictures.to(device), boxes.to(device)
    head = Objectness(FEATURES + WIDTHS[-1]).to(device)
    optimiser = torch.optim.AdamW(head.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps, pct_start=0.1)
    rows, total, begun = [], 0.0, time.monotonic()
    for step in range(steps):
        g = step_generator(seed, step)
        index = torch.randint(len(pictures), (128,), generator=g)
        side = SIDES[int(torch.randint(len(SIDES), (1,), generator=g))]
        views = random_views(pictures.batch(index), side, g, SMALLEST)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
            features, _, last = model.network(standardise(views.images).contiguous(memory_format=torch.channels_last))
        logits = head(features.float(), last.float())
        inside = box_cells(boxes[index.to(device)], views.affine, (logits.shape[-2], logits.shape[-1]))
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
    """Which cells of views lie in the boxes of their pictures.

    Args:
        boxes: (B, 4) normalised.
        affine: (B, 2, 3) from a view to its picture.
        size: (h, w) of the views' cells.

    Returns:
        (B, h, w) of 0 and 1.
    """
    grid = F.affine_grid(affine, [len(boxes), 1, *size], align_corners=False)  # (B, h, w, 2) in the picture
    low, high = boxes[:, None, None, :2], boxes[:, None, None, 2:]
    return ((grid > low) & (grid < high)).all(-1).float()
