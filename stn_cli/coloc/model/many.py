"""Many images, a few at a time: as many as the memory holds, and the same ones together whoever asks.

On a processor each thread looks at images of its own. Threads that share a call wait for the slowest of them at every layer: beside other
programs a call then takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from stn_cli.coloc.model.found import believed_from, scored_at_least
from stn_cli.errors import ResourceError, out_of_memory
from stn_cli.geometry import Frame
from stn_cli.media.cache import Letterbox
from stn_cli.media.scan import ImageFile
from stn_cli.records import ImageRecord, Skipped
from stn_cli.runtime.ordered import ordered_map
from stn_cli.runtime.threads import working_threads

if TYPE_CHECKING:
    from stn_cli.coloc.model.localiser import Localiser

PIXELS_PER_CALL = 1 << 28
"""Most pixels of a call: 3 GB as the network sees them."""
PIXELS_PER_THREAD = 1 << 20
"""Most pixels of a call on a processor, where each thread has its own: 150 MB as the network sees them, and more are not faster."""


def images_per_call(letterbox: int, batch: int) -> int:
    """How many images the network really looks at in one call.

    Args:
        letterbox: side of an image, pixels.
        batch: how many were asked for.

    Returns:
        At least 1, and no more than the pixels of a call allow.
    """
    return max(1, min(batch, PIXELS_PER_CALL // letterbox**2))


def localise_many(
    localiser: Localiser,
    loaded: Iterator[Letterbox | Skipped],
    min_score: float | None,
    batch: int,
    warn: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[Letterbox | Skipped, ImageRecord | Skipped]]:
    """Find every object in images as they are decoded, on a processor in as many threads as it computes with.

    Each call has one thread, so that records do not depend on their number.

    Args:
        localiser, min_score, warn: as for `localise_loaded`.
        loaded: images on letterboxes, and what was skipped among them.
        batch: images of a chunk; see `localise_loaded`.

    Yields:
        Each image, and what was found in it.

    Raises:
        ResourceError: not even one image fits into the memory.
    """
    if localiser.device.type != "cpu":
        while chunk := list(islice(loaded, batch)):
            records, batch = localise_loaded(localiser, chunk, min_score, batch, warn)
            yield from zip(chunk, records, strict=True)
        return
    threads, calls = working_threads(), _calls(loaded, batch, _images_at_once(localiser, batch))

    def look(call: list[Letterbox | Skipped]) -> list[tuple[Letterbox | Skipped, ImageRecord | Skipped]]:
        torch.set_num_threads(1)  # of this thread, and by default of those that begin after it
        return list(zip(call, localise_loaded(localiser, call, min_score, batch, warn)[0], strict=True))

    try:
        if threads > 1:
            _records_that_fit(localiser, [_nothing(localiser.letterbox)], 1, warn)  # what is made at a first look is made once
        for found in ordered_map(look, calls, threads) if threads > 1 else map(look, calls):
            yield from found
    finally:
        torch.set_num_threads(threads)


def _nothing(side: int) -> Letterbox:
    """A black image."""
    return Letterbox(ImageFile("", ""), Frame(side, side, side), np.zeros((side, side, 3), np.uint8))


def _calls(loaded: Iterator[Letterbox | Skipped], batch: int, most: int) -> Iterator[list[Letterbox | Skipped]]:
    """Chunks of `batch` items in parts of so many images, which `localise_loaded` looks at in one call; what was skipped goes along."""
    while chunk := list(islice(loaded, batch)):
        call, images = list[Letterbox | Skipped](), 0
        for item in chunk:
            if isinstance(item, Letterbox) and images == most:
                yield call
                call, images = [], 0
            call.append(item)
            images += isinstance(item, Letterbox)
        yield call


def _images_at_once(localiser: Localiser, batch: int) -> int:
    """Images of a chunk that are looked at in one call."""
    if localiser.device.type != "cpu":
        return batch
    return max(1, min(batch, PIXELS_PER_THREAD // localiser.letterbox**2))


def localise_loaded(
    localiser: Localiser,
    chunk: Sequence[Letterbox | Skipped],
    min_score: float | None,
    batch: int,
    warn: Callable[[str], None] = lambda _: None,
) -> tuple[list[ImageRecord | Skipped], int]:
    """Find every object in images that are decoded already.

    The last bits of a record depend on the images that are looked at in the same call. Who wants the same bits again gives the same chunk
    again.

    Args:
        localiser: the run.
        chunk: images on letterboxes, and what was skipped among them.
        min_score: objects below it are left out, and the others believed; by default those below the run's `least` are left out.
        batch: images per call of the network.
        warn: called when the batch has to be halved.

    Returns:
        As many items as the chunk has, in its order; and the batch that the device's memory held.

    Raises:
        ResourceError: not even one image fits into the memory.
    """
    records, batch = _records_that_fit(localiser, [c for c in chunk if isinstance(c, Letterbox)], batch, warn)
    least = localiser.least
    kept = iter([scored_at_least(r, least) if min_score is None else believed_from(r, min_score) for r in records])
    return [c if isinstance(c, Skipped) else next(kept) for c in chunk], batch


def _records_that_fit(
    localiser: Localiser, letterboxes: list[Letterbox], batch: int, warn: Callable[[str], None]
) -> tuple[list[ImageRecord], int]:
    """Records of images, `batch` at a time, and the batch that the device's memory holds: half where it did not.

    Raises:
        ResourceError: it does not even hold one.
    """
    records, batch = list[ImageRecord](), _images_at_once(localiser, batch)
    while len(records) < len(letterboxes):
        try:
            records += localiser.records(letterboxes[len(records) : len(records) + batch])
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            if batch == 1:
                raise ResourceError("out of memory", todo="Close other programs; of a GPU, use --device cpu") from error
            torch.cuda.empty_cache()
            batch //= 2
            warn(f"out of memory: going on with batches of {batch}")
    return records, batch
