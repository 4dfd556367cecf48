"""From the answers to a server at an address of this machine alone, until a signal ends it."""

from __future__ import annotations

import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from stn_cli.review.server import ReviewApplication


def new_token() -> str:
    """A token that nobody guesses.

    Returns:
        Text that an address can hold.
    """
    return secrets.token_urlsafe(24)


class _Server(uvicorn.Server):
    """Ends at a signal, and does not send it to itself once more afterwards: the corrected file is written then."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say that it is ready once signals are taken and requests answered."""
        await super().startup(sockets)
        self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(application: ReviewApplication, listening: socket.socket, ready: Callable[[str, str], None]) -> None:
    """Answer until SIGINT or SIGTERM; all corrections are on disk at every moment.

    Args:
        application: the answers.
        listening: a bound socket.
        ready: called when requests are answered, with the page's address and with one that leads to it once.
    """
    port = listening.getsockname()[1]
    site, token, once = f"http://127.0.0.1:{port}/", new_token(), new_token()
    config = uvicorn.Config(
        application.guarded(token, port, once),
        log_level="error",
        access_log=False,  # it would print the token
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    stop = threading.Event()
    saver = threading.Thread(target=application.keep_saved, args=[stop], daemon=True)
    saver.start()
    try:
        _Server(config, lambda: ready(f"{site}{token}/", site + once)).run(sockets=[listening])
    finally:
        stop.set()
        saver.join()
