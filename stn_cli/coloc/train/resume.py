"""Going on with a training that was stopped, and from a finished one; one that is resumed when it is finished builds its model anew."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stn_cli.bounds import shown
from stn_cli.coloc.model.finder import predict
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.train.context import Context, say_how_to_go_on
from stn_cli.coloc.train.sample import compacted
from stn_cli.coloc.train.state import RunState
from stn_cli.errors import CheckpointError, UsageError
from stn_cli.media.scan import ImageFile, Scan
from stn_cli.outputs.manifest import is_staging
from stn_cli.outputs.results import Results
from stn_cli.reading import is_plain
from stn_cli.records import AnnotatedImage
from stn_cli.runs import checkpoint
from stn_cli.runs.annotations import annotations_digest, read_run_annotations
from stn_cli.runs.config import TrainConfig
from stn_cli.runs.folder import read_images

BUILT_WITH = ("encoder", "weights", "layer", "transform", "cascade", "imgsz", "kinds", "objects")
"""Settings that a run's networks are built with, and its images are looked at with."""
MOST_TIMES = 4
"""Times `imgsz` that a letterbox's side is at most."""
OTHER_IMAGES = "the images are not those that the run began with"


@dataclass(frozen=True, slots=True)
class Begun:
    """A finished run that another one goes on from.

    Attributes:
        run: its folder.
        config: its settings.
        images: of its folder.
        annotations: a person's, of them.
        saved: its state, not checked yet.
    """

    run: Path
    config: TrainConfig
    images: Sequence[ImageFile]
    annotations: list[AnnotatedImage]
    saved: dict[str, Any]


def begun_by(run: Path, config: TrainConfig | None) -> Begun:
    """Read a finished run to go on from.

    Args:
        run: its folder.
        config: settings of the training that goes on; those of the run when None.

    Returns:
        All that the run knows.

    Raises:
        CheckpointError: it is no run, damaged, or not finished.
        UsageError: its networks were built with other settings.
    """
    saved = checkpoint.load_state(run)
    progress = saved.get("progress")
    if (
        not isinstance(progress, list)
        or progress[:1] != ["calibrate"]
        or not is_plain(run / checkpoint.MODEL, checkpoint.MOST_BYTES)
    ):
        raise CheckpointError("unfinished run", run, None, f"Finish it first: stn-coloc train --resume -o {run}")
    own = TrainConfig.of_run(run)
    for name in BUILT_WITH:
        if config is not None and getattr(config, name) != getattr(own, name):
            why = f"{name}: {getattr(own, name)!r} in the run, {getattr(config, name)!r} given"
            raise UsageError("--from takes the run's own settings here", run, why, "Leave it out")
    return Begun(run, own, read_images(run), read_run_annotations(run), saved)


@torch.no_grad()
def go_on_from(context: Context, begun: Begun) -> RunState:
    """The state of a new training that knows what a finished run knows.

    Args:
        context: of the new training; its images need not be the run's.
        begun: the run.

    Returns:
        A state in which the annotations come next.

    Raises:
        CheckpointError: the run's parts do not fit together.
    """
    try:
        names = [str(name) for name in begun.saved["names"]]
        state = RunState.from_dict(begun.saved, context.config, context.encoder, len(names), context.device)
        _try_out(context, state)
    except (ValueError, KeyError, TypeError, RuntimeError, UsageError) as error:
        why = shown(" ".join(str(error).split()))
        raise CheckpointError("run cannot be gone on from", begun.run / checkpoint.STATE, why, "Train anew") from error
    known = {name: number for number, name in enumerate(names)}
    old = torch.tensor([known.get(name, -1) for name in context.cache.names])
    new = old < 0
    for finder, kind in zip(state.finders, state.kinds, strict=True):
        places = [value[old.clamp(min=0).to(value.device)] for value in (kind.boxes, kind.angles, kind.present)]
        if bool(new.any()):
            found = predict(finder, context.cache, context.device, new.nonzero()[:, 0]).boxes()
            places[0][new], places[1][new], places[2][new] = found[:, : places[0].shape[1]], 0.0, True
        kind.boxes, kind.angles, kind.present = places
    context.large = context.large if any(kind.proposer for kind in state.kinds) else None
    state.again, state.warnings = True, []
    state.enter("corrections")
    return state


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


def images_of(saved: dict[str, Any], images: Sequence[ImageFile], folder: Path) -> list[ImageFile]:
    """The images that a training that is gone on with looks at.

    Args:
        saved: its state, of any origin.
        images: of the run.
        folder: of the run.

    Returns:
        Those that the state names.

    Raises:
        CheckpointError: it names others.
    """
    names = saved.get("names")
    known = set(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else {""}
    some = [image for image in images if image.name in known]
    if len(some) < len(known):
        raise CheckpointError(OTHER_IMAGES, folder, None, "Start anew with --overwrite")
    return some if len(some) == len(images) else compacted(some)


def sides_of(saved: dict[str, Any], config: TrainConfig) -> list[int] | None:
    """Sides of the letterboxes that a training was begun with: which images tell them is not the same once some were left out.

    Args:
        saved: its state, of any origin.
        config: its settings.

    Returns:
        The transformer's and the search's, pixels; None where the state does not say them.
    """
    sides, most = saved.get("letterboxes"), MOST_TIMES * config.imgsz * 2 ** (config.cascade - 1)
    usable = isinstance(sides, list) and len(sides) == 2 and all(type(side) is int and 8 <= side <= most for side in sides)
    return sides if usable else None


def learnt_by(begun: Begun | None, images: Sequence[ImageFile]) -> list[str]:
    """Names of images that an earlier run has learnt from, if its folder is learnt from again.

    Args:
        begun: the run that is gone on from; None where there is none.
        images: of the new training.

    Returns:
        The names.
    """
    names = begun.saved.get("names") if begun is not None and images is begun.images else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


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
    if saved.get("names") != list(context.cache.names):
        raise CheckpointError(OTHER_IMAGES, context.folder, None, "Start anew with --overwrite")
    if saved.get("annotations", "") != annotations_digest(context.folder):
        raise CheckpointError(
            "the annotations are not those that the run began with", context.folder, None, "Start anew with --overwrite"
        )
    try:
        state = RunState.from_dict(saved, context.config, context.encoder, len(context.cache), context.device)
        _try_out(context, state)
    except (ValueError, KeyError, TypeError, RuntimeError, UsageError) as error:
        why = shown(" ".join(str(error).split()))
        raise CheckpointError(
            "training state cannot be used", context.folder / checkpoint.STATE, why, "Start anew with --overwrite"
        ) from error
    if state.stage not in ("search", "corrections"):
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
