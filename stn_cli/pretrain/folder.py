"""From a folder of images to an encoder of one's own: what `stn-coloc pretrain` does."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from stn_cli.bounds import check_shared, check_within
from stn_cli.encoders.small import FILE, SmallEncoder, write_encoder
from stn_cli.errors import CheckpointError, InputError, ResourceError, out_of_memory
from stn_cli.media.cache import Cache, build_cache, letterbox_side
from stn_cli.media.decode import MAX_PIXELS
from stn_cli.media.scan import Scan, places_of, require_images, scan
from stn_cli.media.shared_cache import build_shared_cache
from stn_cli.outputs.results import Results
from stn_cli.pretrain.selfsupervised import SelfSupervisedRecipe, train_selfsupervised
from stn_cli.pretrain.state import NAME
from stn_cli.records import Skipped, reasons
from stn_cli.runs.folder import SKIPPED, write_skipped
from stn_cli.runtime.device import pick_device
from stn_cli.runtime.distributed import Team, team_of
from stn_cli.runtime.progress import Reporter, Silent
from stn_cli.runtime.stopping import StopRequest
from stn_cli.runtime.threads import default_workers
from stn_cli.version import __version__

LEAST = 16
"""Images below which two views of a few pictures teach nothing."""
LOG = "log.txt"
NAMES = (FILE, NAME, LOG, SKIPPED)
BEGINNINGS = frozenset([SKIPPED])


@dataclass(frozen=True, slots=True)
class PretrainResult:
    """What a pretraining came to: the folder holds `encoder.safetensors`."""

    folder: Path
    images: int
    skipped: list[Skipped]
    loss: float
    seconds: float


@dataclass(frozen=True, slots=True)
class PretrainOptions:
    """What does not say how the network learns.

    Attributes:
        imgsz: longer side that images are reduced to, pixels.
        scratch: begin from no weights instead of the package's own.
        device: for the network.
        workers: decoding threads; one per core when left out.
        max_pixels: images with more are skipped.
    """

    imgsz: int = 192
    scratch: bool = False
    device: str = "auto"
    workers: int | None = None
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        check_shared(workers=self.workers, max_pixels=self.max_pixels)
        check_within("--imgsz", self.imgsz, 32, 2048, whole=True)


def pretrain_folder(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str] = "stn-coloc-encoder",
    recipe: SelfSupervisedRecipe | None = None,
    options: PretrainOptions | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> PretrainResult:
    """Learn an encoder from images alone.

    Args:
        source: see `stn_cli.media.scan.scan`.
        out: the encoder's folder.
        recipe: how long and how fast; a resumed training needs the same.
        options: the rest.
        overwrite: what is in the folder may be replaced.
        resume: go on with what is in the folder.
        reporter: is told of progress.

    Returns:
        A summary; the weights are in the folder.

    Raises:
        InputError: too few usable images.
        OutputError: the folder cannot be used.
        CheckpointError: nothing to resume, or damaged.
        Interrupted: a signal came; it can be resumed.
        ResourceError: no such device, or out of memory.
    """
    begun, folder, reporter, options = time.monotonic(), Path(out), reporter or Silent(), options or PretrainOptions()
    pick_device(options.device)
    recipe = recipe or SelfSupervisedRecipe()
    try:
        with StopRequest() as stop, team_of(options.device) as (team, device):
            options = replace(options, device=device)
            work_on = _lead if team.first else _help
            cache, loss = work_on(source, folder, recipe, options, stop, team, reporter, overwrite, resume)
    except (RuntimeError, MemoryError) as error:
        if out_of_memory(error):
            raise ResourceError("out of memory", todo="Lower --batch or --view; of a GPU, use --device cpu") from error
        raise
    return PretrainResult(folder, len(cache), cache.skipped, loss, time.monotonic() - begun)


def _lead(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    folder: Path,
    recipe: SelfSupervisedRecipe,
    options: PretrainOptions,
    stop: StopRequest,
    team: Team,
    reporter: Reporter,
    overwrite: bool,
    resume: bool,
) -> tuple[Cache, float]:
    """What the first process does, which may be the only one: it has the folder."""
    found, results = _open(source, folder, overwrite, resume, reporter)
    with results.open() as work:
        if resume:
            _take_up(folder, work)
        cache = _decode(found, work, options, reporter, team)
        stop.todo = f"The same command with --resume goes on from {folder}"
        results.keep = True
        return cache, _learn(cache, work, recipe, options, reporter, stop, team)


def _help(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    folder: Path,
    recipe: SelfSupervisedRecipe,
    options: PretrainOptions,
    stop: StopRequest,
    team: Team,
    *_of_the_first: object,
) -> tuple[Cache, float]:
    """What all processes but the first do: read and learn their part, and write nothing but their own scratch."""
    with TemporaryDirectory(prefix="stn-coloc-") as scratch:
        cache = _decode(scan(source), Path(scratch), options, Silent(), team)
        stop.todo = f"The same command with --resume goes on from {folder}"
        return cache, _learn(cache, Path(scratch), recipe, options, Silent(), stop, team)


def _open(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    folder: Path,
    overwrite: bool,
    resume: bool,
    reporter: Reporter,
) -> tuple[Scan, Results]:
    """What is in a source, and the folder that the encoder goes to."""
    found = scan(source)
    folders, beside = places_of(source, found)
    results = Results(folder, "pretrain", NAMES, folders, beside, overwrite=overwrite, resume=resume, beginnings=BEGINNINGS)
    require_images(found, source, LEAST)
    for note in found.notes:
        reporter.warn(note)
    return found, results


def _learn(
    cache: Cache,
    work: Path,
    recipe: SelfSupervisedRecipe,
    options: PretrainOptions,
    reporter: Reporter,
    stop: StopRequest,
    team: Team,
) -> float:
    """Train, and write the encoder; returns the mean of the last losses."""
    device = pick_device(options.device)
    cache.settle(device)
    start = None if options.scratch else SmallEncoder().network
    network, loss = train_selfsupervised(cache, work, recipe, device, start, reporter, stop, team)
    origin = {"recipe": "self-supervised", "from": "scratch" if options.scratch else "small", "version": __version__}
    if team.first:
        write_encoder(work / FILE, network, None, {**origin, "pictures": len(cache), **asdict(recipe)})
    return loss


def _take_up(folder: Path, work: Path) -> None:
    """What an earlier call left, into the folder that is worked in.

    Raises:
        CheckpointError: nothing to resume.
    """
    if (work / NAME).is_file():
        return
    if not (folder / NAME).is_file():
        raise CheckpointError("nothing to resume", folder, f"no {NAME}", "Start without --resume")
    for name in (NAME, LOG):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, work / name)


def _decode(found: Scan, work: Path, options: PretrainOptions, reporter: Reporter, team: Team) -> Cache:
    """The images on their letterboxes; what cannot be used is written to skipped.jsonl.

    Raises:
        InputError: too few are left.
    """
    reporter.stage("decode", len(found.images[team.share(len(found.images))]))
    side, workers = letterbox_side(found.images, options.imgsz), options.workers or default_workers()
    most = options.max_pixels or MAX_PIXELS
    cache: Cache
    if team.size > 1:
        cache = build_shared_cache(found.images, side, work, team, workers=workers, max_pixels=most, progress=reporter.advance)
    else:
        cache = build_cache(found.images, side, work, workers=workers, max_pixels=most, progress=reporter.advance)
    cache.skipped[:0] = found.skipped
    if team.first:
        write_skipped(work, cache.skipped)
    if len(cache) < LEAST:
        why = f"{len(cache)} usable, {reasons(cache.skipped)}"
        raise InputError(f"at least {LEAST} usable images are needed", todo=why)
    return cache
