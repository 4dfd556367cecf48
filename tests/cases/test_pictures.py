"""Cases from public reports: pictures that other programs write. The case's letter is in the name of each test."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from stn_cli.media import header, signatures
from stn_cli.media.cache import Letterbox, letterbox_side, load_letterbox
from stn_cli.media.decode import Unusable, decode, load, opened, read_header
from stn_cli.media.scan import ImageFile, scan
from stn_cli.media.video import open_video
from stn_cli.records import Skipped
from tests.conftest import Trained, make_image, write_image

Call = Callable[..., tuple[int, str, str]]

STORED = {
    1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
}  # fmt: skip
"""How the pixels of an upright picture are stored under each EXIF orientation."""


def stored(picture: np.ndarray, orientation: int) -> Image.Image:
    image, back = Image.fromarray(picture), STORED[orientation]
    return image if back is None else image.transpose(back)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def picture(size: tuple[int, int] = (40, 64)) -> np.ndarray:
    image, _ = make_image(1, size=size)
    image[: size[0] // 4, : size[1] // 4] = (250, 10, 10)  # red upper left: shows every turn
    return image


def letterbox_of(path: Path, side: int = 48) -> Letterbox:
    out = load_letterbox(ImageFile(str(path), path.name), side)
    assert isinstance(out, Letterbox), out
    return out


# ---- A: TIFFs that say how they are turned


def deep_tiff(pixels: np.ndarray, orientation: int, sample: int = 1) -> bytes:
    """A plain TIFF of 16- or 32-bit RGB, which Pillow does not write."""
    h, w = pixels.shape[:2]
    bits, data = pixels.dtype.itemsize * 8, np.ascontiguousarray(pixels).tobytes()
    tags = [
        (256, 4, 1, w),
        (257, 4, 1, h),
        (258, 3, 3, 0),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 0),
        (274, 3, 1, orientation),
    ]
    tags += [(277, 3, 1, 3), (278, 4, 1, h), (279, 4, 1, len(data)), (339, 3, 3, 0)]
    extra = 8 + 2 + 12 * len(tags) + 4
    values = {258: extra, 339: extra + 6, 273: extra + 12}
    table = b"".join(
        struct.pack("<HHI", tag, kind, count)
        + (struct.pack("<HH", v, 0) if kind == 3 and count == 1 else struct.pack("<I", values.get(tag, v)))
        for tag, kind, count, v in tags
    )
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + table + struct.pack("<I", 0)
    return head + struct.pack("<6H", *[bits] * 3, *[sample] * 3) + data


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg"])
def test_case_A_a_turned_tiff_is_its_upright_twin(orientation: int, compression: str | None) -> None:
    """All values but 1 were turned twice, and 5 to 8 had width and height swapped."""
    upright = picture()
    options = {} if compression is None else {"compression": compression}
    data = encoded(stored(upright, orientation), "TIFF", tiffinfo={274: orientation}, **options)
    found = read_header(data)
    assert (found.width, found.height) == (64, 40)
    out = decode(data, found)
    assert out.shape == upright.shape
    assert float(np.abs(out.astype(int) - upright).mean()) < (6 if compression == "jpeg" else 1e-9)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_case_A_a_turned_tiff_of_16_bits_too(orientation: int) -> None:
    deep = picture().astype(np.uint16) * 257
    out = decode(deep_tiff(np.asarray(deep_stored(deep, orientation)), orientation))
    np.testing.assert_array_equal(out, deep >> 8)
    grey = Image.fromarray(deep_stored(deep[..., 0].copy(), orientation))
    np.testing.assert_array_equal(decode(encoded(grey, "TIFF", tiffinfo={274: orientation}))[..., 0], deep[..., 0] >> 8)


def deep_stored(pixels: np.ndarray, orientation: int) -> np.ndarray:
    back: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1], 5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1), 7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: lambda a: np.rot90(a, 3),
    }  # fmt: skip
    return np.ascontiguousarray(back[orientation](pixels))


def test_case_A_boxes_of_a_turned_tiff(trained: Trained, tmp_path: Path, cli: Call) -> None:
    upright, _ = make_image(3)
    write_image(tmp_path / "in/a.png", upright)
    for n in STORED:
        (tmp_path / f"in/b{n}.tif").write_bytes(encoded(stored(upright, n), "TIFF", tiffinfo={274: n}))
    assert cli("localise", tmp_path / "in", "-m", trained.run, "-o", tmp_path / "out", "-q")[0] == 0
    data = json.loads((tmp_path / "out/boxes.json").read_text())
    assert {(i["width"], i["height"]) for i in data["images"]} == {(60, 48)}
    assert len({tuple(round(v, 3) for v in a["bbox"]) for a in data["annotations"]}) == 1


def test_a_tiff_above_pillows_own_limit_is_read(tmp_path: Path) -> None:
    """It was `damaged`: Pillow takes it for a bomb, at 179 million pixels, though 250 are allowed here."""
    Image.new("1", (20_000, 9_000), 1).save(tmp_path / "a.tif", compression="group4")
    assert (tmp_path / "a.tif").stat().st_size < 100_000
    assert load(tmp_path / "a.tif", max_pixels=250_000_000).shape == (9_000, 20_000, 3)


# ---- C: formats that are not decoded

# name, first bytes, what its reason begins with, words of what to do
FOREIGN = [
    ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC", "stn-coloc[heif]"),
    ("a.heif", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC", "stn-coloc[heif]"),
    ("b.jpg", b"\0\0\0\x18ftypheix\0\0\0\0mif1heix", "HEIC", "stn-coloc[heif]"),  # a phone's picture, renamed
    ("a.jxl", b"\xff\x0a\x10\x20\x30", "JPEG XL", "stn-coloc[heif]"),
    ("c.jxl", b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl ", "JPEG XL", "stn-coloc[heif]"),
    ("a.psd", b"8BPS\0\x01" + bytes(20), "Photoshop", "convert"),
    ("a.tga", b"\0\0\x02" + bytes(40), "TGA", "convert"),
    ("a.dcm", bytes(128) + b"DICM\x02", "DICOM", "convert"),
    ("IM0001", bytes(128) + b"DICM\x02", "DICOM", "convert"),  # they often have no extension
    ("a.nef", b"MM\0*\0\0\0\x08" + bytes(90), "camera raw", "develop"),  # its first page is a thumbnail
    ("a.cr3", b"\0\0\0\x18ftypcrx \0\0\0\0crx isom", "camera raw", "develop"),
    ("a.exr", b"v/1\x01\x02\0\0\0", "OpenEXR", "convert"),
    ("a.hdr", b"#?RADIANCE\nFORMAT", "Radiance HDR", "convert"),
    ("a.fit", b"SIMPLE  =    T", "FITS", "convert"),
    ("a.czi", b"ZISRAWFILE" + bytes(20), "microscope", "export"),
]


@pytest.fixture
def without_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "find_spec", lambda name: None)


@pytest.mark.parametrize(("name", "data", "begins", "words"), FOREIGN, ids=[row[0] for row in FOREIGN])
def test_case_C_a_format_that_is_not_decoded_is_a_row_with_what_to_do(
    tmp_path: Path, name: str, data: bytes, begins: str, words: str, without_packages: None
) -> None:
    (tmp_path / name).write_bytes(data)
    write_image(tmp_path / "z.png", picture())
    for source in (tmp_path, str(tmp_path / "*"), [tmp_path / name, tmp_path / "z.png"]):
        found = scan(source)
        rows = list(found.skipped)
        for image in found.images:
            out = load_letterbox(image, 48)
            rows += [out] if isinstance(out, Skipped) else []
        assert len(rows) == 1
        assert rows[0].reason.startswith(begins + ":")
        assert words in rows[0].reason
    with pytest.raises(Unusable, match=begins):
        load(tmp_path / name)


def test_case_C_strict_ends_with_3_and_the_words_are_shown(
    trained: Trained, tmp_path: Path, cli: Call, without_packages: None
) -> None:
    write_image(tmp_path / "in/a.png", make_image(0)[0])
    for name, data, _, _ in FOREIGN:
        (tmp_path / "in" / name).write_bytes(data)
    code, _, err = cli("localise", tmp_path / "in", "-m", trained.run, "-o", tmp_path / "out", "--strict")
    assert code == 3
    assert "install stn-coloc[heif]" in err
    rows = [json.loads(line) for line in (tmp_path / "out/skipped.jsonl").read_text().splitlines()]
    assert {row["file"] for row in rows} == {name for name, *_ in FOREIGN}


def test_case_C_what_a_foreign_extension_promises_is_not_believed(tmp_path: Path, without_packages: None) -> None:
    write_image(tmp_path / "b.png", picture()).rename(tmp_path / "b.heic")  # a PNG by its bytes
    (tmp_path / "c.heic").write_bytes(b"")
    (tmp_path / "d.hdr").write_text("ENVI\nsamples = 3\n")  # a header of something else
    (tmp_path / "e.tga").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    found = scan(tmp_path)
    assert [f.name for f in found.images] == ["b.heic", "c.heic", "e.tga"]
    assert found.skipped == []
    assert load(tmp_path / "b.heic").shape == (40, 64, 3)
    with pytest.raises(Unusable, match="empty"):
        load(tmp_path / "c.heic")
    with pytest.raises(Unusable, match="Git LFS"):
        load(tmp_path / "e.tga")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_case_C_heic_is_decoded_where_its_package_is_there(tmp_path: Path, orientation: int) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    exif = Image.Exif()
    exif[274] = orientation
    (tmp_path / "a.heic").write_bytes(encoded(stored(picture(), orientation), "HEIF", quality=95, exif=exif.tobytes()))
    assert [f.name for f in scan(tmp_path).images] == ["a.heic"]
    letterbox = letterbox_of(tmp_path / "a.heic")
    assert (letterbox.frame.width, letterbox.frame.height, letterbox.note) == (64, 40, None)
    assert float(np.abs(load(tmp_path / "a.heic").astype(int) - picture()).mean()) < 8


def test_case_C_jpeg_xl_is_decoded_where_its_package_is_there(tmp_path: Path) -> None:
    pytest.importorskip("pillow_jxl")
    for size in ((40, 64), (64, 40), (48, 48), (33, 57), (300, 30)):
        for container in (False, True):
            data = encoded(Image.fromarray(picture(size)), "JXL", lossless=True, use_container=container)
            found = read_header(data)
            assert (found.width, found.height) == size[::-1]
            np.testing.assert_array_equal(decode(data), picture(size))


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_case_C_jpeg_xl_made_of_a_turned_jpeg(tmp_path: Path, orientation: int) -> None:
    pytest.importorskip("pillow_jxl")
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(stored(picture(), orientation), "JPEG", exif=exif, quality=95))
    with pytest.warns(UserWarning, match="reconstruction"), Image.open(path) as image:
        image.save(tmp_path / "b.jxl")
    letterbox = letterbox_of(tmp_path / "b.jxl")
    assert (letterbox.frame.width, letterbox.frame.height) == (64, 40)
    assert float(np.abs(load(tmp_path / "b.jxl").astype(int) - picture()).mean()) < 6


def test_case_C_jpeg_2000_codestreams_are_decoded(tmp_path: Path) -> None:
    for name, options in (("a.j2k", {"no_jp2": True}), ("a.jp2", {}), ("no_extension", {"no_jp2": True})):
        (tmp_path / name).write_bytes(encoded(Image.fromarray(picture()), "JPEG2000", **options))
    found = scan(tmp_path)
    assert len(found.images) == 3
    for image in found.images:
        np.testing.assert_array_equal(load(image.path), picture())


# ---- E: sixteen bits of which few are used


def deep_picture(low: int, high: int) -> np.ndarray:
    grey = make_image(4, size=(60, 80))[0].astype(np.float64).mean(2)
    return np.round(low + (grey - grey.min()) / (grey.max() - grey.min()) * (high - low)).astype(np.uint16)


# range of values, whether it is stretched
RANGES = [
    ((0, 1023), True),
    ((0, 4095), True),
    ((800, 1200), True),
    ((29_000, 31_000), True),
    ((0, 65_535), False),
    ((3_000, 60_000), False),
]


@pytest.mark.parametrize(("values", "stretched"), RANGES)
@pytest.mark.parametrize("form", ["PNG", "TIFF", "RGB PNG", "RGB TIFF", "RGBA PNG", "PGM"])
def test_case_E_sixteen_bits_are_stretched_by_what_they_use(
    tmp_path: Path, values: tuple[int, int], stretched: bool, form: str
) -> None:
    deep = deep_picture(*values)
    path = tmp_path / f"a.{form.split()[-1].lower().replace('tiff', 'tif')}"
    if form == "PGM":
        path.write_bytes(b"P5 80 60 65535\n" + deep.astype(">u2").tobytes())
    else:
        channels = {"RGB": [deep] * 3, "RGBA": [deep] * 3 + [np.full_like(deep, 65_535)]}.get(form.split()[0], [deep])
        done, data = cv2.imencode(path.suffix, np.dstack(channels))
        assert done
        path.write_bytes(data.tobytes())
    out = load(path)[..., 0].astype(int)
    letterbox = letterbox_of(path)
    if stretched:
        expected = (deep.astype(float) - deep.min()) * 255 / (int(deep.max()) - int(deep.min()))
        assert np.abs(out - expected).mean() < 3
        assert letterbox.note is not None
        assert letterbox.note.startswith("16 bits:")
    else:
        np.testing.assert_array_equal(out, deep >> 8)
        assert letterbox.note is None


def test_case_E_one_value_or_next_to_none_is_not_made_noise(tmp_path: Path) -> None:
    flat = np.full((30, 40), 900, np.uint16)
    assert set(np.unique(decode(encoded(Image.fromarray(flat), "PNG")))) == {3}
    flat[::2] += 1
    assert int(np.ptp(decode(encoded(Image.fromarray(flat), "PNG")))) <= 16


def test_case_E_colours_stay_as_they_are() -> None:
    deep = np.dstack([deep_picture(0, 1000), deep_picture(0, 2000), deep_picture(0, 4000)])
    out = decode(cv2.imencode(".png", deep[..., ::-1])[1].tobytes()).astype(float)
    assert 1.8 < out[..., 2].max() / out[..., 1].max() < 2.2
    assert 3.6 < out[..., 2].max() / out[..., 0].max() < 4.4


def test_case_E_frames_of_a_folder_have_one_range(tmp_path: Path) -> None:
    """Each stretched by its own, a light that goes up would be lost, and pictures would flicker."""
    for n, high in enumerate((1000, 2000, 4000)):
        Image.fromarray(deep_picture(0, high)).save(tmp_path / f"{n}.png")
    video = open_video(tmp_path, fps=25)
    peaks = [int(frame.pixels.max()) for frame in video.frames()]
    assert peaks[2] == 255
    assert peaks[0] == pytest.approx(64, abs=4)
    assert peaks[1] == pytest.approx(128, abs=6)
    assert any("16 bits" in note for note in video.notes)


def test_case_E_thousands_of_remarks_are_one(trained: Trained, tmp_path: Path, cli: Call) -> None:
    for n in range(5):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(deep_picture(0, 1000)).save(tmp_path / f"in/{n}.png")
    code, _, err = cli("localise", tmp_path / "in", "-m", trained.run, "-o", tmp_path / "out")
    assert code == 0
    assert err.count("16 bits") == 2
    assert "5 images in all: 16 bits" in err


# ---- F: one picture that no JPEG can hold


def test_case_F_a_very_wide_picture_among_photos(trained: Trained, tmp_path: Path, cli: Call) -> None:
    write_image(tmp_path / "in/a.png", make_image(0)[0])
    write_image(tmp_path / "in/b.png", np.full((200, 70_000, 3), 120, np.uint8))
    code, _, err = cli("localise", tmp_path / "in", "-m", trained.run, "-o", tmp_path / "out", "--overlay", "--crops", "-q")
    assert code == 0, err
    assert len(json.loads((tmp_path / "out/boxes.json").read_text())["images"]) == 2
    with Image.open(tmp_path / "out/overlay/b.png.jpg") as drawn:
        assert drawn.size == (65_500, 187)
        grey = (np.asarray(drawn).astype(int) - 120).__abs__().max(2) < 30
    assert grey.mean() > 0.5  # lines and letters of a panorama do not hide it


# ---- I: the header alone


def big_png(side: int = 3000, late_exif: int | None = None) -> bytes:
    """A PNG with real pixel data: noise that does not compress."""
    rng = np.random.default_rng(0)
    data = encoded(Image.fromarray(rng.integers(0, 255, (side, side, 3), np.uint8)), "PNG", compress_level=1)
    if late_exif is None:
        return data
    exif = Image.Exif()
    exif[274] = late_exif
    body = exif.tobytes()[6:]
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body + struct.pack(">I", zlib.crc32(b"eXIf" + body))
    return data[:-12] + chunk + data[-12:]


class Counted(io.FileIO):
    """A file that counts what is read of it."""

    taken = 0

    def readinto(self, buffer: object) -> int:
        count = super().readinto(buffer)  # type: ignore[arg-type]
        self.taken += count or 0
        return count or 0


@pytest.mark.parametrize("late", [None, 6])
def test_case_I_of_a_png_only_the_header_is_read(tmp_path: Path, late: int | None) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(big_png(1000, late))
    assert path.stat().st_size > 2_000_000
    with Counted(path) as raw, io.BufferedReader(raw, header.BUFFER) as file:
        found = read_header(file)
        assert (found.orientation, found.width) == (late or 1, 1000)
        assert raw.taken < 100_000


def test_case_I_a_png_above_max_pixels_takes_no_memory(tmp_path: Path) -> None:
    """3000 x 3000 x 3 took 27 MB and more; the command ends with the row, at flat memory."""
    path = tmp_path / "a.png"
    path.write_bytes(big_png())
    code = (
        "import resource, sys; from stn_cli.media.cache import letterbox_side, load_letterbox; from stn_cli.media.scan import ImageFile\n"
        "file = ImageFile(sys.argv[1], 'a.png'); small = ImageFile(sys.argv[2], 'b.png'); load_letterbox(small, 48)\n"
        "letterbox_side([small], 64)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(load_letterbox(file, 48, 1_000_000).reason); letterbox_side([file], 64)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    small = write_image(tmp_path / "b.png", picture())
    done = subprocess.run([sys.executable, "-c", code, str(path), str(small)], capture_output=True, text=True, check=True)
    reason, grown = done.stdout.splitlines()
    assert reason == "too large: 3000 x 3000"
    assert int(grown) < 4_000  # kB


def test_case_I_an_exif_chunk_behind_the_pixels_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(big_png(1000, late_exif=6))
    with Image.open(io.BytesIO(big_png(1000))) as plain:
        np.testing.assert_array_equal(load(path), np.rot90(np.asarray(plain), 3))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF"])
def test_case_I_headers_of_files_and_of_their_bytes_agree(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(encoded(Image.fromarray(picture((300, 500))), form))
    with opened(str(path)) as (file, _):
        assert read_header(file) == read_header(path.read_bytes())
    assert letterbox_side([ImageFile(str(path), "a")], 2000) == 500


@pytest.mark.parametrize("mode", ["lossy", "lossless", "alpha", "animated"])
def test_case_I_a_webps_header_is_read_without_its_decoder(mode: str) -> None:
    image = Image.fromarray(picture((33, 57)))
    frames = {"save_all": True, "append_images": [Image.fromarray(255 - picture((33, 57)))]} if mode == "animated" else {}
    data = encoded(image.convert("RGBA") if mode == "alpha" else image, "WEBP", lossless=mode == "lossless", **frames)
    found = read_header(data)
    assert (found.width, found.height, found.animated) == (57, 33, mode == "animated")
    for cut in (8, 12, 20, 25):
        with pytest.raises(Unusable):
            read_header(data[:cut])


# ---- T1: what a picture is, said rightly


def test_case_T1_pages_of_a_tiff_are_counted(tmp_path: Path) -> None:
    pages = [Image.fromarray(make_image(n)[0]) for n in range(5)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert letterbox_of(tmp_path / "a.tif").note == "several pages: first of 5 pages"
    np.testing.assert_array_equal(load(tmp_path / "a.tif"), make_image(0)[0])
    pages[0].save(tmp_path / "b.tif")
    assert letterbox_of(tmp_path / "b.tif").note is None


def test_case_T1_smaller_copies_in_a_tiff_are_no_pages(tmp_path: Path) -> None:
    main, copy = Image.fromarray(make_image(0, (96, 120))[0]), Image.fromarray(make_image(0)[0])
    copy.encoderinfo = {"tiffinfo": {254: 1}}
    main.save(tmp_path / "a.tif", save_all=True, append_images=[copy])
    assert letterbox_of(tmp_path / "a.tif").note is None


def test_case_T1_a_tiff_whose_pages_form_a_ring_ends(tmp_path: Path) -> None:
    data = bytearray(encoded(Image.fromarray(picture()), "TIFF"))
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    struct.pack_into("<I", data, at + 2 + 12 * count, at)
    assert read_header(bytes(data)).pages == 1


def test_case_T1_a_stereo_photo_is_not_animated(tmp_path: Path) -> None:
    left, right = (Image.fromarray(make_image(n)[0]) for n in range(2))
    left.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[right])
    note = letterbox_of(tmp_path / "a.jpg").note
    assert note is not None
    assert note.startswith("not animated, a stereo photo")


# name, bytes, reason
PLACEHOLDERS = [
    (
        "a.jpg",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "a Git LFS pointer: fetch the file",
    ),
    ("b.jpg", b"/annex/objects/SHA256E-s1--4d.jpg\n", "a git-annex pointer: fetch the file"),
    ("c.jpg", b"<!DOCTYPE html>\n<html><title>404</title>", "not an image: a web page"),
    ("d.jpg", b"\0\x05\x16\x07\0\x02\0\0Mac OS X", "an AppleDouble file"),
    ("e.tif", deep_tiff(np.zeros((20, 30, 3), np.float32), 1, sample=3), "depth: 3 x 32 bits, float"),
    ("f.tif", deep_tiff(np.zeros((20, 30, 3), np.int32), 1, sample=2), "depth: 3 x 32 bits, signed"),
]


@pytest.mark.parametrize(("name", "data", "reason"), PLACEHOLDERS, ids=[row[0] for row in PLACEHOLDERS])
def test_case_T1_what_stands_in_place_of_a_picture(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(data)
    out = load_letterbox(ImageFile(str(tmp_path / name), name), 48)
    assert isinstance(out, Skipped)
    assert out.reason.startswith(reason)


def test_case_T1_links_to_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "b.jpg")
    write_image(tmp_path / "c.png", picture())
    (tmp_path / "list.txt").write_text("a.jpg\nc.png\n")
    for source in (tmp_path, tmp_path / "list.txt", str(tmp_path / "*.*g")):
        found = scan(source)
        assert ("a.jpg", "link to nowhere") in {(os.path.basename(s.file), s.reason) for s in found.skipped}
        assert [f.name for f in found.images] == ["c.png"]
