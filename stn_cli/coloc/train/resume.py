"""Going on with a training that was stopped; a finished one is finished again, which builds its model anew."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch

from stn_cli.bounds import shown
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.train.context import Context, say_how_to_go_on
from stn_cli.coloc.train.state import RunState
from stn_cli.errors import CheckpointError, UsageError
from stn_cli.media.scan import Scan
from stn_cli.outputs.manifest import is_staging
from stn_cli.outputs.results import Results
from stn_cli.reading import is_plain
from stn_cli.runs import checkpoint
from stn_cli.runs.config import TrainConfig
from stn_cli.runs.folder import read_images


def check_resumable(results: Results) -> None:
    """See that what is unfinished in a run folder can be gone on with.

    Args:
        results: the run folder.

    Raises:
        CheckpointError: it was stopped before its first state.
    """
    if is_staging(results.staging) and not is_plain(results.staging / checkpoint.STATE):
        raise CheckpointError(
            "nothing to resume", results.staging, "it was stopped before its first state", "Start without --resume"
        )


def take_up(folder: Path, work: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """The saved state of a run, and its files in the folder that is worked in.

    Args:
        folder: the run.
        work: the folder that is worked in; empty where the run is a finished one.
        names: of the files of a run.

    Returns:
        The state, not checked yet.

    Raises:
        CheckpointError: nothing to resume, or it is damaged.
    """
    if not (work / checkpoint.STATE).is_file():
        checkpoint.load_state(folder)
        TrainConfig.of_run(folder)
        read_images(folder)
        for name in names:
            if is_plain(folder / name, checkpoint.MOST_BYTES):
                shutil.copyfile(folder / name, work / name)
    return checkpoint.load_state(work)


def check_same(given: Scan, known: Scan, folder: Path) -> None:
    """See that a source is the one that a run began with.

    Args:
        given: the source.
        known: the run's images, and what it left out.
        folder: the run.

    Raises:
        UsageError: it is not.
    """
    paths = {os.path.abspath(f.path): f.name for f in given.images}
    own = {f.path for f in known.images}
    left_out = {row.file for row in known.skipped}
    others = [name for path, name in paths.items() if path not in own and name not in left_out]
    if others or own - paths.keys():
        missing = sorted(own - paths.keys())[:1]
        why = f"it has '{others[0]}' besides" if others else f"it lacks '{missing[0]}'"
        raise UsageError("--resume goes on with the run's own images, and SOURCE is not those", folder, why, "Leave SOURCE out")


def restore(context: Context, saved: dict[str, Any]) -> RunState:
    """The state that a training goes on from; the log ends where it stands.

    Args:
        context: of the training.
        saved: the state, of any origin.

    Returns:
        The state.

    Raises:
        CheckpointError: it is none of this training, or its parts do not fit together.
    """
    if saved.get("names") != context.cache.names:
        raise CheckpointError(
            "the images are not those that the run began with", context.folder, None, "Start anew with --overwrite"
        )
    try:
        state = RunState.from_dict(saved, context.config, context.encoder, len(context.cache), context.device)
        _try_out(context, state)
    except (ValueError, KeyError, TypeError, RuntimeError, UsageError) as error:
        why = shown(" ".join(str(error).split()))
        raise CheckpointError(
            "training state cannot be used", context.folder / checkpoint.STATE, why, "Start anew with --overwrite"
        ) from error
    if state.stage != "search":
        context.large = None
    context.metrics.trim(state.stage, state.number, state.level, state.step)
    say_how_to_go_on(context.results, context.stop, state.stage)
    return state


@torch.no_grad()
def _try_out(context: Context, state: RunState) -> None:
    """Find and score the objects of one image: parts that do not fit together end here."""
    if state.before is not None:
        path = context.folder / checkpoint.STATE
        checkpoint.check_fit(state.transformer.state_dict(), state.before.weights, path)
    for finder, kind in zip(state.finders, state.kinds, strict=True):
        scene = Scene.of(context.cache, torch.arange(1), context.device)
        kind.scorer.margins(scene, finder(scene))
