"""Follow several objects of one kind through a video: a run finds them, or a detector that is learnt from the video's frames."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from stn_cli.errors import UsageError
from stn_cli.media.decode import Pixels
from stn_cli.records import PixelBox
from stn_cli.tracking.detector import Detection, Detector
from stn_cli.tracking.discover import Kept
from stn_cli.tracking.kind_settings import DETECTOR, START
from stn_cli.tracking.session import Session, Shown, no_such_frame, nothing_in
from stn_cli.tracking.several import Joiner
from stn_cli.tracking.starts import batches, discovered, scaled


def follow_several(session: Session) -> Iterator[Shown]:
    """Follow the objects through the frames; what they look like is kept in the session.

    Args:
        session: what to follow.

    Returns:
        What each frame shows, in the order of the frames.

    Raises:
        ResourceError: the `trackers` library is not there.
        UsageError: a camera, and no run.
    """
    options, live = session.options, session.video.info.live
    joiner = Joiner(session.video.info.fps / options.stride)
    session.looks = joiner.looks
    if session.localiser is not None:
        for frames in batches(session.read("track"), 1 if live else START.batch):
            records = session.localiser.localise_batch([f.pixels for f in frames])
            for frame, record in zip(frames, records, strict=True):
                found = [Detection(o.box, o.score, torch.zeros(1)) for o in record.objects[: options.objects]]
                yield joiner.add(frame.index, frame.time, found), frame.pixels
        return
    detector = _detector(session)
    for frame in session.read("track"):
        if detector is None:
            yield nothing_in(frame)
        else:
            yield joiner.add(frame.index, frame.time, detector.detect(frame.pixels)[: options.objects]), frame.pixels


def _detector(session: Session) -> Detector | None:
    """A detector of the objects' kind, learnt from the video's frames; None where nothing was found to learn from."""
    info, options = session.video.info, session.options
    if info.live:
        raise UsageError("several objects of a camera need a run", info.file_name, None, "Name one with --model")
    shown = _first(session)
    if shown is None:
        return None
    pixels, box, kept = shown
    detector = Detector(session.encoder, pixels, box, options.objects, session.device, options.seed)
    frames = kept.frames[:: max(1, len(kept.frames) // DETECTOR.learn_from)]
    detector.scale_to((frames[0].shape[0], frames[0].shape[1]))
    detector.learn(frames, session.heard)
    detector.scale_to((info.height, info.width))
    return detector


def _first(session: Session) -> tuple[Pixels, PixelBox, Kept] | None:
    """A frame (H, W, 3), the box of an object in it, and the frames to learn from."""
    options = session.options
    if options.init is None:
        anchor, kept = discovered(session)
        if anchor is None:
            return None
        pixels = kept.frames[kept.indices.index(anchor.frame)]
        return pixels, scaled(anchor.box, (pixels.shape[0], pixels.shape[1])), kept
    box = session.on_frame(options.init)
    session.reporter.stage("learn", None)
    return _frame(session, options.init_frame or 0), box, Kept.of(session.frames(), session.video.expected)


def _frame(session: Session, index: int) -> Pixels:
    """The first frame from an index on.

    Raises:
        InputError: there is none.
    """
    count = 0
    for frame in session.frames():
        count += 1
        if frame.index >= index:
            return frame.pixels
    raise no_such_frame(index, count)
