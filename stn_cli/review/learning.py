"""Learning from what was said while the review goes on: in a thread, once at a time; its end gives a review of better boxes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from stn_cli.errors import ColocError
from stn_cli.review.pictures import ReviewPictures
from stn_cli.review.session import ReviewSession

Hear = Callable[[str], None]
Learner = Callable[[ReviewSession, Hear], tuple[ReviewSession, ReviewPictures]]
"""A review, and who is told of progress -> the review of the boxes that were found after what was said in it was learnt. It is called in a
thread, and the journal that it is given goes on being written until it locks it."""


class Learning:
    """Whether something is being learnt, and what came of the last time.

    Args:
        learner: does it; None where it cannot be done.
    """

    def __init__(self, learner: Learner | None) -> None:
        self._learner = learner
        self._thread: threading.Thread | None = None
        self._note, self._fault, self._begun = "", "", 0.0

    @property
    def works(self) -> bool:
        """Whether something is being learnt now."""
        return self._thread is not None and self._thread.is_alive()

    def as_json(self) -> dict[str, Any]:
        """As pages have it: whether it can be asked for, is done now and since when, and why it failed last."""
        seconds = round(time.monotonic() - self._begun) if self.works else 0
        return {
            "can": self._learner is not None,
            "works": self.works,
            "seconds": seconds,
            "note": self._note,
            "fault": self._fault,
        }

    def begin(self, session: ReviewSession, done: Callable[[ReviewSession, ReviewPictures], None]) -> bool:
        """Begin to learn, unless that is being done, or cannot be.

        Args:
            session: the review.
            done: is given what comes of it, with the old review's journal locked.

        Returns:
            Whether it was begun.
        """
        if self._learner is None or self.works:
            return False
        self._note, self._fault, self._begun = "", "", time.monotonic()
        self._thread = threading.Thread(target=self._work, args=[self._learner, session, done], daemon=True)
        self._thread.start()
        return True

    def _work(self, learner: Learner, session: ReviewSession, done: Callable[[ReviewSession, ReviewPictures], None]) -> None:
        try:
            done(*learner(session, self._hear))
        except ColocError as error:
            self._fault = error.line()

    def _hear(self, note: str) -> None:
        self._note = note
