"""What f_loc costs and what it may cost less: a shallow f_loc on reduced images of high resolution, and one that shares its weights.

    python -m benchmarks.paper.high_resolution [ROW ...] [--steps 300] [--seeds 2] [--quick]

TC: a digit of 28 x 28 pixels among 16 pieces of others, anywhere in 64 or 256 pixels. f_loc (a heatmap of three layers) sees the image
reduced to 16 or 32 pixels; the crop is read from the image itself. *Eased*: for half of the steps the digit lies in the middle 64 pixels.
RTS: the convolutions of f_loc are its own, or those of the classifier behind (`TrunkLocalisation`), learned from 300 or 20,000 images. ROW
is the beginning of a row's name, as TC. In docs/figures/high_resolution.png are the errors over the multiply-adds of a whole network, and
over the number of images.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that it also runs as a file

from benchmarks.paper.fitting import Schedule
from benchmarks.paper.mnist import distorted, translated
from benchmarks.paper.networks import Transformed
from benchmarks.paper.pictures import chart, write_sheet
from benchmarks.paper.trials import Task, compared, digit_task, options
from benchmarks.provenance import SAMPLER, begin, earlier, save
from stn_cli.stn import FixedAttention, HeatmapLocalisation, SpatialTransformer, TrunkLocalisation, by_name

NAME = "paper_high_resolution"
SETS, SEEN, COUNTS = ("64", "256", "256 eased"), (16, 32), (300, 20_000)
WAYS = ("no transformer", "own convolutions", "shared convolutions")


def body() -> nn.Sequential:
    """Two convolutions, each rectified and pooled."""
    return nn.Sequential(
        nn.Conv2d(1, 10, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(10, 20, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
    )  # fmt: skip


def behind(layers: nn.Sequential, side: int) -> nn.Sequential:
    """The classifier of a crop."""
    return nn.Sequential(layers, nn.Flatten(), nn.Linear(20 * (side // 4) ** 2, 64), nn.ReLU(), nn.Linear(64, 10))


def finder(side: int, seen: int) -> nn.Module:
    """f_loc sees the image reduced to seen x seen; the crop has 28 x 28 of its own pixels."""
    transform = FixedAttention(28 / side)
    f_loc = nn.Sequential(nn.AvgPool2d(side // seen), HeatmapLocalisation(transform, 1, width=12, depth=2))
    return Transformed(SpatialTransformer(f_loc, transform, (28, 28), antialias=False), behind(body(), 28))


def sharing(way: str) -> nn.Module:
    """On RTS; affine."""
    layers = body()
    if way == WAYS[0]:
        return behind(layers, 42)
    transform = by_name("affine")
    trunk = layers if way == WAYS[2] else body()
    f_loc = TrunkLocalisation(transform, trunk, 20, start=transform.identity() * 28 / 42)
    return Transformed(SpatialTransformer(f_loc, transform, (28, 28), antialias=False), behind(layers, 28))


def cluttered(images: Tensor, g: torch.Generator, side: int, frame: int | None = None) -> Tensor:
    """uint8 digits -> TC at a side."""
    return translated(images.float() / 255, g, side=side, frame=frame)


def rts(images: Tensor, g: torch.Generator) -> Tensor:
    """uint8 digits -> RTS."""
    return distorted(images, "RTS", g)


def picture(rows: dict[str, Any]) -> None:
    """Two charts: of f_loc's cost, of the number of images."""

    def mean(name: str) -> float:
        values = rows[name]["error"]
        return sum(values) / len(values)

    cost = {
        f"TC {of}": [(rows[n]["multiply_adds"] / 1e6, mean(n)) for n in (f"TC {of}, f_loc at {seen}" for seen in SEEN)]
        for of in SETS
    }
    few = {way: [(count, mean(f"RTS {count}, {way}")) for count in COUNTS] for way in WAYS}
    charts = [
        chart(cost, "million multiply-adds of the whole network (log)", "error, %", log=True),
        chart(few, "training images (log)", "error, %", log=True),
    ]
    write_sheet("high_resolution", [charts])


def main() -> None:
    given = options(__doc__, steps=300, seeds=2, names="ROW")
    begin()
    rows = {} if given.quick else earlier(NAME, "rows")
    done: list[str] = []
    tests = 50 if given.quick else 1000
    sets: dict[str, tuple[Callable[[], Task], dict[str, Callable[[], nn.Module]]]] = {}
    for of in SETS:
        side = int(of.split()[0])
        builds = {f"f_loc at {seen}": partial(finder, side, seen) for seen in SEEN}
        easy = partial(cluttered, side=side, frame=64) if "eased" in of else None
        sets[f"TC {of}, "] = partial(digit_task, partial(cluttered, side=side), 20_000, tests, easy, given.steps), builds
    for count in COUNTS:
        sets[f"RTS {count}, "] = partial(digit_task, rts, count, tests), {way: partial(sharing, way) for way in WAYS}
    for of, (make, builds) in sets.items():
        wanted = {n: b for n, b in builds.items() if not given.names or (of + n).startswith(tuple(given.names))}
        if not wanted:
            continue
        schedule = Schedule(given.steps, batch=8 if given.quick else 48, localisation_lr=1 if of.startswith("RTS") else 0.5)
        found, _ = compared(wanted, make(), schedule, given.seeds, of)
        rows |= found
        done += found
        if not given.quick:
            save(NAME, {"rows": rows}, SAMPLER, rows=done, seeds=range(given.seeds))
    if not given.quick and len(rows) == len(SETS) * len(SEEN) + len(COUNTS) * len(WAYS):
        picture(rows)


if __name__ == "__main__":
    main()
