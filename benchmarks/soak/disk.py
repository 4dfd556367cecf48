"""The disk is full at random moments of train, localise and track: 4 and one line, old results stand, and later it works."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.soak.kill import Job, jobs
from benchmarks.soak.process import Done, half_written, hashes, keep, program
from benchmarks.soak.record import Outcome, Soak

ROOM = 96 << 20
"""Bytes of the disk when it is large enough."""


class SmallDisk:
    """A file system in memory whose size can be set; where that is not permitted, a limit on the size of each file."""

    def __init__(self, folder: Path, mounted: bool) -> None:
        self.folder, self.mounted, self._limit = folder, mounted, 0

    def resize(self, size: int) -> None:
        """Give it so many bytes."""
        self._limit = size
        if self.mounted:
            subprocess.run(["mount", "-o", f"remount,size={size}", str(self.folder)], check=True)

    @property
    def before(self) -> Callable[[], None] | None:
        """What a child has to do first, where there is no file system of its own."""
        if self.mounted or self._limit >= ROOM:
            return None
        import resource

        limit = self._limit
        return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Mount it, and unmount it whatever happens."""
    folder.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "soak", str(folder)], capture_output=True, check=False
        )
        mounted = done.returncode == 0
    except OSError:
        mounted = False
    try:
        yield SmallDisk(folder, mounted)
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=False)


def run(soak: Soak, outcome: Outcome) -> None:
    """Fill the disk in each command in turn; even rounds have an earlier result that must stand."""
    made = jobs(soak.work, soak.quick)
    temporary = soak.work / "temporary"
    temporary.mkdir()
    cases, full, whole = soak.count(51, 2), 0, 0
    with small_disk(soak.work / "disk") as disk:
        references = {job.name: _reference(job, soak.work, temporary) for job in made}
        for number in cases:
            job = made[number % len(made)]
            out = disk.folder / "out"
            rng = np.random.default_rng([soak.seed, number])
            done, wrong = _one(job, out, disk, references[job.name], temporary, float(rng.uniform(0.02, 1.0)), number)
            full, whole = full + (done.code == 4), whole + (done.code == 0)
            if wrong:
                disk.resize(ROOM)
                keep(out, soak.kept, f"disk-{number}-{job.name}") if out.is_dir() else None
                outcome.fault(f"{job.name} on a full disk: {'; '.join(wrong[:3])}", soak.again("disk", number))
            shutil.rmtree(out, ignore_errors=True)
        kind = "a small tmpfs" if disk.mounted else "a limit on the size of files"
    outcome.count = len(cases)
    outcome.figures = {"full": full, "large_enough": whole, "by": kind}
    outcome.done = (
        f"disk full ({kind}) at random moments of train, localise and track: {full} ended with 4, {whole} had room enough"
    )


def _reference(job: Job, work: Path, temporary: Path) -> Path:
    out = work / f"reference-{job.name}"
    done = job.run(out, temporary)
    if done.code:
        raise SystemExit(f"{job.name} does not work: {done.words()}")
    return out


def _one(
    job: Job, out: Path, disk: SmallDisk, reference: Path, temporary: Path, share: float, number: int
) -> tuple[Done, list[str]]:
    """One full disk: how the command ended, and what is wrong."""
    disk.resize(ROOM)
    earlier = number // 3 % 2 == 0
    if earlier:
        shutil.copytree(reference, out)
    sizes = [path.stat().st_size for path in reference.rglob("*") if path.is_file()]
    if disk.mounted:
        pages = sum(-(-size // 4096) * 4096 for size in sizes)
        disk.resize((_used(out) if earlier else 0) + max(8192, int(pages * share)))
    else:
        disk.resize(max(64, int(max(sizes) * share)))
    before = hashes(out) if earlier else {}
    more = ("--overwrite",) if earlier else ()
    done = program(job.name, *job.arguments, "-o", out, "-q", *more, temporary=temporary, before=disk.before)
    wrong = []
    if done.code not in (0, 4) or (done.code == 4 and not done.one_line):
        wrong.append(done.words())
    wrong += half_written(out, temporary)
    if done.code and earlier and (changed := [name for name, digest in before.items() if hashes(out).get(name) != digest]):
        wrong.append(f"earlier results are gone or changed: {', '.join(changed[:4])} and {max(0, len(changed) - 4)} more")
    disk.resize(ROOM)
    again = job.run(out, temporary, *more)
    if again.code and not more:  # what was there when the disk was full may be left
        again = job.run(out, temporary, "--overwrite") if done.code == 0 or again.one_line else again
    if again.code:
        wrong.append(f"with room again: {again.words()}")
    elif different := job.same(out, hashes(reference)):
        wrong.append(f"with room again not the same: {', '.join(different[:4])}")
    return done, wrong


def _used(folder: Path) -> int:
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())
