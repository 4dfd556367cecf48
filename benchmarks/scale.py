"""`stn-coloc localise --engine ray`: images/s with more workers as a share of linear, what the driver costs, and memory of the object store.

    python -m benchmarks.scale [PART ...]

real: photographs of sample_data/cups, linked many times, with one and with two workers that hold a trained run, on this machine's
processors; beside them the local engine. asleep: workers that sleep in the place of the network, 30 ms an image, so that 64 of them can be
started on a machine of two cores; what is decoded is a made picture of the right size. Listing, tasks, blocks, messages, the driver and
the shards are the real ones. memory: the same with a hundredth of the images. listing: a folder of made names. Parts that are named are
measured again, the others are taken from an earlier run.

The clock: each worker writes down when it begins and ends a chunk. What is counted lies between the moment when the last worker has ended its
first chunk and the moment when the first one has ended its last: then all are at work, neither the start of Ray nor the end of the set is in
it, and of a chunk that reaches over an end of that time its share. The driver's own work is the time of its process on the processor between
the same two moments, for each image that was done between them; a worker's is its own, which other programs do not lengthen.
Workers that sleep wait for each other before their first chunk.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import PROGRAM, parser, timed
from benchmarks.provenance import LOCALISING, ROOT, begin, earlier, save, version
from stn_cli.jobs.cluster.finding import FindingActor

SLEEP = 0.03
"""Seconds of an image in a worker that sleeps: as long as one takes that finds, on a core of this machine."""
WORKERS = (1, 2, 64)
SECONDS = 40
"""Of each run of workers that sleep, at a perfect share."""
BATCH = 64
LOG, TOGETHER = "STN_COLOC_SCALE_LOG", "STN_COLOC_SCALE_TOGETHER"
"""Of the environment, which workers have from the driver: the folder of their logs, and how many begin together."""
LONGEST_WAIT = 300
"""Seconds that a worker waits for the others: 64 take more than a minute to start on two cores."""
DECODERS = 4
"""Processors that are left to decoding beside the workers that sleep."""
TOGETHER_READ = 3
"""Chunks of a row group: so many travel together from a folder, too, at this size of the pictures."""
STORE = 4 << 30
"""Bytes of the object store: the chunks of 64 workers and those that wait for them."""


class Log:
    """A worker's file of the moments at which it began and ended each chunk."""

    def __init__(self) -> None:
        self.path = Path(os.environ[LOG]) / f"{os.getpid()}.txt"

    def wait(self) -> None:
        """Until as many workers as begin together have come here; the first time only."""
        if self.path.exists():
            return
        self.path.touch()
        until = time.time() + LONGEST_WAIT
        while len(os.listdir(self.path.parent)) < int(os.environ[TOGETHER]) and time.time() < until:
            time.sleep(0.05)

    def note(self, begun: float, used: float, images: int) -> None:
        """A chunk is done that was begun at a time of day, and at a time of this process on the processor."""
        with open(self.path, "a") as file:
            file.write(f"{begun} {time.time()} {images} {time.process_time() - used}\n")


class Sleeping:
    """An actor in the place of `FindingActor`: as slow as a network, and a record for each image."""

    def __init__(self, model: Any, name: str, how: Any) -> None:
        self.batch, self.log = how.batch, Log()

    def __call__(self, batch: Any) -> Any:
        from stn_cli.formats.shards import Outcome, rows_of
        from stn_cli.jobs.cluster.rows import found_rows
        from stn_cli.records import ImageRecord, Localisation, corners

        self.log.wait()
        rows, begun, used = [], time.time(), time.process_time()
        chunks = batch.column("chunk").to_pylist()
        time.sleep(SLEEP * self.batch * len(chunks))
        for chunk in chunks:
            numbers = list(range(chunk * self.batch, (chunk + 1) * self.batch))
            box = (10.5, 20.25, 110.125, 220.0625)
            records = [
                ImageRecord(
                    f"{n:09d}.jpg", 640, 480, (Localisation(f"{n:09d}.jpg", 640, 480, box, corners(box), (0.1,) * 6, 0.9),)
                )
                for n in numbers
            ]
            rows.append((chunk, rows_of(records, numbers, ("object",)), Outcome.of(records), []))
        found = found_rows(rows)
        self.log.note(begun, used, self.batch * len(chunks))
        return found


class Finding(FindingActor):
    """An actor as it is, that notes its chunks."""

    def __call__(self, batch: Any) -> Any:
        begun, used = time.time(), time.process_time()
        found = super().__call__(batch)
        Log().note(begun, used, self._how.batch * batch.num_rows)
        return found


def made(file: Any, side: int, most: int, data: bytes | None = None) -> Any:
    """A picture of the right size in the place of a decoded one."""
    import numpy as np

    from stn_cli.geometry import Frame
    from stn_cli.media.cache import Letterbox

    return Letterbox(file, Frame(640, 480, side), np.zeros((side, side, 3), np.uint8))


class Clock:
    """A reporter that notes the time of day, the driver's time on the processor, and how many images have come back."""

    def __init__(self) -> None:
        self.begun = 0.0
        self.ticks: list[tuple[float, float, int]] = []

    def stage(self, name: str, total: int | None) -> None:
        self.begun = time.time()
        self.ticks.append((self.begun, time.process_time(), 0))

    def advance(self, count: int = 1, note: str = "") -> None:
        self.ticks.append((time.time(), time.process_time(), self.ticks[-1][2] + count))

    def warn(self, text: str) -> None:
        print(text, file=sys.stderr)


Chunk = tuple[float, float, float, float]
"""When a worker began it, when it ended it, its images, and seconds of the worker on the processor."""


def all_at_work(workers: list[list[Chunk]]) -> tuple[float, float, float, float]:
    """From when to when all workers are at work, how many images they did in that time, and how long they were on the processor for them.

    A worker is at work from the end of its first chunk to that of its last: at the first one what decodes is still being loaded.
    """
    first = max(chunks[0][1] for chunks in workers)
    last = min(chunks[-1][1] for chunks in workers)
    done = used = 0.0
    for begun, ended, images, seconds in (chunk for chunks in workers for chunk in chunks):
        part = max(0.0, min(ended, last) - max(begun, first)) / (ended - begun)
        done, used = done + images * part, used + seconds * part
    return first, last, done, used


def figures(clock: Clock, logs: Path) -> dict[str, float]:
    """What the logs of the workers and the driver's clock say."""
    import numpy as np

    workers = [
        [
            (float(begun), float(ended), float(images), float(used))
            for begun, ended, images, used in map(str.split, text.splitlines())
        ]
        for text in (path.read_text() for path in sorted(logs.iterdir()))
    ]
    first, last, done, busy = all_at_work([chunks for chunks in workers if chunks])
    moments, cpu, images = (np.array(column) for column in zip(*clock.ticks, strict=True))
    used = float(np.subtract(*np.interp([last, first], moments, cpu)))
    return {
        "workers": len(workers),
        "images": int(images[-1]),
        "seconds": round(last - first, 1),
        "images_per_second": round(done / (last - first), 2),
        "worker_ms": round(1000 * busy / done, 3),
        "driver_ms": round(1000 * used / done, 4),
        "start_seconds": round(first - clock.begun, 1),
    }


@contextmanager
def cluster(cpus: int, folder: Path, together: int = 1) -> Iterator[Path]:
    """A cluster of one machine that claims so many processors; yields the folder of its workers' logs."""
    import logging

    from stn_cli.jobs.cluster.joining import require_ray

    ray = require_ray()
    logs = Path(tempfile.mkdtemp(dir=folder))
    os.environ |= {LOG: str(logs), TOGETHER: str(together)}
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    ray.init("local", num_cpus=cpus, include_dashboard=False, object_store_memory=STORE, **quiet)
    try:
        yield logs
    finally:
        ray.shutdown()


class Store(threading.Thread):
    """The most bytes of shared memory that were in use beyond those before, looked at four times a second: the object store lies there."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before, self.most = shared_memory(), 0
        self.stop = threading.Event()

    def run(self) -> None:
        """Look, until it is told to stop."""
        while not self.stop.wait(0.25):
            self.most = max(self.most, shared_memory() - self.before)


def shared_memory() -> int:
    """Bytes of it that are in use."""
    found = os.statvfs("/dev/shm")
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def asleep(folder: Path, run: Path, workers: int, images: int, *, together: bool = True) -> dict[str, float]:
    """Workers that sleep; of those that do not begin together only the memory is told."""
    import pyarrow
    import pyarrow.parquet

    from stn_cli.jobs.cluster.engine import ClusterOptions, localise_on_cluster
    from stn_cli.jobs.localise_options import LocaliseOptions

    (folder / "any.jpg").write_bytes(b"what `made` does not look at")
    table = pyarrow.table({"path": [str(folder / "any.jpg")] * images})
    pyarrow.parquet.write_table(table, folder / "paths.parquet", row_group_size=TOGETHER_READ * BATCH)
    source, clock = folder / "paths.parquet", Clock()
    options = ClusterOptions(concurrency=workers, load=made, actor=Sleeping)
    store = Store()
    store.start()
    with cluster(workers + DECODERS, folder, workers if together else 1) as logs:
        how = {"device": "cpu", "overwrite": True, "reporter": clock}
        done = localise_on_cluster(source, run, folder / "out", LocaliseOptions(batch=BATCH), options, **how)
    store.stop.set()
    store.join()
    assert done.images == images
    stored = {"store_megabytes": round(store.most / 1e6, 1)}
    if not together:
        return {"images": images, **stored}
    row = figures(clock, logs)
    assert row["workers"] == workers
    return {**row, "share": round(row["images_per_second"] * SLEEP / workers, 3), **stored}


def real(folder: Path, run: Path, count: int) -> dict[str, dict[str, float]]:
    """One and two workers that hold a run, and the local engine with one thread."""
    images = folder / "photos"
    images.mkdir()
    sources = sorted((ROOT / "sample_data/cups/images").iterdir())
    for n in range(count):
        os.link(sources[n % len(sources)], images / f"{n:05d}{sources[n % len(sources)].suffix}")
    from stn_cli.jobs.cluster.engine import ClusterOptions, localise_on_cluster
    from stn_cli.jobs.localise_options import LocaliseOptions

    rows = {}
    for workers in (1, 2):
        clock = Clock()
        with cluster(workers + 1, folder) as logs:
            how = {"device": "cpu", "overwrite": True, "reporter": clock}
            options = LocaliseOptions(batch=16), ClusterOptions(concurrency=workers, actor=Finding)
            localise_on_cluster(images, run, folder / "out_real", *options, **how)
        rows[f"{workers}"] = figures(clock, logs)
        print(rows[f"{workers}"], flush=True)
    seconds, _ = timed([*PROGRAM, "localise", "-q", "--batch", "16", "-m", str(run), "-o", str(folder / "local"), str(images)])
    rows["local"] = {"workers": 0, "images": count, "images_per_second": round(count / seconds, 2)}
    return rows


def listing(folder: Path, count: int) -> dict[str, float]:
    """A folder of made names, and the pieces of it."""
    from stn_cli.jobs.cluster.source import open_source

    names = folder / "names"
    for n in range(count):
        place = names / f"{n // 1000:03d}"
        if n % 1000 == 0:
            place.mkdir(parents=True)
        (place / f"{n:09d}.jpg").touch()
    begun = time.process_time()
    found = open_source(names, folder, None)
    pieces = sum(piece.count for piece in found.pieces(BATCH))
    assert pieces == count
    return {"images": count, "driver_ms": round(1000 * (time.process_time() - begun) / count, 4)}


PARTS = ("real", "asleep", "memory", "listing")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    options.add_argument("--images", type=int, default=320, help="photographs of the part real")
    options.add_argument("--workers", type=int, nargs="*", default=WORKERS, help="of the part asleep")
    options.add_argument("--run", type=Path, help="a run that is trained already on the cups; trained here when left out")
    given = options.parse_args()
    parts = given.parts or list(PARTS)
    begin()
    rows = earlier("scale", "rows")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run = given.run or folder / "run"
        if given.run is None and set(parts) & {"real", "asleep", "memory"}:
            timed([*PROGRAM, "train", str(ROOT / "sample_data/cups/images"), "-q", "--no-report", "-o", str(run)])
        if "real" in parts:
            rows["real"] = real(folder, run, given.images)
        if "asleep" in parts:
            for workers in given.workers:
                images = int(SECONDS / SLEEP * workers) // (TOGETHER_READ * BATCH) * TOGETHER_READ * BATCH
                row = asleep(folder, run, workers, images)
                rows["asleep"] = {**rows.get("asleep", {}), str(workers): row}
                print(row, flush=True)
        if "memory" in parts:
            rows["memory"] = {str(n): asleep(folder, run, 8, n, together=False) for n in (256, 25_600)}
        if "listing" in parts:
            rows["listing"] = listing(folder, 100_000)
    for part in parts:
        print(part, rows[part])
    save("scale", {"rows": rows}, (*LOCALISING, "stn_cli/jobs/cluster"), rows=parts, versions={"ray": version("ray")})


if __name__ == "__main__":
    main()
