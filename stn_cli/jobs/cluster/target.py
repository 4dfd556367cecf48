"""Where the shards of a call go: a folder of this machine, in which they appear when they are whole, or a place in an object store."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_cli.errors import CheckpointError, OutputError, counted, printable
from stn_cli.files import name_in_results
from stn_cli.formats.shards import ShardFolder, one_line
from stn_cli.jobs.cluster.source import ClusterSource, is_store, store_of, without_keys
from stn_cli.jobs.localise import LOCALISE_NAMES
from stn_cli.outputs.moving import JOURNAL
from stn_cli.outputs.results import Results
from stn_cli.records import Skipped
from stn_cli.runs.folder import SKIPPED, write_skipped

SHARDS = "boxes.parquet"
"""The folder of the shards."""


@dataclass(slots=True)
class Target:
    """Where the results go.

    Attributes:
        shards: the folder of the shards.
        out: as the caller named it.
        write_skipped: writes the list of skipped files.
        keep: is told that there is something to go on with.
    """

    shards: ShardFolder
    out: Path | str
    write_skipped: Callable[[Sequence[Skipped]], None]
    keep: Callable[[bool], None]


@contextmanager
def opened_target(
    out: str | os.PathLike[str],
    run: str | os.PathLike[str],
    found: ClusterSource,
    facts: dict[str, Any],
    head: dict[str, Any],
    overwrite: bool,
    resume: bool,
) -> Iterator[Target]:
    """The place for the results, as long as the block runs.

    Args:
        out: a folder of this machine, or a URL in an object store.
        run: that is used.
        found: the source.
        facts: that every shard says.
        head: what the records depend on.
        overwrite: earlier results may be replaced.
        resume: go on with what is there.

    Yields:
        The place.

    Raises:
        OutputError: it cannot be written to, or something is there already.
        CheckpointError: nothing to resume, or something else.
    """
    if is_store(out):
        yield _in_store(str(out), facts, head, overwrite, resume)
        return
    from pyarrow import fs

    folder = Path(out)
    results = Results(
        folder, "localise", LOCALISE_NAMES, found.folders, [run, *found.beside], overwrite=overwrite, resume=resume
    )
    if resume and not results.has_begun():
        why = "its results are whole" if results.finished or results.replaces else "nothing was begun"
        raise CheckpointError("nothing to resume", folder, why, "Start without --resume")
    if resume and (results.staging / JOURNAL).exists():
        raise CheckpointError("the unfinished results are of --engine local", folder, None, "Go on with it, or use --overwrite")
    with results.open() as work:

        def keep(worth: bool) -> None:
            results.keep = worth

        shards = ShardFolder(fs.LocalFileSystem(), str((work / SHARDS).absolute()), facts, head)
        yield Target(shards, folder, lambda skipped: write_skipped(work, skipped), keep)


def _in_store(out: str, facts: dict[str, Any], head: dict[str, Any], overwrite: bool, resume: bool) -> Target:
    import pyarrow

    files, path = store_of(out)
    shown = without_keys(out)
    shards = ShardFolder(files, f"{path}/{SHARDS}", facts, head)

    def write(skipped: Sequence[Skipped]) -> None:
        rows = (json.dumps({"file": name_in_results(s.file), "reason": printable(s.reason)}) + "\n" for s in skipped)
        try:
            with files.open_output_stream(f"{path}/{SKIPPED}") as file:
                file.write("".join(rows).encode())
        except (OSError, pyarrow.ArrowException) as error:
            raise OutputError("cannot write", f"{path}/{SKIPPED}", one_line(error), "Go on with --resume") from error

    try:
        there = shards.names()
        if there and overwrite:
            files.delete_dir_contents(shards.path)
        elif there and not resume:
            raise OutputError(
                "output shards are there already", shown, counted(len(there), "file"), "Use --resume or --overwrite"
            )
        elif resume and not there:
            raise CheckpointError("nothing to resume", shown, "no shards", "Start without --resume")
        files.create_dir(shards.path)
    except (OSError, pyarrow.ArrowException) as error:
        raise OutputError(
            "cannot write into", shown, one_line(error), "Check its name, and the rights of whoever runs this"
        ) from error
    return Target(shards, out, write, lambda _: None)
