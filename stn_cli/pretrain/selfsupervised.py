"""Training of the small network without labels: two views of a picture must be alike, as wholes and cell by cell.

VICReg (Bardes et al. 2022, arXiv 2105.04906) needs no negatives: what is alike is drawn together, and channels must vary and not repeat
each other. As in VICRegL (Bardes et al. 2022, arXiv 2210.01571) it is applied to the pooled features and to the cells that lie at the same
place of the picture.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cli.bounds import check_shared, check_within
from stn_cli.encoders.pretrained import standardise
from stn_cli.encoders.small_network import FEATURES, SmallNetwork
from stn_cli.errors import DivergedError, Interrupted
from stn_cli.files import write_text
from stn_cli.media.cache import Cache
from stn_cli.pretrain.pictures import random_views
from stn_cli.pretrain.state import load_pretraining, save_pretraining
from stn_cli.pretrain.supervised import decayed
from stn_cli.runtime.distributed import ALONE, Team, share_norms
from stn_cli.runtime.progress import Reporter, Silent
from stn_cli.runtime.seeds import step_generator
from stn_cli.runtime.stopping import StopRequest

ALIKE, VARIED, APART = 25.0, 25.0, 1.0
"""Weights of invariance, variance and covariance, as in the paper."""
LOCAL = 0.5
"""Share of the loss that is of cells."""
LOG_EVERY, SAVE_EVERY = 50, 200
"""Steps between two lines of the log, and between two states on the disk."""
CELLS = 12
"""Cells of a picture that are compared, drawn from where its two views overlap."""


@dataclass(frozen=True, slots=True)
class SelfSupervisedRecipe:
    """How long and how fast.

    Attributes:
        steps: optimiser steps.
        batch: pictures per step, two views of each.
        side: of the views, pixels.
        smallest: least area of a view, share of its picture.
        lr: highest learning rate.
        seed: of the random numbers.
    """

    steps: int = 2000
    batch: int = 64
    side: int = 64
    smallest: float = 0.1
    lr: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("--steps", self.steps, 1, 10_000_000), ("--batch", self.batch, 8, 65_536), ("--view", self.side, 32, 512),
        ):  # fmt: skip
            check_within(name, value, least, most, whole=True)
        check_within("the smallest view", self.smallest, 0.01, 1.0)
        check_within("--lr", self.lr, 1e-8, 1.0)
        check_shared(seed=self.seed)


class Siamese(nn.Module):
    """The network and what its features are projected by before they are compared."""

    def __init__(self, width: int = 512) -> None:
        super().__init__()
        self.network = SmallNetwork()
        self.whole = _projector(FEATURES, width)
        self.local = _projector(FEATURES, width // 2)

    def forward(self, images: Tensor) -> Tensor:
        """Standardised images -> features (B, 128, h, w)."""
        return self.network(images)[0]


def _projector(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width))


def train_selfsupervised(
    cache: Cache,
    folder: Path,
    recipe: SelfSupervisedRecipe,
    device: torch.device,
    start: SmallNetwork | None = None,
    reporter: Reporter | None = None,
    stop: StopRequest | None = None,
    team: Team = ALONE,
) -> tuple[SmallNetwork, float]:
    """Train on a set of images, or go on from the folder's last state.

    Args:
        cache: the images.
        folder: for state and log.
        recipe: how.
        device: for the network.
        start: begin from this network's weights; from scratch when left out.
        reporter: is told of progress.
        stop: looked at after every step; the state is saved before it ends the training.
        team: processes that learn together, each from its part of every batch; the first one writes.

    Returns:
        The network, and the mean of the last losses.

    Raises:
        DivergedError: a loss that is not finite; the last state is kept.
        Interrupted: a signal came; a second call goes on.
    """
    learner, reporter, begun = _Learner.of(recipe, device, start, team), reporter or Silent(), time.monotonic()
    first, log = learner.take_up(folder)
    reporter.stage("pretraining", recipe.steps)
    reporter.advance(first)
    for step in range(first, recipe.steps):
        with stop.finishing() if stop else nullcontext():
            loss, last = learner.step(cache, step), step + 1 == recipe.steps
            if not math.isfinite(loss):
                raise DivergedError(f"pretraining diverged: the loss of step {step} is not finite", folder, None, "Lower --lr")
            reporter.advance(1, f"loss {loss:.2f}")
            if (step + 1) % LOG_EVERY == 0 or last:
                log.append({"step": step + 1, "loss": loss, "seconds": time.monotonic() - begun})
            signum = team.largest(stop.signum if stop else 0)  # all of them stop after the same step
            if team.first:
                _write(folder, learner, step + 1, log, save=signum > 0 or last)
            _end_if(signum, stop, f"The same command with --resume goes on from {folder}")
    losses = [row["loss"] for row in log[-5:]]
    return learner.network(), sum(losses) / len(losses)


def _write(folder: Path, learner: _Learner, done: int, log: list[dict[str, Any]], *, save: bool) -> None:
    """The log and the state, where it is time for them."""
    if log and log[-1]["step"] == done:
        write_text(folder / "log.txt", "".join(f"step {r['step']:6d}  loss {r['loss']:.3f}\n" for r in log))
    if save or done % SAVE_EVERY == 0:
        save_pretraining(folder, learner.parts(), done, log)


def _end_if(signum: int, stop: StopRequest | None, todo: str) -> None:
    """End the training where a signal came, here or to another process of it.

    Raises:
        Interrupted: one came.
    """
    if stop:
        stop.check(todo)
    if signum:
        raise Interrupted(signum, todo)


@dataclass(frozen=True, slots=True)
class _Learner:
    """A network that learns, and what it learns by."""

    recipe: SelfSupervisedRecipe
    device: torch.device
    model: Siamese
    objective: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    team: Team

    @classmethod
    def of(cls, recipe: SelfSupervisedRecipe, device: torch.device, start: SmallNetwork | None, team: Team) -> _Learner:
        """One that has learnt nothing yet, or begins from a network's weights."""
        torch.manual_seed(recipe.seed)
        model = Siamese()
        if start is not None:
            model.network.load_state_dict(start.state_dict())
        if team.size > 1:
            share_norms(model, team)
        model = model.to(device).to(memory_format=torch.channels_last).train()
        objective: nn.Module = Objective(model, team)
        if team.size > 1:
            objective = nn.parallel.DistributedDataParallel(objective)
        optimiser = torch.optim.AdamW(decayed(model), lr=recipe.lr, weight_decay=0.02)
        warm = max(1, recipe.steps // 10)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda t: min(1.0, (t + 1) / warm) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, t / recipe.steps)))
        )
        return cls(recipe, device, model, objective, optimiser, schedule, team)

    def parts(self) -> dict[str, Any]:
        """What a state on the disk is made of; it is the same whatever the number of processes."""
        return {"model": self.model, "optimiser": self.optimiser, "schedule": self.schedule}

    def take_up(self, folder: Path) -> tuple[int, list[dict[str, Any]]]:
        """The step to go on with and the log so far; all processes begin from what the first one finds in its folder."""
        found = load_pretraining(folder, self.parts()) if self.team.first else (0, [])
        if self.team.size > 1:
            states = self.team.told({name: part.state_dict() for name, part in self.parts().items()})
            for name, part in self.parts().items():
                part.load_state_dict(states[name])
        first, log = self.team.told(found)
        return first, log

    def network(self) -> SmallNetwork:
        """What was learnt, for use alone."""
        out = SmallNetwork().to(self.device)
        out.load_state_dict(self.model.network.state_dict())
        return out.eval()

    def step(self, cache: Cache, step: int) -> float:
        """Learn from two views of each image of a batch; returns the loss. Where that is not finite nothing is learnt."""
        g, batch, own = step_generator(self.recipe.seed, step), self.recipe.batch, self.team.share(self.recipe.batch)
        index = torch.randint(len(cache), (batch,), generator=g)
        pictures, at = cache.batch(index, self.device)[own], cache.rectangles()[index[own]].to(self.device)
        part = own, batch
        a, b = (random_views(pictures, self.recipe.side, g, self.recipe.smallest, at, part) for _ in range(2))
        point = torch.rand((batch, CELLS, 2), generator=g)[own].to(self.device) * 1.8 - 0.9
        loss = self.objective(a.images, b.images, a.affine, b.affine, point)
        value = float(loss.detach())
        if math.isfinite(value):
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
            self.optimiser.step()
            self.schedule.step()
        return value


class Objective(nn.Module):
    """The loss of two views of each picture, of the pictures of all processes together.

    Args:
        siamese: the network that learns.
        team: the processes; each calls it with its own pictures, and all get the same loss.
    """

    def __init__(self, siamese: Siamese, team: Team) -> None:
        super().__init__()
        self.siamese, self.team = siamese, team

    def forward(self, a: Tensor, b: Tensor, affine_a: Tensor, affine_b: Tensor, point: Tensor) -> Tensor:
        """Views (n, 3, S, S), their maps (n, 2, 3) to the picture and places (n, CELLS, 2) in view a -> a scalar."""
        n, model = len(a), self.siamese
        images = standardise(torch.cat([a, b])).contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, torch.bfloat16):
            maps = model(images)
        maps = maps.float()
        pooled = model.whole(maps.mean((2, 3)))
        loss = (1 - LOCAL) * vicreg(pooled[:n], pooled[n:], self.team)
        here, there, both = matching_cells(maps[:n], maps[n:], affine_a, affine_b, point)
        if int(self.team.add_up(both.sum())) > 16:
            x, y = model.local(torch.cat([here[both], there[both]])).chunk(2)
            return loss + LOCAL * vicreg(x, y, self.team)
        return loss + sum(0 * p.sum() for p in model.local.parameters())  # DDP waits for the gradients of all


def matching_cells(a: Tensor, b: Tensor, affine_a: Tensor, affine_b: Tensor, point: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Features of the same places in two views.

    Args:
        a, b: maps (B, C, h, w).
        affine_a, affine_b: view to picture (B, 2, 3).
        point: (B, CELLS, 2) places in view a, normalised.

    Returns:
        (B, CELLS, C) of each, and whether a place lies in both views (B, CELLS).
    """
    in_picture = torch.einsum("bij,bpj->bpi", affine_a[..., :2], point) + affine_a[:, None, :, 2]
    in_b = torch.linalg.solve(affine_b[..., :2], (in_picture - affine_b[:, None, :, 2]).transpose(1, 2)).transpose(1, 2)
    read = [F.grid_sample(m, p[:, None], align_corners=False)[:, :, 0].transpose(1, 2) for m, p in ((a, point), (b, in_b))]
    return read[0], read[1], (in_b.abs() < 0.95).all(-1)


def vicreg(x: Tensor, y: Tensor, team: Team = ALONE) -> Tensor:
    """Invariance, variance and covariance of two sets of embeddings, equations 1 to 6 of the paper.

    Args:
        x: (N, D) of one view of each picture.
        y: (N, D) of the other.
        team: processes that have other pictures' embeddings; their number may differ.

    Returns:
        A scalar, over the embeddings of all.
    """
    count = team.add_up(torch.tensor(float(len(x)), device=x.device))
    alike = team.sum((x - y).square().sum()) / (count * x.shape[1])
    varied, apart = x.new_zeros(()), x.new_zeros(())
    for z in (x, y):
        z = z - team.sum(z.sum(0)) / count
        covariance = team.sum(z.T @ z) / (count - 1).clamp(min=1)
        varied = varied + F.relu(1 - (covariance.diagonal() + 1e-4).sqrt()).mean() / 2
        apart = apart + (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]
    return ALIKE * alike + VARIED * varied + APART * apart
