"""What came of localising a source: images, objects, and what was skipped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stn_cli.records import ImageRecord, Skipped


@dataclass(slots=True)
class LocaliseSummary:
    """What came of it.

    Attributes:
        out: the results' folder.
        skipped: files that could not be used.
        images: that were localised.
        objects: that were found.
        doubtful: those of them with a score below 0.5.
        resumed: images that an earlier call had done.
        seconds: of the whole call.
    """

    out: Path
    skipped: list[Skipped] = field(default_factory=list)
    images: int = 0
    objects: int = 0
    doubtful: int = 0
    resumed: int = 0
    seconds: float = 0.0

    def counting(self, items: Iterable[ImageRecord | Skipped]) -> Iterator[ImageRecord]:
        """Pass records on, counted; files that were skipped go into `skipped` alone.

        Args:
            items: what was found in each image, in order.

        Yields:
            The records.
        """
        for item in items:
            if isinstance(item, Skipped):
                self.skipped.append(item)
                continue
            self.images += 1
            self.objects += len(item.objects)
            self.doubtful += sum(found.score < 0.5 for found in item.objects)
            yield item
