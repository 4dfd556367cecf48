"""How many threads work, and how they wait: as many as there are cores to have, and asleep while they have nothing to do.

A thread of OpenMP that waits for others spins for some milliseconds by default, in which nobody else has its core: beside other programs
a training then takes many times as long. Its library looks at how to wait when it is loaded, so that `sleep_while_waiting` comes before torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MOST_WORKERS = 16
"""Decoding threads at most, unless a number is asked for."""
WAITING = {"OMP_WAIT_POLICY": "passive"}
"""How OpenMP's threads wait: GNU's library and LLVM's take it both."""

_asked: list[int] = []  # the number that was asked for, if any: of this process, as torch's and OpenCV's own numbers are


def sleep_while_waiting() -> None:
    """Let OpenMP's threads sleep while they wait, unless the environment says how they shall; before torch is loaded, else it has no effect."""
    if not any(name in os.environ for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")):
        os.environ.update(WAITING)


def available_cores(root: Path = Path("/")) -> int:
    """Cores that this process may keep busy: those that it may run on, and no more than its control group's quota of time pays for.

    Args:
        root: of the file system that says so.

    Returns:
        At least 1; a quota is rounded down.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min([cores, *(int(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """Quotas of this process's control group and of those that it lies in, in cores; of the second kind of groups, and of the first.

    In a container the group's own path may not be there: its files then lie at the top.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            places, read = ["sys/fs/cgroup"], _quota_of_two
        elif "cpu" in controllers.split(","):
            places, read = ["sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"], _quota_of_one
        else:
            continue
        inside = PurePosixPath("/" + group.lstrip("/"))
        if ".." in inside.parts:  # the group lies outside of what is seen from here
            inside = PurePosixPath("/")
        for place in places:
            for one in (inside, *inside.parents):
                quota = read(root / place / str(one).lstrip("/"))
                if quota is not None and quota > 0:
                    yield quota


def _quota_of_two(folder: Path) -> float | None:
    """`cpu.max` holds microseconds of work, or max, and in how many."""
    return _ratio(_text(folder / "cpu.max").split())


def _quota_of_one(folder: Path) -> float | None:
    """The same in two files; -1 stands for no quota."""
    return _ratio([_text(folder / name).strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")])


def _ratio(numbers: list[str]) -> float | None:
    try:
        work, period = (float(number) for number in numbers)
        return work / period
    except (ValueError, ZeroDivisionError):
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def use_threads(count: int | None = None) -> None:
    """Set how many threads compute in torch and in OpenCV, and how many decode, in this process.

    Args:
        count: threads; when left out or 0, one for each of the available cores, and no more than torch takes by itself, which minds
            `OMP_NUM_THREADS`.
    """
    import cv2
    import torch

    _asked[:] = [count] if count else []
    threads = count or min(torch.get_num_threads(), available_cores())
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def default_workers() -> int:
    """Threads that decode: the number that was asked for, or one for each available core, at most `MOST_WORKERS`.

    Returns:
        At least 1.
    """
    return _asked[0] if _asked else min(MOST_WORKERS, available_cores())
