"""What all stages of following through one video share."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from stn_cli.encoders import Encoder, make_encoder
from stn_cli.errors import InputError, UsageError, counted
from stn_cli.media.decode import Pixels
from stn_cli.media.video import Video, VideoFrame
from stn_cli.records import PixelBox, TrackedFrame
from stn_cli.runtime.device import pick_device
from stn_cli.runtime.progress import Reporter
from stn_cli.runtime.stopping import StopRequest
from stn_cli.tracking.looks import Looks
from stn_cli.tracking.options import TrackOptions, as_typed

if TYPE_CHECKING:
    from stn_cli.coloc.model.localiser import Localiser

Shown = tuple[TrackedFrame, Pixels | None]
"""What was found in a frame; and its pixels, where they are at hand."""


@dataclass(slots=True)
class Session:
    """One call of `track`.

    Attributes:
        video: that is followed through.
        options: what is wanted.
        reporter: is told of progress.
        stop: says when to end.
        device: to work on.
        encoder: gives the features.
        localiser: of a run, where one was named.
        notes: remarks for the user.
        looks: of several objects.
        begun: when the tracking itself began.
    """

    video: Video
    options: TrackOptions
    reporter: Reporter
    stop: StopRequest
    device: torch.device
    encoder: Encoder
    localiser: Localiser | None = None
    notes: list[str] = field(default_factory=list)
    looks: Looks = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    _opened: list[Iterator[VideoFrame]] = field(default_factory=list)

    @classmethod
    def of(cls, video: Video, options: TrackOptions, reporter: Reporter, stop: StopRequest) -> Session:
        """Load what is needed.

        Args:
            video: that is followed through.
            options: what is wanted.
            reporter: is told of progress.
            stop: says when to end.

        Returns:
            The session.

        Raises:
            CheckpointError: the run has no usable model.
            ResourceError: no such device.
            UsageError: no such encoder, or device.
        """
        device = pick_device(options.device)
        if options.model is None:
            encoder = make_encoder(options.encoder)
            encoder.to(device)
            return cls(video, options, reporter, stop, device, encoder)
        from stn_cli.coloc.model.localiser import Localiser  # half of all imports, which following without a run can do without

        localiser = Localiser.load(options.model, options.device)
        return cls(video, options, reporter, stop, device, localiser.parts[0].scorer.encoder, localiser)

    def frames(self) -> Iterator[VideoFrame]:
        """The video's frames; a signal ends them."""
        self._opened.append(self.video.frames(poll=self.stop.check))
        return self._opened[-1]

    def close(self) -> None:
        """End the threads that decode: an error's traceback would keep them at work, and a process must not end beneath them."""
        for frames in self._opened:
            frames.close()  # type: ignore[attr-defined]

    def read(self, stage: str) -> Iterator[VideoFrame]:
        """The video's frames, as a stage that is reported.

        Args:
            stage: its name.

        Returns:
            The frames; a signal ends them.
        """
        self.reporter.stage(stage, self.video.expected)
        if stage == "track":
            self.begun = time.monotonic()
        for frame in self.frames():
            yield frame
            self.reporter.advance(1)

    def heard(self, note: str) -> None:
        """Report a step, and see whether a signal came."""
        self.reporter.advance(1, note)
        self.stop.check()

    def on_frame(self, box: PixelBox) -> PixelBox:
        """Cut a box to the frame.

        Args:
            box: (x1, y1, x2, y2), pixels.

        Returns:
            What of it lies on the frame.

        Raises:
            UsageError: nothing does.
        """
        w, h = self.video.info.width, self.video.info.height
        x1, y1, x2, y2 = max(0.0, box[0]), max(0.0, box[1]), min(float(w), box[2]), min(float(h), box[3])
        if x2 - x1 < 1 or y2 - y1 < 1:
            raise UsageError("--init lies outside of the frame", as_typed(box), f"{w} x {h} pixels")
        return x1, y1, x2, y2

    def used(self) -> list[str]:
        """Files and folders that are read beside the video."""
        return [os.fspath(p) for p in (self.options.model, self.options.encoder) if p is not None and os.path.exists(p)]


def nothing_in(frame: VideoFrame) -> Shown:
    """A frame in which nothing was found.

    Args:
        frame: of the video.

    Returns:
        The frame without objects, and its pixels.
    """
    return TrackedFrame(frame.index, frame.time, ()), frame.pixels


def no_such_frame(index: int, count: int) -> InputError:
    """`--init` names a frame that does not come.

    Args:
        index: that was asked for.
        count: of the frames that came.

    Returns:
        The error to raise.
    """
    return InputError("--init names a frame that the video does not have", index, f"{counted(count, 'frame')} read")
