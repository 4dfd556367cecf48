"""Cases in child processes that are restarted when one dies, hangs, or grows: a crash of a decoder is seen, not shared."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.soak.record import Outcome, Soak

START = 120.0
"""Seconds that a child has to get ready."""


@dataclass(slots=True)
class Tally:
    """What came of all cases: how often each answer, the slowest case, the largest growth of memory."""

    answers: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    growth: float = 0.0


class _Child:
    """One worker process; `ask` gives its answer to a case, or None where there is none in time."""

    def __init__(self, part: str, folder: Path, soak: Soak) -> None:
        command = [sys.executable, "-m", "benchmarks.soak.worker", part, str(folder), str(soak.seed)]
        self._errors = folder / "stderr.txt"
        with open(self._errors, "wb") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        if self._line(START) is None:
            raise SystemExit(f"a worker does not start:\n{self._errors.read_text(errors='replace')[-2000:]}")

    def ask(self, case: int, limit: float) -> dict[str, str | float] | None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{case}\n".encode())
        self.process.stdin.flush()
        line = self._line(limit)
        return None if line is None else json.loads(line)

    def _line(self, limit: float) -> bytes | None:
        assert self.process.stdout is not None
        handle, data, end = self.process.stdout.fileno(), b"", time.monotonic() + limit
        while not data.endswith(b"\n"):
            ready, _, _ = select.select([handle], [], [], max(0.0, end - time.monotonic()))
            piece = os.read(handle, 65536) if ready else b""
            if not piece:
                return None
            data += piece
        return data

    def end(self) -> str:
        """Stop it; what it died of, if it did."""
        time.sleep(0.05)
        code = self.process.poll()
        self.process.kill()
        self.process.communicate()
        said = self._errors.read_text(errors="replace").splitlines()[-1:]
        return "no answer in time" if code is None else f"the process died with {code} {said}"


def run_cases(part: str, soak: Soak, outcome: Outcome, cases: range, limit: float) -> Tally:
    """Run every case of a part in as many children as there are cores.

    Args:
        part: `images` or `files`: its module has a class `Cases`.
        soak: how.
        outcome: faults are noted in it.
        cases: numbers.
        limit: seconds for one case.
    """
    tally, numbers, lock = Tally(), iter(cases), threading.Lock()
    begun = last = time.monotonic()

    def heard(case: int, answer: dict[str, str | float] | None, child: _Child) -> bool:
        """Note an answer; whether the child can go on."""
        if answer is not None and "fault" not in answer:
            tally.answers[str(answer["said"])] += 1
            tally.slowest = max(tally.slowest, float(answer["seconds"]))
            tally.growth = max(tally.growth, float(answer["growth"]))
            return True
        what = str(answer["fault"]) if answer is not None else child.end()
        outcome.fault(f"case {case}: {what}", soak.again(part, case))
        tally.answers["fault"] += 1
        return answer is not None

    def work(number: int) -> None:
        nonlocal last
        folder = soak.work / f"worker-{number}"
        folder.mkdir(parents=True)
        child = _Child(part, folder, soak)
        for case in _shared(numbers, lock):
            answer = child.ask(case, limit)
            with lock:
                alive = heard(case, answer, child)
                if time.monotonic() - last > 30:
                    last = time.monotonic()
                    print(f"  {part} {case} of {len(cases)}, {last - begun:.0f} s", flush=True)
            if not alive:
                child = _Child(part, folder, soak)
        child.end()

    workers = min(len(cases), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outcome.count = sum(tally.answers.values())
    return tally


def _shared(numbers: Iterator[int], lock: threading.Lock) -> Iterator[int]:
    while True:
        with lock:
            number = next(numbers, None)
        if number is None:
            return
        yield number
