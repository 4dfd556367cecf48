"""Items made in a thread, ahead of whoever reads them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

WAIT, LEAVE = 0.1, 0.5
"""Seconds between two looks whether there is anything to be done but wait, and that a thread is given to end."""

Item = TypeVar("Item")


@dataclass(slots=True)
class _Ended:
    """The end of a stream of items, and the error that ended it."""

    error: BaseException | None = None


def nothing() -> None:
    """What is to be done beside waiting, where there is nothing."""


def ahead(items: Iterator[Item], room: int, poll: Callable[[], None] = nothing) -> Iterator[Item]:
    """An iterator's items, made in a thread; its errors are raised where the items are read, and leaving early stops it.

    The thread ends the iterator too. One that is caught in a call of the system is left to itself: it dies with the process.

    Args:
        items: whatever makes them; a generator.
        room: how many may wait.
        poll: called with each item, and several times a second while none comes; an error of it ends the reading.
    """
    waiting: queue.Queue[Item | _Ended] = queue.Queue(room)
    left = threading.Event()

    def put(item: Item | _Ended) -> bool:
        while not left.is_set():
            with suppress(queue.Full):
                waiting.put(item, timeout=WAIT)
                return True
        return False

    def work() -> None:
        ended = _Ended()
        try:
            for item in items:
                if not put(item):
                    break
        except BaseException as error:
            ended.error = error
        finally:
            items.close()  # type: ignore[attr-defined]
        put(ended)

    thread = threading.Thread(target=work, name="video", daemon=True)
    thread.start()
    try:
        while True:
            poll()
            try:
                item = waiting.get(timeout=WAIT)
            except queue.Empty:
                continue
            if isinstance(item, _Ended):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        left.set()
        thread.join(LEAVE)
