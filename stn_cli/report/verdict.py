"""What the scores of a set say: in words, as a histogram, and which images to look at first."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stn_cli.records import EVEN, ImageRecord, sureness

BINS = 20
"""Of the histogram."""
LOOK_FIRST = 6
"""Images that the page begins with."""
LIKELY, UNLIKELY = 0.6, 0.4
"""Scores from which a box is drawn green and below which it is drawn red."""
BANDS = ("good", "doubtful", "bad")
"""Names of the colours of boxes by their scores: green, amber, red."""


def band_of(score: float) -> str:
    """Which colour a box of a score has.

    Args:
        score: from 0 to 1.

    Returns:
        One of `BANDS`.
    """
    return BANDS[0] if score >= LIKELY else BANDS[1] if score >= UNLIKELY else BANDS[2]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The scores of a set.

    Attributes:
        scores: (N,) of each image's worst box that is believed, or of its best one, see `sureness`; 0 where nothing was found.
        found: (N,) whether anything was found.
        boxes: that were found in all images.
        doubtful: those of them with a score below 0.5.
    """

    scores: npt.NDArray[np.float64]
    found: npt.NDArray[np.bool_]
    boxes: int
    doubtful: int

    def ranking(self) -> npt.NDArray[np.intp]:
        """Indices of all images, most doubtful first; equal ones in their order."""
        return np.argsort(self.scores, kind="stable")

    def words(self) -> str:
        """How many images are to be believed, in a sentence or two, and how many to look at first."""
        total, likely, nothing = len(self.scores), int((self.scores >= EVEN).sum()), int((~self.found).sum())
        if total == 1:
            return f"The image scores {self.scores[0]:.2f}." if self.found[0] else "Nothing was found in the image."
        if likely == total:
            said = f"All {total:,} images score at least {EVEN}."
        elif likely:
            said = f"{likely:,} of {total:,} images score{'s' if likely == 1 else ''} at least {EVEN}."
        else:
            said = f"None of {total:,} images scores {EVEN} or more."
        if nothing:
            said += f" In {nothing:,} {'image' if nothing == 1 else 'images'} nothing was found."
        first = min(LOOK_FIRST, total)
        return f"{said} Look at these {first} first."

    def bands(self) -> list[tuple[str, str, int]]:
        """For each colour its name, its scores in words, and how many images have it; those in which nothing was found come last."""
        names = [band_of(score) if found else "nothing" for score, found in zip(self.scores, self.found, strict=True)]
        words = (f"{LIKELY} and more", f"{UNLIKELY} to {LIKELY}", f"below {UNLIKELY}", "nothing found")
        return [(name, said, names.count(name)) for name, said in zip((*BANDS, "nothing"), words, strict=True)]

    def histogram(self) -> list[int]:
        """How many images have a score in each of `BINS` equal parts of [0, 1]."""
        index = np.clip((self.scores * BINS).astype(int), 0, BINS - 1)
        return [int(count) for count in np.bincount(index, minlength=BINS)]


class Tally:
    """Scores of images as they come; a few bytes for each are kept."""

    def __init__(self) -> None:
        self._scores, self._found = array("d"), bytearray()
        self._boxes = self._doubtful = 0

    def add(self, record: ImageRecord) -> None:
        """Take in what was found in an image."""
        self._found.append(bool(record.objects))
        self._scores.append(sureness(found.score for found in record.objects))
        self._boxes += len(record.objects)
        self._doubtful += sum(found.score < EVEN for found in record.objects)

    def verdict(self) -> Verdict:
        """What came so far."""
        found = np.frombuffer(bytes(self._found), np.uint8).astype(bool)
        return Verdict(np.array(self._scores, np.float64), found, self._boxes, self._doubtful)
