"""Training and testing of a classifier on images that are made anew for every step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cli.stn import SpatialTransformer, TransformerPool

PAPER_IMAGES = 150_000 * 256
"""Images that the paper's networks saw."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long, and at which rate.

    Attributes:
        steps, batch: of the optimiser.
        lr: the highest rate of Adam, reached after a twentieth of the steps, then falling as a cosine.
        localisation_lr: the share of it at which f_loc learns.
        basis_lr: the share of it at which a basis B is learned.
        seed: of weights and images.
    """

    steps: int
    batch: int = 256
    lr: float = 3e-3
    localisation_lr: float = 0.5
    basis_lr: float = 1.0
    seed: int = 0

    @property
    def share(self) -> float:
        """Of the images that the paper's networks saw."""
        return self.steps * self.batch / PAPER_IMAGES


Batch = Callable[[torch.Generator, int], tuple[Tensor, Tensor]]


def fit(
    network: nn.Module, batch: Batch, schedule: Schedule, loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
) -> float:
    """Train in place; returns the seconds."""
    parts = [m for m in network.modules() if isinstance(m, SpatialTransformer | TransformerPool)]
    slow = [p for m in parts for p in m.localisation.parameters()]
    basis = [p for m in parts if isinstance(m.transform, nn.Module) for p in m.transform.parameters()]
    known = {id(p) for p in (*slow, *basis)}
    groups = [
        {"params": [p for p in network.parameters() if id(p) not in known], "full": schedule.lr},
        {"params": slow, "full": schedule.lr * schedule.localisation_lr},
        {"params": basis, "full": schedule.lr * schedule.basis_lr},
    ]
    optimiser = torch.optim.Adam(groups, lr=schedule.lr)
    g = torch.Generator().manual_seed(schedule.seed)
    begun = time.perf_counter()
    network.train()
    for step in range(schedule.steps):
        for group in optimiser.param_groups:
            rise = min(1.0, (step + 1) / (0.05 * schedule.steps + 1))
            group["lr"] = group["full"] * rise * (0.5 + 0.5 * math.cos(math.pi * step / schedule.steps))
        x, y = batch(g, schedule.batch)
        optimiser.zero_grad(set_to_none=True)
        loss(network(x), y).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
    return time.perf_counter() - begun


@torch.no_grad()
def error(network: nn.Module, x: Tensor, y: Tensor, chunk: int = 1000) -> float:
    """Share of wrong answers, percent."""
    network.eval()
    right = sum(int((network(a).argmax(1) == b).sum()) for a, b in zip(x.split(chunk), y.split(chunk), strict=True))
    return 100 * (1 - right / len(y))
