"""Numbers of one or two digits, tightly and loosely framed, in place of the paper's table 2 (SVHN); and transformers at several depths.

    python -m benchmarks.paper.house_numbers [ROW ...] [--steps 300] [--seeds 2] [--quick]

Numbers made of MNIST digits, tilted a little, of the same size in pixels: in 64 x 64 they have little room, in 128 x 128 much. The
network is three convolutions and two answers of ten digits or none; both must be right. Transformers stand at the input (its crop has
64 x 64 pixels and begins with as many in the middle), after the first and after the second convolution. *Eased*: for half of the steps the
numbers lie in the middle, as tight as in 64 x 64. ROW is the beginning of a row's name, as 128. docs/figures/house_numbers.png: where
the eased transformer reads, on numbers of drawn digits.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that it also runs as a file

from benchmarks.paper.fitting import Batch, Schedule
from benchmarks.paper.mnist import load
from benchmarks.paper.pictures import drawn_digits, grey, with_net, write_sheet
from benchmarks.paper.trials import Eased, Task, compared, options
from benchmarks.provenance import SAMPLER, begin, earlier, save
from stn_cli.stn import CnnLocalisation, HeatmapLocalisation, SpatialTransformer, by_name, sample

NAME = "paper_house_numbers"
MOST, PITCH, NONE = 2, 21, 10
INPUT, ALL = "at the input", "at the input and after 1 and 2"
PLACES = {"no transformer": (), INPUT: (0,), "after convolution 1": (1,), "after convolution 2": (2,), ALL: (0, 1, 2)}
SETS = {"64": tuple(PLACES), "128": ("no transformer", INPUT), "128 eased": ("no transformer", INPUT)}


def numbers(digits: Tensor, labels: Tensor, side: int, g: torch.Generator, n: int, frame: int = 0) -> tuple[Tensor, Tensor]:
    """n images (n, 1, side, side) and their digits (n, 2), 10 where there is none.

    Args:
        digits: (N, 1, 28, 28) uint8; labels (N,).
        side: of the image in pixels.
        g: of everything.
        n: how many.
        frame: the numbers lie within so many pixels in the middle; anywhere when left out.
    """
    index = torch.randint(len(digits), (n, MOST), generator=g)
    length = torch.randint(1, MOST + 1, (n,), generator=g)
    there = torch.arange(MOST) < length[:, None]
    strip = torch.zeros(n, 1, 28, 28 + PITCH * (MOST - 1))
    for k in range(MOST):
        part = strip[..., PITCH * k : PITCH * k + 28]
        torch.maximum(part, digits[index[:, k]].float() / 255 * there[:, k, None, None, None], out=part)
    y = torch.where(there, labels[index], NONE)
    angle, scale = (torch.rand(n, generator=g) - 0.5) * 0.5, torch.rand(n, generator=g) * 0.15 + 1.0
    wide = scale * (28 + PITCH * (length - 1))  # of the number, pixels
    room = torch.stack([((frame or side) - wide).clamp(min=4), (frame or side) - 28 * scale], 1) / 2
    at = (torch.rand(n, 2, generator=g) * 2 - 1) * room
    # strip pixels = turned (image pixels - at) / scale + the number's middle
    cos, sin = side / 2 / scale * angle.cos(), side / 2 / scale * angle.sin()
    half = torch.tensor([strip.shape[-1] / 2, 14.0])
    linear = torch.stack([cos, sin, -sin, cos], 1).view(n, 2, 2)
    middle = torch.stack([-PITCH / 2 * (MOST - length), torch.zeros(n)], 1)
    shift = middle - (linear @ (at / (side / 2))[..., None])[..., 0]
    theta = torch.cat([linear, shift[..., None]], 2) / half[:, None]
    return sample(strip, by_name("affine").grid(theta.flatten(1), (side, side))), y


class Reader(nn.Module):
    """Three convolutions, and at each place of `places` a transformer before them."""

    def __init__(self, side: int, places: tuple[int, ...]) -> None:
        super().__init__()
        self.transformers = nn.ModuleDict()
        if 0 in places:
            affine = by_name("affine")
            f_loc = nn.Sequential(
                nn.AvgPool2d(4), HeatmapLocalisation(affine, 1, width=12, start=(64 / side, 64 / side), depth=3)
            )
            self.transformers["0"] = SpatialTransformer(f_loc, affine, (64, 64), antialias=side > 64)
            side = 64
        widths = (1, 12, 16, 32)
        self.blocks = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(1, 12, 5, 2, padding=2), nn.BatchNorm2d(12), nn.ReLU()),
                nn.Sequential(nn.Conv2d(12, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
                nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
            ]
        )
        for place in set(places) - {0}:
            affine, seen = by_name("affine"), side // 2**place
            f_loc = nn.Sequential(nn.AvgPool2d(2), CnnLocalisation(affine, widths[place], width=12))
            self.transformers[str(place)] = SpatialTransformer(f_loc, affine, (seen, seen), antialias=False)
        self.answers = nn.Sequential(nn.Flatten(), nn.Linear(32 * (side // 8) ** 2, 128), nn.ReLU(), nn.Linear(128, MOST * 11))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, side, side) -> logits (B, 11, 2)."""
        for place, block in enumerate(self.blocks):
            if str(place) in self.transformers:
                x, _ = self.transformers[str(place)](x)
            x = block(x)
        out: Tensor = self.answers(x).view(-1, 11, MOST)
        return out


@torch.no_grad()
def score(network: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    """Percent of numbers with a wrong answer, and of wrong answers."""
    wrong = torch.cat([network(part).argmax(1) for part in x.split(200)]) != y
    return {"error": 100 * float(wrong.any(1).float().mean()), "answers": 100 * float(wrong.float().mean())}


@torch.no_grad()
def picture(network: nn.Module, side: int) -> None:
    """Where the transformer at the input reads."""
    labels = [2, 3, 4, 5, 7, 8, 0, 1, 6, 9] * 3
    x, _ = numbers(drawn_digits(labels), torch.tensor(labels), side, torch.Generator().manual_seed(5), 10)
    first = network.transformers["0"]
    points = first.transform.grid(first(x)[1], (33, 33))
    row = [with_net(grey(image[0], 160), net) for image, net in zip(x, points, strict=True)]
    write_sheet("house_numbers", [row[:5], row[5:]])


def main() -> None:
    given = options(__doc__, steps=300, seeds=2, names="ROW")
    begin()
    device = torch.device("cpu")
    images, labels = load("train", device, 500 if given.quick else 20_000)
    tests = load("test", device, 100 if given.quick else None)
    rows = {} if given.quick else earlier(NAME, "rows")
    done: list[str] = []
    for of, names in SETS.items():
        wanted = [name for name in names if not given.names or f"{of}, {name}".startswith(tuple(given.names))]
        if not wanted:
            continue
        side = int(of.split()[0])
        x, y = numbers(*tests, side, torch.Generator().manual_seed(10_000), 20 if given.quick else 1000)
        batch: Batch = partial(numbers, images, labels, side)
        if "eased" in of:
            batch = Eased(partial(numbers, images, labels, side, frame=64), batch, given.steps)
        builds = {name: partial(Reader, side, PLACES[name]) for name in wanted}
        schedule = Schedule(given.steps, batch=8 if given.quick else 32)
        found, networks = compared(builds, Task(batch, x, y, F.cross_entropy, score), schedule, given.seeds, f"{of}, ")
        rows |= found
        done += found
        if not given.quick:
            save(NAME, {"rows": rows}, SAMPLER, rows=done, seeds=range(given.seeds))
            if "eased" in of and INPUT in networks:
                picture(networks[INPUT], side)


if __name__ == "__main__":
    main()
