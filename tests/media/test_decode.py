from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from stn_cli.media.decode import Unusable, decode, load, read_header
from tests.conftest import make_image


@pytest.fixture
def picture() -> np.ndarray:
    image, _ = make_image(1, size=(40, 64))
    image[:8, :8] = (250, 10, 10)  # red upper left: shows every turn
    return image


def encoded(image: np.ndarray | Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(out, form, **options)
    return out.getvalue()


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_formats_are_exact(picture: np.ndarray, form: str) -> None:
    data = encoded(picture, form, **({"lossless": True} if form == "WEBP" else {}))
    np.testing.assert_array_equal(decode(data), picture)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_makes_it_upright(picture: np.ndarray, form: str, orientation: int) -> None:
    """FAULTS 6. The stored pixels are those that the orientation turns into the picture."""
    back = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }[orientation]  # fmt: skip
    stored = Image.fromarray(picture)
    stored = stored if back is None else stored.transpose(back)
    exif = Image.Exif()
    exif[274] = orientation
    data = encoded(stored, form, exif=exif, **({"quality": 95} if form != "PNG" else {}))
    header = read_header(data)
    assert (header.width, header.height) == (64, 40)
    out = decode(data, header)
    assert out.shape == picture.shape
    assert float(np.abs(out.astype(int) - picture).mean()) < 6


def test_jpeg_is_decoded_at_reduced_scale() -> None:
    image = cv2.resize(make_image(2)[0], (1600, 1200))
    data = encoded(image, "JPEG")
    assert decode(data, long_side=128).shape == (150, 200, 3)
    assert decode(data, long_side=300).shape == (300, 400, 3)
    assert decode(data).shape == (1200, 1600, 3)
    small = decode(data, long_side=128).astype(int)
    assert np.abs(small - cv2.resize(image, (200, 150), interpolation=cv2.INTER_AREA)).mean() < 4


def test_png_named_jpg_is_read_by_its_magic_bytes(tmp_path: Path, picture: np.ndarray) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(picture, "PNG"))
    np.testing.assert_array_equal(load(tmp_path / "a.jpg"), picture)


def test_cmyk_palette_alpha_bilevel_and_grey_become_rgb_over_white(picture: np.ndarray) -> None:
    grey = Image.fromarray(picture).convert("L")
    assert decode(encoded(Image.fromarray(picture).convert("CMYK"), "JPEG")).shape == (40, 64, 3)
    assert decode(encoded(Image.fromarray(picture).quantize(64), "PNG")).shape == (40, 64, 3)
    clear = np.dstack([picture, np.zeros((40, 64), np.uint8)])
    assert decode(encoded(clear, "PNG")).min() == 255
    assert set(np.unique(decode(encoded(grey.convert("1"), "PNG")))) <= {0, 255}
    out = decode(encoded(grey, "PNG"))
    np.testing.assert_array_equal(out, np.asarray(grey)[..., None].repeat(3, 2))


def test_palette_with_transparency_is_laid_over_white(picture: np.ndarray) -> None:
    image = Image.new("P", (20, 20), 0)
    image.putpalette([10, 20, 30] + [0] * 765)
    assert decode(encoded(image, "PNG", transparency=0)).min() == 255


def test_sixteen_bits_are_scaled_and_floats_are_skipped() -> None:
    deep = (np.arange(400, dtype=np.uint16).reshape(20, 20) * 164).astype(np.uint16)
    for form in ("PNG", "TIFF"):
        out = decode(encoded(Image.fromarray(deep), form))
        assert np.abs(out[..., 0].astype(int) - deep // 257).max() <= 1
    with pytest.raises(Unusable, match="depth"):
        decode(encoded(Image.fromarray(deep.astype(np.float32)), "TIFF"))


def test_animation_gives_its_first_frame(picture: np.ndarray) -> None:
    frames = [Image.fromarray(picture), Image.fromarray(255 - picture)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    header = read_header(data)
    assert header.animated
    assert np.abs(decode(data, header).astype(int) - picture).mean() < 12


def test_broken_exif_is_ignored(picture: np.ndarray) -> None:
    data = bytearray(encoded(picture, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff" * 40))
    assert read_header(bytes(data)).orientation == 1
    assert decode(bytes(data)).shape == picture.shape


def test_an_exif_thumbnail_does_not_hide_a_cut(picture: np.ndarray) -> None:
    """The thumbnail's own end marker stands before the picture's data."""
    large = cv2.resize(picture, (640, 400))
    data = encoded(large, "JPEG", exif=b"Exif\0\0" + encoded(picture, "JPEG"))
    with pytest.raises(Unusable, match=r"truncated|damaged"):
        decode(data[: len(data) // 2])
