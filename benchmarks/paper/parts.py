"""Transformers in parallel as detectors of parts (paper, section 4.3, birds) in small: made birds whose kinds differ in head and tail.

    python -m benchmarks.paper.parts [ROW ...] [--steps 500] [--seeds 2] [--quick]

Sixteen kinds: four patterns of the head times four of the tail, on 96 x 96 pixels, tilted, of several sizes, among strokes. Nothing is told of
parts. One, two or four transformers of fixed scale (a third of the image) cut crops of 32 x 32; beside them the same network on the whole image,
reduced to 32 x 32 and in full. Printed: errors, and in how many images the transformer that most often holds the middle of the head (the
tail) holds it. ROW is the beginning of a row's name, as "2 transformers". docs/figures/parts.png: what transformers take, a row for each
network that was trained, and before that; one colour is one transformer.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that it also runs as a file

from benchmarks.paper.fitting import Schedule
from benchmarks.paper.pictures import Picture, grey, with_net, write_sheet
from benchmarks.paper.trials import Task, compared, options
from benchmarks.provenance import SAMPLER, begin, earlier, save
from stn_cli.stn import CnnLocalisation, FixedAttention, ParallelTransformers, SpatialTransformer, spread_starts

NAME = "paper_parts"
SIDE, CROP, PATTERNS, RADIUS = 96, 32, 4, 9
SCALE = CROP / SIDE
HEAD, TAIL = (25.0, -9.0), (-26.0, 5.0)
"""From the body's middle, pixels."""


def disc(kind: int) -> Picture:
    """A part, 18 x 18: light, with stripes one way, the other way, a ring, or a cross."""
    part = np.zeros((2 * RADIUS, 2 * RADIUS), np.uint8)
    cv2.circle(part, (RADIUS, RADIUS), RADIUS - 1, 230, -1, cv2.LINE_AA)
    for at in (3, 8, 13):
        if kind == 0:
            part[:, at : at + 2] //= 4
        elif kind == 1:
            part[at : at + 2] //= 4
    if kind == 2:
        cv2.circle(part, (RADIUS, RADIUS), 4, 50, 2, cv2.LINE_AA)
    if kind == 3:
        cv2.line(part, (4, 4), (13, 13), 50, 2, cv2.LINE_AA)
        cv2.line(part, (13, 4), (4, 13), 50, 2, cv2.LINE_AA)
    return part


def bird(head: int, tail: int, rng: np.random.Generator) -> tuple[Picture, list[float]]:
    """A picture, and the normalised places of head and tail."""
    out = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(8):
        (x, y), angle = rng.integers(0, SIDE, 2), rng.uniform(0, math.pi)
        end = round(x + 12 * math.cos(angle)), round(y + 12 * math.sin(angle))
        cv2.line(out, (int(x), int(y)), end, int(rng.integers(60, 130)), 1, cv2.LINE_AA)
    turn, size = rng.uniform(-0.4, 0.4), rng.uniform(0.85, 1.1)
    middle = SIDE / 2 + rng.uniform(-12, 12, 2)
    matrix = size * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    axes = (round(22 * size), round(11 * size))
    cv2.ellipse(out, tuple(int(v) for v in middle.round()), axes, math.degrees(turn), 0, 360, 120, -1, cv2.LINE_AA)
    whole = cv2.circle(np.zeros((2 * RADIUS, 2 * RADIUS), np.uint8), (RADIUS, RADIUS), RADIUS - 1, 255, -1)
    places: list[float] = []
    for offset, kind in ((HEAD, head), (TAIL, tail)):
        at = middle + matrix @ offset
        own = np.concatenate([matrix, (at - matrix @ (RADIUS - 0.5, RADIUS - 0.5))[:, None]], 1)
        mask = cv2.warpAffine(whole, own, (SIDE, SIDE))
        out = np.where(mask > 127, cv2.warpAffine(disc(kind), own, (SIDE, SIDE)), out)
        places += [float(v) for v in 2 * at / SIDE - 1]
    return np.asarray(out, np.uint8), places


def birds(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """(n, 1, 96, 96) uint8, and (n, 5): the kind, the places of head and tail."""
    rng = np.random.default_rng(seed)
    pictures, rows = [], []
    for _ in range(count):
        head, tail = (int(v) for v in rng.integers(0, PATTERNS, 2))
        picture, places = bird(head, tail, rng)
        pictures.append(picture)
        rows.append([head * PATTERNS + tail, *places])
    return torch.from_numpy(np.stack(pictures))[:, None], torch.tensor(rows)


def stream(side: int) -> nn.Sequential:
    """What looks at one crop: two convolutions and 48 features."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(24 * (side // 4) ** 2, 48), nn.ReLU(),
    )  # fmt: skip


class Whole(nn.Module):
    """The whole image, reduced by a factor."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.AvgPool2d(factor), stream(SIDE // factor), nn.Linear(48, PATTERNS**2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, 96, 96) -> logits (B, 16)."""
        out: Tensor = self.layers(x)
        return out


class InParts(nn.Module):
    """K transformers, a stream for each crop, and one answer."""

    def __init__(self, count: int) -> None:
        super().__init__()
        transform = FixedAttention(SCALE)
        starts = spread_starts(transform, count, SCALE)
        self.transformers = ParallelTransformers([self._one(transform, start) for start in starts])
        self.streams = nn.ModuleList(stream(CROP) for _ in range(count))
        self.answer = nn.Linear(48 * count, PATTERNS**2)

    @staticmethod
    def _one(transform: FixedAttention, start: Tensor) -> SpatialTransformer:
        f_loc = nn.Sequential(nn.AvgPool2d(2), CnnLocalisation(transform, 1, width=12, start=start, cells=6))
        return SpatialTransformer(f_loc, transform, (CROP, CROP), antialias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, 96, 96) -> logits (B, 16)."""
        crops, _ = self.transformers(x)  # (B, K, 1, 32, 32)
        features = [look(crop) for look, crop in zip(self.streams, crops.unbind(1), strict=True)]
        out: Tensor = self.answer(torch.cat(features, 1))
        return out


@torch.no_grad()
def held(network: InParts, x: Tensor, y: Tensor) -> Tensor:
    """(n, K, 2): whether a transformer's crop holds the middle of the head, of the tail."""
    centre = torch.cat([network.transformers(part)[1] for part in x.split(250)])  # theta of fixed attention is its centre
    off = (y[:, None, 1:].unflatten(-1, (2, 2)) - centre[:, :, None]).abs().amax(-1)
    return off < SCALE


@torch.no_grad()
def score(network: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    """Percent of wrong kinds; percent of images in which the same transformer holds the head, the tail."""
    wrong = torch.cat([network(part).argmax(1) for part in x.split(250)]) != y[:, 0]
    found = {"error": 100 * float(wrong.float().mean())}
    if isinstance(network, InParts):
        head, tail = held(network, x, y).float().mean(0).amax(0).tolist()
        found |= {"head": 100 * head, "tail": 100 * tail}
    return found


@torch.no_grad()
def picture(networks: dict[str, nn.Module], x: Tensor) -> None:
    """A row for each network with transformers."""
    rows = []
    for network in networks.values():
        if isinstance(network, InParts):
            row = [grey(image[0], 144) for image in x]
            for k, transformer in enumerate(network.transformers.transformers):
                nets = transformer.transform.grid(transformer.regress(x), (33, 33))
                row = [with_net(drawn, net, k) for drawn, net in zip(row, nets, strict=True)]
            rows.append(row)
    write_sheet("parts", rows)


def main() -> None:
    given = options(__doc__, steps=500, seeds=2, names="ROW")
    begin()
    images, truth = birds(100 if given.quick else 6000, 0)
    x, y = birds(50 if given.quick else 1000, 1)
    x = x.float() / 255

    def batch(g: torch.Generator, n: int) -> tuple[Tensor, Tensor]:
        index = torch.randint(len(images), (n,), generator=g)
        return images[index].float() / 255, truth[index]

    def loss(out: Tensor, wanted: Tensor) -> Tensor:
        return F.cross_entropy(out, wanted[:, 0].long())

    builds = {
        "whole image, 32 x 32": partial(Whole, 3),
        "whole image, 96 x 96": partial(Whole, 1),
        **{f"{k} transformer{'s' * (k > 1)}": partial(InParts, k) for k in (1, 2, 4)},
    }
    wanted = {name: build for name, build in builds.items() if name.startswith(tuple(given.names or [""]))}
    schedule = Schedule(given.steps, batch=8 if given.quick else 64, lr=2e-3, localisation_lr=1)
    task = Task(batch, x, y, loss, score)
    rows, networks = compared(wanted, task, schedule, given.seeds)
    several = {
        f"{name}, before learning": build for name, build in wanted.items() if name in ("2 transformers", "4 transformers")
    }
    before, beginners = compared(several, task, replace(schedule, steps=0), given.seeds)
    if not given.quick:
        picture(beginners | networks, x[:6])
        done = rows | before
        save(NAME, {"rows": earlier(NAME, "rows") | done}, SAMPLER, rows=done, seeds=range(given.seeds))


if __name__ == "__main__":
    main()
