"""`stn-coloc review` as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from stn_cli.jobs.review import listening
from stn_cli.review.server import ReviewApplication
from stn_cli.review.serving import new_token
from tests.conftest import ROOT


class Running:
    """A review that runs; `address` is what it printed."""

    def __init__(self, *words: object, cwd: Path | None = None) -> None:
        command = [sys.executable, "-m", "stn_cli", "review", "--no-browser", *map(str, words)]
        surroundings = os.environ | {"PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd, env=surroundings
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        if not self.address.startswith("http://127.0.0.1:"):
            raise AssertionError(self.address + self.process.communicate()[1])

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal: (exit code, the rest of stdout, stderr)."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


@contextmanager
def running(*words: object, cwd: Path | None = None) -> Iterator[Running]:
    found = Running(*words, cwd=cwd)
    try:
        yield found
    finally:
        found.process.kill()
        found.process.communicate()


@contextmanager
def answering(application: ReviewApplication) -> Iterator[str]:
    """An application that answers in a thread of this process: its address."""
    with listening(0) as open_socket:
        port, token = open_socket.getsockname()[1], new_token()
        server = uvicorn.Server(uvicorn.Config(application.guarded(token, port), log_level="error", lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [open_socket]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{port}/{token}/"
        finally:
            server.should_exit = True
            thread.join()
            application.close()
