"""Where a follower of one object begins: a box that was given, the frame in which a run is surest, or what the video itself shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from stn_cli.media.video import VideoFrame
from stn_cli.records import PixelBox
from stn_cli.tracking.discover import Anchor, Kept, discover
from stn_cli.tracking.kind_settings import START
from stn_cli.tracking.session import Session

NOTHING = "nothing in the video moves on its own and stays: no object was found. Say where it is with --init"


@dataclass(frozen=True, slots=True)
class Start:
    """Where a follower begins.

    Attributes:
        frame: its index; -1 is the first that is read.
        box: the object's in it, pixels.
        score: 0 where it shows only while frames come.
    """

    frame: int
    box: PixelBox
    score: float


@dataclass(slots=True)
class RunProposals:
    """Where a run sees its object in the frames of a video."""

    session: Session
    _known: dict[int, list[PixelBox]] = field(default_factory=dict)

    def learn(self) -> Start | None:
        """Look at all frames.

        Returns:
            The frame in which the run is surest; None where it is sure in none.
        """
        best: Start | None = None
        localiser = self.session.localiser
        assert localiser is not None
        for frames in batches(self.session.read("localise"), START.batch):
            for frame, record in zip(frames, localiser.localise_batch([f.pixels for f in frames]), strict=True):
                likely = [o for o in record.objects if o.score >= START.likely]
                self._known[frame.index] = [o.box for o in likely[:1]]
                if likely and (best is None or likely[0].score > best.score):
                    best = Start(frame.index, likely[0].box, likely[0].score)
        return best

    def of(self, frame: VideoFrame) -> list[PixelBox]:
        """Where the run sees its object in a frame.

        Args:
            frame: of the video.

        Returns:
            One box in pixels; none where it is not sure, or there is no run.
        """
        localiser = self.session.localiser
        if localiser is None:
            return []
        if self.session.video.info.live:
            objects = localiser.localise_batch([frame.pixels])[0].objects
            return [o.box for o in objects[:1] if o.score >= START.likely]
        return self._known.get(frame.index, [])


def find_start(session: Session, proposals: RunProposals) -> Start | None:
    """Where to begin with one object.

    Args:
        session: what to follow.
        proposals: of its run.

    Returns:
        The frame and the box; None when nothing was found to follow.
    """
    options, info = session.options, session.video.info
    if options.init is not None:
        return Start(options.init_frame if options.init_frame is not None else -1, options.init, 1.0)
    if session.localiser is not None:
        if info.live:  # the first frame in which it is sure at all
            return Start(-1, (0.0, 0.0, 0.0, 0.0), 0.0)
        best = proposals.learn()
        if best is None:
            session.notes.append("no frame holds the object of the run: all scores are below 0.5")
        return best
    anchor, _ = discovered(session)
    return None if anchor is None else Start(anchor.frame, scaled(anchor.box, (info.height, info.width)), 1.0)


def discovered(session: Session) -> tuple[Anchor | None, Kept]:
    """Find what moves and stays in a video.

    Args:
        session: what to follow.

    Returns:
        Where it is, None where there is nothing; and the frames that were kept to find it.
    """
    session.reporter.stage("learn", None)
    kept = Kept.of(session.frames(), session.video.expected)
    anchor = discover(kept, session.encoder, session.device, session.heard, session.options.seed)
    if anchor is None:
        session.notes.append(NOTHING)
    return anchor, kept


def scaled(box: PixelBox, size: tuple[int, int]) -> PixelBox:
    """A box in shares of a frame, as pixels.

    Args:
        box: (x1, y1, x2, y2), shares.
        size: (height, width) of the frame.

    Returns:
        (x1, y1, x2, y2), pixels.
    """
    h, w = size
    return box[0] * w, box[1] * h, box[2] * w, box[3] * h


def batches(frames: Iterable[VideoFrame], size: int) -> Iterator[list[VideoFrame]]:
    """Frames in lists of a size.

    Args:
        frames: one after the other.
        size: of a list.

    Returns:
        The lists; the last may be shorter.
    """
    them = iter(frames)
    while batch := list(islice(them, size)):
        yield batch
