"""Where the images of a file of boxes are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from stn_cli.errors import InputError
from stn_cli.evaluate.names import pair_names
from stn_cli.files import is_inside, name_from_results, name_in_results
from stn_cli.media.scan import scan


def find_images(names: Sequence[str], boxes: Path, told: str | None, source: Path | None) -> dict[str, str]:
    """Paths of images.

    Args:
        names: as the file of boxes has them.
        boxes: that file, or a folder of Pascal VOC XML, whose pictures lie in it or in `JPEGImages` beside it.
        told: the folder that the file says its names are relative to.
        source: what `--source` names; then nothing else is looked at.

    Returns:
        Paths by name, without those that are not there. In `source`, names that are not there as they stand are matched as `evaluate` does it.

    Raises:
        InputError: `source` is no folder.
    """
    if source is not None:
        if not source.is_dir():
            raise InputError("--source is no folder", source)
        return _matched(names, os.fspath(source))
    beside = (boxes, boxes.parent / "JPEGImages") if boxes.is_dir() else (boxes.parent,)
    for folder in (told, *map(os.fspath, beside)):
        if folder is not None and (found := _below(names, folder)):
            return found
    return {}


def _below(names: Iterable[str], folder: str) -> dict[str, str]:
    """The names that are files of a folder: as they stand, or read as results escape them."""
    found = {}
    for name in names:
        for meant in (name_from_results(name), name):
            path = os.path.join(folder, meant)
            if is_inside(meant) and os.path.isfile(path):
                found[name] = path
                break
    return found


def _matched(names: Sequence[str], source: str) -> dict[str, str]:
    found = _below(names, source)
    missing = [name for name in names if name not in found]
    if missing:
        taken = set(found.values())
        free = {name_in_results(file.name): file.path for file in scan(source).images if file.path not in taken}
        found |= {name: free[other] for name, other in pair_names(list(free), missing).predicted.items()}
    return found
