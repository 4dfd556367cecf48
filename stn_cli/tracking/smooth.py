"""What can be done once the whole video was seen: fill gaps, smooth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from stn_cli.records import PixelBox, TrackedFrame, TrackedObject, corners
from stn_cli.tracking.settings import FINISH


def refine(
    frames: Sequence[TrackedFrame],
    size: tuple[int, int],
    *,
    shortest: int = 1,
    sigmas: tuple[float, float] = FINISH.sigmas,
    most: int | None = None,
) -> list[TrackedFrame]:
    """Fill the gaps of each track and smooth it.

    Args:
        frames: in their order.
        size: (height, width) of the frames.
        shortest: tracks seen in fewer frames are left out.
        sigmas: of the Gaussians that places and sizes are smoothed by, frames; 0 leaves them.
        most: objects in a frame; where more would be, those that were not seen are left out, the lowest score first.

    Returns:
        The same frames; objects that were put into gaps are marked as interpolated, their score is the lower one of the two ends.
    """
    tracks: dict[int, dict[int, TrackedObject]] = {}
    for place, frame in enumerate(frames):
        for found in frame.objects:
            tracks.setdefault(found.id, {})[place] = found
    objects: list[list[TrackedObject]] = [[] for _ in frames]
    times = [frame.time for frame in frames]
    for number in sorted(tracks):
        if len(tracks[number]) < shortest:
            continue
        for run in _runs(tracks[number], times):
            for place, found in zip(sorted(run), _smoothed([run[p] for p in sorted(run)], size, sigmas), strict=True):
                objects[place].append(found)
    return [replace(frame, objects=tuple(_at_most(found, most))) for frame, found in zip(frames, objects, strict=True)]


def _at_most(found: list[TrackedObject], most: int | None) -> list[TrackedObject]:
    """A frame's objects in their order, without what there is no room for: a gap may lie where others were seen."""
    if most is None or len(found) <= most:
        return found
    best = sorted(range(len(found)), key=lambda i: (found[i].interpolated, -found[i].score))[:most]
    return [found[i] for i in sorted(best)]


def _runs(track: Mapping[int, TrackedObject], times: Sequence[float]) -> list[dict[int, TrackedObject]]:
    """Unbroken pieces of a track, its short gaps filled."""
    places = sorted(track)
    runs: list[dict[int, TrackedObject]] = [{places[0]: track[places[0]]}]
    for before, after in pairwise(places):
        if after - before > 1:
            if times[after] - times[before] > FINISH.gap:
                runs.append({})
            else:
                for place in range(before + 1, after):
                    runs[-1][place] = _between(track[before], track[after], (place - before) / (after - before))
        runs[-1][after] = track[after]
    return runs


def _between(a: TrackedObject, b: TrackedObject, share: float) -> TrackedObject:
    x1, y1, x2, y2 = ((1 - share) * p + share * q for p, q in zip(a.box, b.box, strict=True))
    box = (x1, y1, x2, y2)
    return TrackedObject(a.id, box, min(a.score, b.score), corners(box), True)


def _smoothed(run: list[TrackedObject], size: tuple[int, int], sigmas: tuple[float, float]) -> list[TrackedObject]:
    if len(run) < 3 or max(sigmas) <= 0:
        return run
    boxes = np.array([found.box for found in run])
    places, sides = (
        smooth_rows(rows, sigma) if sigma > 0 else rows
        for rows, sigma in zip(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), sigmas, strict=True)
    )
    smooth = np.concatenate([places - sides / 2, places + sides / 2], 1)
    h, w = size
    out = []
    for found, row in zip(run, smooth.tolist(), strict=True):
        box: PixelBox = (max(0.0, row[0]), max(0.0, row[1]), min(float(w), row[2]), min(float(h), row[3]))
        dx, dy = ((box[0] + box[2] - found.box[0] - found.box[2]) / 2, (box[1] + box[3] - found.box[1] - found.box[3]) / 2)
        upright = found.quad == corners(found.box)
        a, b, c, d = corners(box) if upright else ((x + dx, y + dy) for x, y in found.quad)
        out.append(replace(found, box=box, quad=(a, b, c, d)))
    return out


def smooth_rows(rows: npt.NDArray[np.float64], sigma: float) -> npt.NDArray[np.float64]:
    """Smooth rows along their order.

    At the ends the line through them goes on, so that a steady motion stays as it is.

    Args:
        rows: (N, D).
        sigma: rows.

    Returns:
        (N, D).
    """
    reach = max(1, math.ceil(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    first = 2 * rows[:1] - rows[1 : reach + 1][::-1]
    last = 2 * rows[-1:] - rows[-reach - 1 : -1][::-1]
    first = np.concatenate([np.repeat(first[:1], reach - len(first), 0), first]) if len(first) < reach else first
    last = np.concatenate([last, np.repeat(last[-1:], reach - len(last), 0)]) if len(last) < reach else last
    padded = np.concatenate([first, rows, last])
    return np.stack([np.convolve(column, weights, "valid") for column in padded.T], 1)
