"""What a file is, by its first bytes and its extension: an image, one that cannot be decoded, or no image.

Everything that is known of formats without decoding stands in the tables of this file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec

EXTENSIONS = frozenset(
    [
        ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff",
        ".pbm", ".pgm", ".ppm", ".pnm", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".avif",
    ]
)  # fmt: skip
VIDEO_EXTENSIONS = frozenset([".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"])

HEAD = 160
"""So many first bytes tell what a file is; DICOM says it at 128."""
JXL_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
APPLE_DOUBLE = b"\0\x05\x16\x07"
CONVERT = "convert to JPEG or PNG"


@dataclass(frozen=True, slots=True)
class Foreign:
    """An image format that this program does not decode by itself.

    Attributes:
        name: for people; the reason of a skipped file begins with it.
        extensions: of its files, where nothing else is called so.
        todo: what the user can do.
        module: a package that makes Pillow decode it.
    """

    name: str
    extensions: tuple[str, ...]
    todo: str = CONVERT
    module: str | None = None

    @property
    def decodable(self) -> bool:
        """Whether the package for it is installed."""
        return self.module is not None and find_spec(self.module) is not None

    @property
    def reason(self) -> str:
        """Why such a file is skipped, and what to do."""
        return f"{self.name}: {self.todo}"


HEIC = Foreign("HEIC", (".heic", ".heif", ".hif", ".heics"), f"install stn-coloc[heif], or {CONVERT}", "pillow_heif")
JXL = Foreign("JPEG XL", (".jxl",), f"install stn-coloc[heif], or {CONVERT}", "pillow_jxl")
RAW = Foreign(
    "camera raw",
    (
        ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".dng", ".raf", ".orf", ".rw2", ".pef", ".srw",
        ".x3f", ".3fr", ".iiq", ".erf", ".mrw", ".kdc",
    ),
    "develop to JPEG or TIFF",
)  # fmt: skip
DICOM = Foreign("DICOM", (".dcm", ".dicom"), "convert to PNG, for example with dcm2pnm")
FOREIGN = (
    HEIC,
    JXL,
    RAW,
    DICOM,
    Foreign("Photoshop", (".psd", ".psb")),
    Foreign("TGA", (".tga",)),
    Foreign("OpenEXR", (".exr",)),
    Foreign("Radiance HDR", ()),
    Foreign("GIMP", (".xcf",)),
    Foreign("QOI", (".qoi",)),
    Foreign("DDS", (".dds",)),
    Foreign("JPEG XR", (".jxr", ".wdp", ".hdp")),
    Foreign("PCX", (".pcx",)),
    Foreign("SGI", (".sgi",)),
    Foreign("FITS", (".fits",)),
    Foreign("NIfTI", (".nii",)),
    Foreign("microscope", (".czi", ".nd2", ".lif", ".oib", ".oif", ".vsi"), "export as TIFF or PNG"),
    Foreign("whole slide", (".svs", ".ndpi", ".mrxs"), "export a region as TIFF or PNG"),
)
_BY_EXTENSION = {extension: foreign for foreign in FOREIGN for extension in foreign.extensions}
_BY_NAME = {foreign.name: foreign for foreign in FOREIGN}
_IMAGES = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\0\0\0\x0cjP  ",
    b"\xff\x4f\xff\x51\0",
)  # fmt: skip
_STARTS = (
    (b"8BPS\0", "Photoshop"),
    (JXL_CONTAINER, "JPEG XL"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"#?RGBE", "Radiance HDR"),
    (b"gimp xcf ", "GIMP"),
    (b"qoif", "QOI"),
    (b"DDS |\0\0\0", "DDS"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"SIMPLE  =", "FITS"),
    (b"\x01\xda\0\x01", "SGI"),
    (b"\x01\xda\x01\x01", "SGI"),
    (b"ZISRAWFILE", "microscope"),
    (b"FUJIFILMCCD-RAW", "camera raw"),
    (b"IIRO", "camera raw"),
    (b"IIRS", "camera raw"),
    (b"IIU\0", "camera raw"),
    (b"FOVb", "camera raw"),
)
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
_NO_PICTURES = (
    (b"version https://git-lfs", "a Git LFS pointer: fetch the file (git lfs pull)"),
    (b"/annex/objects/", "a git-annex pointer: fetch the file (git annex get)"),
    (APPLE_DOUBLE, "an AppleDouble file: a leftover of macOS, the picture is another file"),
    (b"<!doctype html", "not an image: a web page"),
    (b"<html", "not an image: a web page"),
)
"""What stands in place of a picture, in lower case, and what is said of it."""


def looks_like_image(head: bytes) -> bool:
    """Whether the first bytes (32 are enough) are those of an image format that can be decoded.

    Args:
        head: the file's first bytes.

    Returns:
        True where they are.
    """
    return (
        head.startswith(_IMAGES)
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[:2] == b"BM" and head[6:10] == b"\0\0\0\0")
        or (head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in b" \t\r\n#" and len(head) > 2)
        or head[4:12] in (b"ftypavif", b"ftypavis")
    )


def foreign_by_content(head: bytes) -> Foreign | None:
    """The foreign format whose first bytes these are (`HEAD` of them).

    Args:
        head: the file's first bytes.

    Returns:
        The format; None where it is none that is known.
    """
    for start, name in _STARTS:
        if head.startswith(start):
            return _BY_NAME[name]
    if head[128:132] == b"DICM":
        return DICOM
    if head[4:8] == b"ftyp":
        if head[8:12] == b"crx ":
            return RAW
        size = int.from_bytes(head[:4], "big")
        brands = [head[8:12], *(head[i : i + 4] for i in range(16, min(size, 48), 4))]
        if b"avif" not in brands and b"avis" not in brands and any(brand in _HEIC_BRANDS for brand in brands):
            return HEIC
    return None


def foreign(head: bytes, path: str) -> Foreign | None:
    """The foreign format of a file by its first bytes; by its extension where they say nothing, or what raw photos have too.

    A raw photo begins like a TIFF, whose first page is a thumbnail: only its extension tells.

    Args:
        head: the file's first bytes.
        path: of the file.

    Returns:
        The format; None where it is none that is known.
    """
    named = _BY_EXTENSION.get(os.path.splitext(path)[1].lower())
    if named is not None and named.name in ("camera raw", "whole slide"):
        return named
    if looks_like_image(head):
        return None
    if named is JXL and head.startswith(b"\xff\n"):
        return JXL
    return foreign_by_content(head) or (named if head and not pointer(head) else None)


def has_foreign_extension(path: str) -> bool:
    """Whether a name ends like one of a foreign format.

    Args:
        path: of the file.

    Returns:
        True where it does.
    """
    return os.path.splitext(path)[1].lower() in _BY_EXTENSION


def pointer(head: bytes) -> str | None:
    """What is said of a file that stands in place of a picture; None of any other.

    Args:
        head: the file's first bytes.

    Returns:
        The reason, for skipped.jsonl.
    """
    low = head[:64].lstrip().lower() if head[:1] != APPLE_DOUBLE[:1] else head[:64]
    return next((reason for start, reason in _NO_PICTURES if low.startswith(start)), None)
