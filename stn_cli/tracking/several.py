"""Detections of several objects joined to tracks by BoT-SORT (Aharon et al. 2022) of the `trackers` library, without camera compensation."""

from __future__ import annotations

from typing import Any

import numpy as np

from stn_cli.errors import ResourceError
from stn_cli.records import TrackedFrame, TrackedObject, corners
from stn_cli.tracking.detector import Detection
from stn_cli.tracking.kind_settings import JOINING
from stn_cli.tracking.looks import KeptLooks


class Joiner:
    """Gives detections the ids of their tracks, frame by frame.

    Args:
        fps: frames per second that are joined.

    Raises:
        ResourceError: the library is not installed.
    """

    def __init__(self, fps: float) -> None:
        try:
            import supervision
            from trackers import BoTSORTTracker
        except ImportError as error:
            raise ResourceError(
                "several objects need the trackers library", None, error, "pip install 'stn-coloc[track]'"
            ) from error
        self._detections: Any = supervision.Detections
        self._tracker: Any = BoTSORTTracker(
            frame_rate=fps, enable_cmc=False, track_activation_threshold=JOINING.begins, high_conf_det_threshold=JOINING.first
        )
        self.looks = KeptLooks()
        """What the objects looked like, by the frame's index and the box."""

    def add(self, index: int, time: float, detections: list[Detection]) -> TrackedFrame:
        """Join the detections of the next frame.

        Args:
            index: of the frame.
            time: of it, seconds.
            detections: in it.

        Returns:
            Those that belong to a track, with its id.
        """
        boxes = np.array([d.box for d in detections], np.float64).reshape(-1, 4)
        scores = np.array([d.score for d in detections], np.float64)
        numbered = np.arange(len(detections))
        given = self._detections(xyxy=boxes, confidence=scores, data={"number": numbered})
        joined = self._tracker.update(given)
        objects, looks = [], []
        for track, number in zip(joined.tracker_id.tolist(), joined.data.get("number", []), strict=True):
            if track < 0:
                continue
            found = detections[int(number)]
            objects.append(TrackedObject(track + 1, found.box, found.score, corners(found.box)))
            looks.append(found.look.cpu().numpy().astype(np.float16))
        self.looks.add(index, [o.box for o in objects], looks)
        return TrackedFrame(index, time, tuple(sorted(objects, key=lambda o: o.id)))
