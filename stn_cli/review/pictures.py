"""ReviewPictures for the page: thumbnails, decoded no larger than they are shown, and whole images, upright as the boxes are."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

import cv2

from stn_cli.media.decode import Pixels, Unusable, decoded, opened, read_header

THUMBNAIL = 320
"""Longer side, pixels: twice that of a cell of the page, for screens with two pixels in one."""
LARGEST = 4096
"""Longer side of a whole image, pixels; larger ones are reduced, and their boxes still told in pixels of the file."""
KEPT_BYTES = 128 << 20
"""Of thumbnails in memory: about 10,000."""
PLAIN = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
"""What every browser shows as it is."""


class ReviewPictures:
    """Thumbnails and images of a set.

    Args:
        paths: of the images by their names.
        sizes: (width, height) of the upright images by their names, as the boxes have it; 0 is not known.
    """

    def __init__(self, paths: dict[str, Path], sizes: dict[str, tuple[int, int]]) -> None:
        self._paths, self._sizes = paths, sizes
        self._kept: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def thumbnail(self, name: str) -> bytes:
        """A small JPEG of an image, upright.

        Args:
            name: of the image.

        Returns:
            Its bytes.

        Raises:
            Unusable: the image has gone or cannot be decoded.
        """
        path = self._path(name)
        try:
            found = path.stat()
        except OSError:
            raise Unusable("vanished") from None
        key = (name, found.st_mtime_ns, found.st_size)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        with decoded(path, long_side=THUMBNAIL) as image:
            made = _jpeg(_at_most(image.pixels, THUMBNAIL), 80)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._bytes += len(made)
            while self._bytes > KEPT_BYTES:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return made

    def whole(self, name: str) -> tuple[bytes, str]:
        """An image as a browser shows it upright: the file itself where that is so, else a JPEG of it.

        Args:
            name: of the image.

        Returns:
            Bytes, and their media type.

        Raises:
            Unusable: the image has gone, cannot be decoded, or is not of the size that its boxes are for.
        """
        path = self._path(name)
        with opened(str(path)) as (file, size):
            header = read_header(file)
            self._check_size(name, (header.width, header.height))
            plain = header.format in PLAIN and header.mode in ("L", "RGB") and header.bits == 8
            if plain and header.orientation == 1 and max(header.width, header.height) <= LARGEST:
                file.seek(0)
                return file.read(size), PLAIN[header.format]
        with decoded(path, long_side=LARGEST) as image:
            return _jpeg(_at_most(image.pixels, LARGEST), 92), "image/jpeg"

    def _path(self, name: str) -> Path:
        if name not in self._paths:
            raise Unusable("vanished")
        return self._paths[name]

    def _check_size(self, name: str, size: tuple[int, int]) -> None:
        told = self._sizes[name]
        if size == told:
            return
        turned = size == told[::-1]
        why = "they were told before the picture was turned upright (EXIF)" if turned else "it was changed since"
        raise Unusable(f"the file has {size[0]} x {size[1]} pixels, its boxes are for {told[0]} x {told[1]}: {why}")


def upright_size(path: Path) -> tuple[int, int]:
    """(width, height) of an image file, upright, pixels; (0, 0) where it cannot be read.

    Args:
        path: of the file.

    Returns:
        The size.
    """
    try:
        with opened(str(path)) as (file, _):
            header = read_header(file)
            return header.width, header.height
    except Unusable:
        return 0, 0


def _at_most(pixels: Pixels, side: int) -> Pixels:
    h, w = pixels.shape[:2]
    if max(h, w) <= side:
        return pixels
    scale = side / max(h, w)
    return cv2.resize(pixels, (max(1, round(w * scale)), max(1, round(h * scale))), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _jpeg(pixels: Pixels, quality: int) -> bytes:
    done, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise Unusable("cannot be shown")
    return data.tobytes()
