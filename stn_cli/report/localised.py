"""report.html beside boxes.json: what was found in any images, however many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stn_cli.coloc.model.localiser import Localiser
from stn_cli.errors import counted, printable
from stn_cli.files import write_text
from stn_cli.media.scan import ImageFile
from stn_cli.records import ImageRecord, Skipped
from stn_cli.report.content import PageContent, command, commands_for_boxes, render
from stn_cli.report.sheet import SheetPicture, make_sheet, places_shown
from stn_cli.report.verdict import Tally, Verdict
from stn_cli.runtime.progress import Reporter

Items = Callable[[], Iterable[ImageRecord | Skipped]]
"""Gives what was found in each image, in order, as often as it is called."""


@dataclass(frozen=True, slots=True)
class BoxesPage:
    """A page about boxes. All images are ranked; of each a few bytes are kept, and only those that are shown are decoded.

    Attributes:
        folder: where boxes.json will lie, as it was named: for the commands that the page tells.
        localiser: that found the boxes.
        files: N images.
        items: what was found in them.
        max_pixels: images with more are not decoded.
    """

    folder: Path
    localiser: Localiser
    files: Sequence[ImageFile]
    items: Items
    max_pixels: int

    def write(self, target: Path, skipped: Sequence[Skipped], reporter: Reporter, check: Callable[[], None]) -> None:
        """Write the page.

        Args:
            target: the file.
            skipped: images that could not be used.
            reporter: is told of progress.
            check: called with each image that is shown; an error of it ends the writing.

        Raises:
            OutputError: it cannot be written.
        """
        verdict, shown = self._ranked()
        reporter.stage("page", len(shown))
        pictures, lost = list[SheetPicture](), list[Skipped]()
        for made in make_sheet(shown, self.max_pixels):
            check()
            reporter.advance(1)
            if isinstance(made, Skipped):
                lost.append(made)
            else:
                pictures.append(made.picture)
        total, run = len(verdict.scores), printable(str(self.localiser.run))
        heading = f"Boxes of {counted(total, 'image')}, found by {run}"
        warnings = self.localiser.facts.get("warnings", [])
        content = PageContent(heading, verdict, total, pictures, list(self._commands()), [*skipped, *lost], warnings)
        write_text(target, render(content))

    def _ranked(self) -> tuple[Verdict, list[tuple[int, ImageFile, ImageRecord]]]:
        """The scores of all images, and place, file and record of those that are shown, most doubtful first."""
        tally, numbers = Tally(), list[int]()
        for number, item in enumerate(self.items()):
            if isinstance(item, ImageRecord):
                tally.add(item.with_believed())
                numbers.append(number)
        verdict = tally.verdict()
        ranking = verdict.ranking()
        places = {numbers[ranking[place]]: int(place) for place in places_shown(ranking)}
        numbered = ((n, item) for n, item in enumerate(self.items()) if n in places)
        shown = [(places[n], self.files[n], item.with_believed()) for n, item in numbered if isinstance(item, ImageRecord)]
        return verdict, sorted(shown, key=lambda one: one[0])

    def _commands(self) -> Iterator[tuple[str, str]]:
        yield "Accept or correct the boxes in the browser, most doubtful first", command("review", self.folder)
        yield from commands_for_boxes(self.folder / "boxes.json")
