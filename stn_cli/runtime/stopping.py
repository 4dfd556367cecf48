"""SIGINT and SIGTERM: finish the step, save, and end with the right code within a second.

The first signal is noted, and whoever works looks at it with `check` when it suits. Where nobody looks for `GRACE` seconds (a stalled camera,
a long search), `Interrupted` is raised in the main thread, as Python raises KeyboardInterrupt; only what must not be cut in two (`finishing`)
is finished first. A second signal leaves at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from stn_cli.errors import Interrupted

GRACE = 0.7
"""Seconds within which work is expected to look whether it shall stop."""

_open: list[StopRequest] = []


class StopRequest:
    """While this context is open a signal is turned into an `Interrupted` error, see above.

    Outside the main thread, where Python allows no handlers, it does nothing.

    Attributes:
        signum: the signal that came; 0 before.
        todo: what to do about it, said by an error that is raised where nobody looked.
    """

    def __init__(self, todo: str = "") -> None:
        self.signum = 0
        self.todo = todo
        self._before: dict[int, object] = {}
        self._timer: threading.Timer | None = None
        self._sending = threading.Lock()
        self._forced = self._late = self._done = False
        self._finishing = 0

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
            _open.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._answered()
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        if self in _open:
            _open.remove(self)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self._forced:  # our own reminder: nobody looked
            self._forced = False
            if self._done:
                return
            if self._finishing:
                self._late = True
                return
            self.check(self.todo)
        if self.signum:
            os._exit(128 + number)
        self.signum = number
        self._timer = threading.Timer(GRACE, self._remind, [threading.get_ident(), number])
        self._timer.daemon = True
        self._timer.start()

    def _remind(self, main: int, number: int) -> None:
        """Send the signal to the main thread once more, which wakes it where it waits for a lock or reads a pipe."""
        with self._sending:
            if self._done:
                return
            self._forced = True
            if sys.platform == "win32":
                signal.raise_signal(number)
            else:
                signal.pthread_kill(main, number)

    def _answered(self) -> None:
        """No reminder from here on: one that came after the handlers were put back would end the program."""
        self._done = True
        if self._timer is not None:
            self._timer.cancel()
            with self._sending:
                self._timer = None

    def check(self, todo: str = "") -> None:
        """Raise `Interrupted` if a signal has come."""
        if self.signum:
            self._answered()
            raise Interrupted(self.signum, todo or self.todo)

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """What must not be cut in two: a signal is answered at its end."""
        self._finishing += 1
        try:
            yield
        finally:
            self._finishing -= 1
        if self._late and not self._finishing:
            self._late = False
            self.check()


@contextmanager
def finishing() -> Iterator[None]:
    """`StopRequest.finishing` of whichever is open; plain where none is."""
    if not _open or threading.current_thread() is not threading.main_thread():
        yield
        return
    with _open[-1].finishing():
        yield
