"""A child of the pool: reads case numbers, tries each, answers in a line of JSON.

python -m benchmarks.soak.worker PART FOLDER SEED
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Protocol

from benchmarks.soak.process import resident

ROOM = 1 << 30
"""Bytes that a case can allocate beyond what the ready process has."""
MOST = 600.0
"""MB that a case may take: with 25 megapixels, 3 bytes each and a few copies."""


class Cases(Protocol):
    """What a part that is run in a pool brings: `Cases(folder, seed)`, and `run` for one case, which gives a word or raises."""

    def run(self, number: int) -> str: ...


def limit_memory(room: int) -> None:
    """Let allocations beyond `room` more bytes fail, where the system can."""
    try:
        import resource

        used = next(
            int(line.split()[1]) * 1024
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("VmData:")
        )
        resource.setrlimit(resource.RLIMIT_DATA, (used + room, resource.RLIM_INFINITY))
    except (ImportError, OSError, StopIteration):
        return


def peak() -> float:
    """Largest resident memory since `forget_peak`, MB."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return resident(os.getpid())
    return next(int(line.split()[1]) / 1000 for line in text.splitlines() if line.startswith("VmHWM:"))


def forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def answer(cases: Cases, number: int) -> dict[str, str | float]:
    """One case: what was said, seconds and growth of memory, or the fault."""
    forget_peak()
    before, begun = resident(os.getpid()), time.monotonic()
    try:
        said = cases.run(number)
    except BaseException as error:
        at = " < ".join(
            f"{f.filename.rsplit('/', 1)[-1]}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)[:-5:-1]
        )
        return {"fault": f"{type(error).__name__}: {error} ({at})"[:600]}
    seconds, growth = time.monotonic() - begun, peak() - before
    if growth > MOST:
        return {"fault": f"{growth:.0f} MB were taken"}
    return {"said": said, "seconds": round(seconds, 3), "growth": round(growth, 1)}


def main() -> None:
    part, folder, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    cases: Cases = importlib.import_module(f"benchmarks.soak.{part}").Cases(folder, seed)
    limit_memory(ROOM)
    out = os.fdopen(os.dup(1), "w", buffering=1)  # whatever else writes to stdout is not an answer
    os.dup2(2, 1)
    out.write("ready\n")
    for line in sys.stdin:
        out.write(json.dumps(answer(cases, int(line))) + "\n")


if __name__ == "__main__":
    main()
