"""Training of the small network with class labels: what is pooled over a map's cells must tell the class.

CutMix (Yun et al. 2019, arXiv 1905.04899) keeps the network from resting on one telling part: maps cover more of the object.
In a mosaic of four pictures (as detectors train on, Bochkovskiy et al. 2020, arXiv 2004.10934) the cells of each must tell its class with
the three others around it: features of things in clutter, that say what is here and not what is near.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cli.encoders.pretrained import standardise
from stn_cli.encoders.small_network import FEATURES, WIDTHS, SmallNetwork
from stn_cli.files import write_text
from stn_cli.pretrain.pictures import Pictures, random_views
from stn_cli.pretrain.state import load_pretraining, save_pretraining

SIDES = (40, 48, 56, 64, 72)
"""Sides of the views: every batch has one of them, so that features hold over scales."""
MOSAIC_SIDES = (96, 112, 128)
"""Sides of mosaics, pixels."""
MARGIN = 32
"""Least side of a mosaic's part, pixels."""


@dataclass(frozen=True, slots=True)
class SupervisedRecipe:
    """How long and how fast.

    Attributes:
        epochs: passes over the pictures.
        batch: pictures per step.
        lr: highest learning rate.
        decay: weight decay of AdamW.
        mosaic: share of batches that are mosaics.
        cutmix: share of the others that are mixed.
        seed: of the random numbers.
    """

    epochs: int = 30
    batch: int = 128
    lr: float = 2e-3
    decay: float = 0.05
    mosaic: float = 0.5
    cutmix: float = 0.5
    seed: int = 0


class Classifier(nn.Module):
    """The network and two linear classifiers, on its features and on its last stage, each pooled by the mean."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.network = SmallNetwork()
        self.classify = nn.Linear(FEATURES, classes)
        self.classify_last = nn.Linear(WIDTHS[-1], classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised images (B, 3, H, W) -> logits (B, classes), twice."""
        features, _, last = self.network(images)
        return self.classify(features.mean((2, 3))), self.classify_last(last.mean((2, 3)))


def train_supervised(
    pictures: Pictures,
    held_out: Pictures,
    folder: Path,
    recipe: SupervisedRecipe,
    device: torch.device,
    start: SmallNetwork | None = None,
) -> tuple[Classifier, float]:
    """Train from scratch or from a network, or go on from the folder's last state.

    Args:
        pictures: to learn from.
        held_out: to measure on.
        folder: for the state and the log.
        recipe: how.
        device: for the network.
        start: begin with this network's weights.

    Returns:
        The averaged network and its top-1 accuracy on `held_out`.
    """
    learner = _Learner.of(recipe, device, start, pictures)
    first, log = load_pretraining(folder, learner.parts())
    pictures, held_out = pictures.to(device), held_out.to(device)
    kept = learner.average.module
    assert isinstance(kept, Classifier)
    for epoch in range(first, recipe.epochs):
        begun = time.monotonic()
        loss = learner.epoch(pictures, epoch)
        accuracy = top1(kept, held_out) if epoch % 3 == 2 or epoch + 1 == recipe.epochs else math.nan
        log.append({"epoch": epoch, "loss": loss, "top1": accuracy, "seconds": time.monotonic() - begun})
        save_pretraining(folder, learner.parts(), epoch + 1, log)
        write_text(folder / "log.txt", "".join(_line(row) for row in log))
    return kept, float(log[-1]["top1"])


@dataclass(frozen=True, slots=True)
class _Learner:
    """A classifier that learns, its moving average, and what it learns by."""

    recipe: SupervisedRecipe
    model: Classifier
    average: torch.optim.swa_utils.AveragedModel
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.OneCycleLR

    @classmethod
    def of(cls, recipe: SupervisedRecipe, device: torch.device, start: SmallNetwork | None, pictures: Pictures) -> _Learner:
        """One that has learnt nothing yet, or begins from a network's weights."""
        torch.manual_seed(recipe.seed)
        model = Classifier(int(pictures.labels.max()) + 1)
        if start is not None:
            model.network.load_state_dict(start.state_dict())
        model = model.to(device).to(memory_format=torch.channels_last)
        average = torch.optim.swa_utils.AveragedModel(
            model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.999), use_buffers=True
        )
        optimiser = torch.optim.AdamW(decayed(model), lr=recipe.lr, weight_decay=recipe.decay)
        steps = len(pictures) // recipe.batch * recipe.epochs
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.lr, total_steps=steps, pct_start=0.15)
        return cls(recipe, model, average, optimiser, schedule)

    def parts(self) -> dict[str, Any]:
        """What a state on the disk is made of."""
        return {"model": self.model, "average": self.average, "optimiser": self.optimiser, "schedule": self.schedule}

    def epoch(self, pictures: Pictures, epoch: int) -> float:
        """Pass over the pictures once; returns the mean loss."""
        seed, batch, total = (
            self.recipe.seed * 1000 + epoch,
            self.recipe.batch,
            pictures.pixels.new_zeros((), dtype=torch.float32),
        )
        self.model.train()
        order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(seed))
        for step in range(len(pictures) // batch):
            g = torch.Generator().manual_seed(seed * 100_000 + step)
            with torch.autocast(pictures.pixels.device.type, torch.bfloat16):
                loss = _loss(self.model, pictures, order[step * batch : (step + 1) * batch], self.recipe, g)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
            self.optimiser.step()
            self.schedule.step()
            self.average.update_parameters(self.model)
            total += loss.detach()
        return float(total) / (len(pictures) // batch)


def _line(row: dict[str, Any]) -> str:
    return f"epoch {row['epoch']:3d}  loss {row['loss']:.4f}  top1 {row['top1']:.4f}  {row['seconds']:.0f} s\n"


def decayed(model: nn.Module) -> list[dict[str, Any]]:
    """Parameters of an optimiser: only matrices and kernels decay.

    Args:
        model: whose parameters they are.

    Returns:
        Two groups for the optimiser.
    """
    held = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": [p for p in model.parameters() if p.ndim >= 2]}, {"params": held, "weight_decay": 0.0}]


def _loss(model: Classifier, pictures: Pictures, index: Tensor, recipe: SupervisedRecipe, g: torch.Generator) -> Tensor:
    images, labels = pictures.batch(index), pictures.labels[index.to(pictures.labels.device)]
    target = F.one_hot(labels, model.classify.out_features).float()
    if float(torch.rand((), generator=g)) < recipe.mosaic:
        views = mosaic(images, g)
        features, _, last = model.network(standardise(views.images).contiguous(memory_format=torch.channels_last))
        read = model.classify(views.pool(features)), model.classify_last(views.pool(last))
    else:
        side = SIDES[int(torch.randint(len(SIDES), (1,), generator=g))]
        images = random_views(images, side, g).images
        if float(torch.rand((), generator=g)) < recipe.cutmix:
            images, target = cutmix(images, target, g)
        read = model(standardise(images).contiguous(memory_format=torch.channels_last))
    features_loss, last_loss = (F.cross_entropy(r.float(), target[: len(r)], label_smoothing=0.1) for r in read)
    return features_loss + 0.5 * last_loss


@dataclass(frozen=True, slots=True)
class Mosaic:
    """Canvases of four pictures each: picture q * B + i lies in quarter q of canvas i.

    Attributes:
        images: (B, 3, side, side) in [0, 1].
        split: (x, y) where the quarters meet, in 16 pixels.
    """

    images: Tensor
    split: tuple[int, int]

    def pool(self, maps: Tensor) -> Tensor:
        """The mean of each picture's own cells: maps (B, C, h, w) of stride 8 or 16 -> (4 B, C)."""
        scale = maps.shape[-1] * 16 // self.images.shape[-1]
        return torch.cat([maps[..., rows, columns].mean((2, 3)) for rows, columns in _quarters(self.split, scale)])


def _quarters(split: tuple[int, int], scale: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the four quarters, in cells of which `scale` are 16 pixels."""
    x, y = split[0] * scale, split[1] * scale
    return [(rows, columns) for rows in (slice(0, y), slice(y, None)) for columns in (slice(0, x), slice(x, None))]


def mosaic(pictures: Tensor, g: torch.Generator) -> Mosaic:
    """Views of pictures, laid out by four.

    Args:
        pictures: (4 B, 3, S, S) in [0, 1]; what is over of a multiple of four is left out.
        g: decides how.

    Returns:
        The mosaics.
    """
    each = len(pictures) // 4
    side = MOSAIC_SIDES[int(torch.randint(len(MOSAIC_SIDES), (1,), generator=g))]
    low, high = MARGIN // 16, (side - MARGIN) // 16
    x, y = (int(torch.randint(low, high + 1, (1,), generator=g)) for _ in range(2))
    canvas = pictures.new_zeros((each, 3, side, side))
    for part, (rows, columns) in zip(pictures[: 4 * each].split(each), _quarters((x, y), 16), strict=True):
        place = canvas[..., rows, columns]
        h, w = place.shape[-2:]
        whole = max(h, w)
        views = random_views(part, whole, g).images
        top, left = (int(torch.randint(whole - s + 1, (1,), generator=g)) for s in (h, w))
        place.copy_(views[..., top : top + h, left : left + w])
    return Mosaic(canvas, (x, y))


def cutmix(images: Tensor, target: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Lay a window of each image's neighbour in the batch over it, and mix the targets by area.

    Args:
        images: (B, 3, H, W).
        target: (B, classes).
        g: decides which window.

    Returns:
        Images and targets of the same shapes.
    """
    h, w = images.shape[-2:]
    share = 1 - float(torch.rand((), generator=g))
    bh, bw = int(h * (1 - share) ** 0.5), int(w * (1 - share) ** 0.5)
    y = int(torch.randint(h - bh + 1, (1,), generator=g))
    x = int(torch.randint(w - bw + 1, (1,), generator=g))
    mixed = images.clone()
    mixed[..., y : y + bh, x : x + bw] = images.roll(1, 0)[..., y : y + bh, x : x + bw]
    keep = 1 - bh * bw / (h * w)
    return mixed, keep * target + (1 - keep) * target.roll(1, 0)


@torch.inference_mode()
def top1(model: Classifier, pictures: Pictures, batch: int = 256) -> float:
    """Share of pictures whose class is the features' highest logit.

    Args:
        model: the classifier.
        pictures: with their labels, where the model is.
        batch: pictures at once.

    Returns:
        From 0 to 1.
    """
    model.eval()
    right = torch.zeros((), device=pictures.labels.device)
    for index in torch.arange(len(pictures), device=pictures.labels.device).split(batch):
        logits, _ = model(standardise(pictures.batch(index)))
        right += (logits.argmax(1) == pictures.labels[index]).sum()
    return float(right) / len(pictures)
