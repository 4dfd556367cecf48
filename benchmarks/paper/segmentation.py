"""Dense prediction through a transformer: which pixels of an image are the digit's, at a tenth of the pixels.

    python -m benchmarks.paper.segmentation [--steps 400] [--seeds 2] [--quick]

A digit anywhere in 60 x 60, among 16 pieces of other digits (TC); what is asked for is the digit's own pixels, at full resolution.
Dilated convolutions of one kind answer. *Whole image*: they see all 3,600 pixels. *Reduced*: the image at 19 x 19, a tenth of the
pixels, and the answer is enlarged. *Through a transformer*: f_loc, on the image reduced to 30 x 30, chooses a crop, the convolutions
see it at 19 x 19, and their answer is put back by `unwarp`; f_loc learns from the answer's loss alone. IoU is that of all answered
with all true pixels of 1,000 test images. docs/figures/segmentation.png: drawn digits, the truth, and the answers.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that it also runs as a file

from benchmarks.paper.fitting import Schedule
from benchmarks.paper.mnist import SIZES, among_clutter, load
from benchmarks.paper.pictures import drawn_digits, grey, with_net, write_sheet
from benchmarks.paper.trials import Figures, Task, compared, options
from benchmarks.provenance import SAMPLER, begin, save
from stn_cli.stn import FixedAttention, HeatmapLocalisation, SpatialTransformer, unwarp

SIDE, SMALL, INK = SIZES["TC"], 19, 0.3
NOWHERE = -4.0
"""Logit outside of a crop."""


def scenes(images: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """uint8 digits (n, 1, 28, 28) -> images (n, 1, 60, 60) in [0, 1], and which pixels are the digit's, 0 or 1."""
    x = images.float() / 255
    whole, places = among_clutter(x, g, side=SIDE)
    own = torch.zeros_like(whole)
    for image, digit, (left, top) in zip(own, x, places.tolist(), strict=True):
        image[:, top : top + 28, left : left + 28] = digit > INK
    return whole, own


class Seen(nn.Module):
    """Convolutions (they see 15 pixels far) on the whole image at `side` x `side`; the answer is enlarged again."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.layers, self.side = convolutions(), side

    def forward(self, U: Tensor) -> Tensor:
        """(B, 1, 60, 60) -> logits (B, 1, 60, 60)."""
        if self.side == SIDE:
            return self.layers(U)
        small = F.interpolate(U, self.side, mode="bilinear", antialias=True)
        return F.interpolate(self.layers(small), SIDE, mode="bilinear")


class Through(nn.Module):
    """The same on a crop of the digit's size; the answer is put back."""

    def __init__(self) -> None:
        super().__init__()
        self.transform = FixedAttention(28 / SIDE)
        f_loc = nn.Sequential(nn.AvgPool2d(2), HeatmapLocalisation(self.transform, 1, width=12, depth=3))
        self.cut = SpatialTransformer(f_loc, self.transform, (SMALL, SMALL))
        self.layers = convolutions()

    def forward(self, U: Tensor) -> Tensor:
        """(B, 1, 60, 60) -> logits (B, 1, 60, 60)."""
        crops, theta = self.cut(U)
        answer = self.layers(crops) - NOWHERE  # what `unwarp` leaves empty is NOWHERE
        return unwarp(self.transform, answer, theta, (SIDE, SIDE)) + NOWHERE


def convolutions(width: int = 12) -> nn.Sequential:
    """(B, 1, h, w) -> logits (B, 1, h, w)."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=2, dilation=2), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=4, dilation=4), nn.ReLU(), nn.Conv2d(width, 1, 3, padding=1),
    )  # fmt: skip


def loss(answer: Tensor, own: Tensor) -> Tensor:
    """Cross-entropy of pixels, and how far the answers are from overlapping the digits (soft IoU): their pixels are few."""
    p = answer.sigmoid()
    both, either = (p * own).sum((1, 2, 3)), (p + own - p * own).sum((1, 2, 3))
    return F.binary_cross_entropy_with_logits(answer, own) + (1 - both / either.clamp(min=1)).mean()


@torch.no_grad()
def overlap(network: nn.Module, x: Tensor, own: Tensor) -> Figures:
    """IoU, percent, of all pixels together."""
    answers = torch.cat([network(part) > 0 for part in x.split(250)])
    return {"iou": 100 * float((answers & (own > 0)).sum() / (answers | (own > 0)).sum())}


@torch.no_grad()
def picture(networks: dict[str, nn.Module]) -> None:
    """Drawn digits, the crop's net in the last network's; the truth; and the answers."""
    x, own = scenes(drawn_digits([2, 3, 4, 5, 7, 8]), torch.Generator().manual_seed(3))
    through = next(network for network in networks.values() if isinstance(network, Through))
    nets = through.transform.grid(through.cut(x)[1], (5, 5))
    rows = [[with_net(grey(image[0]), net) for image, net in zip(x, nets, strict=True)], [grey(o[0]) for o in own]]
    rows += [[grey(answer[0]) for answer in network(x).sigmoid()] for network in networks.values()]
    write_sheet("segmentation", rows)


def main() -> None:
    given = options(__doc__, steps=400, seeds=2)
    begin()
    images, _ = load("train", torch.device("cpu"), 500 if given.quick else 20_000)
    test, _ = load("test", torch.device("cpu"), 100 if given.quick else 1000)

    def batch(g: torch.Generator, n: int) -> tuple[Tensor, Tensor]:
        return scenes(images[torch.randint(len(images), (n,), generator=g)], g)

    task = Task(batch, *scenes(test, torch.Generator().manual_seed(10_000)), loss, overlap)
    builds = {"whole image": partial(Seen, SIDE), "reduced to 19 x 19": partial(Seen, SMALL), "through a transformer": Through}
    schedule = Schedule(given.steps, batch=8 if given.quick else 32, localisation_lr=1.0)
    rows, networks = compared(builds, task, schedule, given.seeds)
    if not given.quick:
        picture(networks)
        save("paper_segmentation", {"rows": rows}, SAMPLER, seeds=range(given.seeds))


if __name__ == "__main__":
    main()
