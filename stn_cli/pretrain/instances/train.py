"""Training of the instance network for a given time, on canvases that are made as it goes."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from stn_cli.encoders.pretrained import standardise
from stn_cli.encoders.small_network import SmallNetwork
from stn_cli.files import write_text
from stn_cli.instances.network import LOOKS, InstanceNetwork
from stn_cli.instances.weights import FILE, write_instances
from stn_cli.pretrain.instances.canvases import compose
from stn_cli.pretrain.instances.learning import losses
from stn_cli.pretrain.instances.plan import Mix
from stn_cli.pretrain.instances.stock import Stock
from stn_cli.pretrain.supervised import decayed
from stn_cli.runtime.seeds import SEED_STRIDE

SIDES = (64, 96, 128, 160)
"""Sides of canvases: every batch has one of them."""
WEIGHTS = {"fit": 1.0, "box": 1.5, "inside": 1.0, "name": 0.3}
WARM = 300
"""Steps in which the learning rate rises."""
EVERY = 100
"""Steps to a line of the log."""
SAVE = 60.0
"""Seconds between two files."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long and how fast.

    Attributes:
        minutes: of training; the learning rate falls to nothing at their end.
        pixels: of the canvases of a step, in units of 128 x 128.
        lr: highest learning rate of what is new; half of it for the stages that begin with the small network's weights.
        decay: weight decay of AdamW.
        keep: of the averaged weights at each step.
        seed: of all random numbers.
        steps: at most.
        natural, close, stuff: see `stn_cli.pretrain.instances.canvases.Mix`.
    """

    minutes: float = 8.0
    pixels: int = 256
    lr: float = 2e-3
    decay: float = 0.03
    keep: float = 0.999
    seed: int = 0
    steps: int = 1 << 30
    natural: float = Mix().natural
    close: float = Mix().close
    stuff: float = Mix().stuff


def train_instances(
    stock: Stock,
    start: SmallNetwork | InstanceNetwork,
    folder: Path,
    recipe: Recipe,
    device: torch.device,
    say: Callable[[str], None] = print,
) -> InstanceNetwork:
    """Train for the recipe's time; the averaged weights are written each minute.

    Args:
        stock: of cutouts and scenes.
        start: the small network, whose weights the stages begin with; or an instance network to go on with.
        folder: for the weights and the log.
        recipe: how.
        device: for everything.
        say: called with each line of the log.

    Returns:
        The averaged network.
    """
    torch.backends.cudnn.benchmark = device.type == "cuda"
    learner, stock = _Learner(start, int(stock.labels.max()) + 1, recipe, device), stock.to(device)
    begun, saved, lines = time.monotonic(), time.monotonic(), list[str]()
    step = canvases = 0
    while (done := (time.monotonic() - begun) / (60 * recipe.minutes)) < 1 and step < recipe.steps:
        done = max(done, step / recipe.steps)
        canvases += learner.learn(stock, step, min(1.0, (step + 1) / WARM) * 0.5 * (1 + math.cos(math.pi * done)))
        step += 1
        if step % EVERY == 0:
            lines.append(_line(step, canvases, learner.told(), time.monotonic() - begun))
            say(lines[-1])
        if time.monotonic() - saved > SAVE:
            saved = time.monotonic()
            _save(folder, learner.kept, recipe, step, canvases, lines)
    _save(folder, learner.kept, recipe, step, canvases, lines)
    return learner.kept.eval()


class _Learner:
    """The network, its average, and what moves them."""

    def __init__(self, start: SmallNetwork | InstanceNetwork, classes: int, recipe: Recipe, device: torch.device) -> None:
        torch.manual_seed(recipe.seed)
        network = start if isinstance(start, InstanceNetwork) else InstanceNetwork().begin_with(start)
        self.network = network.requires_grad_(True).train().to(device).to(memory_format=torch.channels_last)
        self.kept = copy.deepcopy(self.network)
        self.classifier = nn.Linear(LOOKS, classes).to(device)
        self.optimiser = torch.optim.AdamW(_groups(self.network, self.classifier, recipe), weight_decay=recipe.decay)
        self.rates = [group["lr"] for group in self.optimiser.param_groups]
        self.recipe, self.device = recipe, device
        self.mix = Mix(recipe.natural, recipe.close, recipe.stuff)
        self._totals = [torch.zeros((), device=device) for _ in WEIGHTS]

    def learn(self, stock: Stock, step: int, rate: float) -> int:
        """One step at a share of the highest learning rates: how many canvases it was."""
        for group, highest in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = highest * rate
        side = SIDES[int(torch.randint(len(SIDES), (1,), generator=torch.Generator().manual_seed(step)))]
        batch = max(2, self.recipe.pixels * 128 * 128 // side**2)
        with torch.no_grad():
            truth = compose(stock, batch, side, self.recipe.seed * SEED_STRIDE + step, self.mix)
        with torch.autocast(self.device.type, torch.bfloat16):
            maps = self.network(standardise(truth.images).contiguous(memory_format=torch.channels_last))
        parts = losses(maps, truth, self.classifier)
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack([weight * parts[name] for name, weight in WEIGHTS.items()]).sum().backward()
        nn.utils.clip_grad_norm_([p for group in self.optimiser.param_groups for p in group["params"]], 5.0)
        self.optimiser.step()
        _average(self.kept, self.network, min(self.recipe.keep, (1 + step) / (10 + step)))
        self._totals = [total + parts[name].detach() for total, name in zip(self._totals, WEIGHTS, strict=True)]
        return batch

    def told(self) -> dict[str, float]:
        """The parts of the loss since the last time, summed."""
        out = {name: float(total) for name, total in zip(WEIGHTS, self._totals, strict=True)}
        self._totals = [torch.zeros_like(total) for total in self._totals]
        return out


def _groups(network: InstanceNetwork, classifier: nn.Linear, recipe: Recipe) -> list[dict[str, object]]:
    """What is new learns at the full rate, what was taken over at half of it."""
    known = nn.ModuleList([network.stem, network.stages])
    old = {id(p) for p in known.parameters()}
    new = nn.Module()
    for name, part in network.named_children():
        if not any(id(p) in old for p in part.parameters()):
            new.add_module(name, part)
    new.add_module("classifier", classifier)
    return [g | {"lr": recipe.lr} for g in decayed(new)] + [g | {"lr": recipe.lr / 2} for g in decayed(known)]


@torch.no_grad()
def _average(kept: nn.Module, network: nn.Module, keep: float) -> None:
    """Move averaged weights, and the norms' running means, towards the present ones."""
    for mine, now in ((kept.parameters(), network.parameters()), (kept.buffers(), network.buffers())):
        pairs = [(a, b) for a, b in zip(mine, now, strict=True) if a.is_floating_point()]
        torch._foreach_lerp_([a for a, _ in pairs], [b for _, b in pairs], 1 - keep)


def _line(step: int, canvases: int, total: dict[str, float], seconds: float) -> str:
    parts = "  ".join(f"{name} {value / EVERY:.4f}" for name, value in total.items())
    return f"step {step:6d}  {parts}  {canvases / seconds:.0f} canvases/s  {seconds:.0f} s"


def _save(folder: Path, network: InstanceNetwork, recipe: Recipe, step: int, canvases: int, lines: list[str]) -> None:
    facts = {"recipe": "cutouts on canvases", **asdict(recipe), "torch": torch.__version__, "steps": step, "canvases": canvases}
    write_instances(folder / FILE, network, facts)
    write_text(folder / "log.txt", "".join(line + "\n" for line in lines))
