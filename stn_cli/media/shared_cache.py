"""Images on letterboxes of which each process of a team has read a part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stn_cli.geometry import Frame
from stn_cli.media.cache import Cache, build_cache
from stn_cli.media.scan import ImageFile
from stn_cli.records import Skipped
from stn_cli.runtime.distributed import ALONE, Team


@dataclass(slots=True)
class SharedCache(Cache):
    """A set of images whose pixels lie with those who read them; everything else is known to all.

    Attributes:
        team: the processes.
        first: number of this one's first image.
    """

    team: Team = ALONE
    first: int = 0

    def batch(self, index: Tensor, device: torch.device) -> Tensor:
        """Images (B, 3, S, S) float in [0, 1] on `device`; all processes ask for the same ones at the same time."""
        out = torch.zeros((len(index), *self.pixels.shape[1:]), dtype=torch.uint8, device=device)
        at = index.cpu() - self.first
        own = ((at >= 0) & (at < len(self.pixels))).nonzero()[:, 0]
        if len(own):
            out[own.to(device)] = torch.from_numpy(self.pixels[at[own].numpy()]).to(device)
        return self.team.add_up(out).permute(0, 3, 1, 2).to(torch.float32) / 255

    def settle(self, device: torch.device) -> None:
        """Nothing: a part of the images is as good where it is."""


def build_shared_cache(
    files: Sequence[ImageFile],
    letterbox: int,
    scratch: Path,
    team: Team,
    *,
    workers: int | None,
    max_pixels: int,
    progress: Callable[[int], None],
) -> SharedCache:
    """Decode this process's part of a set.

    Args:
        files: all images, the same in every process.
        letterbox: side of the letterbox, pixels.
        scratch: folder of this process for the file of many images.
        team: the processes.
        workers: decoding threads.
        max_pixels: images with more are skipped.
        progress: called with 1 after each file of this process.

    Returns:
        The images that could be decoded, in the order of `files`.
    """
    part = files[team.share(len(files))]
    own = build_cache(part, letterbox, scratch, workers=workers, max_pixels=max_pixels, progress=progress)
    facts, counts = facts_of_all(own, team)
    return SharedCache(own.pixels, *facts, scratch, None, None, team, sum(counts[: team.rank]))


def facts_of_all(
    own: Cache, team: Team
) -> tuple[tuple[list[Frame], list[str], list[Skipped], list[tuple[str, str]]], list[int]]:
    """What all processes know of the parts that they read, in the order of the files.

    Args:
        own: this process's part.
        team: the processes.

    Returns:
        Frames, names, skipped files and notes of all images, and how many images each process has.
    """
    told = team.all_of((own.frames, own.names, own.skipped, own.notes))
    frames, names, skipped, notes = ([item for part in column for item in part] for column in zip(*told, strict=True))
    return (frames, names, skipped, notes), [len(part[0]) for part in told]
