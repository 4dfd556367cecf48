"""The last stages: what margins are worth as scores, and the model that goes to the disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

from stn_cli.coloc.model.architecture import Architecture
from stn_cli.coloc.model.finder import predict
from stn_cli.coloc.model.kind_model import KindModel, tensors_of
from stn_cli.coloc.score.calibration import Calibration, calibrate, little_in_common
from stn_cli.coloc.score.settings import CALIBRATION
from stn_cli.coloc.train.agreement import agreement
from stn_cli.coloc.train.context import Context
from stn_cli.coloc.train.state import RunState
from stn_cli.runs import checkpoint
from stn_cli.version import __version__

FEW = 10
"""Images below which it is said that they are few."""


def calibrate_scores(context: Context, state: RunState) -> list[Calibration]:
    """Fit the scores of every kind, and say what is suspicious about its boxes.

    Args:
        context: what the training works with.
        state: where it stands.

    Returns:
        A calibration for each kind; scores stay low where there may be no common object.
    """
    context.reporter.stage("calibration", None)
    calibrations = []
    state.warnings = []
    count = len(context.cache)
    if count < FEW:
        _warn(context, state, f"{count} images are too few to learn from well: ten are few, a hundred are comfortable")
    doubtful = little_in_common([kind.common for kind in state.kinds])
    for number, (finder, kind, doubt) in enumerate(zip(state.finders, state.kinds, doubtful, strict=True), 1):
        of = f"kind {number}: " if len(state.kinds) > 1 else ""
        crops = partial(predict, finder, context.cache, context.device)
        calibration, suspicion = calibrate(crops, kind.scorer, context.cache, context.device, context.config.seed)
        calibrations.append(calibration)
        if suspicion:
            _warn(context, state, of + suspicion)
        if doubt:
            calibration.most.fill_(CALIBRATION.doubtful)
            less = f"{of}the crops have little in common ({kind.common:.2f})"
            _warn(context, state, f"{less}: there may be no common object; scores stay below 0.5")
    return calibrations


def _warn(context: Context, state: RunState, text: str) -> None:
    """Say what is suspicious, to the user, in the log and in the model."""
    state.warnings.append(text)
    context.reporter.warn(text)
    context.metrics.log({"stage": "calibrate", "warning": text})


def finish(context: Context, state: RunState, calibrations: Sequence[Calibration]) -> float:
    """Write the model, and a last state from which it can be built again.

    Args:
        context: of the training.
        state: with trained finders.
        calibrations: one for each kind.

    Returns:
        The finders' agreement with the search, mean IoU.
    """
    agreed = sum(agreement(context, state, i) for i in range(len(state.finders))) / len(state.finders)
    context.metrics.log({"stage": "done", "agreement": agreed})
    config, encoder = context.config, context.encoder
    trained = zip(state.finders, state.kinds, calibrations, strict=True)
    models = [
        KindModel(
            finder,
            kind.scorer,
            calibration,
            config.objects if kind.proposer else finder.objects,
            kind.proposer,
            kind.background,
        )
        for finder, kind, calibration in trained
    ]
    kinds = [model.facts(options) for model, options in zip(models, state.options, strict=True)]
    proposes = any(kind.proposer is not None for kind in state.kinds)
    closely = max(context.cache.letterbox, context.closely) if proposes else 0
    side = context.cache.letterbox
    architecture = Architecture(config.transform, encoder.name, config.layer, side, config.cascade, kinds, closely)
    facts = {
        "version": __version__,
        **asdict(architecture),
        "images": len(context.cache),
        "agreement": agreed,
        "warnings": state.warnings,
    }
    checkpoint.save_model(context.folder, tensors_of(encoder, models), facts)
    state.stage = "calibrate"
    context.save(state)
    return agreed
