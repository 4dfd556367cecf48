"""What is known of an image before a pixel of it is decoded."""

from __future__ import annotations

import errno
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, BinaryIO

from PIL import Image, ImageFile

from stn_cli.media import sniff
from stn_cli.media.signatures import HEAD, HEIC, JXL, JXL_CONTAINER, foreign_by_content, pointer
from stn_cli.reading import open_plain

LONGEST_JPEG = 65_500
"""Pixels that a JPEG's side may have."""
MAX_PIXELS = 250_000_000
"""Images with more are skipped unless `--max-pixels` says otherwise."""
LEAST_SIDE = 10
"""Pixels; smaller pictures show nothing that could be found."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
LEAST_BOUND = 256 << 20
"""Files up to this size are read, however few pixels are allowed."""
BYTES_PER_PIXEL = 8
"""What a file may take for each pixel that is allowed: 16 bits of four channels."""
BUFFER = 512
"""Bytes that are read at once: a header's few hundred, not the pixels behind it."""


class Unusable(Exception):
    """A file that is skipped; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of an image before it is decoded.

    Attributes:
        format: Pillow's name of the format.
        mode: Pillow's pixel mode.
        width, height: of the upright image (EXIF applied), pixels.
        orientation: EXIF orientation, 1..8.
        animated: it has more frames than the first.
        pages: of a TIFF, or pictures of an MPO; 1 of everything else.
        bits: of a channel, where that is more than 8 and is decoded to all of them.
        progressive: a JPEG that is decoded as a whole, whatever scale is wanted.
    """

    format: str
    mode: str
    width: int
    height: int
    orientation: int
    animated: bool
    pages: int = 1
    bits: int = 8
    progressive: bool = False

    @property
    def note(self) -> str | None:
        """What the user should hear of an image that holds more than is taken of it."""
        if self.animated:
            return "animated: first frame only"
        if self.format == "MPO" and self.pages > 1:
            return "not animated, a stereo photo or one with a second picture: the first is taken"
        if self.format == "HEIF" and self.pages > 1:
            return f"several pictures: the main one of {self.pages}"
        if self.pages > 1:
            return f"several pages: first of {self.pages} pages"
        return None


def most_bytes(max_pixels: int = MAX_PIXELS) -> int:
    """The largest file that is read, in bytes.

    Args:
        max_pixels: that an image may have.

    Returns:
        Bytes.
    """
    return max(LEAST_BOUND, BYTES_PER_PIXEL * max_pixels)


@contextmanager
def opened(path: str, most: int | None = None) -> Iterator[tuple[BinaryIO, int]]:
    """Open a plain file, never waiting: it may have become a pipe since it was listed.

    Args:
        path: the file.
        most: the largest size, in bytes; `most_bytes()` when left out.

    Yields:
        The open file and its size in bytes.

    Raises:
        Unusable: it vanished, is no plain file, is empty, is too large or cannot be read.
    """
    try:
        with open_plain(path, most_bytes() if most is None else most, BUFFER) as (file, size):
            if not size:
                raise Unusable("empty")
            yield file, size
    except FileNotFoundError:
        raise Unusable("link to nowhere" if os.path.islink(path) else "vanished") from None
    except OSError as error:
        own = error.errno in (errno.EINVAL, errno.EFBIG) and error.strerror
        raise Unusable(own or f"unreadable: {error.strerror or error}") from None


def read_bytes(path: str, most: int | None = None) -> bytes:
    """The file's content.

    Args:
        path: of the file.
        most: bytes that it may have; those of `most_bytes` when left out.

    Returns:
        Its bytes.

    Raises:
        Unusable: as `opened`.
    """
    with opened(path, most) as (file, size):
        return file.read(size)


def read_header(data: bytes | BinaryIO, max_pixels: int = MAX_PIXELS) -> Header:
    """Format, upright size and orientation, without decoding a pixel.

    Args:
        data: the file's content, or the open file at its start: then little more than its header is read.
        max_pixels: images with more are refused.

    Returns:
        The header.

    Raises:
        Unusable: not an image, of a format that is not decoded here, a side under 10 pixels, or more than `max_pixels`.
    """
    header = _header(io.BytesIO(data) if isinstance(data, bytes) else data)
    if min(header.width, header.height) < LEAST_SIDE:
        raise Unusable(f"too small: {header.width} x {header.height}")
    if header.width * header.height > max_pixels:
        raise Unusable(f"too large: {header.width} x {header.height}")
    return header


def _header(file: BinaryIO) -> Header:
    head = file.read(HEAD)
    file.seek(0)
    if (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or is_jxl(head):
        found = sniff.jxl(file) if is_jxl(head) else sniff.webp(file)
        if found is None:
            raise Unusable("damaged header")
        return Header(found.format, "RGBA", *_turned(found.size, found.orientation), found.orientation, found.frames > 1)
    image = open_image(file)
    tags: Any = getattr(image, "tag_v2", {})
    size = image.size
    if image.format == "TIFF":
        size = tags[256], tags[257]  # newer Pillows give the upright size, older ones the stored one
    if image.format == "PNG":
        image.info.update(sniff.late_png(file))
    turn = orientation(image)
    bits = 16 if image.mode.startswith("I;16") or sniff.deep_png(head) or max(tags.get(258, (8,))) == 16 else 8
    pages = sniff.tiff_pages(file) if image.format == "TIFF" else _pictures(image)
    animated = image.format in ("GIF", "PNG", "AVIF") and bool(getattr(image, "is_animated", False))
    progressive = bool(image.info.get("progressive"))
    return Header(str(image.format), image.mode, *_turned(size, turn), turn, animated, pages, bits, progressive)


def _turned(size: tuple[int, int], turn: int) -> tuple[int, int]:
    return (size[1], size[0]) if turn >= 5 else (size[0], size[1])


def _pictures(image: Image.Image) -> int:
    return int(getattr(image, "n_frames", 1)) if image.format in ("MPO", "HEIF") else 1


def is_jxl(head: bytes) -> bool:
    """Whether these first bytes are a JPEG XL's and it can be decoded.

    Args:
        head: the file's first bytes.

    Returns:
        False where Pillow has no decoder for it.
    """
    return head.startswith((b"\xff\n", JXL_CONTAINER)) and JXL.decodable


def open_image(file: BinaryIO) -> ImageFile.ImageFile:
    """Pillow's lazy opening by the formats wanted here only; size limits are this module's own.

    Args:
        file: open, at its start.

    Returns:
        The image, not decoded.

    Raises:
        Unusable: not an image, or its header is damaged.
    """
    head = file.read(HEAD)
    file.seek(0)
    for name in _formats(head):
        factory, accept = Image.OPEN[name]
        if accept is not None and not accept(head[:16]):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image: ImageFile.ImageFile = factory(file, "")
                return image
        except Exception as error:
            raise Unusable(_what_is_wrong(str(error), file)) from None
    other = foreign_by_content(head)
    raise Unusable(other.reason if other is not None else pointer(head) or "not an image")


def _formats(head: bytes) -> Iterator[str]:
    """Pillow's names of the formats that may be tried; packages that decode more are loaded when one of their files comes."""
    Image.init()
    yield from (name for name in FORMATS if name in Image.OPEN)
    if is_jxl(head):
        import_module("pillow_jxl")
        yield "JXL"
    elif foreign_by_content(head) is HEIC and HEIC.decodable:
        import_module("pillow_heif").register_heif_opener()
        yield "HEIF"


def _what_is_wrong(message: str, file: BinaryIO) -> str:
    if "unknown pixel mode" in message:
        return f"depth: {sniff.tiff_depth(file)}"
    return "truncated" if "runcat" in message else "damaged header"


def orientation(image: Image.Image) -> int:
    """EXIF orientation, 1..8, of an open image; 1 where there is none or a broken one. No pixel is decoded for it.

    Args:
        image: open, not decoded.

    Returns:
        1 to 8.
    """
    try:
        # a PNG's own method would decode it all, to find what may stand behind the pixels
        value = Image.Image.getexif(image).get(274, 1)
        return value if isinstance(value, int) and 1 <= value <= 8 else 1
    except Exception:
        return 1
