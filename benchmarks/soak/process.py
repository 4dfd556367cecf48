"""Running the program as people do, its memory while it runs, and what it leaves in a folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import PROGRAM
from stn_cli.outputs.manifest import STAGING

CLEAR = range(2, 8)
"""Exit codes that say what is wrong: anything else but 0 is a fault."""


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ended."""

    code: int
    errors: str
    seconds: float

    @property
    def clear(self) -> bool:
        """Whether it did its work, or said in one line why not."""
        return self.code == 0 or (self.code in CLEAR and self.one_line)

    @property
    def one_line(self) -> bool:
        lines = self.errors.splitlines()
        return len(lines) == 1 and lines[0].startswith("error: ")

    def words(self) -> str:
        return f"exit {self.code}: {' | '.join(self.errors.splitlines()[-3:])[-400:]}"


def program(
    *arguments: object, temporary: Path | None = None, limit: float = 600.0, before: Callable[[], None] | None = None
) -> Done:
    """Run a command of the program to its end."""
    begun = time.monotonic()
    process = start(*arguments, temporary=temporary, before=before)
    try:
        _, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Done(-9, f"no end after {limit:g} s", limit)
    return Done(process.returncode, errors, time.monotonic() - begun)


def start(*arguments: object, temporary: Path | None = None, before: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    """Start a command of the program; `temporary` is its folder for temporary files, `before` is called in the child."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if temporary is not None:
        environment["TMPDIR"] = str(temporary)
    command = [*PROGRAM, *(str(a) for a in arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=before
    )


def watched(*arguments: object, every: float = 0.25) -> tuple[Done, list[tuple[float, float]]]:
    """Run a command: (how it ended, its resident memory in MB by seconds since the start)."""
    begun = time.monotonic()
    process = start(*arguments)
    samples: list[tuple[float, float]] = []
    while process.poll() is None:
        if (size := resident(process.pid)) > 0:
            samples.append((time.monotonic() - begun, size))
        time.sleep(every)
    _, errors = process.communicate()
    return Done(process.returncode, errors, time.monotonic() - begun), samples


def resident(pid: int) -> float:
    """Resident memory of a process, MB; 0 where it has ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1000
    except OSError:
        listed = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return int(listed.stdout.strip() or 0) / 1000
    return 0.0


def median_between(samples: list[tuple[float, float]], low: float, high: float) -> float:
    """Median memory between two shares of the time."""
    last = samples[-1][0]
    kept = sorted(size for at, size in samples if low * last <= at <= high * last)
    return kept[len(kept) // 2] if kept else samples[-1][1]


def hashes(folder: Path) -> dict[str, str]:
    """Digest of every file of a results folder by its name, but for what is unfinished."""
    out = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] != STAGING:
            out[name.as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return out


def half_written(folder: Path, temporary: Path) -> list[str]:
    """What a stopped command must not leave: JSON that cannot be read, temporary files outside of what is unfinished.

    An empty folder of torch's own in the temporary one is not the tool's.
    """
    wrong = [f"left in the temporary folder: {p.name}" for p in temporary.iterdir() if not p.name.startswith("torchinductor_")]
    for path in folder.rglob("*") if folder.is_dir() else ():
        name = path.relative_to(folder).as_posix()
        if path.name.startswith((".tmp", "tmp")) and not name.startswith(STAGING + "/"):
            wrong.append(f"temporary file: {name}")
        if path.suffix == ".json" and path.is_file():
            try:
                json.loads(path.read_text("utf-8"))
            except ValueError as error:
                wrong.append(f"{name} cannot be read: {error}")
    return wrong


def keep(folder: Path, kept: Path, name: str) -> Path:
    """Copy the files of a case that failed to where they stay."""
    target = kept / name
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder, target, symlinks=True, ignore_dangling_symlinks=True)
    return target
