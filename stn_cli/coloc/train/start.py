"""The search stage: where the objects are, and finders that begin from there."""

from __future__ import annotations

import torch

from stn_cli.coloc.model.finder import options_for
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.kinds import find_kinds
from stn_cli.coloc.train.augment import draw_generator
from stn_cli.coloc.train.context import Context
from stn_cli.coloc.train.outlook import Outlook, expected_work
from stn_cli.coloc.train.settings import REGRESSION
from stn_cli.coloc.train.state import RunState
from stn_cli.runtime.memory import hand_back


def search(context: Context, state: RunState) -> None:
    """Find the objects of the set, and make a finder for each kind of them.

    Args:
        context: what the training works with.
        state: where it stands.

    Raises:
        Interrupted: a signal came; the search is begun anew when the run is gone on with.
    """
    total = expected_work(context.config, len(context.cache), context.encoder.dense)
    context.reporter.stage("search", total)
    outlook = Outlook(total, context.reporter.advance)

    def heard(note: str) -> None:
        outlook.hear(note)
        context.stop.check()

    annotations = [context.annotations_of(number) for number in range(context.config.kinds)]
    with torch.no_grad():
        state.kinds = find_kinds(
            context.cache, context.encoder, context.config, context.device, heard, context.large, annotations
        )
    outlook.finish()
    context.large = None  # nobody else has a use for it, and it takes memory
    hand_back()
    _log(context, state)
    options = [options_for(context.config.transform, kind.placed()) for kind in state.kinds]
    state.build_finders(context.config, options, context.device)
    _warm_start(context, state)
    context.enter(state, "regression")


def _log(context: Context, state: RunState) -> None:
    """A line for every size of crops that was tried, and one for what was chosen, of each kind."""
    for number, kind in enumerate(state.kinds):
        of = {"stage": "search", "object": number}
        for side, loss in kind.curve:
            context.metrics.log({**of, "side": round(side, 4), "loss": loss})
        choice = {"rigid_objective": kind.rigid_objective, "contrast": kind.contrast, "common": kind.common}
        context.metrics.log({**of, "kind": kind.kind, "objects": kind.boxes.shape[1], **choice})


def _warm_start(context: Context, state: RunState) -> None:
    """Give every level the mean and the spread of what it reads, and crops of the size that the search found."""
    count = len(context.cache)
    some = torch.arange(count)[:: max(1, count // REGRESSION.first_look)]
    for number, finder in enumerate(state.finders):
        for level in range(len(finder.levels)):
            localisation = finder.localisation(level)
            images = state.augmenter(context.cache, context.config.batch, number, level)
            if images.fine:
                sample = images.augment(draw_generator(context.config.seed, 0))
                localisation.standardise(sample.scene)
                half = sample.half_sides[:, 0]
            else:
                localisation.standardise(finder.coarse(Scene.of(context.cache, some, context.device)))
                boxes = state.kinds[number].placed(0)
                half = (boxes[:, 2:] - boxes[:, :2]) / 2
            localisation.begin_at(half.clamp(min=1e-3).log().mean(0).exp())
