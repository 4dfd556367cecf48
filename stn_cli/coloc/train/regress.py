"""The regression stage: f_loc learns the search's crops, in images that are changed at random."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.coloc.train.agreement import agreement
from stn_cli.coloc.train.augment import TrainingBatch, draw_generator
from stn_cli.coloc.train.context import Context
from stn_cli.coloc.train.optimise import descend, set_rate
from stn_cli.coloc.train.settings import REGRESSION
from stn_cli.coloc.train.state import RunState
from stn_cli.geometry import pixel_index
from stn_cli.runtime.distributed import ALONE, Team
from stn_cli.stn import HeatmapLocalisation, Transformation
from stn_cli.stn.localisation import Seen


def regress(context: Context, state: RunState) -> None:
    """Train one level of one finder, until it agrees with the search or the steps are done.

    Args:
        context: what the training works with.
        state: where it stands.

    Raises:
        DivergedError: a loss or a gradient is not finite.
        Interrupted: a signal came; the state is saved.
    """
    config, steps = context.config, state.steps(context.config)
    context.reporter.stage(state.title("regression", config), steps)
    context.reporter.advance(state.step)
    state.optimise(config, 1.0)
    converged, sample = False, None
    while state.step < steps and not converged:
        with context.stop.finishing():
            sample = _drawn(context, state, sample)
            loss, norm = _step(context, state, sample)
            row, note = state.row(step=state.step - 1, loss=loss, gradient=norm), f"loss {loss:.3f}"
            if state.step % REGRESSION.check_every == 0:
                row["agreement"] = now = _agreed(context, state)
                note += f", overlap with the search's boxes {now:.2f}"
                state.stale = 0 if now > state.best + REGRESSION.least_gain else state.stale + 1
                state.best = max(now, state.best)
            context.metrics.log(row)
            context.reporter.advance(1, note)
            still = state.stale >= REGRESSION.patience and state.step >= REGRESSION.late * steps
            converged = state.best >= REGRESSION.agreed or still
            if not converged:
                context.checkpoint(state)
    if state.level + 1 < config.cascade:
        state.level += 1
        context.enter(state, "regression")
    else:
        context.enter(state, "finetune")


def _drawn(context: Context, state: RunState, last: TrainingBatch | None) -> TrainingBatch:
    """The images of a step: those of the last one again, with other components hidden, where a network is asked for them.

    Its features are most of the work, and a scene keeps them (Choi et al. 2019, arXiv 1907.05550).
    """
    config, step, steps = context.config, state.step, state.steps(context.config)
    images, own = state.augmenter(context.cache, config.batch, state.number, state.level), context.team.share(config.batch)
    first = step - step % REGRESSION.echoes if images.hideable else step
    drawn = last if first < step else None
    if drawn is None:
        jitter = min(1.0, (1 - first / steps) / (1 - REGRESSION.full_jitter))
        with torch.autocast(context.device.type, torch.bfloat16, enabled=context.device.type == "cuda"):
            drawn = images.augment(draw_generator(config.seed, first), jitter, own=own)
    return drawn if first == step else replace(drawn, shown=images.shown(draw_generator(config.seed, step), own))


def _step(context: Context, state: RunState, sample: TrainingBatch) -> tuple[float, float]:
    """One step; the loss and the gradient's norm."""
    config, step, steps = context.config, state.step, state.steps(context.config)
    optimiser = state.optimise(config, 1.0)
    set_rate(optimiser, min(1.0, (step + 1) / REGRESSION.warm_up) * (0.5 + 0.5 * math.cos(math.pi * step / steps)))
    with torch.autocast(context.device.type, torch.bfloat16, enabled=context.device.type == "cuda"):
        seen = state.localisation.look(sample.scene, sample.shown)
        loss = regression_loss(state.localisation.body, seen, sample, context.team)
    out = descend(loss, optimiser, list(state.transformer.parameters()), step, sample.names, context.team)
    state.step += 1
    return out


def _agreed(context: Context, state: RunState) -> float:
    """The agreement with the search of what is being trained, measured by one process for all."""
    own = agreement(context, state, state.number, state.level + 1) if context.team.first else 0.0
    return float(context.team.told(own))


def regression_loss(body: HeatmapLocalisation, seen: Seen, sample: TrainingBatch, team: Team = ALONE) -> Tensor:
    """Cross-entropy of the heatmap at the objects' centres, and the poses' errors in units of the objects' sizes.

    One object's pose is read off the whole heatmap; of several, each is read around its own place.

    Args:
        body: reads poses.
        seen: what f_loc sees in B images.
        sample: the same images, and where the objects are.
        team: processes that have the other images of the batch.

    Returns:
        A scalar, the mean over the objects that are there; of a team this process's part of it.
    """
    objects = sample.centre.shape[1]
    total = seen.logits.new_zeros(())
    count = team.add_up(sample.present.sum()).clamp(min=1)
    for r in range(objects):
        target, here = sample.centre[:, r], sample.present[:, r].to(seen.logits)
        centre, shape, log_heat = body.read(seen, None if objects == 1 else body.around(target, seen.logits))
        if objects > 1:
            log_heat = seen.logits.flatten(1).log_softmax(1).view_as(seen.logits)
        at_centre = -read_bilinear(log_heat, target) / math.log(log_heat[0].numel())
        place = _smooth((centre - target) / sample.half_sides[:, r], torch.zeros_like(centre))
        form = shape_error(body.transform, shape, sample.shape[:, r])
        if body.transform.angle is not None:
            # while the heatmap is still flat its mean angle says nothing: the cells around the object are taught
            turn = body.turn(seen, body.around(target, seen.logits))
            form = form + turn_error(turn, sample.shape[:, r, body.transform.angle])
        total = total + (here * (at_centre + place.mean(1) + form)).sum()
    return total / count


def _smooth(value: Tensor, wanted: Tensor) -> Tensor:
    """Smooth absolute error, element by element."""
    return F.smooth_l1_loss(value, wanted, beta=REGRESSION.smooth, reduction="none")


def shape_error(transform: Transformation, shape: Tensor, wanted: Tensor) -> Tensor:
    """Smooth absolute error of shapes, averaged over what they hold but angles.

    Args:
        transform: whose shapes they are.
        shape: (B, k).
        wanted: (B, k).

    Returns:
        (B,); 0 where a shape is an angle alone, or nothing.
    """
    kept = [i for i in range(shape.shape[1]) if i != transform.angle]
    if not kept:
        return shape.sum(1) * 0
    return _smooth(shape[:, kept], wanted[:, kept]).mean(1)


def turn_error(vector: Tensor, angle: Tensor) -> Tensor:
    """Squared distance of a vector from (cos, sin) of an angle: unlike the angle's own error it is smooth all around.

    Args:
        vector: (B, 2) of any length.
        angle: (B,) radians.

    Returns:
        (B,).

    >>> turn_error(torch.tensor([[1.0, 0.0]]), torch.tensor([0.0]))
    tensor([0.])
    """
    return (vector - torch.stack([angle.cos(), angle.sin()], -1)).square().sum(-1)


def read_bilinear(maps: Tensor, points: Tensor) -> Tensor:
    """Read one point of each map; cells that are masked do not count.

    Args:
        maps: (B, h, w).
        points: (B, 2) normalised.

    Returns:
        (B,).
    """
    h, w = maps.shape[-2:]
    x = pixel_index(points[:, 0], w).clamp(0, w - 1)
    y = pixel_index(points[:, 1], h).clamp(0, h - 1)
    total, weights = torch.zeros_like(x), torch.zeros_like(x)
    rows = torch.arange(len(maps), device=maps.device)
    for dy in (0, 1):
        for dx in (0, 1):
            m, n = (x.floor() + dx).clamp(max=w - 1), (y.floor() + dy).clamp(max=h - 1)
            weight = (1 - (x - m).abs()).clamp(min=0) * (1 - (y - n).abs()).clamp(min=0)
            value = maps[rows, n.long(), m.long()]
            weight = weight * (value > -1e3)
            total, weights = total + weight * value, weights + weight
    return total / weights.clamp(min=1e-6)
