"""Training of the small network with class labels: what is pooled over a map's cells must tell the class.

CutMix (Yun et al. 2019, arXiv 1905.04899) keeps the network from resting on one telling part: maps cover more of the object.
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

from stn_cli.coloc.backbone import FEATURES, WIDTHS, SmallNetwork
from stn_cli.files import write_text
from stn_cli.pretrain.pictures import Pictures, random_views, standardise
from stn_cli.pretrain.state import load_state, save_state

SIDES = (40, 48, 56, 64, 72)
"""Sides of the views: every batch has one of them, so that features hold over scales."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long and how fast.

    Attributes:
        epochs: passes over the pictures.
        batch: pictures per step.
        lr: highest learning rate.
        decay: weight decay of AdamW.
        cutmix: share of batches that are mixed.
        seed: of everything random.
    """

    epochs: int = 30
    batch: int = 128
    lr: float = 2e-3
    decay: float = 0.05
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
    pictures: Pictures, held_out: Pictures, folder: Path, recipe: Recipe, device: torch.device
) -> tuple[Classifier, float]:
    """Train from scratch, or go on from the folder's last state.

    Args:
        pictures: to learn from.
        held_out: to measure on.
        folder: for the state and the log.
        recipe: how.
        device: for the network.

    Returns:
        The averaged network and its top-1 accuracy on `held_out`.
    """
    classes = int(pictures.labels.max()) + 1
    torch.manual_seed(recipe.seed)
    model = Classifier(classes).to(device).to(memory_format=torch.channels_last)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.999), use_buffers=True
    )
    optimiser = torch.optim.AdamW(decayed(model), lr=recipe.lr, weight_decay=recipe.decay)
    per_epoch = len(pictures) // recipe.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.lr, total_steps=per_epoch * recipe.epochs, pct_start=0.15)
    parts = {"model": model, "average": average, "optimiser": optimiser, "schedule": schedule}
    first, log = load_state(folder, parts)
    labels = torch.from_numpy(pictures.labels)
    kept = average.module
    assert isinstance(kept, Classifier)
    for epoch in range(first, recipe.epochs):
        begun, total = time.monotonic(), 0.0
        model.train()
        order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(recipe.seed * 1000 + epoch))
        for step in range(per_epoch):
            g = torch.Generator().manual_seed((recipe.seed * 1000 + epoch) * 100_000 + step)
            index = order[step * recipe.batch : (step + 1) * recipe.batch]
            side = SIDES[int(torch.randint(len(SIDES), (1,), generator=g))]
            images = random_views(pictures.batch(index, device), side, g).images
            target = F.one_hot(labels[index].to(device), classes).float()
            if float(torch.rand((), generator=g)) < recipe.cutmix:
                images, target = cutmix(images, target, g)
            loss = _step(model, standardise(images), target, optimiser)
            schedule.step()
            average.update_parameters(model)
            total += loss
        accuracy = top1(kept, held_out, device) if epoch % 3 == 2 or epoch + 1 == recipe.epochs else math.nan
        log.append({"epoch": epoch, "loss": total / per_epoch, "top1": accuracy, "seconds": time.monotonic() - begun})
        save_state(folder, parts, epoch + 1, log)
        write_text(folder / "log.txt", "".join(_line(row) for row in log))
    return kept, float(log[-1]["top1"])


def _line(row: dict[str, Any]) -> str:
    return f"epoch {row['epoch']:3d}  loss {row['loss']:.4f}  top1 {row['top1']:.4f}  {row['seconds']:.0f} s\n"


def decayed(model: nn.Module) -> list[dict[str, Any]]:
    """Parameters of an optimiser: only matrices and kernels decay."""
    held = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": [p for p in model.parameters() if p.ndim >= 2]}, {"params": held, "weight_decay": 0.0}]


def _step(model: Classifier, images: Tensor, target: Tensor, optimiser: torch.optim.Optimizer) -> float:
    with torch.autocast(images.device.type, torch.bfloat16):
        features, last = model(images.contiguous(memory_format=torch.channels_last))
    loss = F.cross_entropy(features.float(), target, label_smoothing=0.1)
    loss = loss + 0.5 * F.cross_entropy(last.float(), target, label_smoothing=0.1)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimiser.step()
    return float(loss.detach())


def cutmix(images: Tensor, target: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Lay a window of each image's neighbour in the batch over it, and mix the targets by area."""
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
def top1(model: Classifier, pictures: Pictures, device: torch.device, batch: int = 256) -> float:
    """Share of pictures whose class is the features' highest logit."""
    model.eval()
    right = 0
    for index in torch.arange(len(pictures)).split(batch):
        logits, _ = model(standardise(pictures.batch(index, device)))
        right += int((logits.argmax(1).cpu() == torch.from_numpy(pictures.labels)[index]).sum())
    return right / len(pictures)
