"""How far a search is: the total of its bar, which is known before it begins, and how much of it each of its notes stands for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from stn_cli.coloc.score.object_search import share_of
from stn_cli.coloc.search.searched import ladder_of
from stn_cli.coloc.search.settings import CHOICE, OUTLINE
from stn_cli.runs.config import TrainConfig

WEIGHTS = {"crops": 1, "windows": 12, "outlines": 24, "labelled": 6, "background": 1, "objects": 7, "scored": 2}
"""What stands behind a note, by its first word, in thirds of a second on a core for 46 photographs. Bars need no more."""


def expected_work(config: TrainConfig, images: int, dense: bool) -> int:
    """The work of a search that goes the usual way, in units of `WEIGHTS`.

    Args:
        config: of the training.
        images: of the set.
        dense: whether the encoder is a network, whose objects are chosen among proposals.

    Returns:
        At least 1.
    """
    searched = min(images, config.search_images)
    notes = {"crops": len(ladder_of(config)) if config.search != "deformable" else 0}
    if config.search == "rigid" or not dense:
        notes |= {"windows": int(config.search != "rigid"), "labelled": math.ceil(images / CHOICE.images_at_once)}
    else:
        rounds = math.ceil(searched / CHOICE.images_at_once) + math.ceil(images / CHOICE.images_at_once)
        notes |= {
            "windows": 1,
            "outlines": 1,
            "background": 1,
            "labelled": math.ceil((images - searched) / OUTLINE.images_at_once),
            "objects": rounds + math.ceil(share_of(config.steps) / 10),
            "scored": math.ceil(images / CHOICE.images_at_once),
        }
    return max(1, config.kinds * sum(WEIGHTS[name] * count for name, count in notes.items()))


@dataclass(slots=True)
class Outlook:
    """The bar of a search: it moves with the notes, never past its total, and is full at the end.

    Attributes:
        total: see `expected_work`.
        advance: called with units, and a note.
        done: units that were told.
    """

    total: int
    advance: Callable[[int, str], None]
    done: int = 0

    def hear(self, note: str) -> None:
        """Move by what a note stands for; nothing where its kind was not expected, as a further object's."""
        units = min(WEIGHTS.get(note.split()[0], 0), self.total - self.done)
        self.done += units
        self.advance(units, note)

    def finish(self) -> None:
        """Fill it up: what was not needed is done, too."""
        self.advance(self.total - self.done, "")
        self.done = self.total
