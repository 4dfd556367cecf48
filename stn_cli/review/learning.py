"""Learning from corrections while the review goes on: in a thread, once at a time; its end gives a review of better boxes."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from stn_cli.bounds import shown
from stn_cli.errors import ColocError
from stn_cli.review.pictures import ReviewPictures
from stn_cli.review.session import ReviewSession

PATIENCE = 10.0
"""Seconds that a command that learns has to end in."""


class LearningWatch:
    """What a learner tells of its progress, and how it is ended.

    Attributes:
        note: what it told last.
    """

    def __init__(self) -> None:
        self.note, self._stopped = "", False
        self._process: subprocess.Popen[str] | None = None

    def hear(self, note: str) -> None:
        """Take a note of progress.

        Args:
            note: for people.
        """
        self.note = note

    @contextmanager
    def during(self, process: subprocess.Popen[str]) -> Iterator[None]:
        """What runs in the block is ended when the watch is stopped.

        Args:
            process: that learns.
        """
        self._process = process
        try:
            if self._stopped:
                process.terminate()
            yield
        except BaseException:
            process.terminate()
            raise
        finally:
            self._process = None

    def stop(self) -> None:
        """End what runs, and whatever is begun after it."""
        self._stopped = True
        if (process := self._process) is not None:
            process.terminate()


Opening = Callable[[], tuple[ReviewSession, ReviewPictures]]
Learner = Callable[[ReviewSession, LearningWatch], Opening]
"""A review, and who is told of progress -> what opens the review of the boxes that were found after its corrections were learnt. It is called
in a thread while the review goes on; the opening takes along all corrections, and is called with the review's journal locked."""


class Learning:
    """Whether something is being learnt, and what came of the last time.

    Args:
        learner: does it; None where it cannot be done.
    """

    def __init__(self, learner: Learner | None) -> None:
        self._learner = learner
        self._thread: threading.Thread | None = None
        self._watch, self._fault, self._begun = LearningWatch(), "", 0.0

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
            "note": self._watch.note,
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
        self._watch, self._fault, self._begun = LearningWatch(), "", time.monotonic()
        self._thread = threading.Thread(target=self._work, args=[self._learner, session, done], daemon=True)
        self._thread.start()
        return True

    def _work(self, learner: Learner, session: ReviewSession, done: Callable[[ReviewSession, ReviewPictures], None]) -> None:
        try:
            opening = learner(session, self._watch)
            with session.journal.locked():  # actions until here go along, later ones are of the better boxes
                done(*opening())
        except ColocError as error:
            self._fault = error.line()
        except Exception as error:  # a thread that dies says nothing to the page
            self._fault = f"a fault of this program ({type(error).__name__}: {shown(error)})"
            raise

    def stop(self) -> bool:
        """End what is being learnt.

        Returns:
            Whether something was.
        """
        if self._thread is None or not self._thread.is_alive():
            return False
        self._watch.stop()
        self._thread.join(PATIENCE)
        return True
