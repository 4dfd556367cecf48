"""Bytes to pixels: upright by EXIF, RGB, uint8, with a reason for every file that cannot be used.

Decoders get bytes, never paths, and share one budget of memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from stn_cli.media import budget
from stn_cli.media.depth import Levels, common
from stn_cli.media.header import MAX_PIXELS, Header, Unusable, most_bytes, opened, read_bytes, read_header
from stn_cli.media.raster import Pixels, raster, reduction
from stn_cli.media.signatures import HEAD, foreign, has_foreign_extension

__all__ = [
    "MAX_PIXELS", "Decoded", "Header", "Levels", "Pixels", "Unusable", "common_levels", "decode", "decoded", "load", "opened",
    "read_bytes", "read_header",
]  # fmt: skip

AT_ONCE = 1 << 20
"""Files up to this many bytes are read before their pixels' memory is asked for: a header alone would take as long."""
IN_ONE = 256 << 20
"""The same for formats whose size is known only when all of the file is there."""
WORK = {"JPEG2000": 32, "AVIF": 24, "HEIF": 24, "WEBP": 24, "JXL": 32, "GIF": 24}
"""Bytes for each pixel that decoders take at their peak, results included; `PLAIN` or `BLENDED` of the others."""
PLAIN, BLENDED = 12, 22
PROBED = 16
"""Frames of a folder that are looked at for the range of 16-bit values."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, upright, perhaps reduced.
        size: (width, height) of the upright whole, pixels.
        levels: the range of values that 16 bits were reduced by; None of 8 bits.
        note: a remark for the user.
    """

    pixels: Pixels
    size: tuple[int, int]
    levels: Levels | None = None
    note: str | None = None


def decode(data: bytes, header: Header | None = None, *, long_side: int | None = None, levels: Levels | None = None) -> Pixels:
    """Decode an image to upright RGB.

    Args:
        data: the file's content.
        header: of the same bytes, if it has been read already.
        long_side: the longer side that will be needed; a JPEG is then decoded at 1/2, 1/4 or 1/8 as long as it stays at least that long.
        levels: the range of 16-bit values that becomes 0 to 255; the picture's own when left out.

    Returns:
        (H, W, 3) uint8, contiguous; at full size, or reduced by the decoder (never below `long_side`).

    Raises:
        Unusable: truncated, damaged, or of a depth that is not supported.
    """
    return raster(data, header or read_header(data), long_side, levels)[0]


def working_bytes(header: Header, long_side: int | None = None) -> int:
    """Memory that decoding an image takes at its peak, roughly, in bytes; the file's own content not counted.

    Args:
        header: of the image.
        long_side: the longer side that is wanted, pixels; None for the full size.

    Returns:
        Bytes.
    """
    pixels = header.width * header.height
    turned = 3 if header.orientation > 1 else 0
    if header.format == "JPEG" and header.mode in ("L", "RGB"):
        scale = reduction(header, long_side)
        whole = pixels * 6 if header.progressive else 0  # all coefficients, 16 bits each, at whatever scale
        return whole + pixels // scale**2 * (6 + turned)
    if header.bits > 8:
        return pixels * 24
    if header.format == "PNG" and header.mode in ("L", "RGB"):
        return pixels * (6 + turned)
    blended = header.mode in ("RGBA", "LA", "PA")
    return pixels * (WORK.get(header.format, BLENDED if blended else PLAIN) + turned)


@contextmanager
def decoded(
    path: str | os.PathLike[str],
    *,
    max_pixels: int = MAX_PIXELS,
    long_side: int | None = None,
    levels: Levels | None = None,
    memory: budget.Budget | None = None,
) -> Iterator[Decoded]:
    """Read and decode one file; its part of the memory for decoding is held as long as the block runs.

    A block must not decode another image: it could wait for itself.

    Args:
        path: the file.
        max_pixels: images with more are refused.
        long_side, levels: as in `decode`.
        memory: what is shared; `budget.shared()` when left out.

    Yields:
        The image.

    Raises:
        Unusable: with the reason.
    """
    memory = memory or budget.shared()
    with ExitStack() as held:
        with opened(os.fspath(path), most_bytes(max_pixels)) as (file, size):
            head = file.read(HEAD)
            file.seek(0)
            _refuse_foreign(head, os.fspath(path))
            data = file.read(size) if size <= _at_once(head) else None
            header = read_header(file if data is None else data, max_pixels)
            held.enter_context(memory.hold(size + working_bytes(header, long_side)))
            if data is None:
                file.seek(0)
                data = file.read(size)
                header = read_header(data, max_pixels)  # of the very bytes that are decoded
        yield _decoded(data, header, long_side, levels)


@contextmanager
def decoded_bytes(
    data: bytes, name: str, *, max_pixels: int = MAX_PIXELS, long_side: int | None = None, memory: budget.Budget | None = None
) -> Iterator[Decoded]:
    """As `decoded`, of a file's content that somebody else has read: from an object store, or from a table.

    Args:
        data: the content.
        name: of the file, whose extension can tell formats apart that begin alike.
        max_pixels: images with more are refused.
        long_side: as in `decode`.
        memory: what is shared; `budget.shared()` when left out.

    Yields:
        The image.

    Raises:
        Unusable: with the reason.
    """
    if not data:
        raise Unusable("empty")
    if len(data) > (most := most_bytes(max_pixels)):
        raise Unusable(f"too large: {len(data):,} bytes, at most {most:,}")
    _refuse_foreign(data[:HEAD], name)
    header = read_header(data, max_pixels)
    with (memory or budget.shared()).hold(len(data) + working_bytes(header, long_side)):
        yield _decoded(data, header, long_side, None)


def _refuse_foreign(head: bytes, name: str) -> None:
    """A raw photo would be read as the thumbnail that it begins with.

    Raises:
        Unusable: the file is of a format that cannot be decoded.
    """
    other = foreign(head, name) if has_foreign_extension(name) else None
    if other is not None and not other.decodable:
        raise Unusable(other.reason)


def _decoded(data: bytes, header: Header, long_side: int | None, levels: Levels | None) -> Decoded:
    pixels, used = raster(data, header, long_side, levels)
    reduced = pixels.shape[1] < header.width and header.format == "JPEG"
    whole = (header.width, header.height) if reduced else (pixels.shape[1], pixels.shape[0])
    stretched = (
        None if used is None or used.full or levels is not None else f"16 bits: {used.low} to {used.high} used, stretched"
    )
    return Decoded(pixels, whole, used, "; ".join(filter(None, [header.note, stretched])) or None)


def _at_once(head: bytes) -> int:
    return IN_ONE if head[4:8] in (b"ftyp", b"JXL ") or head.startswith(b"\xff\n") else AT_ONCE


def load(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS, levels: Levels | None = None) -> Pixels:
    """Read and decode one file at full size: (H, W, 3) uint8, upright RGB.

    Args:
        path: the file.
        max_pixels: images with more are refused.
        levels: the range of 16-bit values that becomes 0 to 255; the picture's own when left out.

    Returns:
        (H, W, 3) uint8 RGB, upright.

    Raises:
        Unusable: with the reason.
    """
    with decoded(path, max_pixels=max_pixels, levels=levels) as image:
        return image.pixels


def common_levels(paths: Sequence[str], *, max_pixels: int = MAX_PIXELS) -> Levels | None:
    """One range of 16-bit values for all frames of a folder, from a few of them; None where the first has 8 bits.

    Frames that cannot be decoded are left out: whoever reads them says so.

    Args:
        paths: of the frames.
        max_pixels: frames with more are not looked at.

    Returns:
        The range, or None.
    """
    found = []
    for path in paths[:: max(1, len(paths) // PROBED)]:
        with suppress(Unusable), decoded(path, max_pixels=max_pixels) as image:
            if image.levels is None:
                return None
            found.append(image.levels)
    return common(found)
