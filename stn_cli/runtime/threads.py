"""How many threads work, and how they wait: as many as there are cores to have, and asleep while they have nothing to do.

A thread of OpenMP that waits for others spins for some milliseconds by default, in which nobody else has its core: beside other programs
a training then takes many times as long. Its library looks at how to wait when it is loaded, so that `sleep_while_waiting` comes before torch.
Threads that share a core with another program are waited for by all others: one thread on a core of its own is faster than two on one and a
half. So `watch_cores` notes how idle the cores are, and after the seconds in which libraries are loaded it is known what others leave.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stn_cli.bounds import check_shared

MOST_WORKERS = 16
"""Decoding threads at most, unless a number is asked for."""
WAITING = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
"""How long OpenMP's threads spin before they sleep, in rounds of GNU's library (its default is 300,000) and in milliseconds of LLVM's (200). Not
at all makes a training that has its cores to itself a tenth slower, see benchmarks/busy.py."""

LEAST_WATCHED = 0.3
"""Seconds from which on what was seen of the cores is believed: the system counts in hundredths."""

_asked: list[int] = []  # the number that was asked for, if any: of this process, as torch's and OpenCV's own numbers are
_watched: list[Watch] = []  # the beginning, where the program noted it


@dataclass(frozen=True, slots=True)
class Watch:
    """What was known of this process's cores at a time.

    Attributes:
        at: when, seconds.
        idle: for how long they had been idle, seconds, in sum.
        own: for how long this process had worked, seconds of all its threads.
    """

    at: float
    idle: float
    own: float

    @classmethod
    def now(cls, root: Path = Path("/")) -> Watch | None:
        """What is known now; None where the system does not say it.

        Args:
            root: of the file system that says it.
        """
        affinity = getattr(os, "sched_getaffinity", None)
        lines = [line.split() for line in _text(root / "proc/stat").splitlines() if line.startswith("cpu")]
        mine = {f"cpu{core}" for core in affinity(0)} if affinity else set()
        try:
            ticks = sum(int(idle) + int(waits) for name, _, _, _, idle, waits, *_ in lines if name in mine)
        except ValueError:
            return None
        own = os.times()
        return cls(time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), own.user + own.system) if ticks else None

    def free_until(self, later: Watch) -> float:
        """Cores that this process had or could have had, in the mean: what it worked, and what nobody did.

        Args:
            later: what was known at the end.

        Returns:
            Cores.
        """
        return (later.idle - self.idle + later.own - self.own) / max(later.at - self.at, 1e-9)


def watch_cores() -> None:
    """Note how idle the cores are, at the beginning of a program."""
    _watched[:] = filter(None, [Watch.now()])


def sleep_while_waiting() -> None:
    """Let OpenMP's threads soon sleep while they wait, unless the environment says how they shall; it has to come before torch is loaded."""
    if not any(name in os.environ for name in ("OMP_WAIT_POLICY", *WAITING)):
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


def free_cores() -> int:
    """Of the available cores those that other programs left since `watch_cores`; all of them where that is not known.

    Returns:
        At least 1.
    """
    cores, now = available_cores(), Watch.now() if _watched else None
    if now is None or now.at - _watched[0].at < LEAST_WATCHED:
        return cores
    return max(1, min(cores, round(_watched[0].free_until(now))))


def use_threads(count: int | None = None) -> None:
    """Set how many threads compute in torch and in OpenCV, and how many decode, in this process.

    Args:
        count: threads; when left out, one for each free core, and no more than torch takes by itself. Where `OMP_NUM_THREADS` says how
            many, only the available cores are looked at.

    Raises:
        UsageError: not 1 to 1,024.
    """
    check_shared(threads=count)
    import torch

    cores = _cores()
    torch.set_num_threads(use_picture_threads(count, min(torch.get_num_threads(), cores)))


def use_picture_threads(count: int | None = None, most: int | None = None) -> int:
    """`use_threads` for what needs no torch, whose import takes seconds and 400 MB.

    Args:
        count: as there.
        most: threads when it is left out; one for each free core unless told.

    Returns:
        How many there are now.

    Raises:
        UsageError: not 1 to 1,024.
    """
    check_shared(threads=count)
    import cv2

    _asked[:] = [count] if count else []
    threads = count or most or _cores()
    cv2.setNumThreads(threads)
    return threads


def _cores() -> int:
    return available_cores() if "OMP_NUM_THREADS" in os.environ else free_cores()


def working_threads() -> int:
    """Threads that compute, as `use_threads` set them.

    Returns:
        At least 1.
    """
    import torch

    return torch.get_num_threads()


def default_workers() -> int:
    """Threads that decode: the number that was asked for, or one for each available core, at most `MOST_WORKERS`.

    Returns:
        At least 1.
    """
    return _asked[0] if _asked else min(MOST_WORKERS, available_cores())
