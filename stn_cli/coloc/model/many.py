"""Many images, a few at a time: as many as the memory holds, and the same ones together whoever asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from stn_cli.coloc.model.found import believed_from, scored_at_least
from stn_cli.errors import ResourceError, out_of_memory
from stn_cli.media.cache import Letterbox
from stn_cli.records import ImageRecord, Skipped

if TYPE_CHECKING:
    from stn_cli.coloc.model.localiser import Localiser

PIXELS_PER_CALL = 1 << 28
"""Most pixels of a call: 3 GB as the network sees them."""


def images_per_call(letterbox: int, batch: int) -> int:
    """How many images the network really looks at in one call.

    Args:
        letterbox: side of an image, pixels.
        batch: how many were asked for.

    Returns:
        At least 1, and no more than the pixels of a call allow.
    """
    return max(1, min(batch, PIXELS_PER_CALL // letterbox**2))


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
    records: list[ImageRecord] = []
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
