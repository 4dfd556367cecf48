"""Work in threads whose results come in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

AHEAD = 4
"""Items per worker that may be under way before the first result is taken: memory stays flat."""


def ordered_map(function: Callable[[A], B], items: Iterable[A], workers: int) -> Iterator[B]:
    """`map` in threads: results in the order of the items, a bounded number under way, errors raised where they are read.

    Args:
        function: called in a thread for each item.
        items: read as results are.
        workers: threads.

    Yields:
        A result for each item.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="ordered") as pool:
        pending: deque[Future[B]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= workers * AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
