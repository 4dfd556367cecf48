"""Where a review's files lie: the boxes, the journal beside them, the corrected file, and the images that the boxes are of."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_cli.errors import CheckpointError, InputError, printable
from stn_cli.files import is_inside, name_from_results, name_in_results
from stn_cli.formats.results_folder import BOXES_NAME
from stn_cli.review.result import BEGINS
from stn_cli.runs.folder import read_images

LOOKED_FOR = 50
"""Images by which a folder is known as theirs."""


@dataclass(frozen=True, slots=True)
class ReviewFiles:
    """The three files of a review; all lie in one folder."""

    boxes: Path
    journal: Path
    result: Path

    @classmethod
    def of(cls, boxes: Path) -> ReviewFiles:
        """Those of a file of boxes: `review.jsonl` and `reviewed.json` beside boxes.json, `x.review.jsonl` and `x.reviewed.json` beside x.json.

        Raises:
            InputError: it is a corrected file itself, or is not there.
        """
        try:
            with open(boxes, "rb") as file:
                corrected = file.read(len(BEGINS)) == BEGINS
        except OSError as error:
            raise InputError("cannot read the file of boxes", boxes, error.strerror) from error
        if corrected:
            todo = "Name the boxes that it was made from: their corrections go on where they are"
            raise InputError("that is the result of a review", boxes, None, todo)
        return cls.beside(boxes)

    @classmethod
    def beside(cls, boxes: Path) -> ReviewFiles:
        """The same, whatever is there."""
        stem = "" if boxes.name == BOXES_NAME else f"{boxes.stem}."
        return cls(boxes, boxes.with_name(f"{stem}review.jsonl"), boxes.with_name(f"{stem}reviewed.json"))


def place_images(boxes: Path, names: Sequence[str], info: Any, given: Path | None) -> dict[str, Path]:
    """Where the images of a file of boxes lie.

    Args:
        boxes: the file.
        names: of its images, as results have them.
        info: its `info`, which may name a run, or the folder of the images.
        given: the folder that the user named; others are not looked at then.

    Returns:
        Paths by name; the files need not be there any more.

    Raises:
        InputError: a name leads out of its folder, or no folder has the images.
    """
    told = info if isinstance(info, dict) else {}
    own = {name: name_from_results(name) if told.get("tool") == "stn-coloc" else name for name in names}  # ours are escaped
    for name in names:
        if not is_inside(own[name]):
            raise InputError("a name leads out of the images' folder", boxes, shown_name(name))
    sample = names[:: max(1, len(names) // LOOKED_FOR)]
    best: dict[str, Path] = {}
    most = 0
    for paths in _candidates(boxes, own, told, given):
        found = sum(name in paths and paths[name].is_file() for name in sample)
        if found > most:
            best, most = paths, found
        if found == len(sample):
            break
    if not most:
        where = printable(str(given)) if given is not None else f"beside {boxes.name}, nor in its run's list"
        raise InputError(
            "the images are not found",
            shown_name(names[0]) if names else boxes,
            f"not in {where}",
            "Name their folder with --source",
        )
    return best


def _candidates(boxes: Path, own: dict[str, str], info: dict[str, Any], given: Path | None) -> Iterator[dict[str, Path]]:
    def below(folder: Path) -> dict[str, Path]:
        return {name: folder / file for name, file in own.items()}

    if given is not None:
        yield below(given)
        return
    source = info.get("source")
    if isinstance(source, str) and source:
        yield below(Path(os.path.join(boxes.parent, name_from_results(source))))
    run = info.get("run")
    if isinstance(run, str) and run:
        for folder in run_places(boxes, run):
            try:
                yield {name_in_results(file.name): Path(file.path) for file in read_images(folder)}
            except CheckpointError:
                continue
    for folder in (
        boxes.parent,
        boxes.parent / "images",
        boxes.parent.parent,
        boxes.parent.parent / "images",
        Path(),
        Path("images"),
    ):
        yield below(folder)


def run_places(boxes: Path, run: str) -> tuple[Path, ...]:
    """Where the run of a file of boxes may be.

    Args:
        boxes: the file.
        run: as the file names it: from the folder in which `localise` was called, often the one in which both lie.

    Returns:
        Folders, the likeliest first.
    """
    name = name_from_results(run)
    return Path(name), boxes.parent / name, boxes.absolute().parent.parent / name


def shown_name(name: str) -> str:
    """A name of an image for a message, not longer than a line.

    Args:
        name: as results have it.

    Returns:
        Printable text.
    """
    text = printable(name)
    return text if len(text) <= 80 else f"{text[:40]}...{text[-36:]}"
