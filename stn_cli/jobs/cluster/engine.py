"""From a source and a run to Parquet shards, on a cluster: what `stn-coloc localise --engine ray` does."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_cli.bounds import check_within
from stn_cli.coloc.model.fast_file import FAST_FILE, Fast, packed_fast
from stn_cli.coloc.model.localiser import Localiser
from stn_cli.coloc.model.many import images_per_call
from stn_cli.errors import ColocError, InputError, UsageError, counted
from stn_cli.files import name_in_results
from stn_cli.formats.labels import names_of_kinds
from stn_cli.formats.shards import Outcome
from stn_cli.formats.writer import about
from stn_cli.jobs.cluster.finding import Finding, FindingActor
from stn_cli.jobs.cluster.joining import ActorShares, joined, require_ray, spread
from stn_cli.jobs.cluster.pieces import Piece
from stn_cli.jobs.cluster.source import ClusterSource, Source, open_source
from stn_cli.jobs.cluster.stream import Stream
from stn_cli.jobs.cluster.target import Target, opened_target
from stn_cli.jobs.cluster.work import Decoding
from stn_cli.jobs.localise import LocaliseSummary
from stn_cli.jobs.localise_options import LocaliseOptions
from stn_cli.media.cache import load_letterbox
from stn_cli.media.decode import MAX_PIXELS
from stn_cli.records import reasons
from stn_cli.runs.folder import MODEL
from stn_cli.runtime.progress import Remarks, Reporter, Silent
from stn_cli.runtime.stopping import StopRequest
from stn_cli.version import __version__

SHARD_IMAGES = 16_384
"""Images of a shard."""
SHARD_SECONDS = 60.0
"""Seconds after which what was found is written though it is no full shard: more is not lost where the driver is killed."""
MOST_ACTORS = 100_000


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """What is wanted of the cluster.

    Attributes:
        address: of a running one; started here when left out.
        concurrency: actors that hold the run; as many as fit when left out.
        column: of a Parquet source, where its images are.
        load: decodes one image.
        actor: the class of the actors.
        shard_images: images of a shard.
    """

    address: str | None = None
    concurrency: int | None = None
    column: str | None = None
    load: Callable[..., Any] = load_letterbox
    actor: Callable[..., Any] = FindingActor
    shard_images: int = SHARD_IMAGES

    def __post_init__(self) -> None:
        if self.concurrency is not None:
            check_within("--concurrency", self.concurrency, 1, MOST_ACTORS, whole=True)


def check_engine(options: LocaliseOptions) -> None:
    """See that a cluster can make what is wanted.

    Args:
        options: of the call.

    Raises:
        UsageError: it cannot.
    """
    wants = {
        "--crops": options.crops,
        "--overlay": options.overlay,
        "--masks": options.masks,
        "--report": options.report,
        f"--format {','.join(options.formats)}": any(name != "parquet" for name in options.formats),
    }
    for flag, wanted in wants.items():
        if wanted:
            todo = "Leave it out; stn-coloc export makes data sets of what it writes"
            raise UsageError("--engine ray writes Parquet only", flag, None, todo)


def localise_on_cluster(
    source: Source,
    run: str | os.PathLike[str] = "stn-coloc-run",
    out: str | os.PathLike[str] = "stn-coloc-boxes",
    options: LocaliseOptions | None = None,
    cluster: ClusterOptions | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> LocaliseSummary:
    """Localise every image of a source on a cluster of Ray, and write `boxes.parquet`, a folder of shards.

    Args:
        source: what every machine sees: see `stn_cli.jobs.cluster.source.open_source`.
        run: the run folder.
        out: the results' folder, or a URL in an object store. Only this process writes there.
        options: what is wanted; no pictures and no other formats.
        cluster: which one, and how much of it.
        overwrite: results of an earlier call may be replaced.
        resume: do what an earlier call of the same kind left.
        device: of the actors.
        reporter: is told of progress.

    Returns:
        What came of it.

    Raises:
        CheckpointError: the run has no usable model, or there is nothing to resume.
        InputError: no image could be used.
        OutputError: the results cannot be written.
        ResourceError: no Ray, no cluster, or its machines lack something.
        Interrupted: a signal came; what was found so far is kept.
    """
    options, cluster, reporter = options or LocaliseOptions(), cluster or ClusterOptions(), reporter or Silent()
    check_engine(options)
    require_ray()
    begun = time.monotonic()
    plan = _Plan.of(source, Path(run), options, cluster, reporter)
    head, facts = plan.head(options), plan.facts(run)
    with (
        opened_target(out, run, plan.found, facts, head, overwrite, resume) as target,
        joined(cluster.address) as room,
        StopRequest() as stop,
    ):
        stream = plan.stream(options, cluster, spread(room, cluster.concurrency, device))
        summary = _Job(target, plan.found, stream, cluster.shard_images, reporter, stop).run(resume)
    summary.seconds = time.monotonic() - begun
    return summary


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be done, before a cluster is asked for it."""

    found: ClusterSource
    model: bytes
    fast: bytes | None
    way: dict[str, Any]
    names: tuple[str, ...]
    letterbox: int
    batch: int

    @classmethod
    def of(cls, source: Source, run: Path, options: LocaliseOptions, cluster: ClusterOptions, reporter: Reporter) -> _Plan:
        """The source, listed, and the run, tried out."""
        localiser = Localiser.load(run, "cpu")
        if options.fast:
            localiser = localiser.fast(reporter=reporter)
        names = names_of_kinds(options.labels, len(localiser.parts))
        found = open_source(source, run, cluster.column)
        for note in found.notes():
            reporter.warn(note)
        batch = images_per_call(localiser.letterbox, options.batch)
        look = localiser.fast_look
        fast = None if look is None else packed_fast(run, Fast(look, look.said))
        return cls(found, (run / MODEL).read_bytes(), fast, localiser.way(), names, localiser.letterbox, batch)

    def head(self, options: LocaliseOptions) -> dict[str, Any]:
        """What records depend on."""
        of = {"version": __version__, "engine": "ray", "model": hashlib.sha256(self.model).hexdigest()}
        return {**of, "images": self.found.digest(), **options.of_records(), "batch": self.batch, **self.way}

    def facts(self, run: str | os.PathLike[str]) -> dict[str, Any]:
        """What every shard says."""
        root = None if self.found.root is None else name_in_results(self.found.root)
        return {**about(run, "exif-applied"), "names": list(self.names), "source": root, **self.way}

    def stream(self, options: LocaliseOptions, cluster: ClusterOptions, shares: ActorShares) -> Stream:
        """The job of the cluster that is joined."""
        most = options.max_pixels or MAX_PIXELS
        decoding = Decoding(self.found.files, self.found.columns, self.batch, self.letterbox, most, cluster.load)
        finding = Finding(options.min_score, self.batch, "cuda" if shares.gpus else "cpu", self.names)
        files = {MODEL: self.model, **({} if self.fast is None else {FAST_FILE: self.fast})}
        return Stream(decoding, shares, (cluster.actor, (_held(files), tuple(files), finding)))


def _held(files: Mapping[str, bytes]) -> list[Any]:
    """A run's files in the object store, sent to each machine once; in a list, so that they are not fetched before they are asked for."""
    import ray

    return [ray.put(content) for content in files.values()]


@dataclass(slots=True)
class _Job:
    """One call: pieces through the cluster, and what comes back into shards."""

    target: Target
    found: ClusterSource
    stream: Stream
    shard_images: int
    reporter: Reporter
    stop: StopRequest

    def run(self, resume: bool) -> LocaliseSummary:
        shards = self.target.shards
        done, counts = shards.done() if resume else (set[int](), Outcome())
        resumed = counts.images + counts.skipped
        batch = self.stream.decoding.batch
        pieces = [rest for piece in self.found.pieces(batch) if (rest := piece.without(done, batch)) is not None]
        self.reporter.stage("localise", self.found.count)
        self.reporter.advance(resumed)
        if done:
            self._say(resumed)
        self._fill(pieces, counts, resumed)
        summary = LocaliseSummary(self.target.out, list(self.found.scan.skipped), resumed=resumed)
        summary.images, summary.objects, summary.doubtful = counts.images, counts.objects, counts.doubtful
        summary.left_out = counts.left_out
        summary.skipped += shards.skipped() if counts.skipped else ()
        if not summary.images:
            self.target.keep(False)
            raise InputError("no image could be used", todo=reasons(summary.skipped))
        self.target.write_skipped(summary.skipped)
        return summary

    def _fill(self, pieces: Sequence[Piece], counts: Outcome, done: int) -> None:
        """Shards, from what the cluster finds."""
        shards, remarks, written = self.target.shards, Remarks(self.reporter.warn), time.monotonic()
        try:
            for chunk, table, found, notes in self.stream.run(pieces) if pieces else ():
                shards.add(chunk, table, found)
                counts.add(found)
                done += found.images + found.skipped
                for name, note in notes:
                    remarks.add(name, note)
                if shards.waiting >= self.shard_images or time.monotonic() - written > SHARD_SECONDS:
                    shards.flush()
                    written = time.monotonic()
                    self._say(done)
                self.reporter.advance(found.images + found.skipped)
                self.stop.check(self.stop.todo)
            shards.flush()
            remarks.close()
        except BaseException as error:
            with suppress(ColocError):
                shards.flush()
                self._say(done)
            if isinstance(error, ColocError) and done and not error.todo:
                error.todo = self.stop.todo
            raise

    def _say(self, done: int) -> None:
        self.target.keep(done > 0)
        if done:
            self.stop.todo = f"Done: {done} of {counted(self.found.count, 'image')}; go on with --resume"
