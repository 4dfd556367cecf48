"""The plain files of a run folder: which images it was trained on, and which were skipped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from stn_cli.errors import CheckpointError, printable
from stn_cli.files import atomic, escape, unescape
from stn_cli.media.scan import ImageFile
from stn_cli.records import Skipped

IMAGES = "images.txt"
SKIPPED = "skipped.jsonl"


def write_images(folder: Path, files: Sequence[ImageFile]) -> None:
    """`images.txt`: the folder that names are relative to, then a path per line, percent-escaped where a line cannot hold it."""
    root = ""
    if files:
        first = os.path.abspath(files[0].path)
        root = first[: len(first) - len(files[0].name)]
    with atomic(folder / IMAGES) as file:
        file.write(b"# relative to " + escape(root) + b"\n")
        for image in files:
            file.write(escape(os.path.abspath(image.path)) + b"\n")


def read_images(folder: Path) -> list[ImageFile]:
    """The images of a run.

    Raises:
        CheckpointError: the list is missing.
    """
    path = folder / IMAGES
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise CheckpointError("run has no list of images", path, error.strerror, "Name a SOURCE") from error
    root = unescape(lines[0].removeprefix(b"# relative to ")) if lines else ""
    files = []
    for line in lines[1:]:
        full = unescape(line)
        files.append(ImageFile(full, full.removeprefix(root)))
    return files


def write_skipped(folder: Path, skipped: Iterable[Skipped]) -> None:
    """`skipped.jsonl`: {"file", "reason"} per line."""
    with atomic(folder / SKIPPED, "w") as file:
        for row in skipped:
            file.write(json.dumps({"file": printable(row.file), "reason": printable(row.reason)}) + "\n")


def read_skipped(folder: Path) -> list[Skipped]:
    """The rows of `skipped.jsonl`; none if there is no such file."""
    path = folder / SKIPPED
    if not path.is_file():
        return []
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [Skipped(row["file"], row["reason"]) for row in rows]
