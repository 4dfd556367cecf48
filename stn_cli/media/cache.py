"""Images in their letterbox: decoded once, kept as one uint8 array, in a file where they are many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stn_cli.geometry import Frame
from stn_cli.media.decode import MAX_PIXELS, Header, Pixels, Unusable, decoded, decoded_bytes, opened, read_header
from stn_cli.media.rows import Rows, make_rows
from stn_cli.media.scan import ImageFile
from stn_cli.records import Skipped
from stn_cli.runtime.ordered import ordered_map
from stn_cli.runtime.threads import default_workers

SETTLED = 256
"""Images that are moved to an accelerator at once."""


@dataclass(frozen=True, slots=True)
class Letterbox:
    """One decoded image: `pixels` (S, S, 3) uint8, and where the image lies on them."""

    file: ImageFile
    frame: Frame
    pixels: Pixels
    note: str | None = None


def place(pixels: Pixels, frame: Frame) -> Pixels:
    """Resize an image onto its letterbox; what lies beside it repeats its edge, so that no new edge appears.

    Args:
        pixels: (H, W, 3) uint8 RGB, upright.
        frame: where the image lies on its letterbox.

    Returns:
        (S, S, 3) uint8 RGB.
    """
    left, top, w, h = frame.content
    shrinking = pixels.shape[1] > w or pixels.shape[0] > h
    small = cv2.resize(pixels, (w, h), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
    right, bottom = frame.letterbox - left - w, frame.letterbox - top - h
    return cv2.copyMakeBorder(small, top, bottom, left, right, cv2.BORDER_REPLICATE)  # type: ignore[return-value]


def load_letterbox(
    file: ImageFile, letterbox: int, max_pixels: int = MAX_PIXELS, data: bytes | None = None
) -> Letterbox | Skipped:
    """Decode one file onto a letterbox, or say why not.

    Args:
        file: the image.
        letterbox: S, side of the letterbox, pixels.
        max_pixels: images with more are skipped.
        data: the file's content, where it has been read already; `file.path` is not opened then.

    Returns:
        The image on its letterbox, or why it is skipped.
    """
    try:
        reading = (
            decoded(file.path, max_pixels=max_pixels, long_side=letterbox)
            if data is None
            else decoded_bytes(data, file.name, max_pixels=max_pixels, long_side=letterbox)
        )
        with reading as image:
            frame = Frame(*image.size, letterbox)
            return Letterbox(file, frame, place(image.pixels, frame), image.note)
    except Unusable as reason:
        return Skipped(file.name, str(reason))


def letterbox_side(files: Sequence[ImageFile], imgsz: int, probe: int = 64, multiple: int = 4) -> int:
    """The letterbox for a set: `imgsz`, or the longest side found among a few of its images where all are smaller.

    Enlarging small images costs time and adds nothing. Rounded up to a multiple of `multiple`, at least eight of them.

    Args:
        files: of the set.
        imgsz: the largest side, pixels.
        probe: how many of the files are looked at.
        multiple: of which the side is one.

    Returns:
        Side of the letterbox, pixels.
    """
    longest = 0
    step = max(1, len(files) // probe)
    for file in files[::step]:
        header = header_of(file)
        if header is not None:
            longest = max(longest, header.width, header.height)
    side = min(imgsz, longest or imgsz)
    return max(8, -(-side // multiple)) * multiple


def header_of(file: ImageFile) -> Header | None:
    """An image's header, without reading the rest of the file.

    Args:
        file: the image's.

    Returns:
        The header; None of a file that cannot be used.
    """
    try:
        with opened(file.path) as (stream, _):
            return read_header(stream)
    except Unusable:
        return None


@dataclass(slots=True)
class Cache:
    """A set of images on letterboxes of one side.

    Attributes:
        pixels: (N, S, S, 3) uint8, an array or, of many images, a file.
        frames: N frames.
        names: N names.
        skipped: what was left out.
        notes: (name, remark) of images that were kept with a remark.
        scratch: folder for the file of many images; None keeps any number in memory.
        resident: all of them on an accelerator, see `settle`.
        kept: what others worked out of these images and will ask for again.
    """

    pixels: npt.NDArray[np.uint8] | Rows
    frames: list[Frame]
    names: Sequence[str]
    skipped: list[Skipped]
    notes: list[tuple[str, str]]
    scratch: Path | None = None
    resident: Tensor | None = None
    kept: dict[object, object] = field(default_factory=dict, kw_only=True)
    _rectangles: Tensor | None = None

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def letterbox(self) -> int:
        """Side of the letterbox, pixels."""
        return int(self.pixels.shape[1])

    def reduced(self, side: int) -> Cache:
        """The same images on letterboxes of a smaller side; itself where they are no larger."""
        if side >= self.letterbox:
            return self
        pixels = make_rows(self.scratch, (len(self), side, side, 3))
        for i in range(len(self)):
            pixels[i] = np.asarray(cv2.resize(self.pixels[i], (side, side), interpolation=cv2.INTER_AREA), np.uint8)
        known = {f: Frame(f.width, f.height, side) for f in set(self.frames)}
        frames = [known[f] for f in self.frames]
        return Cache(pixels, frames, self.names, self.skipped, self.notes, self.scratch)

    def settle(self, device: torch.device) -> None:
        """Move the whole array onto an accelerator when it takes at most a quarter of its free memory."""
        if device.type != "cuda":
            return
        free, _ = torch.cuda.mem_get_info(device)
        if self.pixels.nbytes <= free // 4:
            self.resident = torch.empty(self.pixels.shape, dtype=torch.uint8, device=device)
            for part in torch.arange(len(self)).split(SETTLED):
                self.resident[part.to(device)] = torch.from_numpy(self.pixels[part.numpy()]).to(device)

    def alike(self) -> bool:
        """Whether all images are the same."""
        first = self.pixels[0]
        return all(bool((self.pixels[i] == first).all()) for i in range(1, len(self)))

    def batch(self, index: Tensor, device: torch.device) -> Tensor:
        """Images (B, 3, S, S) float in [0, 1] on `device`."""
        if self.resident is not None:
            taken = self.resident[index.to(self.resident.device)]
        else:
            taken = torch.from_numpy(self.pixels[index.cpu().numpy()]).to(device, non_blocking=True)
        return taken.permute(0, 3, 1, 2).to(torch.float32) / 255

    def rectangles(self) -> Tensor:
        """Each image's outline on its letterbox (N, 4), normalised."""
        if self._rectangles is None:
            known = {frame: frame.rectangle for frame in set(self.frames)}
            self._rectangles = torch.tensor([known[frame] for frame in self.frames]).view(-1, 4)
        return self._rectangles


def build_cache(
    files: Sequence[ImageFile],
    letterbox: int,
    scratch: Path | None = None,
    *,
    workers: int | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: Callable[[int], None] = lambda _: None,
    load: Callable[[ImageFile, int, int], Letterbox | Skipped] = load_letterbox,
) -> Cache:
    """Decode a set once.

    Args:
        files: the images.
        letterbox: side of the letterbox, pixels.
        scratch: folder for the file that many images are kept in; any number is in memory when left out.
        workers: decoding threads.
        max_pixels: images with more are skipped.
        progress: called with 1 after each file.
        load: puts a file onto its letterbox, as `load_letterbox` does, in threads.

    Returns:
        The images that could be decoded, in the order of `files`.

    Raises:
        OutputError: the folder's disk has no room for them.
    """
    pixels = make_rows(scratch, (len(files), letterbox, letterbox, 3))
    names, known = list[str](), dict[Frame, Frame]()
    cache = Cache(pixels, [], names, [], [], scratch)
    for item in ordered_map(lambda f: load(f, letterbox, max_pixels), files, workers or default_workers()):
        progress(1)
        if isinstance(item, Skipped):
            cache.skipped.append(item)
            continue
        pixels[len(cache.frames)] = item.pixels
        cache.frames.append(known.setdefault(item.frame, item.frame))  # many images are of one size
        names.append(item.file.name)
        if item.note:
            cache.notes.append((item.file.name, item.note))
    count = len(cache.frames)
    cache.pixels = pixels.shortened(count) if isinstance(pixels, Rows) else pixels[:count]
    return cache
