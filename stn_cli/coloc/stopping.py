"""SIGINT and SIGTERM: finish the step, save, leave with the right code; a second signal leaves at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType

from stn_cli.errors import Interrupted


class StopRequest:
    """While this context is open the first signal is only noted; `check` turns it into an `Interrupted` error.

    Outside the main thread, where Python allows no handlers, it does nothing.
    """

    def __init__(self) -> None:
        self.signum = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.signum:
            os._exit(128 + number)
        self.signum = number

    def check(self, todo: str = "") -> None:
        """Raise `Interrupted` if a signal has come."""
        if self.signum:
            raise Interrupted(self.signum, todo)
