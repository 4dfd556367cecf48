"""A transformer as the down-sampling of a network, in place of max-pooling (paper, section 3.4), at equal multiply-adds.

    python -m benchmarks.paper.pooling [--steps 500] [--seeds 2] [--quick]

Two convolutions, a down-sampling by 2 after each, and a hidden layer, on distorted MNIST (RTS). Every network is as wide as the same
number of multiply-adds allows, f_loc counted. docs/figures/pooling.png shows where the first transformer reads, on drawn digits.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that it also runs as a file

from benchmarks.paper.fitting import Schedule
from benchmarks.paper.mnist import SIZES, distorted
from benchmarks.paper.pictures import drawn_digits, grey, with_net, write_sheet
from benchmarks.paper.trials import Task, compared, digit_task, options, widest
from benchmarks.provenance import SAMPLER, begin, save
from stn_cli.stn import CnnLocalisation, TransformerPool, by_name

BUDGET = 2_430_000
"""Multiply-adds of one image."""
KIND = "RTS"
WAYS = ("max-pooling", "mean-pooling", "strided convolution", "one transformer", "two transformers")


def transformer(channels: int) -> nn.Module:
    """Affine, with a small f_loc that looks at the map at half its size."""
    transform = by_name("affine")
    f_loc = nn.Sequential(nn.AvgPool2d(2), CnnLocalisation(transform, channels, width=12))
    return TransformerPool(f_loc, transform)


def down(way: str, depth: int, channels: int) -> nn.Module:
    """The down-sampling after convolution 1 or 2."""
    if way == "strided convolution":
        return nn.Sequential(nn.Conv2d(channels, channels, 3, 2, padding=1), nn.ReLU())
    if way == "two transformers" or (way == "one transformer" and depth == 1):
        return transformer(channels)
    return nn.AvgPool2d(2, ceil_mode=False) if way == "mean-pooling" else nn.MaxPool2d(2)


def network(way: str, side: int, width: int) -> nn.Sequential:
    """Of `width` and twice as many channels."""
    layers = [
        nn.Conv2d(1, width, 5, padding=2), nn.ReLU(), down(way, 1, width),
        nn.Conv2d(width, 2 * width, 5, padding=2), nn.ReLU(), down(way, 2, 2 * width),
    ]  # fmt: skip
    with torch.no_grad():
        inputs = nn.Sequential(*layers)(torch.zeros(1, 1, side, side)).numel()
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 10))


def task(quick: bool) -> Task:
    """Digits distorted anew for each step."""
    return digit_task(lambda images, g: distorted(images, KIND, g), 500 if quick else 20_000, 100 if quick else 2000)


@torch.no_grad()
def picture(trained: nn.Module) -> None:
    """Where the first transformer of a network reads: on drawn digits of RTS."""
    assert isinstance(trained, nn.Sequential)
    images = distorted(drawn_digits([2, 3, 4, 5, 7, 2, 3, 4, 5, 7]), KIND, torch.Generator().manual_seed(3))
    pool = trained[2]
    maps = trained[:2](images)
    points = pool.transform.grid(pool.localisation(maps), (21, 21))
    row = [with_net(grey(image[0]), net) for image, net in zip(images, points, strict=True)]
    write_sheet("pooling", [row[:5], row[5:]])


def main() -> None:
    given = options(__doc__, steps=500, seeds=2)
    begin()
    learned = task(given.quick)
    ways = (WAYS[0], WAYS[-1]) if given.quick else WAYS
    builds = {way: partial(widest, partial(network, way, SIZES[KIND]), learned.x, BUDGET) for way in ways}
    rows, networks = compared(builds, learned, Schedule(given.steps, batch=16 if given.quick else 64), given.seeds)
    if not given.quick:
        picture(networks[WAYS[-1]])
        save("paper_pooling", {"rows": rows}, SAMPLER, seeds=range(given.seeds))


if __name__ == "__main__":
    main()
