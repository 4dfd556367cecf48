"""Networks that are trained from several seeds on one task, with what they cost; the experiments beyond the paper's tables are made of these."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import parser
from benchmarks.paper.fitting import Batch, Schedule, error, fit
from benchmarks.paper.mnist import load
from benchmarks.paper.networks import parameters
from stn_cli.stn import SpatialTransformer, TransformerPool

Build = Callable[[], nn.Module]
Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Task:
    """What is learned, and how well.

    Attributes:
        batch: makes images and answers.
        x, y: of the test.
        loss: of training.
        score: (network, x, y) -> named figures.
    """

    batch: Batch
    x: Tensor
    y: Tensor
    loss: Callable[[Any, Tensor], Tensor] = F.cross_entropy
    score: Callable[[nn.Module, Tensor, Tensor], Figures] = lambda network, x, y: {"error": error(network, x, y)}


class Eased:
    """Batches that are easy for the first half of so many steps; then it begins again, for the next seed."""

    def __init__(self, easy: Batch, whole: Batch, steps: int) -> None:
        self.easy, self.whole, self.steps, self.step = easy, whole, steps, 0

    def __call__(self, g: torch.Generator, n: int) -> tuple[Tensor, Tensor]:
        """Images and answers of the next step."""
        make = self.easy if self.step % self.steps < self.steps // 2 else self.whole
        self.step += 1
        return make(g, n)


def digit_task(
    make: Callable[[Tensor, torch.Generator], Tensor],
    count: int,
    tests: int,
    easy: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    steps: int = 0,
) -> Task:
    """Which digit it is, in images made by `make` (for the first half of the steps by `easy`), anew for each step; those of the test once.

    Args:
        make: (uint8 digits, random numbers) -> images.
        count, tests: digits to learn from, and of the test.
        easy: as `make`.
        steps: of a training, where there are easy ones.
    """
    images, labels = load("train", torch.device("cpu"), count)
    x, y = load("test", torch.device("cpu"), tests)

    def batch(g: torch.Generator, n: int, made: Callable[[Tensor, torch.Generator], Tensor] = make) -> tuple[Tensor, Tensor]:
        index = torch.randint(len(images), (n,), generator=g)
        return made(images[index], g), labels[index]

    learned = batch if easy is None else Eased(partial(batch, made=easy), batch, steps)
    return Task(learned, make(x, torch.Generator().manual_seed(10_000)), y)


def multiply_adds(network: nn.Module, x: Tensor) -> int:
    """Of one image of x in a forward pass: convolutions, products of matrices, and four for each value that a transformer reads from a level."""
    read: list[int] = []

    def count(_module: nn.Module, _given: Any, out: Any) -> None:
        read.append(4 * (out if isinstance(out, Tensor) else out[0]).numel())

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, SpatialTransformer | TransformerPool)]
    network.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x[:1])
    for hook in hooks:
        hook.remove()
    return counter.get_total_flops() // 2 + sum(read)


def widest(build: Callable[[int], nn.Module], x: Tensor, budget: int) -> nn.Module:
    """The network of the greatest width, one number, that costs at most so many multiply-adds."""
    width = 4
    while multiply_adds(build(width + 1), x) <= budget:
        width += 1
    return build(width)


def repeated(build: Build, task: Task, schedule: Schedule, seeds: int) -> tuple[dict[str, Any], nn.Module]:
    """Train and test from each seed.

    Returns:
        A list of each figure, a value for each seed; parameters, multiply-adds and mean seconds; and the network of the last seed.
    """
    figures: dict[str, list[float]] = {}
    seconds = 0.0
    for seed in range(seeds):
        torch.manual_seed(seed)
        network = build()
        own = replace(schedule, seed=seed)
        seconds += fit(network, task.batch, own, task.loss) / seeds
        for name, value in task.score(network.eval(), task.x, task.y).items():
            figures.setdefault(name, []).append(round(value, 2))
    cost = {"parameters": parameters(network), "multiply_adds": multiply_adds(network, task.x), "seconds": round(seconds, 1)}
    return {**figures, **cost, "steps": schedule.steps, "batch": schedule.batch}, network


def compared(
    builds: Mapping[str, Build], task: Task, schedule: Schedule, seeds: int, of: str = ""
) -> tuple[dict[str, dict[str, Any]], dict[str, nn.Module]]:
    """Every network on one task: its row, printed, and the network of the last seed."""
    rows, networks = {}, {}
    for name, build in builds.items():
        row, network = repeated(build, task, schedule, seeds)
        rows[f"{of}{name}"], networks[name] = row, network
        said = "  ".join(f"{key} {told(value)}" for key, value in row.items() if isinstance(value, list))
        cost = f"{row['parameters']:,} parameters  {row['multiply_adds'] / 1e6:.2f} M  {row['seconds']:.0f} s"
        print(f"{of + name:44} {said}  {cost}", flush=True)
    return rows, networks


def told(values: list[float], digits: int = 1) -> str:
    """Mean, and least to most of several seeds."""
    mean = f"{sum(values) / len(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def options(doc: str | None, steps: int, seeds: int = 3, names: str = "") -> argparse.Namespace:
    """Of a script of this kind; `--quick` is a few steps from one seed with nothing saved."""
    arguments = parser(doc)
    if names:
        arguments.add_argument("names", nargs="*", metavar=names)
    arguments.add_argument("--steps", type=int, default=steps)
    arguments.add_argument("--seeds", type=int, default=seeds)
    arguments.add_argument("--quick", action="store_true", help="3 steps, one seed, few images, nothing saved")
    given = arguments.parse_args()
    if given.quick:
        given.steps, given.seeds = 3, 1
    return given
