"""The plain files of a run folder: images.txt and skipped.jsonl; and what its model is called."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from stn_cli.errors import CheckpointError, printable
from stn_cli.files import atomic, escape, name_from_results, name_in_results, unescape
from stn_cli.media.many_names import ManyNames
from stn_cli.media.scan import ImageFile
from stn_cli.on_demand import OnDemand
from stn_cli.reading import read_plain
from stn_cli.records import Skipped

MODEL = "model.safetensors"
IMAGES = "images.txt"
SKIPPED = "skipped.jsonl"
HEADER = b"# relative to "
MOST_BYTES = 1 << 30
"""Of each of them: a million images and more."""


def boxes_folder(run: Path) -> Path:
    """The folder in which a run's boxes are found unless another is named.

    Args:
        run: the run folder.

    Returns:
        `x-boxes` for `x-run` and for `x`.
    """
    named = Path(run.absolute().name)
    return run.absolute().parent / f"{named.name.removesuffix('-run') or named.name}-boxes"


def write_images(folder: Path, files: Sequence[ImageFile]) -> None:
    """`images.txt`: the folder that names are relative to, then a path per line, percent-escaped where a line cannot hold it.

    Args:
        folder: of the run.
        files: in their order.
    """
    root = ""
    if files:
        first = os.path.abspath(files[0].path)
        root = first[: len(first) - len(files[0].name)]
    with atomic(folder / IMAGES) as file:
        file.write(HEADER + escape(root) + b"\n")
        for image in files:
            file.write(escape(os.path.abspath(image.path)) + b"\n")


def leave_out(folder: Path, paths: Collection[str]) -> None:
    """Take images off the list that `write_images` has written.

    Args:
        folder: of the run.
        paths: of the images.
    """
    lines = {escape(os.path.abspath(path)) + b"\n" for path in paths}
    if not lines:
        return
    with open(folder / IMAGES, "rb") as whole, atomic(folder / IMAGES) as file:
        file.writelines(line for line in whole if line not in lines)


class RunImages(OnDemand[ImageFile]):
    """The images of a run, each made when it is asked for: a million of them would take 300 MB, their names take 30.

    Args:
        root: the folder that names are relative to, with a separator at its end.
        names: of the images, with `/`.
    """

    def __init__(self, root: str, names: Iterable[str]) -> None:
        self._root, self._names = root, ManyNames(names)

    def __len__(self) -> int:
        return len(self._names)

    def make(self, place: int) -> ImageFile:
        """One image."""
        name = self._names[place]
        return ImageFile(self._root + name.replace("/", os.sep), name)


def read_images(folder: Path) -> RunImages:
    """The images of a run.

    Args:
        folder: of the run.

    Returns:
        The images, in the order of the training.

    Raises:
        CheckpointError: the list is missing, or not as `write_images` writes it. Names become those of outputs, so that each must lie in
            the folder that the list is relative to: a run may come from a stranger.
    """
    path = folder / IMAGES
    try:
        lines = io.BytesIO(read_plain(path, MOST_BYTES))
    except OSError as error:
        raise CheckpointError("run has no list of images", path, error.strerror, "Name a SOURCE") from error
    first = lines.readline().rstrip(b"\r\n")
    root = _read_escaped(first.removeprefix(HEADER)) if first.startswith(HEADER) else None
    if root is None or not (os.path.isabs(root) or not (root or lines.read(1))):
        raise CheckpointError("damaged list of images", path, "its first line names no folder", "Name a SOURCE")

    def names() -> Iterator[str]:
        for number, line in enumerate(lines, 2):
            full = _read_escaped(line.rstrip(b"\r\n"))
            name = full.removeprefix(root).replace(os.sep, "/") if full is not None and full.startswith(root) else ""
            if full is None or not _lies_in(name):
                why = f"line {number} names no file in its folder"
                raise CheckpointError("damaged list of images", path, why, "Name a SOURCE")
            yield name

    return RunImages(root, names())


def _lies_in(name: str) -> bool:
    """Whether a relative name with `/` leads into its folder; what other systems take for a way out, `safe_name` escapes."""
    return "\0" not in name and all(part not in ("", ".", "..") for part in name.split("/"))


def _read_escaped(line: bytes) -> str | None:
    """What `escape` wrote; None where something else did."""
    if re.search(rb"%(?![0-9A-Fa-f]{2})", line):
        return None
    return unescape(line)


def write_skipped(folder: Path, skipped: Iterable[Skipped]) -> None:
    """`skipped.jsonl`: {"file", "reason"} per line.

    Args:
        folder: of the run or of results.
        skipped: a row for each file.
    """
    with atomic(folder / SKIPPED, "w") as file:
        for row in skipped:
            file.write(json.dumps({"file": name_in_results(row.file), "reason": printable(row.reason)}) + "\n")


def read_skipped(folder: Path) -> list[Skipped]:
    """The rows of `skipped.jsonl`; none if there is no such file, and without lines that are not such rows.

    Args:
        folder: of the run or of results.

    Returns:
        A row for each file.
    """
    try:
        data = read_plain(folder / SKIPPED, MOST_BYTES)
    except OSError:
        return []
    rows = [row for row in map(read_row, data.splitlines()) if row is not None]
    return [
        Skipped(name_from_results(row["file"]), printable(row["reason"]))
        for row in rows
        if isinstance(row.get("file"), str) and isinstance(row.get("reason"), str)
    ]


def read_row(line: bytes) -> dict[str, Any] | None:
    """A line of JSON lines as an object; None where it is none, as the last line that a killed run wrote may be.

    Args:
        line: without its end.

    Returns:
        The object.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):  # bytes that are not UTF-8 are the first kind too
        return None
    return row if isinstance(row, dict) else None
