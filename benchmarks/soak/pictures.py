"""A small picture in every format that is read, in the variants that take other ways through the decoders."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageCms

from benchmarks.soak.inputs import picture

SIZE = (64, 90)


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def _exif(orientation: int, width: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274], exif[256], exif[305] = orientation, width, "soak"
    exif.get_ifd(0x8769)[37500] = b"note" * 20
    return exif


def _jpegs(image: Image.Image) -> Iterator[tuple[str, bytes]]:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    yield "baseline.jpg", _saved(image, "JPEG", quality=90)
    yield "progressive.jpg", _saved(image, "JPEG", progressive=True)
    yield "restart.jpg", _saved(image, "JPEG", restart_marker_rows=1)
    yield "grey.jpg", _saved(image.convert("L"), "JPEG")
    yield "cmyk.jpg", _saved(image.convert("CMYK"), "JPEG")
    yield "exif.jpg", _saved(image, "JPEG", exif=_exif(6, SIZE[1]))
    yield "profile.jpg", _saved(image, "JPEG", icc_profile=profile)
    yield "mpo.jpg", _saved(image, "MPO", save_all=True, append_images=[image.rotate(3)])
    yield "large.jpg", _saved(image.resize((1200, 900)), "JPEG", quality=50)


def _pngs(image: Image.Image, deep: np.ndarray[Any, Any]) -> Iterator[tuple[str, bytes]]:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    yield "rgb.png", _saved(image, "PNG")
    yield "grey.png", _saved(image.convert("L"), "PNG")
    yield "alpha.png", _saved(image.convert("RGBA"), "PNG")
    yield "palette.png", _saved(image.quantize(30), "PNG")
    yield "transparent.png", _saved(image.quantize(30), "PNG", transparency=3)
    yield "bilevel.png", _saved(image.convert("1"), "PNG")
    yield "deep.png", _saved(Image.fromarray(deep), "PNG")
    yield "deep-rgb.png", cv2.imencode(".png", deep[..., None].repeat(3, 2))[1].tobytes()
    yield "exif.png", _saved(image, "PNG", exif=_exif(5, SIZE[1]), icc_profile=profile)
    yield "animated.png", _saved(image, "PNG", save_all=True, append_images=[image.rotate(9)])


def _tiffs(image: Image.Image, deep: np.ndarray[Any, Any]) -> Iterator[tuple[str, bytes]]:
    yield "raw.tif", _saved(image, "TIFF")
    yield "lzw.tif", _saved(image, "TIFF", compression="tiff_lzw")
    yield "deflate.tif", _saved(image, "TIFF", compression="tiff_adobe_deflate")
    yield "jpeg.tif", _saved(image, "TIFF", compression="jpeg")
    yield "packbits.tif", _saved(image.convert("L"), "TIFF", compression="packbits")
    yield "fax.tif", _saved(image.convert("1"), "TIFF", compression="group4")
    yield "deep.tif", _saved(Image.fromarray(deep), "TIFF")
    yield "deep-lzw.tif", _saved(Image.fromarray(deep), "TIFF", compression="tiff_lzw")
    yield "float.tif", _saved(Image.fromarray(deep.astype(np.float32)), "TIFF")
    yield "cmyk.tif", _saved(image.convert("CMYK"), "TIFF")
    yield "turned.tif", _saved(image, "TIFF", tiffinfo={274: 6})
    yield "pages.tif", _saved(image, "TIFF", save_all=True, append_images=[image.rotate(9)], compression="tiff_lzw")
    yield "big.tif", _saved(image, "TIFF", big_tiff=True)


def _others(image: Image.Image, deep: np.ndarray[Any, Any]) -> Iterator[tuple[str, bytes]]:
    more = [image.rotate(9), image.rotate(18)]
    yield "lossy.webp", _saved(image, "WEBP", quality=80)
    yield "lossless.webp", _saved(image.convert("RGBA"), "WEBP", lossless=True, exif=_exif(3, SIZE[1]))
    yield "animated.webp", _saved(image, "WEBP", save_all=True, append_images=more)
    yield "still.gif", _saved(image, "GIF")
    yield "animated.gif", _saved(image, "GIF", save_all=True, append_images=more, transparency=0)
    yield "rgb.bmp", _saved(image, "BMP")
    yield "alpha.bmp", _saved(image.convert("RGBA"), "BMP")
    yield "palette.bmp", _saved(image.quantize(30), "BMP")
    yield "bilevel.bmp", _saved(image.convert("1"), "BMP")
    yield "raw.ppm", _saved(image, "PPM")
    yield "raw.pgm", _saved(image.convert("L"), "PPM")
    yield "raw.pbm", _saved(image.convert("1"), "PPM")
    yield "deep.pgm", b"P5\n%d %d\n65535\n" % (SIZE[1], SIZE[0]) + deep.astype(">u2").tobytes()
    grey = np.asarray(image.convert("L"))
    yield "plain.pgm", b"P2\n# made\n%d %d\n255\n" % (SIZE[1], SIZE[0]) + " ".join(map(str, grey.ravel())).encode()
    yield "plain.pbm", b"P1\n%d %d\n" % (SIZE[1], SIZE[0]) + " ".join(map(str, (grey > 99).astype(int).ravel())).encode()
    yield "reversible.jp2", _saved(image, "JPEG2000", irreversible=False)
    yield "irreversible.jp2", _saved(image.convert("L"), "JPEG2000", irreversible=True)
    yield "lossy.avif", _saved(image, "AVIF", quality=60)
    yield "animated.avif", _saved(image, "AVIF", save_all=True, append_images=more)
    yield "alpha.avif", _saved(image.convert("RGBA"), "AVIF", exif=_exif(8, SIZE[1]))


def every_format() -> dict[str, bytes]:
    """File name -> bytes."""
    image = Image.fromarray(picture(0, SIZE))
    deep = np.asarray(image.convert("L")).astype(np.uint16) * 257
    found: dict[str, bytes] = {}
    for group in (_jpegs(image), _pngs(image, deep), _tiffs(image, deep), _others(image, deep)):
        found.update(group)
    return found


def resized_header(name: str, data: bytes, width: int, height: int) -> bytes:
    """A picture whose header claims another size; the same bytes for formats in which that is no fixed place."""
    if name.endswith(".png"):
        return data[:16] + struct.pack(">II", width, height) + data[24:]
    if name.endswith(".bmp"):
        return data[:18] + struct.pack("<ii", width, height) + data[26:]
    if name.endswith(".gif"):
        return data[:6] + struct.pack("<HH", width % 65536, height % 65536) + data[10:]
    if name.endswith((".ppm", ".pgm", ".pbm")):
        return data.replace(b"%d %d" % (SIZE[1], SIZE[0]), b"%d %d" % (width, height), 1)
    at = data.find(b"\xff\xc0")
    if name.endswith(".jpg") and at >= 0:
        return data[: at + 5] + struct.pack(">HH", height % 65536, width % 65536) + data[at + 9 :]
    return data
