"""Facts in the plain bytes of an image file that Pillow gives only by decoding, or not at all.

All functions seek over pixel data and bound what they read: the files may be large, and made by somebody who means harm.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL import Image

MOST_CHUNKS = 200_000
"""Pieces of a file that are walked over, so that a made one ends."""
MOST_EXIF = 1 << 20
"""Bytes of EXIF or XMP that are read."""
MOST_PAGES = 10_000
"""Pages of a TIFF that are counted."""
THUMBNAIL = 1
"""Bit of a TIFF page's kind that says it is a smaller copy of another."""
RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


@dataclass(frozen=True, slots=True)
class Sniffed:
    """Format, stored size (width, height), EXIF orientation and number of frames."""

    format: str
    size: tuple[int, int]
    orientation: int = 1
    frames: int = 1


def exif_orientation(info: dict[str, Any]) -> int:
    """Orientation 1..8 from an image's `exif` and `xmp`, read as Pillow does.

    Args:
        info: `Image.info` of Pillow.

    Returns:
        1 where it says nothing.
    """
    image = Image.new("1", (1, 1))
    image.info.update(info)
    try:
        value = image.getexif().get(274, 1)
        return value if isinstance(value, int) and 1 <= value <= 8 else 1
    except Exception:
        return 1


# ---- WebP: Pillow's opening makes room for two frames


def webp(file: BinaryIO) -> Sniffed | None:
    """A WebP's facts; None where its header is damaged, or of something else in RIFF.

    Args:
        file: open; it is read from its start.

    Returns:
        What its header says.
    """
    file.seek(0)
    if file.read(12)[8:] != b"WEBP":
        return None
    size: tuple[int, int] | None = None
    info: dict[str, Any] = {}
    frames = 0
    for kind, length in _chunks(file, "<4sI", even=True):
        if kind in (b"VP8X", b"VP8L", b"VP8 ") and size is None:
            size = _webp_size(kind, file.read(10))
        elif kind in (b"EXIF", b"XMP ") and length <= MOST_EXIF:
            info["exif" if kind == b"EXIF" else "xmp"] = file.read(length)
        frames += kind == b"ANMF"
    file.seek(0)
    return None if size is None else Sniffed("WEBP", size, exif_orientation(info), max(1, frames))


def _webp_size(kind: bytes, data: bytes) -> tuple[int, int] | None:
    if len(data) < 10:
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[4:7], "little"), 1 + int.from_bytes(data[7:10], "little")
    if kind == b"VP8L" and data[0] == 0x2F:
        bits = int.from_bytes(data[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and data[3:6] == b"\x9d\x01\x2a":
        return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
    return None


def _chunks(file: BinaryIO, form: str, even: bool = False, behind: int = 0) -> Iterator[tuple[bytes, int]]:
    """(kind, length) of chunk after chunk, the file standing at its data; `behind` bytes follow the data of each."""
    at = file.tell()
    for _ in range(MOST_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        first, second = struct.unpack(form, head)
        kind, length = (first, second) if isinstance(first, bytes) else (second, first)
        yield kind, length
        at += 8 + length + behind + (length & 1 if even else 0)


# ---- PNG: Pillow decodes it all to find what may stand behind the pixels


def deep_png(head: bytes) -> bool:
    """Whether these first bytes are a PNG's of 16 bits.

    Args:
        head: the file's first bytes.

    Returns:
        True where they are.
    """
    return head[:8] == b"\x89PNG\r\n\x1a\n" and head[24:25] == b"\x10"


def late_png(file: BinaryIO) -> dict[str, Any]:
    """What Pillow calls `exif` and `xmp` of a PNG, from chunks that stand behind its pixels.

    Args:
        file: open; it is read from its start.

    Returns:
        `exif` and `xmp`, where there are any.
    """
    info: dict[str, Any] = {}
    file.seek(8)
    pixels = False
    for kind, length in _chunks(file, ">I4s", behind=4):
        pixels |= kind == b"IDAT"
        if not pixels or length > MOST_EXIF:
            continue
        if kind == b"eXIf":
            info["exif"] = b"Exif\0\0" + file.read(length)
        elif kind == b"iTXt":
            text = file.read(length)
            if text.startswith(b"XML:com.adobe.xmp\0\0\0\0\0"):
                info["xmp"] = text[22:]
        elif kind == b"IEND":
            break
    file.seek(0)
    return info


# ---- TIFF


def tiff_pages(file: BinaryIO) -> int:
    """How many pages a TIFF has, smaller copies not counted; at most `MOST_PAGES`.

    Args:
        file: open; it is read from its start.

    Returns:
        At least 1.
    """
    seen: set[int] = set()
    pages = 0
    try:
        order, at, wide = _tiff_start(file)
        entry, count_form, offset_form = (20, "Q", "Q") if wide else (12, "H", "I")
        while at and at not in seen and len(seen) < MOST_PAGES:
            seen.add(at)
            file.seek(at)
            (count,) = struct.unpack(order + count_form, file.read(struct.calcsize(count_form)))
            table = file.read(min(count, 4096) * entry)
            pages += not _tiff_tag(table, order, entry, 254) & THUMBNAIL
            file.seek(at + struct.calcsize(count_form) + count * entry)
            (at,) = struct.unpack(order + offset_form, file.read(struct.calcsize(offset_form)))
    except (struct.error, OverflowError, ValueError, OSError):
        pass  # the chain ends at something broken: what came before counts
    file.seek(0)
    return max(1, pages)


def _tiff_start(file: BinaryIO) -> tuple[str, int, bool]:
    """Byte order, offset of the first page, whether it is a BigTIFF."""
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    wide = b"+" in head[2:4]
    (at,) = struct.unpack(order + "Q", head[8:16]) if wide else struct.unpack(order + "I", head[4:8])
    return order, at, wide


def _tiff_tag(table: bytes, order: str, entry: int, wanted: int) -> int:
    """A tag's value where it is one number and stands in the table; 0 of others."""
    value = 12 if entry == 20 else 8
    for at in range(0, len(table) - entry + 1, entry):
        tag, kind = struct.unpack_from(order + "HH", table, at)
        if tag == wanted:
            return int(struct.unpack_from(order + ("H" if kind == 3 else "I"), table, at + value)[0])
    return 0


def tiff_depth(file: BinaryIO) -> str:
    """Bits and kind of a TIFF's channels, in words: `3 x 32 bits, float`.

    Args:
        file: open; it is read from its start.

    Returns:
        Words for a message.
    """
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    try:
        _, _, wide = _tiff_start(file)
        file.seek(0)
        tags = ImageFileDirectory_v2(file.read(16 if wide else 8))
        file.seek(tags.next)
        tags.load(file)
        bits = tags.get(258, (1,))
        kind = {1: "", 2: ", signed", 3: ", float"}.get(tags.get(339, (1,))[0], ", of an unknown kind")
        count = tags.get(277, len(bits))
    except Exception:
        return "of an unknown kind"
    return f"{count} x {bits[0]} bits{kind}"


# ---- JPEG XL: its package decodes an image when it is opened


def jxl(file: BinaryIO) -> Sniffed | None:
    """A JPEG XL's stored size, from its codestream; None where that is damaged. Its decoder turns the pixels.

    Args:
        file: open; it is read from its start.

    Returns:
        What its header says.
    """
    file.seek(0)
    start = file.read(12)
    if not start.startswith(b"\xff\n"):
        found = next((kind for kind, _ in _boxes(file) if kind in (b"jxlc", b"jxlp")), None)
        if found == b"jxlp":
            file.read(4)  # the part's number
        start = file.read(12) if found else b""
    file.seek(0)
    return Sniffed("JXL", _jxl_size(int.from_bytes(start[2:], "little"))) if start.startswith(b"\xff\n") else None


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    at = 0
    for _ in range(MOST_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        if length == 1:
            length = int.from_bytes(file.read(8), "big")
        yield kind, length
        if length < 8:
            return
        at += length


def _jxl_size(bits: int) -> tuple[int, int]:
    """The size that a codestream begins with (ISO/IEC 18181-1, SizeHeader), from its bits."""
    at = 0

    def take(count: int) -> int:
        nonlocal at
        value = bits >> at & (1 << count) - 1
        at += count
        return value

    def side(small: int) -> int:
        return (take(5) + 1) * 8 if small else take((9, 13, 18, 30)[take(2)]) + 1

    small = take(1)
    height = side(small)
    ratio = take(3)
    if not ratio:
        return side(small), height
    over, under = RATIOS[ratio]
    return height * over // under, height
