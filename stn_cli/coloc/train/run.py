"""The training of a run: decode -> search -> regression -> fine-tuning -> calibration; every stage can be resumed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from stn_cli.coloc.model.fast_file import FAST_FILE
from stn_cli.coloc.train.annotated_images import Annotator, annotated_before, annotations_before, check_alone, keep_annotations
from stn_cli.coloc.train.context import Context, say_how_to_go_on
from stn_cli.coloc.train.corrections import learn_corrections
from stn_cli.coloc.train.decode import decode_images
from stn_cli.coloc.train.finetune import finetune
from stn_cli.coloc.train.finish import calibrate_scores, finish
from stn_cli.coloc.train.regress import regress
from stn_cli.coloc.train.resume import (
    Begun,
    begun_by,
    check_resumable,
    check_same,
    go_on_from,
    images_of,
    learnt_by,
    restore,
    sides_of,
    take_up,
)
from stn_cli.coloc.train.sample import learnt_from
from stn_cli.coloc.train.state import RunState
from stn_cli.coloc.train.together import search_for_all
from stn_cli.encoders import make_encoder
from stn_cli.errors import InputError, ResourceError, out_of_memory
from stn_cli.files import write_text
from stn_cli.media.scan import Scan, places_of, require_images, scan
from stn_cli.outputs.results import Results
from stn_cli.records import Skipped
from stn_cli.runs import checkpoint
from stn_cli.runs.annotations import ANNOTATIONS
from stn_cli.runs.config import TrainConfig
from stn_cli.runs.folder import IMAGES, SKIPPED, read_images, read_skipped
from stn_cli.runs.metrics import Metrics
from stn_cli.runtime.device import pick_device
from stn_cli.runtime.distributed import Team, team_of
from stn_cli.runtime.progress import Reporter, Silent
from stn_cli.runtime.stopping import StopRequest
from stn_cli.version import __version__

CONFIG, METRICS, REPORT = "config.toml", "metrics.jsonl", "report.html"
NAMES = (CONFIG, METRICS, REPORT, IMAGES, SKIPPED, ANNOTATIONS, checkpoint.MODEL, checkpoint.STATE, FAST_FILE)
BEGINNINGS = frozenset(NAMES) - {checkpoint.MODEL, checkpoint.STATE}
"""What is worth nothing without a state."""
LESS_MEMORY = "Lower --batch, --imgsz or --search-images; of a GPU, use --device cpu"
WORK = {"corrections": learn_corrections, "regression": regress, "finetune": finetune}
"""What is done after the search while a state says so; each stage says which one comes next."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training came to.

    Attributes:
        run: the run folder.
        images: how many were learnt from.
        unused: how many more there are, see `stn_cli.coloc.train.sample`.
        annotated: to how many of those learnt from a person gave boxes.
        skipped: what was left out.
        kind: `rigid`, `words` or `dense`, of each kind of object, with commas.
        agreement: mean IoU of the transformer's boxes with the search's.
        warnings: collapse and the like.
        seconds: spent in this process.
    """

    run: Path
    images: int
    unused: int
    annotated: int
    skipped: list[Skipped]
    kind: str
    agreement: float
    warnings: list[str]
    seconds: float


def train(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None,
    out: str | os.PathLike[str] = "stn-coloc-run",
    config: TrainConfig | None = None,
    *,
    annotator: Annotator | None = None,
    start: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    reporter: Reporter | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> TrainResult:
    """Learn from a folder of images where their common object is.

    Args:
        source: what to learn from, see `stn_cli.media.scan.scan`; not needed to resume, nor with `start`, whose images are taken then.
        out: the run folder.
        config: settings; with `resume` those of the run are taken, and of `start` where none are given.
        annotator: gives a person's annotations of some of the images, by their names.
        start: a run to go on from, with what it knows; it stays as it is.
        overwrite: a run that is there may be replaced.
        resume: go on where a run that was stopped stands.
        reporter: is told of progress.
        cache: folder in which decoded images are kept for further trainings.

    Returns:
        A summary; everything else is in the run folder.

    Raises:
        InputError: fewer than two usable images, or all of them alike; or the annotations are of none of them.
        OutputError: the run folder cannot be used.
        CheckpointError: nothing to resume or to go on from, or it is damaged.
        UsageError: settings are not those of the run that is gone on from.
        DivergedError: a loss or gradient that is not finite.
        Interrupted: a signal came; the run can be resumed.
        ResourceError: no such device, or out of memory.
    """
    folder, reporter, kept = Path(out), reporter or Silent(), None if cache is None else Path(cache)
    try:
        with StopRequest() as stop, team_of((config or TrainConfig()).device) as (team, device):
            if not team.first:
                return _help(folder, team, device, stop, kept)
            place = pick_device(device) if team.size > 1 else None
            if resume:
                return _go_on(folder, source, reporter, stop, kept, team, place)
            return _begin(folder, source, config, start, annotator, overwrite, reporter, stop, kept, team, place)
    except (RuntimeError, MemoryError) as error:
        if out_of_memory(error):
            raise ResourceError("out of memory", todo=LESS_MEMORY) from error
        raise


def _begin(
    folder: Path,
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None,
    config: TrainConfig | None,
    start: str | os.PathLike[str] | None,
    annotator: Annotator | None,
    overwrite: bool,
    reporter: Reporter,
    stop: StopRequest,
    kept: Path | None,
    team: Team,
    device: torch.device | None,
) -> TrainResult:
    """A new training, or one that goes on from another run."""
    at = time.monotonic()
    check_alone(team, annotator is not None or start is not None)
    begun = None if start is None else begun_by(Path(start), config)
    config = config or (TrainConfig() if begun is None else begun.config)
    pick_device(config.device)
    if source is None and begun is not None:
        found = Scan(begun.images, [])
        folders, beside = sorted({os.path.dirname(image.path) for image in begun.images}), list[str]()
    elif source is not None:
        found = scan(source)
        folders, beside = places_of(source, found)
    else:
        raise InputError("no source given", todo="Name a folder of images")
    uses = [*beside, *(p for p in (config.weights, config.encoder) if os.path.exists(p))]
    uses += [] if begun is None else [os.fspath(begun.run)]
    results = Results(folder, "train", NAMES, folders, uses, overwrite=overwrite, beginnings=BEGINNINGS)
    require_images(found, source or folder, 2)
    for note in found.notes:
        reporter.warn(note)
    with results.open() as work:
        return _run(results, work, team.told((config, found, None)), reporter, stop, at, kept, team, device, begun, annotator)


def _go_on(
    folder: Path,
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None,
    reporter: Reporter,
    stop: StopRequest,
    kept: Path | None,
    team: Team,
    device: torch.device | None,
) -> TrainResult:
    """A training that was stopped, or that shall be finished once more."""
    begun = time.monotonic()
    results = Results(folder, "train", NAMES, resume=True, beginnings=BEGINNINGS, repairs=True)
    check_resumable(results)
    with results.open() as work:
        saved = take_up(folder, work, NAMES)
        found = Scan(read_images(work), read_skipped(work))
        if source is not None:
            check_same(scan(source), found, folder)
        check_alone(team, bool(saved.get("annotations")))
        told = team.told((TrainConfig.of_run(work), found, saved))
        return _run(results, work, told, reporter, stop, begun, kept, team, device)


def _help(folder: Path, team: Team, device: str, stop: StopRequest, kept: Path | None) -> TrainResult:
    """What all processes but the first do: they learn, and write nothing but scratch of their own."""
    begun = time.monotonic()
    stop.todo = f"Go on with stn-coloc train --resume -o {folder}"
    with TemporaryDirectory(prefix="stn-coloc-") as scratch:
        results = Results(Path(scratch) / "run", "train", NAMES)
        with results.open() as work:
            return _run(results, work, team.told(None), Silent(), stop, begun, kept, team, pick_device(device))


def _run(
    results: Results,
    work: Path,
    told: tuple[TrainConfig, Scan, dict[str, Any] | None],
    reporter: Reporter,
    stop: StopRequest,
    at: float,
    kept: Path | None,
    team: Team,
    place: torch.device | None,
    begun: Begun | None = None,
    annotator: Annotator | None = None,
) -> TrainResult:
    """All stages, from where a saved state says: `told` are settings, images and that state; `place` is the device of one of several."""
    config, found, saved = told
    device = place or pick_device(config.device)
    encoder = make_encoder(config.encoder, Path(config.weights) if config.weights else None, config.layer)
    encoder.to(device)
    if saved is not None and team.first:
        say_how_to_go_on(results, stop)
    given = None if annotator is None else annotator([image.name for image in found.images])
    before, sides = annotated_before(begun, found.images, reporter.warn), None if saved is None else sides_of(saved, config)
    if saved is None:
        always = {image.file for image in (*before, *(given or ()))}
        some = learnt_from(found.images, config, encoder.dense, always, learnt_by(begun, found.images))
    else:
        some = images_of(saved, found.images, work)
    unused = len(found.images) - len(some)
    cache, large = decode_images(found, some, config, encoder.dense, work, reporter, stop, kept, team, sides)
    del some
    annotations = (
        annotations_before(work, cache) if saved is not None else keep_annotations(work, cache, config, given, before, reporter)
    )
    cache.settle(device)
    context = Context(
        results, work, config, device, encoder, cache, large, large.letterbox, annotations, Metrics(work), reporter, stop, team
    )
    del large  # the search is the last that needs it
    state = restore(context, saved) if saved is not None else _new_state(context, begun)
    if state.stage == "search":
        state = search_for_all(context, state)
    while state.stage in WORK:
        WORK[state.stage](context, state)
    agreed = 0.0
    if team.first:
        agreed = finish(context, state, calibrate_scores(context, state))
    kinds = ", ".join(kind.kind for kind in state.kinds)
    used = len(cache), unused, len(annotations), cache.skipped
    return TrainResult(results.folder, *used, kinds, agreed, state.warnings, time.monotonic() - at)


def _new_state(context: Context, begun: Begun | None) -> RunState:
    """A state before the search, or with all that another run knows; from here on the training can be resumed."""
    write_text(context.folder / CONFIG, f"# stn-coloc {__version__}\n" + context.config.toml())
    context.metrics.clear()
    state = RunState() if begun is None else go_on_from(context, begun)
    context.save(state)
    return state
