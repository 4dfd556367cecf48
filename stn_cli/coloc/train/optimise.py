"""The steps of the optimiser, of regression and fine-tuning alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from stn_cli.coloc.train.settings import REGRESSION
from stn_cli.errors import DivergedError
from stn_cli.runs.config import TrainConfig
from stn_cli.runtime.distributed import ALONE, Team
from stn_cli.stn import SpatialTransformer


def make_optimiser(transformer: SpatialTransformer, config: TrainConfig, share: float = 1.0) -> torch.optim.Optimizer:
    """AdamW on a transformer; f_loc learns at a rate of its own.

    Args:
        transformer: whose parameters are learnt.
        config: `lr` and `localisation_lr` are used.
        share: of the base rate.

    Returns:
        The optimiser; each of its groups keeps its highest rate as `full`.
    """
    groups = transformer.parameter_groups(config.lr * share, config.localisation_lr)
    optimiser = torch.optim.AdamW(groups, weight_decay=REGRESSION.weight_decay)
    for group in optimiser.param_groups:
        group["full"] = group["lr"]
    return optimiser


def set_rate(optimiser: torch.optim.Optimizer, share: float) -> None:
    """Let every group of an optimiser learn at a share of its highest rate.

    Args:
        optimiser: of `make_optimiser`.
        share: 0 to 1.
    """
    for group in optimiser.param_groups:
        group["lr"] = group["full"] * share


def descend(
    loss: Tensor,
    optimiser: torch.optim.Optimizer,
    parameters: Sequence[Tensor],
    step: int,
    names: Sequence[str] = (),
    team: Team = ALONE,
) -> tuple[float, float]:
    """One step down the gradient.

    Args:
        loss: a scalar.
        optimiser: of the parameters.
        parameters: whose gradient is clipped.
        step: its number, for the error.
        names: of the images that the loss is of, for the error.
        team: processes whose losses are parts of one sum; all of them take the same step.

    Returns:
        The loss, and the norm of the gradient before clipping.

    Raises:
        DivergedError: the loss or the gradient is not finite; the weights are left as they were.
    """
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    team.add_gradients(parameters)
    norm = torch.nn.utils.clip_grad_norm_(parameters, REGRESSION.longest_gradient)
    value, length = float(team.add_up(loss.detach().clone())), float(norm)
    if not (math.isfinite(value) and math.isfinite(length)):
        what = "loss" if not math.isfinite(value) else "gradient"
        raise DivergedError(
            f"training diverged: the {what} of step {step} is not finite",
            ", ".join(sorted(set(names))[:4]),
            "images of the batch",
            "Lower --lr; the last checkpoint is kept",
        )
    optimiser.step()
    return value, length
