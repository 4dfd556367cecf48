"""Pictures of a data set: the files as they are where every reader sees the same pixels in them, upright pixels where not."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from stn_cli.errors import OutputError
from stn_cli.files import write_bytes
from stn_cli.media.decode import Pixels, Unusable, decoded
from stn_cli.media.header import Header, most_bytes, read_bytes
from stn_cli.records import Localisation

WAYS = ("copy", "link", "none")
EXTENSIONS = {"JPEG": ".jpg", "PNG": ".png", "BMP": ".bmp", "WEBP": ".webp", "TIFF": ".tif"}
"""Of the formats that Pillow, OpenCV and the trainers on them read."""
LOSSLESS = frozenset(["PNG", "BMP", "TIFF", "GIF", "PPM"])
QUALITY = 95
"""Of a JPEG that takes the place of a file that is one of another kind, or turned; at full colour resolution."""


@dataclass(frozen=True, slots=True)
class PicturePlan:
    """What becomes of an image's file.

    Attributes:
        extension: of the picture in the data set.
        as_it_is: the file is taken as it is; else its upright pixels are written.
    """

    extension: str
    as_it_is: bool


def plan(header: Header, name: str, *, jpeg: bool = False) -> PicturePlan:
    """What must become of an image's file.

    A file whose pixels are turned by EXIF is not taken as it is, because some readers turn it and others do not; nor are animations, several
    pages, 16 bits, and formats that many readers lack.

    Args:
        header: of the file.
        name: of the file; its extension is kept where it is that of its format.
        jpeg: the data set takes nothing else.

    Returns:
        The plan.
    """
    own = os.path.splitext(name)[1]
    plain = header.orientation == 1 and header.bits == 8 and header.pages == 1 and not header.animated
    if plain and header.format in EXTENSIONS and (header.format == "JPEG" or not jpeg):
        usual = {"JPEG": (".jpg", ".jpeg"), "TIFF": (".tif", ".tiff")}.get(header.format, (EXTENSIONS[header.format],))
        return PicturePlan(own if own.lower() in usual and not jpeg else EXTENSIONS[header.format], True)
    return PicturePlan(".png" if header.format in LOSSLESS and not jpeg else ".jpg", False)


def put_picture(path: str, to: Path, plan: PicturePlan, way: str, max_pixels: int) -> None:
    """Copy or link an image's file, or write its upright pixels.

    Args:
        path: of the image.
        to: where it goes; its folder is made.
        plan: for the file.
        way: one of `WAYS`.
        max_pixels: that it may have.

    Raises:
        Unusable: it cannot be read any more.
        OutputError: it cannot be written.
    """
    if way == "none":
        return
    if not plan.as_it_is:
        with decoded(path, max_pixels=max_pixels) as image:
            write_file(to, encoded(image.pixels, plan.extension))
    elif way == "copy":
        write_file(to, read_bytes(path, most_bytes(max_pixels)))
    else:
        _write(to, lambda: os.symlink(os.path.abspath(path), to))


def encoded(pixels: Pixels, extension: str) -> bytes:
    """Pixels as a file's content.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        extension: `.png` or `.jpg`.

    Returns:
        Its bytes.

    Raises:
        Unusable: it has more pixels than a file of that kind can hold.
    """
    full = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, data = cv2.imencode(extension, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), full if extension == ".jpg" else [])
    if not done:
        raise Unusable("too large for a picture of a data set")
    return data.tobytes()


def crop(pixels: Pixels, found: Localisation, side: int) -> Pixels:
    """An object as a square picture: its quad turned upright, the shorter side widened to the longer one around its middle.

    Args:
        pixels: (H, W, 3) uint8, upright.
        found: the object; where its quad is no parallelogram, three of its corners count.
        side: of the result, pixels.

    Returns:
        (side, side, 3) uint8; what lies outside of the image goes on as its border.
    """
    quad = np.array(found.quad, np.float64)
    middle, right, down = quad.mean(0), quad[1] - quad[0], quad[3] - quad[0]
    lengths = float(np.linalg.norm(right)), float(np.linalg.norm(down))
    longest = max(*lengths, 1e-6)
    right, down = (axis * longest / max(length, 1e-6) for axis, length in zip((right, down), lengths, strict=True))
    corner = middle - right / 2 - down / 2
    large = max(side, round(longest)) if longest > 2 * side else side  # then averaged: single pixels would be picked
    # a pixel's centre is at +0.5 in records, and at +0 in OpenCV
    to_image = np.column_stack([right / large, down / large, corner + (right + down) / 2 / large - 0.5])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    picture = cv2.warpAffine(pixels, to_image, (large, large), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8)


def write_file(path: Path, data: bytes) -> None:
    """Write one of many files, folders included; the disk is not waited for (see `stn_cli.outputs.results`).

    Args:
        path: the file.
        data: its whole content.

    Raises:
        OutputError: it cannot be written.
    """
    _write(path, lambda: write_bytes(path, data, sync=False))


def _write(path: Path, write: Callable[[], None]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write()
    except OSError as error:
        raise OutputError("cannot write", path, error.strerror, "Free some space or choose another --out") from error
