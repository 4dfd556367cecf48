"""Pascal VOC XML: reading truth."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from stn_cli.errors import InputError
from stn_cli.records import Box


def read_voc(folder: Path) -> dict[str, list[Box]]:
    """Boxes by file name from a folder of XML files; VOC's 1-based inclusive pixels become 0-based continuous ones.

    Raises:
        InputError: no XML there, a file that is not VOC, or one that defines entities (XML bombs are refused).
    """
    files = sorted(folder.rglob("*.xml"))
    if not files:
        raise InputError("no XML file in truth folder", folder)
    truth: dict[str, list[Box]] = {}
    for path in files:
        try:
            root: Element = defusedxml.ElementTree.parse(path, forbid_dtd=True).getroot()
            name = root.findtext("filename") or path.stem
            truth[name] = [_box(item) for item in root.iter("bndbox")]
        except DefusedXmlException as error:
            raise InputError("truth defines XML entities and is refused", path, type(error).__name__) from error
        except (ParseError, ValueError, TypeError, OSError) as error:
            raise InputError("not a Pascal VOC file", path, error) from error
    return truth


def _box(item: Element) -> Box:
    x1, y1, x2, y2 = (float(item.findtext(key) or "nan") for key in ("xmin", "ymin", "xmax", "ymax"))
    if not x1 <= x2 or not y1 <= y2:
        raise ValueError("a box without corners")
    return x1 - 1, y1 - 1, x2, y2
