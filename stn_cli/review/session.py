"""A review at work: its state and its journal in step, whoever writes."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from stn_cli.errors import ColocError, counted
from stn_cli.formats.coco_file import CocoFile
from stn_cli.review.asked import place_of, wanted_mark
from stn_cli.review.journal import Line, ReviewJournal
from stn_cli.review.places import ReviewFiles
from stn_cli.review.result import write_result
from stn_cli.review.state import Mark, ReviewState, row_of

MOST_AT_ONCE = 1000
"""Images of one action; a page of thumbnails has some dozens."""


class Conflict(ColocError):
    """Another window changed an image since this one last looked; nothing was written.

    Attributes:
        places: numbers of those images.
    """

    def __init__(self, what: str, places: list[int]) -> None:
        super().__init__(what)
        self.places = places


class ReviewSession:
    """Boxes, the corrections to them, and the files of both.

    Args:
        coco: the boxes that are looked at.
        data: the JSON that they were read from.
        files: where they lie, and where the journal and the corrected boxes go.

    Attributes:
        notes: what the journal held that could not be used, for people.

    Raises:
        OutputError: the journal cannot be written.
    """

    def __init__(self, coco: CocoFile, data: dict[str, Any], files: ReviewFiles) -> None:
        self.data, self.boxes, self.result = data, files.boxes, files.result
        self.state = ReviewState(coco)
        self.journal = ReviewJournal(files.journal)
        self._strange, self._written = 0, -1
        self.catch_up()
        self.notes = self._notes(len(coco.boxes.orphans))

    def _notes(self, orphans: int) -> list[str]:
        name, state = self.journal.path.name, self.state
        notes = []
        if self.journal.ends_torn():
            notes.append(
                f"the last line of {name} was cut short when a review was killed: that action was never confirmed, and is left out"
            )
        if lost := self.journal.damaged + self._strange:
            notes.append(f"{counted(lost, 'line')} of {name} cannot be read as an action: left out")
        for names, why in ((state.unknown, "not in the boxes"), (state.resized, "another size now")):
            if names:
                notes.append(
                    f"{name} speaks of {counted(len(names), 'image')} that cannot be used ({why}): {min(names)}{', ...' * (len(names) > 1)}"
                )
        if orphans:
            notes.append(f"{counted(orphans, 'box')} of images that {self.boxes.name} does not list: left out")
        return notes

    @property
    def reviewed(self) -> int:
        """Images that a person has looked at."""
        return sum(image.mark.status != "unreviewed" for image in self.state.images)

    def catch_up(self) -> None:
        """Take over what others wrote since the last look.

        Raises:
            OutputError: the journal has gone.
        """
        with self.journal.locked():
            self._strange += self.state.apply(self.journal.read_new())

    def changed_since(self, seq: int) -> list[int]:
        """Images whose state is newer than a line.

        Args:
            seq: number of the line.

        Returns:
            Their numbers.
        """
        with self.journal.locked():
            return [place for place, image in enumerate(self.state.images) if image.mark.seq > seq]

    def act(self, page: str, asked: list[dict[str, Any]], seen: str | None = None) -> list[int]:
        """Do what a page asks for: one action, one line.

        Args:
            page: id of the page, for its undo.
            asked: for each image its number `i`, the line `base` that the page knows of it, and the state, see `wanted_mark`.
            seen: the file of the boxes that the page shows; these when None. Other boxes than these are not accepted unseen.

        Returns:
            Numbers of the images that changed.

        Raises:
            Conflict: an image is not any more as the page knows it, or its boxes are others.
            ValueError, KeyError, TypeError: what is asked for makes no sense.
            OutputError: it cannot be written; nothing has changed.
        """
        if not asked or len(asked) > MOST_AT_ONCE:
            raise ValueError(f"an action is of 1 to {MOST_AT_ONCE} images")
        if seen not in (None, os.path.abspath(self.boxes)) and any(row["status"] == "accepted" for row in asked):
            raise Conflict("these boxes were found anew: look at them first", [])
        with self.journal.locked():
            self.catch_up()
            images = self.state.images
            marks = {}
            for row in asked:
                place = place_of(row, images)
                if row.get("f", images[place].file) != images[place].file:
                    raise Conflict("these are other boxes now: load the page again", [])
                marks[place] = wanted_mark(row, images[place], self.state.categories)
            newer = [place_of(row, images) for row in asked if images[place_of(row, images)].mark.seq != row["base"]]
            if newer:
                raise Conflict("changed in another window", newer)
            self._write(marks, {"page": page})
            return list(marks)

    def undo(self, page: str) -> list[int]:
        """Take back the last action of a page.

        Args:
            page: its id.

        Returns:
            Numbers of the images that changed.

        Raises:
            Conflict: there is none, or another window has changed its images since.
            OutputError: it cannot be written; nothing has changed.
        """
        with self.journal.locked():
            self.catch_up()
            seq = self.state.last_of(page)
            if seq is None:
                raise Conflict("nothing to undo in this window", [])
            before = self.state.actions[seq].before
            newer = [place for place in before if self.state.images[place].mark.origin != seq]
            if newer:
                raise Conflict("another window has changed it since", newer)
            self._write(before, {"page": page, "undoes": seq})
            return list(before)

    def name_kinds(self, labels: list[str]) -> None:
        """Name the kinds, see `ReviewState.name_kinds`; names that they have already write nothing.

        Args:
            labels: the names.
        """
        with self.journal.locked():
            self.catch_up()
            if list(self.state.categories.values())[: len(labels)] != labels:
                self._strange += self.state.apply([self.journal.add({"time": _now(), "labels": labels})])

    def _write(self, marks: dict[int, Mark], about: Line) -> None:
        rows = [row_of(self.state.images[place], mark) for place, mark in marks.items()]
        line = self.journal.add({"time": _now(), **about, "images": rows})
        self.state.apply([line])

    def save(self) -> bool:
        """Write the corrected file if it is older than the journal.

        Returns:
            Whether it was written.

        Raises:
            OutputError: it cannot be.
        """
        with self.journal.locked():
            self.catch_up()
            seq = self.journal.last
            if seq == self._written:
                return False
            images = [replace(image) for image in self.state.images]
            categories = dict(self.state.categories)
        write_result(self.result, self.data, images, categories, self.journal.path.name)
        self._written = seq
        return True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
