"""Bytes to pixels: upright by EXIF, RGB, uint8, with a reason for every file that cannot be used.

Headers are read by Pillow without decoding, plain JPEG and PNG pixels by OpenCV (at reduced scale where the target is
small), everything unusual by Pillow. Decoders get bytes, never paths.
"""

from __future__ import annotations

import io
import os
import warnings
import zlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

Pixels = npt.NDArray[np.uint8]

MAX_PIXELS = 250_000_000
LEAST_SIDE = 10
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}


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
    """

    format: str
    mode: str
    width: int
    height: int
    orientation: int
    animated: bool


def read_bytes(path: str) -> bytes:
    """The file's content.

    Raises:
        Unusable: it vanished, is empty or cannot be read.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise Unusable("vanished") from None
    except OSError as error:
        raise Unusable(f"unreadable: {error.strerror}") from None
    if not data:
        raise Unusable("empty")
    return data


def read_header(data: bytes, max_pixels: int = MAX_PIXELS) -> Header:
    """Format, upright size and orientation, without decoding a pixel.

    Raises:
        Unusable: not an image, a side under 10 pixels, or more than `max_pixels`.
    """
    image = _open(data)
    width, height = image.size
    orientation = _orientation(image)
    if orientation >= 5:
        width, height = height, width
    if min(width, height) < LEAST_SIDE:
        raise Unusable(f"too small: {width} x {height}")
    if width * height > max_pixels:
        raise Unusable(f"too large: {width} x {height}")
    animated = bool(getattr(image, "is_animated", False)) and image.format != "TIFF"
    return Header(str(image.format), image.mode, width, height, orientation, animated)


def _open(data: bytes) -> ImageFile.ImageFile:
    """Pillow's lazy opening by the formats wanted here only; size limits are this module's own."""
    Image.init()
    head = data[:16]
    for name in FORMATS:
        if name not in Image.OPEN:
            continue
        factory, accept = Image.OPEN[name]
        if accept is not None and not accept(head):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image: ImageFile.ImageFile = factory(io.BytesIO(data), "")
                return image
        except Exception as error:
            raise Unusable("truncated" if "runcat" in str(error) else "damaged header") from None
    raise Unusable("not an image")


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(274, 1)
        return value if isinstance(value, int) and 1 <= value <= 8 else 1
    except Exception:
        return 1


def decode(data: bytes, header: Header | None = None, *, long_side: int | None = None) -> Pixels:
    """Decode an image to upright RGB.

    Args:
        data: the file's content.
        header: of the same bytes, if it has been read already.
        long_side: the longer side that will be needed; a JPEG is then decoded at 1/2, 1/4 or 1/8 as long as it stays at least that long.

    Returns:
        (H, W, 3) uint8, contiguous; at full size, or reduced by the decoder (never below `long_side`).

    Raises:
        Unusable: truncated, damaged, or of a depth that is not supported.
    """
    header = header or read_header(data)
    pixels: Pixels | None
    if header.format == "JPEG" and header.mode in ("L", "RGB"):
        pixels = _decode_jpeg(data, header, long_side)
    elif header.format == "PNG":
        _check_png(data)
        plain = header.mode in ("L", "RGB", "I;16") and b"tRNS" not in data[:4096]
        pixels = _decode_cv2(data, cv2.IMREAD_COLOR) if plain else None
        if pixels is None:
            pixels = _decode_pillow(data)
    else:
        pixels = _decode_pillow(data)
    return np.ascontiguousarray(_upright(pixels, header.orientation))


def _decode_jpeg(data: bytes, header: Header, long_side: int | None) -> Pixels:
    flag = cv2.IMREAD_COLOR
    if long_side is not None:
        longest = max(header.width, header.height)
        flag = next((f for r, f in REDUCED.items() if longest >= r * long_side), flag)
    complete = _jpeg_is_complete(data)
    pixels = _decode_cv2(data, flag) if complete else None
    return _decode_pillow(data) if pixels is None else pixels


def _decode_cv2(data: bytes, flag: int) -> Pixels | None:
    try:
        pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return None if pixels is None else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _jpeg_is_complete(data: bytes) -> bool:
    """Whether an end-of-image marker follows the first scan. An EXIF thumbnail's own marker comes before it."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xDA:
            return data.rfind(b"\xff\xd9", at) >= 0
        at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def _check_png(data: bytes) -> None:
    """Walk the chunks: every CRC right, IEND there. Decoders accept a PNG whose last rows are missing."""
    at = 8
    view = memoryview(data)
    while at + 12 <= len(data):
        length = int.from_bytes(view[at : at + 4], "big")
        kind = bytes(view[at + 4 : at + 8])
        end = at + 8 + length
        if end + 4 > len(data):
            break
        critical = kind[:1].isupper()
        if critical and zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise Unusable("damaged: bad CRC")
        if kind == b"IEND":
            return
        at = end + 4
    raise Unusable("truncated")


def _decode_pillow(data: bytes) -> Pixels:
    image: Image.Image = _open(data)
    try:
        image.load()
    except Exception as error:
        truncated = any(word in str(error).lower() for word in ("truncated", "not enough", "eof", "unrecognized data"))
        raise Unusable("truncated" if truncated else "damaged") from None
    if image.mode in ("F", "I", "I;16S", "I;32") or (image.mode == "I;16" and image.format == "TIFF" and _is_signed(image)):
        raise Unusable(f"depth: {image.mode}")
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image, np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, 2)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def _is_signed(image: Image.Image) -> bool:
    return bool(getattr(image, "tag_v2", {}).get(339, (1,))[0] != 1)


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply EXIF orientation 1..8: mirror, then turn."""
    if orientation in (2, 4, 5, 7):
        pixels = pixels[:, ::-1]
    turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.rot90(pixels, turns)


def load(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Read and decode one file at full size: (H, W, 3) uint8, upright RGB.

    Raises:
        Unusable: with the reason.
    """
    data = read_bytes(os.fspath(path))
    return decode(data, read_header(data, max_pixels))
