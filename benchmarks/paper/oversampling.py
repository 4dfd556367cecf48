"""Small digits read at a higher resolution than the image has: does a crop of more pixels than it covers help the classifier?

    python -m benchmarks.paper.oversampling [--steps 300] [--seeds 2] [--quick]

Digits reduced to 10 pixels (of MNIST's 28 with their margin), turned by up to 45 degrees, anywhere in 24 x 24. A similarity crops to 10, 20
or 40 pixels, with bilinear or bicubic reads; the classifier is of one kind, and as wide as the same number of multiply-adds allows. The last
rows are without a transformer, on the image as it is and enlarged three times. docs/figures/oversampling.png: drawn digits and their crops.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that it also runs as a file

from benchmarks.paper.fitting import Schedule
from benchmarks.paper.mnist import placed
from benchmarks.paper.networks import Transformed
from benchmarks.paper.pictures import drawn_digits, grey, with_net, write_sheet
from benchmarks.paper.trials import compared, digit_task, options, widest
from benchmarks.provenance import SAMPLER, begin, save
from stn_cli.stn import CnnLocalisation, SpatialTransformer, by_name

SMALL, SIDE, BUDGET = 10, 24, 1_600_000


def reduced(images: Tensor, g: torch.Generator) -> Tensor:
    """uint8 digits (n, 1, 28, 28) -> (n, 1, 24, 24), digits of 10 pixels; made at three times the size and averaged."""
    n = len(images)
    angle = (torch.rand(n, generator=g) - 0.5) * (math.pi / 2)
    shift = (torch.rand(n, 2, generator=g) * 2 - 1) * 3 * (SIDE - SMALL) / 2
    large = placed(images.float() / 255, angle, torch.full((n,), 3 * SMALL / 28), shift, 3 * SIDE)
    return F.avg_pool2d(large, 3)


def classifier(side: int, width: int) -> nn.Sequential:
    """Two convolutions of `width` and twice as many channels, pooled to 5 x 5 cells whatever the side."""
    return nn.Sequential(
        nn.Conv2d(1, width, 5, padding=2), nn.ReLU(), nn.Conv2d(width, 2 * width, 5, stride=2 if side > 24 else 1, padding=2),
        nn.ReLU(), nn.AdaptiveMaxPool2d(5), nn.Flatten(), nn.Linear(50 * width, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def transformed(side: int, kernel: str, width: int) -> nn.Module:
    """A similarity, at the start of twice the digit's size in the middle, read to side x side."""
    transform = by_name("similarity")
    f_loc = CnnLocalisation(transform, 1, width=16, start=transform.identity() * 2 * SMALL / SIDE, cells=4)
    transformer = SpatialTransformer(f_loc, transform, (side, side), kernel=kernel, antialias=False)
    return Transformed(transformer, classifier(side, width))


def plain(factor: int, width: int) -> nn.Module:
    """Without a transformer, on an enlarged image."""
    enlarge = nn.Upsample(scale_factor=factor, mode="bilinear") if factor > 1 else nn.Identity()
    return nn.Sequential(enlarge, classifier(factor * SIDE, width))


@torch.no_grad()
def picture(networks: dict[str, nn.Module]) -> None:
    """Drawn digits with where they are read, and the crops, at each resolution."""
    x = reduced(drawn_digits([2, 3, 4, 5, 7, 8]), torch.Generator().manual_seed(1))
    rows = []
    for name, network in networks.items():
        if isinstance(network, Transformed) and "bilinear" in name:
            crops, theta = network.transformer(x)
            nets = network.transformer.transform.grid(theta, (33, 33))
            read = [with_net(grey(image[0], 120), net) for image, net in zip(x, nets, strict=True)]
            rows.append([p for pair in zip(read, [grey(c[0], 120) for c in crops], strict=True) for p in pair])
    write_sheet("oversampling", rows)


def main() -> None:
    given = options(__doc__, steps=300, seeds=2)
    begin()
    task = digit_task(reduced, 500 if given.quick else 20_000, 100 if given.quick else 2000)
    made = {
        f"crop of {side}, {kernel}": partial(transformed, side, kernel) for side in (10, 20, 40) for kernel in ("bilinear",)
    }
    made["crop of 20, bicubic"] = partial(transformed, 20, "bicubic")
    made |= {"no transformer": partial(plain, 1), "no transformer, enlarged 3 times": partial(plain, 3)}
    builds = {name: partial(widest, build, task.x, BUDGET) for name, build in made.items()}
    rows, networks = compared(builds, task, Schedule(given.steps, batch=16 if given.quick else 64), given.seeds)
    if not given.quick:
        picture(networks)
        save("paper_oversampling", {"rows": rows}, SAMPLER, seeds=range(given.seeds))


if __name__ == "__main__":
    main()
