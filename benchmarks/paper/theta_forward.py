"""theta fed forward (paper, section 3.4): a digit and its angle, a digit and its place, read from a crop that has neither.

    python -m benchmarks.paper.theta_forward [SET ...] [--steps 300] [--seeds 2] [--quick]

R: turned by up to 90 degrees, `euclidean`; T: anywhere in 60 x 60, `fixed_attention`. The networks say the digit and, by regression,
the angle or the place, from the crop alone, from the crop and theta (`append_theta`), or without a transformer. SET is R or T. In
docs/figures/theta_forward.png is what is said of T's place (across: the truth), without theta and with it.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that it also runs as a file

from benchmarks.paper.fitting import Schedule
from benchmarks.paper.mnist import load, placed, translated
from benchmarks.paper.pictures import Picture, write_sheet
from benchmarks.paper.trials import Task, compared, options
from benchmarks.provenance import SAMPLER, begin, earlier, save
from stn_cli.stn import CnnLocalisation, Euclidean, FixedAttention, HeatmapLocalisation, SpatialTransformer, append_theta

NAME = "paper_theta_forward"
SIDE = {"R": 28, "T": 60}
WAYS = ("no transformer", "crop alone", "crop and theta")


class Answer(nn.Module):
    """A digit and two numbers, from the image, from its crop, or from the crop and theta."""

    def __init__(self, name: str, way: str) -> None:
        super().__init__()
        self.way = way
        self.transformer = None if way == WAYS[0] else transformer(name)
        side = SIDE[name] if self.transformer is None else 28
        self.body = nn.Sequential(
            nn.Conv2d(1, 12, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(12, 24, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(24 * (side // 4) ** 2, 64), nn.ReLU(),
        )  # fmt: skip
        more = self.transformer.transform.theta_dim if self.transformer is not None and way == WAYS[2] else 0
        self.head = nn.Sequential(nn.Linear(64 + more, 64), nn.ReLU(), nn.Linear(64, 12))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, H, W) -> (B, 12): logits of the digit; cosine and sine of the angle, or the place."""
        if self.transformer is None:
            features = self.body(x)
        else:
            crop, theta = self.transformer(x)
            features = self.body(crop)
            if self.way == WAYS[2]:
                features = append_theta(features, theta)
        out: Tensor = self.head(features)
        return out


def transformer(name: str) -> SpatialTransformer:
    """Of the task: turns the crop upright, or goes to the digit."""
    if name == "R":
        turning = Euclidean()
        return SpatialTransformer(CnnLocalisation(turning, 1, width=16), turning, (28, 28), antialias=False)
    going = FixedAttention(28 / 60)
    f_loc = nn.Sequential(nn.AvgPool2d(3), HeatmapLocalisation(going, 1, width=16, depth=2))
    return SpatialTransformer(f_loc, going, (28, 28), antialias=False)


def batch_of(name: str, images: Tensor, labels: Tensor, g: torch.Generator, n: int) -> tuple[Tensor, Tensor]:
    """Images, and (n, 3): the digit; cosine and sine of the angle, or the digit's centre as shares of the half side."""
    index = torch.randint(len(images), (n,), generator=g)
    digits = images[index].float() / 255
    if name == "R":
        angle = (torch.rand(n, generator=g) - 0.5) * math.pi
        x = placed(digits, angle, torch.ones(n), torch.zeros(n, 2), 28)
        pose = torch.stack([angle.cos(), angle.sin()], 1)
    else:
        state = torch.Generator()
        state.set_state(g.get_state())
        x = translated(digits, g, clutter=0)
        corner = torch.randint(60 - 28 + 1, (n, 2), generator=state)  # what `translated` drew
        pose = (corner + 14) / 30 - 1
    return x, torch.cat([labels[index, None].float(), pose], 1)


def loss(out: Tensor, y: Tensor) -> Tensor:
    """Cross entropy of the digit, and the squares of the rest."""
    return F.cross_entropy(out[:, :10], y[:, 0].long()) + 4 * F.mse_loss(out[:, 10:], y[:, 1:])


@torch.no_grad()
def score(name: str, network: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    """Percent of wrong digits; median degrees or pixels."""
    out = torch.cat([network(part) for part in x.split(500)])
    wrong = 100 * float((out[:, :10].argmax(1) != y[:, 0]).float().mean())
    if name == "R":
        return {"error": wrong, "off": math.degrees(float((angle_of(out[:, 10:]) - angle_of(y[:, 1:])).abs().median()))}
    return {"error": wrong, "off": 30 * float((out[:, 10:] - y[:, 1:]).norm(dim=1).median())}


def angle_of(pair: Tensor) -> Tensor:
    """Cosine and sine (n, 2) -> radians."""
    return torch.atan2(pair[:, 1], pair[:, 0])


@torch.no_grad()
def scatter(network: nn.Module, x: Tensor, y: Tensor, title: str) -> Picture:
    """What is said of the place along x against the truth, the image's width each way."""
    said, true = network(x)[:, 10].clamp(-1, 1), y[:, 1]
    out = np.full((280, 280, 3), 255, np.uint8)
    cv2.rectangle(out, (20, 30), (260, 270), (120, 120, 120), 1)
    cv2.line(out, (20, 270), (260, 30), (180, 180, 180), 1, cv2.LINE_AA)
    for s, t in zip(said.tolist(), true.tolist(), strict=True):
        cv2.circle(out, (round(140 + 120 * t), round(150 - 120 * s)), 1, (200, 110, 30), -1)
    cv2.putText(out, title, (20, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (60, 60, 60), 1, cv2.LINE_AA)
    return out


def main() -> None:
    given = options(__doc__, steps=300, seeds=2, names="SET")
    begin()
    device = torch.device("cpu")
    images, labels = load("train", device, 500 if given.quick else 20_000)
    tests = load("test", device, 100 if given.quick else 1000)
    rows = {} if given.quick else earlier(NAME, "rows")
    done: list[str] = []
    for name in given.names or SIDE:
        x, y = batch_of(name, *tests, torch.Generator().manual_seed(10_000), len(tests[0]))
        task = Task(partial(batch_of, name, images, labels), x, y, loss, partial(score, name))
        builds = {way: partial(Answer, name, way) for way in WAYS}
        schedule = Schedule(given.steps, batch=16 if given.quick else 64)
        found, networks = compared(builds, task, schedule, given.seeds, f"{name}, ")
        rows |= found
        done += found
        if given.quick:
            continue
        if name == "T":
            write_sheet("theta_forward", [[scatter(networks[way], x[:600], y[:600], way) for way in WAYS[1:]]])
        save(NAME, {"rows": rows}, SAMPLER, rows=done, seeds=range(given.seeds))


if __name__ == "__main__":
    main()
