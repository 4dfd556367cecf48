"""The stage that takes the place of the search where a training goes on from a finished run: a person's annotations are learnt."""

from __future__ import annotations

import torch

from stn_cli.coloc.score.corrections import correct_kind
from stn_cli.coloc.search.searched import SearchedSet
from stn_cli.coloc.train.context import Context
from stn_cli.coloc.train.state import RunState


def learn_corrections(context: Context, state: RunState) -> None:
    """Learn the annotations of some images, and search the others anew.

    Args:
        context: what the training works with.
        state: with what the finished run knew.

    Raises:
        Interrupted: a signal came; the stage is begun anew when the run is gone on with.
    """
    context.reporter.stage("corrections", None)

    def heard(note: str) -> None:
        context.reporter.advance(1, note)
        context.stop.check()

    annotations = [context.annotations_of(number) for number in range(len(state.kinds))]
    known = [i for own in annotations if own is not None for i in own.boxes]
    large = context.large or context.cache
    with torch.no_grad():
        seen = SearchedSet.of(context.cache, large, context.encoder, context.config, context.device, heard, known)
        for number, (kind, own) in enumerate(zip(state.kinds, annotations, strict=True)):
            heard(f"kind {number + 1}")
            before = [other.upright() for other in state.kinds[:number]]
            if own is not None:
                correct_kind(seen, kind, own, torch.cat(before, 1) if before else None)
            context.metrics.log(
                {"stage": "corrections", "object": number, "kind": kind.kind, "annotations": 0 if own is None else len(own)}
            )
    context.large = None
    for finder, kind in zip(state.finders, state.kinds, strict=True):
        finder.read_with(kind.scorer)
    context.enter(state, "regression")
