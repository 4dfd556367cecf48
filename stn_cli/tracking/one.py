"""Follow one object through a video, forwards and backwards from where it is best seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stn_cli.media.decode import Pixels
from stn_cli.media.video import VideoFrame
from stn_cli.records import PixelBox, TrackedFrame, TrackedObject, corners
from stn_cli.tracking.aside import Aside
from stn_cli.tracking.follower import Follower
from stn_cli.tracking.session import Session, Shown, no_such_frame, nothing_in
from stn_cli.tracking.starts import RunProposals, Start, find_start


def follow_one(session: Session, folder: Path) -> Iterator[Shown]:
    """Follow the object through the frames.

    Args:
        session: what to follow.
        folder: for frames that come before the start.

    Returns:
        What each frame shows, in the order of the frames.

    Raises:
        InputError: `--init` names a frame that does not come.
        OutputError: frames cannot be put aside.
    """
    proposals = RunProposals(session)
    start = find_start(session, proposals)
    if start is None:
        for frame in session.read("track"):
            yield nothing_in(frame)
        return
    yield from _One(session, proposals).follow(start, folder)


class _One:
    def __init__(self, session: Session, proposals: RunProposals) -> None:
        self.session, self.proposals = session, proposals

    def follow(self, start: Start, folder: Path) -> Iterator[Shown]:
        """Forwards from the start to the end; backwards from the start to the beginning, over frames that were put aside."""
        follower: Follower | None = None
        with Aside(folder) as aside:
            for frame in self.session.read("track"):
                if follower is not None:
                    yield self._step(follower, frame), frame.pixels
                    continue
                begins = start if start.score else self._sure(frame)
                if begins is None:
                    yield nothing_in(frame)
                    continue
                if frame.index < begins.frame:
                    aside.put(frame)
                    continue
                box = self.session.on_frame(begins.box)
                follower = self._follower(frame.pixels, box)
                if len(aside):
                    yield from self._backwards(aside, self._follower(frame.pixels, box))
                yield _seen(frame, box, min(1.0, begins.score)), frame.pixels
            if follower is None and start.score:
                raise no_such_frame(start.frame, len(aside))

    def _backwards(self, aside: Aside, follower: Follower) -> Iterator[Shown]:
        """A signal leaves out the frames that were not reached."""
        found: list[TrackedFrame] = []
        for frame in aside.backwards():
            if self.session.stop.signum:
                break
            found.append(self._step(follower, frame))
        first = len(aside) - len(found)
        for number, result in enumerate(reversed(found)):
            yield result, aside[first + number].pixels if self.session.options.show else None

    def _sure(self, frame: VideoFrame) -> Start | None:
        """A camera's frame as a start, if the run is sure of its object in it."""
        boxes = self.proposals.of(frame)
        return Start(-1, boxes[0], 1.0) if boxes else None

    def _follower(self, pixels: Pixels, box: PixelBox) -> Follower:
        session = self.session
        return Follower(session.encoder, pixels, box, session.device, session.options.seed)

    def _step(self, follower: Follower, frame: VideoFrame) -> TrackedFrame:
        sighting = follower.step(frame.pixels, self.proposals.of(frame))
        return _seen(frame, sighting.box, sighting.score) if sighting.present else nothing_in(frame)[0]


def _seen(frame: VideoFrame, box: PixelBox, score: float) -> TrackedFrame:
    return TrackedFrame(frame.index, frame.time, (TrackedObject(1, box, score, corners(box)),))
