"""The fine-tuning stage: the triplet objective of the transformer's own crops, with gradients through the sampler."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.coloc.crops import Crops, random_boxes
from stn_cli.coloc.model.finder import Finder, ImageLocalisation, predict
from stn_cli.coloc.objective import triplet_margin_loss
from stn_cli.coloc.scene import Scene, sample_indices
from stn_cli.coloc.score.kinds import Kind
from stn_cli.coloc.score.scorers import DenseScorer, Scorer
from stn_cli.coloc.train.agreement import probe
from stn_cli.coloc.train.augment import EVERY, TrainingBatch, draw_generator
from stn_cli.coloc.train.context import Context
from stn_cli.coloc.train.optimise import descend, set_rate
from stn_cli.coloc.train.regress import regression_loss
from stn_cli.coloc.train.settings import FINETUNING
from stn_cli.coloc.train.state import Before, RunState
from stn_cli.media.cache import Cache
from stn_cli.runtime.distributed import ALONE, Team


def finetune(context: Context, state: RunState) -> None:
    """Train the last level of one finder by its own crops; the weights of before are kept where the objective did not fall.

    What it is worth is measured on images that are held out of the steps.

    Args:
        context: what the training works with.
        state: where it stands.

    Raises:
        DivergedError: a loss or a gradient is not finite.
        Interrupted: a signal came; the state is saved.
    """
    config, steps, transformer = context.config, state.steps(context.config), state.transformer
    held_out, learnt = hold_out(context, state.kind)
    context.reporter.stage(state.title("fine-tuning", config), steps)
    context.reporter.advance(state.step)
    state.optimise(config, FINETUNING.rate)
    before = state.before or Before(
        {k: v.clone() for k, v in transformer.state_dict().items()}, _worth(context, state, held_out)
    )
    state.before = before
    while state.step < steps:
        with context.stop.finishing():
            loss, norm = _step(context, state, learnt)
            context.metrics.log(state.row(step=state.step - 1, loss=loss, gradient=norm))
            context.reporter.advance(1, f"loss {loss:.3f}")
            context.checkpoint(state)
    after = _worth(context, state, held_out)
    kept = after < before.objective
    context.metrics.log(state.row(objective_before=before.objective, objective_after=after, kept=kept))
    if not kept:
        transformer.load_state_dict(before.weights)
    if isinstance(state.kind.scorer, DenseScorer):
        match_sizes(state.finder, state.kind, context.cache, context.device, config.seed)
    context.team.same(transformer)
    if state.number + 1 < len(state.finders):
        state.number, state.level = state.number + 1, 0
        context.enter(state, "regression")
    else:
        context.enter(state, "calibrate")


def _step(context: Context, state: RunState, among: Tensor) -> tuple[float, float]:
    """One step; the loss and the gradient's norm."""
    config, step = context.config, state.step
    optimiser = state.optimise(config, FINETUNING.rate)
    set_rate(optimiser, 1 - step / state.steps(config))
    g = draw_generator(config.seed + 1, step)
    part = Part(context.team, config.batch)
    images = state.augmenter(context.cache, config.batch, state.number, state.level)
    sample = images.augment(g, 0.0, among, part.own)
    loss = finetune_loss(state.localisation, state.kind.scorer, sample, g, config.margin, part)
    out = descend(loss, optimiser, list(state.transformer.parameters()), step, sample.names, context.team)
    state.step += 1
    return out


@dataclass(frozen=True, slots=True)
class Part:
    """The images of a step that this process has; what is asked of each is asked of all of them.

    Attributes:
        team: the processes that have the others.
        total: images of the step.
    """

    team: Team = ALONE
    total: int = 0

    @property
    def own(self) -> slice:
        """Which ones they are."""
        return EVERY if self.team.size == 1 else self.team.share(self.total)

    def whole(self, value: Tensor) -> Tensor:
        """Rows of all images, from those of this part; gradients go back."""
        return self.team.gather(value, self.total)


WHOLE = Part()


def finetune_loss(
    localisation: ImageLocalisation,
    scorer: Scorer,
    sample: TrainingBatch,
    g: torch.Generator,
    margin: float,
    part: Part = WHOLE,
) -> Tensor:
    """The triplet objective of the transformer's own crops, gradients through the sampler, and an anchor to the search.

    The pairs (n, m) of the paper's appendix A.2, each crop against random patches of its image, and against itself moved half its side away,
    so that a part of the object is not as good as the whole. Sides stay as they were regressed: the margin alone shrinks a crop
    (docs/experiments.md, "The triplet objective of laid-out crops").

    Args:
        localisation: f_loc that is trained.
        scorer: has the objective.
        sample: B images, and where their objects are.
        g: draws the random patches.
        margin: alpha of the triplet loss, in units of the mean squared norm of embeddings.
        part: which images of a step they are.

    Returns:
        A scalar; of a team this process's part of it.
    """
    seen = localisation.look(sample.scene, sample.shown)
    body = localisation.body
    anchor = regression_loss(body, seen, sample, part.team)
    objects = sample.centre.shape[1]
    where = None if objects == 1 else body.around(sample.centre[:, 0], seen.logits)
    centre, shape, _ = body.read(seen, where)
    n = body.transform.log_sides
    shape = torch.cat([shape[:, :n].detach(), shape[:, n:]], 1)
    crops = Crops(body.transform, body.transform.matrix(body.transform.theta(centre, shape))[:, None])
    return triplets(scorer, sample.scene, crops, g, margin, part) / part.team.size + FINETUNING.anchor * anchor


def triplets(scorer: Scorer, scene: Scene, crops: Crops, g: torch.Generator, margin: float, part: Part = WHOLE) -> Tensor:
    """The triplet objective of crops among each other, beside random and half-way shifted patches of the same sizes.

    Args:
        scorer: embeds.
        scene: B images.
        crops: one of each.
        g: draws the random patches.
        margin: alpha.
        part: which images of a step they are; the others' crops are compared with, too.

    Returns:
        A scalar, with gradients to the crops' matrices; none go through the patches.
    """
    with torch.no_grad():
        away = part.whole(scorer.laid_out(scene, _patches(scene, crops.detach(), g, part)))
    return triplet_margin_loss(part.whole(scorer.laid_out(scene, crops)[:, 0]), away, margin)


def _worth(context: Context, state: RunState, index: Tensor) -> float:
    """The objective, measured by one process for all."""
    return float(context.team.told(objective(context, state, index) if context.team.first else 0.0))


@torch.no_grad()
def objective(context: Context, state: RunState, index: Tensor) -> float:
    """The triplet objective of a finder's first crops over some images, with the same random patches every time.

    Args:
        context: what the training works with.
        state: where it stands.
        index: (n,) which images.

    Returns:
        The loss, without the anchor.
    """
    crops = predict(state.finder, context.cache, context.device, index)[:, :1]
    scene = Scene.of(context.cache, index, context.device, keep=True)
    g = torch.Generator().manual_seed(context.config.seed)
    return float(triplets(state.kind.scorer, scene, crops, g, context.config.margin))


def _patches(scene: Scene, crops: Crops, g: torch.Generator, part: Part) -> Crops:
    """Patches of each of B images as large as its crop (B, 1): some anywhere, and two that are moved off it by half its side."""
    box, rectangles = part.whole(crops.boxes()[:, 0]), part.whole(scene.rectangles)
    side = box[:, 2:] - box[:, :2]
    random = random_boxes(rectangles, FINETUNING.random_patches, side, g)
    angle = torch.rand((len(box), 1), generator=g).to(box) * (2 * math.pi)
    off = torch.stack([angle.cos(), angle.sin()], -1).repeat(1, 1, 2) * side.repeat(1, 2)[:, None] / 2
    return Crops.of_boxes(torch.cat([random, box[:, None] + off, box[:, None] - off], 1)[part.own])


def hold_out(context: Context, kind: Kind) -> tuple[Tensor, Tensor]:
    """Which images a fine-tuning is measured on, and which it learns from; the same ones where there are too few to part with some.

    Args:
        context: of the training.
        kind: where the search believes in objects.

    Returns:
        Indices (n,) and (m,).
    """
    seen = probe(context, kind)
    held_out = seen[:: FINETUNING.one_of]
    if len(held_out) < FINETUNING.fewest:
        return seen, torch.arange(len(context.cache))
    kept = torch.ones(len(context.cache), dtype=torch.bool)
    kept[held_out] = False
    return held_out, kept.nonzero()[:, 0]


@torch.no_grad()
def match_sizes(finder: Finder, kind: Kind, cache: Cache, device: torch.device, seed: int = 0) -> None:
    """Make the crops as large as the search's on average, over the images that hold an object.

    A size that is regressed as a logarithm is a geometric mean where the network is not sure: it comes out too small
    (docs/experiments.md, Learning from the search).

    Args:
        finder: whose sizes are changed.
        kind: where the search placed the objects.
        cache: N images.
        device: to work on.
        seed: decides which images are looked at, where there are many.
    """
    body = finder.localisation().body
    index = sample_indices(len(cache), FINETUNING.matched, seed)
    at = index.to(kind.boxes.device)
    learnt = kind.present[at, 0]
    if not body.transform.log_sides or not bool(learnt.any()):
        return
    wanted, found = (boxes[learnt, 0] for boxes in (kind.crops()[at].boxes(), predict(finder, cache, device, index).boxes()))
    ratio = ((wanted[:, 2:] - wanted[:, :2]).mean(0) / (found[:, 2:] - found[:, :2]).mean(0).clamp(min=1e-6)).log()
    count = body.transform.log_sides
    body.start[:count] += ratio if count == len(ratio) else ratio.mean()
