"""Several processes that train one run (torchrun): all read and learn, the first one searches, writes and speaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from stn_cli.coloc.train.context import Context
from stn_cli.coloc.train.start import search
from stn_cli.coloc.train.state import RunState
from stn_cli.media.cache import Cache, Letterbox, build_cache, load_letterbox
from stn_cli.media.rows import make_rows
from stn_cli.media.scan import ImageFile
from stn_cli.media.shared_cache import facts_of_all
from stn_cli.records import Skipped
from stn_cli.runtime.distributed import Team

SENT = 256
"""Images that are sent at once."""


def build_whole_cache(
    files: Sequence[ImageFile],
    letterbox: int,
    scratch: Path,
    team: Team,
    *,
    workers: int | None,
    max_pixels: int,
    progress: Callable[[int], None],
    load: Callable[[ImageFile, int, int], Letterbox | Skipped] = load_letterbox,
) -> Cache:
    """Decode a set once: each process decodes its part, and all of them have the whole.

    Args:
        files: the images, the same in every process.
        letterbox: side of the letterbox, pixels.
        scratch: folder of this process for the file that many images are kept in.
        team: the processes.
        workers: decoding threads.
        max_pixels: images with more are skipped.
        progress: called with 1 after each file of this process.
        load: puts a file onto its letterbox.

    Returns:
        The images that could be decoded, in the order of `files`.

    Raises:
        OutputError: the folder's disk has no room for them.
    """
    part = files if team.size == 1 else files[team.share(len(files))]
    own = build_cache(part, letterbox, scratch, workers=workers, max_pixels=max_pixels, progress=progress, load=load)
    if team.size == 1:
        return own
    facts, counts = facts_of_all(own, team)
    pixels, at = make_rows(scratch, (sum(counts), letterbox, letterbox, 3)), 0
    device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
    for rank, theirs in enumerate(counts):
        for first in range(0, theirs, SENT):
            count = min(SENT, theirs - first)
            if rank == team.rank:
                block = torch.from_numpy(own.pixels[np.arange(first, first + count)]).to(device).contiguous()
            else:
                block = torch.empty((count, letterbox, letterbox, 3), dtype=torch.uint8, device=device)
            dist.broadcast(block, rank)
            for row in block.cpu().numpy():
                pixels[at] = row
                at += 1
    return Cache(pixels, *facts, scratch)


def search_for_all(context: Context, state: RunState) -> RunState:
    """The search stage: the first process searches, and tells the others what it found.

    Args:
        context: what the training works with.
        state: where it stands.

    Returns:
        The state after the search, the same in every process.
    """
    team = context.team
    if team.first:
        search(context, state)
    if team.size == 1:
        return state
    found = team.told(state.to_dict(context.cache.names) if team.first else None)
    context.large = None
    if team.first:
        return state
    return RunState.from_dict(found, context.config, context.encoder, len(context.cache), context.device)
