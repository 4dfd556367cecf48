"""The first stage: from files to images on their letterboxes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from stn_cli.coloc.search.settings import DENSE
from stn_cli.coloc.train.together import build_whole_cache
from stn_cli.errors import InputError
from stn_cli.media.cache import Cache, Letterbox, letterbox_side, load_letterbox
from stn_cli.media.letterbox_store import LetterboxStore
from stn_cli.media.many_names import ManyNames
from stn_cli.media.scan import ImageFile, Scan
from stn_cli.records import Skipped, reasons
from stn_cli.runs.config import TrainConfig
from stn_cli.runs.folder import leave_out, write_images, write_skipped
from stn_cli.runtime.distributed import ALONE, Team
from stn_cli.runtime.memory import hand_back
from stn_cli.runtime.progress import Remarks, Reporter
from stn_cli.runtime.stopping import StopRequest
from stn_cli.runtime.threads import default_workers


def decode_images(
    found: Scan,
    some: Sequence[ImageFile],
    config: TrainConfig,
    closely: bool,
    folder: Path,
    reporter: Reporter,
    stop: StopRequest,
    kept: Path | None = None,
    team: Team = ALONE,
    before: Sequence[int] | None = None,
) -> tuple[Cache, Cache]:
    """Decode images of a source; the source is written to images.txt, what cannot be used to skipped.jsonl.

    Args:
        found: the source; it lets its images go.
        some: of its images, those that are decoded.
        config: `imgsz`, `cascade`, `workers` and `max_pixels` are used.
        closely: whether the search has a use for images that are larger than the transformer's.
        folder: that is worked in.
        reporter: is told of progress, and of remarks on single images.
        stop: looked at after every image.
        kept: folder with letterboxes of earlier trainings, where this one's are put, too; None keeps none.
        team: processes that decode a part each.
        before: sides of the letterboxes of both caches, where a training is gone on with: nothing is written then, as it is there, and what
            cannot be read now may come back.

    Returns:
        The images at the size that the transformer looks at, and larger; both are the same where nothing looks closely.

    Raises:
        InputError: fewer than two usable images, or all of them alike.
        Interrupted: a signal came.
    """
    _let_go(found, folder if before is None else None)
    reporter.stage("decode", len(some[team.share(len(some))]))
    looked_at, side = before or _sides(some, config, closely)
    with _loader(kept, side, reporter) as load:
        how: dict[str, Any] = {"max_pixels": config.max_pixels, "progress": partial(_advance, reporter, stop), "load": load}
        large = build_whole_cache(some, side, folder, team, workers=config.workers or default_workers(), **how)
    large.skipped[:0] = found.skipped
    if before is None:
        _leave_out_skipped(folder, large, some)
    _check_images(large)
    large.names = ManyNames(large.names)
    _remark(large, reporter)
    return large.reduced(looked_at), large


def _advance(reporter: Reporter, stop: StopRequest, count: int) -> None:
    reporter.advance(count)
    stop.check(stop.todo or "Nothing was learnt yet")


def _let_go(found: Scan, folder: Path | None) -> None:
    """Write which images there are, unless it is known; nobody reads the paths any more, which with their names take 300 MB of a million."""
    if folder is not None:
        write_images(folder, found.images)
    found.images = []
    hand_back()


def _sides(some: Sequence[ImageFile], config: TrainConfig, closely: bool) -> tuple[int, int]:
    """Sides of the letterboxes that the transformer and the search look at, pixels."""
    finest = 2 ** (config.cascade - 1)
    looked_at = letterbox_side(some, config.imgsz * finest, multiple=4 * finest)
    closest = round(config.imgsz * max(DENSE.scales))
    return looked_at, letterbox_side(some, closest) if closely and config.cascade == 1 else looked_at


def _leave_out_skipped(folder: Path, cache: Cache, some: Sequence[ImageFile]) -> None:
    """Write which images were left out, and take those that could not be decoded off the list."""
    write_skipped(folder, cache.skipped)
    used = set(cache.names)
    leave_out(folder, [file.path for file in some if file.name not in used])


@contextmanager
def _loader(kept: Path | None, side: int, reporter: Reporter) -> Iterator[Callable[[ImageFile, int, int], Letterbox | Skipped]]:
    """What puts a file onto its letterbox: from a folder where they are kept, if there is one."""
    if kept is None:
        yield load_letterbox
        return
    with LetterboxStore(kept, side, reporter.warn) as store:
        yield store.load


def _remark(cache: Cache, reporter: Reporter) -> None:
    """Say what is remarkable about single images."""
    remarks = Remarks(reporter.warn)
    for name, note in cache.notes:
        remarks.add(name, note)
    remarks.close()


def _check_images(cache: Cache) -> None:
    """See that there is something to learn from.

    Raises:
        InputError: there is not.
    """
    if len(cache) < 2:
        raise InputError("at least 2 usable images are needed", todo=f"{len(cache)} usable, {reasons(cache.skipped)}")
    if cache.alike():
        raise InputError("all images are alike", todo="There is nothing to tell the object from its background by")
