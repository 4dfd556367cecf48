"""The first stage: from files to images on their letterboxes."""

from __future__ import annotations

from pathlib import Path

from stn_cli.coloc.search.settings import DENSE
from stn_cli.errors import InputError
from stn_cli.media.cache import Cache, build_cache, letterbox_side
from stn_cli.media.scan import Scan
from stn_cli.records import reasons
from stn_cli.runs.config import TrainConfig
from stn_cli.runs.folder import write_images, write_skipped
from stn_cli.runtime.progress import Remarks, Reporter
from stn_cli.runtime.stopping import StopRequest
from stn_cli.runtime.threads import default_workers


def decode_images(
    found: Scan, config: TrainConfig, closely: bool, folder: Path, reporter: Reporter, stop: StopRequest
) -> tuple[Cache, Cache]:
    """Decode the images of a source; which they are is written to images.txt, what cannot be used to skipped.jsonl.

    Args:
        found: the source.
        config: `imgsz`, `cascade`, `workers` and `max_pixels` are used.
        closely: whether the search has a use for images that are larger than the transformer's.
        folder: that is worked in.
        reporter: is told of progress, and of remarks on single images.
        stop: looked at after every image.

    Returns:
        The images at the size that the transformer looks at, and larger; both are the same where nothing looks closely.

    Raises:
        InputError: fewer than two usable images, or all of them alike.
        Interrupted: a signal came.
    """
    reporter.stage("decode", len(found.images))

    def advance(count: int) -> None:
        reporter.advance(count)
        stop.check(stop.todo or "Nothing was learnt yet")

    finest = 2 ** (config.cascade - 1)
    looked_at = letterbox_side(found.images, config.imgsz * finest, multiple=4 * finest)
    closer = closely and config.cascade == 1
    side = letterbox_side(found.images, round(config.imgsz * max(DENSE.scales))) if closer else looked_at
    workers = config.workers or default_workers()
    large = build_cache(found.images, side, folder, workers=workers, max_pixels=config.max_pixels, progress=advance)
    large.skipped[:0] = found.skipped
    write_skipped(folder, large.skipped)
    _check_images(large)
    kept = set(large.names)
    write_images(folder, [file for file in found.images if file.name in kept])
    remarks = Remarks(reporter.warn)
    for name, note in large.notes:
        remarks.add(name, note)
    remarks.close()
    return large.reduced(looked_at), large


def _check_images(cache: Cache) -> None:
    """See that there is something to learn from.

    Raises:
        InputError: there is not.
    """
    if len(cache) < 2:
        raise InputError("at least 2 usable images are needed", todo=f"{len(cache)} usable, {reasons(cache.skipped)}")
    if cache.alike():
        raise InputError("all images are alike", todo="There is nothing to tell the object from its background by")
