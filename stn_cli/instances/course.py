"""How a network of boxes learns a folder in half a minute: a copy descends for some steps, at a rate that rises and falls as a cosine."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from stn_cli.encoders.pretrained import standardise
from stn_cli.encoders.small import quick_halves
from stn_cli.errors import DivergedError

Network = TypeVar("Network", bound=nn.Module)
Seen = TypeVar("Seen")


@dataclass(frozen=True, slots=True)
class Course:
    """The steps that a network learns in.

    Attributes:
        steps: of the optimiser.
        rate: highest learning rate.
        warm: steps in which the rate rises.
        decay: of weights.
        longest: norm to which gradients are cut.
        name: what is learnt, for people.
        note: what stands before the step where people are told of it.
        todo: what to do where the loss is not finite.
    """

    steps: int
    rate: float
    warm: int
    decay: float
    longest: float
    name: str
    note: str
    todo: str

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, from 0."""
        return self.rate * min(1.0, (step + 1) / self.warm) * 0.5 * (1 + math.cos(math.pi * step / self.steps))

    def taken(
        self,
        network: Network,
        loss_of: Callable[[Network], Tensor],
        check: Callable[[str], None],
        device: torch.device,
        slowly: Callable[[Network], Sequence[nn.Module]] = lambda _: (),
    ) -> Network:
        """Let a copy of a network learn.

        Args:
            network: to begin with; left as it is.
            loss_of: draws a batch, and says how wrong the copy is there.
            check: told of each tenth step; may end the learning by an exception.
            device: to work on.
            slowly: parts that learn at a third of the rate, because they know pictures.

        Returns:
            A copy that has learnt.

        Raises:
            DivergedError: the loss is not finite.
        """
        learner = copy.deepcopy(network).float().to(device).requires_grad_(True)
        learner = learner.eval().to(memory_format=torch.channels_last)  # norms keep what they know: batches are small
        known = {id(p) for part in slowly(learner) for p in part.parameters()}
        groups = [[p for p in learner.parameters() if (id(p) in known) is old] for old in (False, True)]
        groups = [group for group in groups if group]
        optimiser = torch.optim.AdamW([{"params": group} for group in groups], lr=self.rate, weight_decay=self.decay)
        with torch.enable_grad():
            for step in range(self.steps):
                for group, share in zip(optimiser.param_groups, (1.0, 1 / 3), strict=False):
                    group["lr"] = self.rate_at(step) * share
                loss = loss_of(learner)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(learner.parameters(), self.longest)
                optimiser.step()
                if not math.isfinite(float(loss.detach())):
                    raise DivergedError("loss is not finite", f"step {step} of learning {self.name}", None, self.todo)
                if step % 10 == 0:
                    check(f"{self.note}step {step} of {self.steps}")
        return learner.requires_grad_(False)


def seen_by(learner: Callable[[Tensor], Seen], canvases: Tensor, device: torch.device) -> Seen:
    """What a network that learns says of canvases.

    Args:
        learner: on `device`.
        canvases: (B, 3, H, W) in [0, 1].
        device: to work on.

    Returns:
        What it returns, with gradients; in half precision where that is quicker.
    """
    standard = standardise(canvases.to(device)).contiguous(memory_format=torch.channels_last)
    with torch.autocast(device.type, torch.bfloat16, enabled=quick_halves(device)):
        return learner(standard)
