"""Pascal VOC XML: reading truth, and writing what was found."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, SubElement, indent, tostring

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from stn_cli.errors import InputError
from stn_cli.formats.json_file import number, read_file
from stn_cli.records import ImageRecord, PixelBox, TrueObject

LARGEST_XML = 64 << 20
"""Bytes of one image's annotation."""


def read_voc(folder: Path, what: str = "truth") -> dict[str, list[TrueObject]]:
    """Objects by file name from a folder of XML files, see `each_voc`.

    Args:
        folder: of XML files.
        what: they are, for messages.

    Returns:
        True objects by file name.

    Raises:
        InputError: as `each_voc`.
    """
    truth: dict[str, list[TrueObject]] = {}
    for name, objects in each_voc(folder, what):
        truth.setdefault(name, []).extend(objects)
    return truth


def each_voc(folder: Path, what: str = "truth") -> Iterator[tuple[str, list[TrueObject]]]:
    """The objects of one XML file after the other; VOC's 1-based inclusive pixels become 0-based continuous ones.

    An object is `object` with its `bndbox`; boxes of its parts (head, hand) are none. A file in a folder below names an image in that
    folder. Files that other systems leave beside them (`._x.xml`) are none.

    Args:
        folder: of XML files.
        what: they are, for messages.

    Yields:
        A file name, and objects of that image; a name may come again.

    Raises:
        InputError: no XML there, a folder that cannot be read, a file that is not VOC, or one that defines entities (XML bombs are refused).
    """
    files = _annotations(folder, what)
    if not files:
        raise InputError(f"{what} is a folder without Pascal VOC XML", folder, todo="Name a file, or a folder with such XML")
    for path in map(Path, files):
        name, objects = _read(path, what)
        inside = path.parent.relative_to(folder).as_posix()
        if inside != "." and "/" not in name and "\\" not in name:
            name = f"{inside}/{name}"
        yield name, objects


def _annotations(folder: Path, what: str) -> list[str]:
    def fails(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # what has gone since its name was read was none of the set
            raise InputError(f"cannot read {what}", error.filename, error.strerror or error) from error

    found = []
    for place, _, names in os.walk(folder, onerror=fails):
        found += [os.path.join(place, n) for n in names if n.lower().endswith(".xml") and not n.startswith("._")]
    return sorted(found, key=lambda path: os.path.normcase(path).split(os.sep))


def _read(path: Path, what: str) -> tuple[str, list[TrueObject]]:
    data = read_file(path, what, LARGEST_XML)
    try:
        root: Element = defusedxml.ElementTree.parse(io.BytesIO(data), forbid_dtd=True).getroot()
        if root.tag != "annotation":
            raise ValueError("its root is no annotation")
        return (root.findtext("filename") or "").strip() or path.stem, [_object(item) for item in root.findall("object")]
    except DefusedXmlException as error:
        raise InputError(f"{what} defines XML entities and is refused", path, type(error).__name__) from error
    except (ParseError, ValueError, LookupError) as error:  # LookupError: of an encoding that does not exist
        raise InputError("not a Pascal VOC file", path, error) from error


def _object(item: Element) -> TrueObject:
    box = item.find("bndbox")
    if box is None:
        raise ValueError("an object without a bndbox")
    difficult = (item.findtext("difficult") or "").strip().lower() in ("1", "true")
    return TrueObject(_box(box), (item.findtext("name") or "").strip() or None, difficult)


def _box(item: Element) -> PixelBox:
    x1, y1, x2, y2 = (number(float(item.findtext(key) or "nan")) for key in ("xmin", "ymin", "xmax", "ymax"))
    if not x1 <= x2 or not y1 <= y2:
        raise ValueError(f"corners in the wrong order: {[x1, y1, x2, y2]}")
    return x1 - 1, y1 - 1, x2, y2


def voc_xml(record: ImageRecord, picture: str, names: Sequence[str]) -> bytes:
    """The annotation of one image: whole pixels from 1, right and lower ones included.

    Args:
        record: the image; its boxes lie in it.
        picture: its file name.
        names: of the kinds of objects.

    Returns:
        XML in UTF-8. A box's edges are those of the nearest whole pixels, at least one pixel apart; there is no score.
    """
    root = Element("annotation")
    for tag, text in (("folder", "JPEGImages"), ("filename", picture)):
        SubElement(root, tag).text = text
    size = SubElement(root, "size")
    for tag, value in (("width", record.width), ("height", record.height), ("depth", 3)):
        SubElement(size, tag).text = str(value)
    SubElement(root, "segmented").text = "0"
    for found in record.objects:
        item = SubElement(root, "object")
        cut = _touches(found.box, record)
        for tag, text in (
            ("name", names[found.kind]),
            ("pose", "Unspecified"),
            ("truncated", str(int(cut))),
            ("difficult", "0"),
        ):
            SubElement(item, tag).text = text
        box = SubElement(item, "bndbox")
        for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), _whole(found.box, record), strict=True):
            SubElement(box, tag).text = str(value)
    indent(root)
    return tostring(root, "utf-8") + b"\n"


def _touches(box: PixelBox, record: ImageRecord) -> bool:
    """Whether a box reaches the image's border: what lies in it may go on outside."""
    return box[0] <= 0 or box[1] <= 0 or box[2] >= record.width or box[3] >= record.height


def _whole(box: PixelBox, record: ImageRecord) -> tuple[int, int, int, int]:
    """The first and last pixels of a box, from 1."""
    (left, right), (top, bottom) = (
        (first := min(side - 1, round(low)), max(first + 1, round(high)))
        for low, high, side in ((box[0], box[2], record.width), (box[1], box[3], record.height))
    )
    return left + 1, top + 1, right, bottom
