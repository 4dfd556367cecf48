"""What a person said of some of a training's images: matched with them, checked, and kept in the run folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from stn_cli.coloc.said import fitting
from stn_cli.coloc.train.resume import Begun
from stn_cli.errors import CheckpointError, InputError, UsageError, counted
from stn_cli.media.cache import Cache
from stn_cli.records import SaidImage, Skipped
from stn_cli.runs.config import TrainConfig
from stn_cli.runs.folder import write_skipped
from stn_cli.runs.said import SAID, read_said_of_run, write_said
from stn_cli.runtime.distributed import Team
from stn_cli.runtime.progress import Reporter

Saying = Callable[[Sequence[str]], Sequence[SaidImage]]
"""Names of a set's images -> what a person said of those of them that were looked at, under these names."""


def check_alone(team: Team, asked: bool) -> None:
    """See that what was said is learnt by one process.

    Args:
        team: the processes.
        asked: whether something was said, or a run is gone on from.

    Raises:
        UsageError: there are several.
    """
    if asked and team.size > 1:
        raise UsageError(
            "--boxes and --from are learnt by one process", None, f"{team.size} were started", "Start it without torchrun"
        )


def keep_said(
    folder: Path, cache: Cache, config: TrainConfig, saying: Saying | None, begun: Begun | None, reporter: Reporter
) -> list[SaidImage]:
    """What was said of the images, now and for the run that is gone on from; it is written to said.json.

    Args:
        folder: that is worked in.
        cache: the images; what cannot be used of what was said is added to what it skipped.
        config: `kinds` is used.
        saying: what is said now, and wins.
        begun: the run that is gone on from.
        reporter: is told of each image whose boxes cannot be used.

    Returns:
        What can be used.

    Raises:
        InputError: nothing of what is said now can be used, or it is of more kinds than are looked for.
    """
    place = {name: number for number, name in enumerate(cache.names)}
    now, left_out = list[SaidImage](), list[Skipped]()
    for image in () if saying is None else saying(cache.names):
        found = fitting(image, cache.frames[place[image.file]])
        if isinstance(found, Skipped):
            left_out.append(found)
        else:
            now.append(found)
    for row in left_out:
        reporter.warn(f"{row.file}: what was said of it is not used: {row.reason}")
    if saying is not None and not now:
        why = left_out[0].reason if left_out else None
        raise InputError("nothing of the boxes can be used", left_out[0].file if left_out else None, why)
    kinds = 1 + max((kind for image in now for _, kind in image.boxes), default=0)
    if config.kinds > 1 and kinds > config.kinds:
        todo = "Use a larger --kinds"
        raise InputError(
            f"boxes are of {kinds} kinds of objects, and {counted(config.kinds, 'kind')} are looked for", todo=todo
        )
    before = {} if begun is None else {image.file: image for image in begun.said if image.file in place}
    every = before | {image.file: image for image in now}
    if every:
        write_said(folder, every.values())
    if left_out:
        cache.skipped += [Skipped(row.file, f"boxes not used: {row.reason}") for row in left_out]
        write_skipped(folder, cache.skipped)
    return list(every.values())


def said_before(folder: Path, cache: Cache) -> list[SaidImage]:
    """What was said when the training began that is resumed.

    Args:
        folder: that is worked in.
        cache: the images.

    Returns:
        The images of which something was said.

    Raises:
        CheckpointError: damaged, or of other images.
    """
    frames = dict(zip(cache.names, cache.frames, strict=True))
    said = read_said_of_run(folder)
    for image in said:
        frame = frames.get(image.file)
        if frame is None or (frame.width, frame.height) != (image.width, image.height):
            todo = "Start anew with --overwrite"
            raise CheckpointError("what was said is not of the run's images", folder / SAID, image.file, todo)
    return said
