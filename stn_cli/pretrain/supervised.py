"""Training of the small network with class labels: what is pooled over a map's cells must tell the class.

CutMix (Yun et al. 2019, arXiv 1905.04899) keeps the network from resting on one telling part: maps cover more of the object.
In a mosaic of four pictures (as detectors train on, Bochkovskiy et al. 2020, arXiv 2004.10934) the cells of each must tell its class with
the three others around it: features of things in clutter, that say what is here and not what is near.

A wider network trained in the same way may teach (Hinton et al. 2015, arXiv 1503.02531): its classes of every view, and its features cell by
cell, from which a small network learns more of how things look than labels tell.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cli.coloc.backbone import FEATURES, WIDTHS, SmallNetwork
from stn_cli.files import write_text
from stn_cli.pretrain.pictures import Pictures, random_views, standardise
from stn_cli.pretrain.state import load_state, read_state, save_state

SIDES = (40, 48, 56, 64, 72)
"""Sides of the views: every batch has one of them, so that features hold over scales."""
MOSAIC_SIDES = (96, 112, 128)
MARGIN = 32
"""Least side of a mosaic's part, pixels."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long and how fast.

    Attributes:
        epochs: passes over the pictures.
        batch: pictures per step.
        lr: highest learning rate.
        decay: weight decay of AdamW.
        mosaic: share of batches that are mosaics.
        cutmix: share of the others that are mixed.
        taught: share of the loss that a teacher's classes have, where there is one; the labels have the rest.
        guided: weight of the teacher's features.
        temperature: at which its classes are read.
        seed: of everything random.
    """

    epochs: int = 30
    batch: int = 128
    lr: float = 2e-3
    decay: float = 0.05
    mosaic: float = 0.5
    cutmix: float = 0.5
    taught: float = 0.7
    guided: float = 1.0
    temperature: float = 2.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What a classifier makes of images.

    Attributes:
        maps: features (B, C, h, w), third stage (B, C, h, w).
        logits: of the features and of the last stage, (n, classes) each.
    """

    maps: tuple[Tensor, Tensor]
    logits: tuple[Tensor, Tensor]


def mean_of_all(maps: Tensor) -> Tensor:
    """Each image's mean: (B, C, h, w) -> (B, C)."""
    return maps.mean((2, 3))


class Classifier(nn.Module):
    """The network and two linear classifiers, on its features and on its last stage, each pooled by the mean.

    Args:
        classes: to tell apart.
        width: of the network.
    """

    def __init__(self, classes: int, width: int = 1) -> None:
        super().__init__()
        self.network = SmallNetwork(width)
        self.classify = nn.Linear(width * FEATURES, classes)
        self.classify_last = nn.Linear(width * WIDTHS[-1], classes)

    def forward(self, images: Tensor, pool: Callable[[Tensor], Tensor] = mean_of_all) -> Reading:
        """Standardised images (B, 3, H, W) -> what is seen in them, pooled where `pool` says."""
        features, third, last = self.network(images)
        return Reading((features, third), (self.classify(pool(features)), self.classify_last(pool(last))))


def load_classifier(folder: Path) -> Classifier:
    """The averaged classifier that `train_supervised` left in a folder.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    average = read_state(folder)["average"]
    state = {name.removeprefix("module."): value for name, value in average.items() if name.startswith("module.")}
    classes, features = state["classify.weight"].shape
    model = Classifier(classes, features // FEATURES)
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)


class Guide(nn.Module):
    """Where a teacher's features are read off a student's: one linear map for each of its two maps.

    Args:
        width: of the teacher.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.ModuleList(nn.Conv2d(inputs, width * inputs, 1) for inputs in (FEATURES, WIDTHS[2]))

    def forward(self, own: Reading, theirs: Reading) -> Tensor:
        """Share of the teacher's variance over all cells that is not read off: (), 1 for nothing."""
        shares = []
        for read, mine, maps in zip(self.read, own.maps, theirs.maps, strict=True):
            target = F.batch_norm(maps.float(), None, None, training=True)  # every channel counts, as far as it varies
            shares.append(F.mse_loss(read(mine).float(), target))
        return torch.stack(shares).mean()


def train_supervised(
    pictures: Pictures,
    held_out: Pictures,
    folder: Path,
    recipe: Recipe,
    device: torch.device,
    start: SmallNetwork | None = None,
    teacher: Classifier | None = None,
    width: int = 1,
) -> tuple[Classifier, float]:
    """Train from scratch or from a network, or go on from the folder's last state.

    Args:
        pictures: to learn from.
        held_out: to measure on.
        folder: for the state and the log.
        recipe: how.
        device: for the network.
        start: begin with this network's weights.
        teacher: to learn from beside the labels, of the same classes.
        width: of the network.

    Returns:
        The averaged network and its top-1 accuracy on `held_out`.
    """
    classes = int(pictures.labels.max()) + 1
    torch.manual_seed(recipe.seed)
    model = Classifier(classes, width)
    if start is not None:
        model.network.load_state_dict(start.state_dict())
    model = model.to(device).to(memory_format=torch.channels_last)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.999), use_buffers=True
    )
    guide = None
    if teacher is not None:
        teacher = teacher.to(device).to(memory_format=torch.channels_last)
        guide = Guide(teacher.classify.in_features // FEATURES).to(device)
    learning = nn.ModuleList([model] if guide is None else [model, guide])
    optimiser = torch.optim.AdamW(decayed(learning), lr=recipe.lr, weight_decay=recipe.decay)
    per_epoch = len(pictures) // recipe.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.lr, total_steps=per_epoch * recipe.epochs, pct_start=0.15)
    parts = {"model": model, "average": average, "optimiser": optimiser, "schedule": schedule}
    parts |= {} if guide is None else {"guide": guide}
    first, log = load_state(folder, parts)
    pictures, held_out = pictures.to(device), held_out.to(device)
    kept = average.module
    assert isinstance(kept, Classifier)
    for epoch in range(first, recipe.epochs):
        begun, total = time.monotonic(), torch.zeros((), device=device)
        model.train()
        order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(recipe.seed * 1000 + epoch))
        for step in range(per_epoch):
            g = torch.Generator().manual_seed((recipe.seed * 1000 + epoch) * 100_000 + step)
            index = order[step * recipe.batch : (step + 1) * recipe.batch]
            with torch.autocast(device.type, torch.bfloat16):
                loss = classes_loss(model, pictures, index, recipe, g, teacher, guide)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(learning.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            average.update_parameters(model)
            total += loss.detach()
        looked = epoch % 3 == 2 or epoch + 1 == recipe.epochs
        accuracy = top1(kept, held_out) if looked else math.nan
        log.append({"epoch": epoch, "loss": float(total) / per_epoch, "top1": accuracy, "seconds": time.monotonic() - begun})
        if looked:
            save_state(folder, parts, epoch + 1, log)
        write_text(folder / "log.txt", "".join(_line(row) for row in log))
    return kept, float(log[-1]["top1"])


def _line(row: dict[str, Any]) -> str:
    return f"epoch {row['epoch']:3d}  loss {row['loss']:.4f}  top1 {row['top1']:.4f}  {row['seconds']:.0f} s\n"


def decayed(model: nn.Module) -> list[dict[str, Any]]:
    """Parameters of an optimiser: only matrices and kernels decay."""
    held = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": [p for p in model.parameters() if p.ndim >= 2]}, {"params": held, "weight_decay": 0.0}]


def classes_loss(
    model: Classifier,
    pictures: Pictures,
    index: Tensor,
    recipe: Recipe,
    g: torch.Generator,
    teacher: Classifier | None = None,
    guide: Guide | None = None,
) -> Tensor:
    """What one batch costs.

    Args:
        model: that learns.
        pictures: all of them.
        index: (B,) which are in the batch.
        recipe: how.
        g: of the views, on the CPU.
        teacher, guide: what it learns from beside the labels, and where that is read off it.
    """
    images, labels = pictures.batch(index), pictures.labels[index.to(pictures.labels.device)]
    target = F.one_hot(labels, model.classify.out_features).float()
    pool = mean_of_all
    if float(torch.rand((), generator=g)) < recipe.mosaic:
        views = mosaic(images, g)
        images, pool, target = views.images, views.pool, target[: 4 * len(views.images)]
    else:
        side = SIDES[int(torch.randint(len(SIDES), (1,), generator=g))]
        images = random_views(images, side, g).images
        if float(torch.rand((), generator=g)) < recipe.cutmix:
            images, target = cutmix(images, target, g)
    images = standardise(images).contiguous(memory_format=torch.channels_last)
    own = model(images, pool)
    of_labels = _weighted(F.cross_entropy(r.float(), target, label_smoothing=0.1) for r in own.logits)
    if teacher is None or guide is None:
        return of_labels
    with torch.no_grad():
        theirs = teacher(images, pool)
    t = recipe.temperature
    of_classes = _weighted(
        t
        * t
        * F.kl_div(
            (mine.float() / t).log_softmax(1), (known.float() / t).log_softmax(1), reduction="batchmean", log_target=True
        )
        for mine, known in zip(own.logits, theirs.logits, strict=True)
    )
    return (1 - recipe.taught) * of_labels + recipe.taught * of_classes + recipe.guided * guide(own, theirs)


def _weighted(losses: Iterable[Tensor]) -> Tensor:
    """Of the features and of the last stage, which counts half."""
    features, last = losses
    return features + 0.5 * last


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
    """Views of pictures (4 B, 3, S, S), laid out by four; what is over of a multiple of four is left out."""
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
def top1(model: Classifier, pictures: Pictures, batch: int = 256) -> float:
    """Share of pictures whose class is the features' highest logit."""
    model.eval()
    right = torch.zeros((), device=pictures.labels.device)
    for index in torch.arange(len(pictures), device=pictures.labels.device).split(batch):
        logits = model(standardise(pictures.batch(index))).logits[0]
        right += (logits.argmax(1) == pictures.labels[index]).sum()
    return float(right) / len(pictures)
