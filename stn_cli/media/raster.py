"""From an image's bytes to upright RGB pixels: by OpenCV where it is plain, by Pillow elsewhere."""

from __future__ import annotations

import io
import os
import warnings
import zlib
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from stn_cli.media.depth import Deep, Levels, levels_of
from stn_cli.media.header import Header, Unusable, open_image, orientation

Pixels = npt.NDArray[np.uint8]

REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}

if "OPENCV_LOG_LEVEL" not in os.environ:
    cv2.utils.logging.setLogLevel(
        cv2.utils.logging.LOG_LEVEL_SILENT
    )  # what is wrong with a file is said in one line, by whoever skips it


def raster(data: bytes, header: Header, long_side: int | None, levels: Levels | None) -> tuple[Pixels, Levels | None]:
    """Upright RGB pixels of an image file's content.

    Args:
        data: the file's content.
        header: of it.
        long_side: the longer side that is wanted, pixels; None for the full size.
        levels: range of 16-bit values; the picture's own when None.

    Returns:
        (H, W, 3) uint8 RGB, and the range that 16 bits were reduced by.

    Raises:
        Unusable: truncated, damaged, or of a depth that is not supported.
    """
    if header.format == "PNG":
        _check_png(data)
    deep = _decode_deep(data, header) if header.bits > 8 else None
    if deep is not None:
        levels = levels or levels_of(deep[..., :3])
        return np.ascontiguousarray(_flatten(deep, levels)), levels
    pixels: Pixels | None = None
    if header.format == "JPEG" and header.mode in ("L", "RGB"):
        pixels = _decode_jpeg(data, header, long_side)
    elif header.format == "PNG" and header.mode in ("L", "RGB") and b"tRNS" not in data[:4096]:
        pixels = _decode_cv2(data, cv2.IMREAD_COLOR)
    if pixels is not None:
        return np.ascontiguousarray(_upright(pixels, header.orientation)), None
    return _decode_pillow(data, levels)


def _decode_deep(data: bytes, header: Header) -> Deep | None:
    """The 16-bit pixels (H, W, C) of a PNG or TIFF: grey, RGB or RGBA, upright; None where OpenCV does not give them."""
    if header.format not in ("PNG", "TIFF") or header.mode not in ("LA", "RGB", "RGBA", "I;16") or b"tRNS" in data[:4096]:
        return None
    try:
        pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if pixels is None or pixels.dtype != np.uint16:
        return None
    if header.format == "PNG":
        pixels = _upright(pixels, header.orientation)  # of a TIFF OpenCV does it
    if pixels.shape[:2] != (header.height, header.width):
        return None
    return pixels[..., None] if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]


def _flatten(deep: Deep, levels: Levels) -> Pixels:
    """16-bit grey, RGB or RGBA as 8-bit RGB, over white."""
    pixels = levels.apply(deep[..., :3])
    if deep.shape[2] == 4:
        alpha = (deep[..., 3] >> 8).astype(np.uint8)
        return _over_white(Image.fromarray(np.dstack([pixels, alpha])))
    return np.ascontiguousarray(np.broadcast_to(pixels, (*deep.shape[:2], 3)))


def _decode_jpeg(data: bytes, header: Header, long_side: int | None) -> Pixels | None:
    flag = REDUCED.get(reduction(header, long_side), cv2.IMREAD_COLOR)
    complete = _jpeg_is_complete(data)
    return _decode_cv2(data, flag) if complete else None


def reduction(header: Header, long_side: int | None) -> int:
    """By what the decoder may divide a JPEG's sides.

    Args:
        header: of a JPEG.
        long_side: the longer side that is wanted, pixels; None for the full size.

    Returns:
        1, 2, 4 or 8.
    """
    longest = max(header.width, header.height)
    return 1 if long_side is None else next((r for r in REDUCED if longest >= r * long_side), 1)


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


def _decode_pillow(data: bytes, levels: Levels | None) -> tuple[Pixels, Levels | None]:
    image = open_image(io.BytesIO(data))
    _allow_size(image)
    signed = image.format == "TIFF" and _is_signed(image)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
    except Exception as error:
        truncated = any(word in str(error).lower() for word in ("truncated", "not enough", "eof", "unrecognized data"))
        raise Unusable("truncated" if truncated else "damaged") from None
    # some formats are turned while they are decoded, and then say so: what they still say is to be done
    turn = 1 if image.format == "JXL" and not getattr(image, "jpeg", None) else orientation(image)
    deep = _deep_of(image, signed)
    if deep is not None:
        levels = levels or levels_of(deep)
        return np.ascontiguousarray(_upright(_flatten(deep[..., None], levels), turn)), levels
    return np.ascontiguousarray(_upright(_rgb(image), turn)), None


def _deep_of(image: Image.Image, signed: bool) -> Deep | None:
    """The 16-bit values (H, W) of a grey image; None of one with 8 bits.

    Raises:
        Unusable: it has more than 16 bits, signed ones or fractions.
    """
    if image.mode == "I" and image.format == "PPM":
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("F", "I", "I;16S", "I;32") or (image.mode == "I;16" and signed):
        raise Unusable(f"depth: {image.mode}")
    return np.asarray(image).astype(np.uint16) if image.mode.startswith("I;16") else None


def _rgb(image: Image.Image) -> Pixels:
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return _over_white(image.convert("RGBA"))
    if image.mode in ("1", "L"):  # a third of the memory
        return cv2.cvtColor(np.asarray(image.convert("L")), cv2.COLOR_GRAY2RGB)  # type: ignore[return-value]
    return np.asarray(image.convert("RGB"))


def _over_white(image: Image.Image) -> Pixels:
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"))


def _allow_size(image: ImageFile.ImageFile) -> None:
    """Pillow's own limit would refuse a TIFF that is small enough for ours, unless the memory for it is there already."""
    if image.format == "TIFF" and image.width * image.height > (Image.MAX_IMAGE_PIXELS or 0):
        with suppress(AttributeError, TypeError):
            image.im = Image.core.new(image.mode, image._tile_size)  # type: ignore[attr-defined]


def _is_signed(image: Image.Image) -> bool:
    return bool(getattr(image, "tag_v2", {}).get(339, (1,))[0] != 1)


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply EXIF orientation 1..8: mirror, then turn."""
    if orientation in (2, 4, 5, 7):
        pixels = pixels[:, ::-1]
    turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.rot90(pixels, turns)
