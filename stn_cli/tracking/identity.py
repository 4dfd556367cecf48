"""Which track is whose: after the whole video was seen, by what objects look like and where they were going.

Association frame by frame sees one step ahead. Where objects meet, they hide each other, and tracks end, begin or pass from one to another.
So the tracks before a meeting are compared with those after it over many frames, and matched all at once; what is left over and ends or
begins alone is joined in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from stn_cli.geometry import overlap
from stn_cli.records import Box, TrackedFrame, TrackedObject

Looks = Mapping[tuple[int, Box], npt.NDArray[np.float16]]
"""What an object looked like, by the frame's index and its box; unit vectors."""

MEETING = 0.1
"""Overlap from which two objects meet."""
PAUSE = 8
"""Frames without a meeting that end one."""
AROUND = 12
"""Frames before and after that are compared."""
FAR, FARTHEST = 0.5, 3.0
"""What a distance of the object's own size from the expected place counts against a likeness, and the largest one that is told apart."""
SAME_TRACK = 0.1
"""What it counts that the association had both as one track."""
WAIT = 2.0
"""Seconds after which an end is not joined to a beginning."""
LEAST = -0.25
"""Of likeness and distance together, from which two pieces are one object's."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some frames of a track: their places in the video, centres (N, 2), size, and mean look."""

    track: int
    places: npt.NDArray[np.float64]
    centres: npt.NDArray[np.float64]
    size: float
    look: npt.NDArray[np.float64]

    def at(self, place: float) -> npt.NDArray[np.float64]:
        """Where the line through its centres is at a place."""
        if len(self.places) < 3:
            return self.centres.mean(0)
        return np.array([np.polyval(np.polyfit(self.places, c, 1), place) for c in self.centres.T])


def settle(frames: Sequence[TrackedFrame], looks: Looks) -> list[TrackedFrame]:
    """Give each object one id from beginning to end.

    Args:
        frames: of the whole video, in their order.
        looks: of the tracks.
    """
    out = list(frames)
    for begin, end in _meetings(frames):
        # what this meeting shows decides for all that comes after it; who takes part in it an earlier one may have renamed
        names = _matched(out, looks, begin, end)
        middle = (begin + end + 1) // 2
        out[middle:] = [_renamed(f, names) for f in out[middle:]]
    return _joined(out, looks)


def _meeting(frame: TrackedFrame) -> set[int]:
    """Tracks that overlap another one in a frame."""
    return {
        track
        for i, one in enumerate(frame.objects)
        for other in frame.objects[i + 1 :]
        if overlap(one.box, other.box) >= MEETING
        for track in (one.id, other.id)
    }


def _meetings(frames: Sequence[TrackedFrame]) -> Iterator[tuple[int, int]]:
    """(first place, last place) of every meeting: with a pause in which there are fewer than before, somebody is hidden and it goes on."""
    meetings = list(_overlaps(frames))
    while meetings:
        begin, end = meetings.pop(0)
        before = _most(frames, range(max(0, begin - AROUND), begin))
        while (
            meetings
            and frames[meetings[0][0]].time - frames[end].time <= WAIT
            and _most(frames, range(end + 1, meetings[0][0])) < before
        ):
            end = meetings.pop(0)[1]
        yield begin, end


def _most(frames: Sequence[TrackedFrame], span: range) -> int:
    """The most objects in a frame of a span."""
    return max((len(frames[place].objects) for place in span), default=0)


def _overlaps(frames: Sequence[TrackedFrame]) -> Iterator[tuple[int, int]]:
    """(first place, last place) of every time that tracks overlap; with short pauses between them they are one."""
    begin, last = -1, -1
    for place, frame in enumerate(frames):
        if _meeting(frame):
            if begin >= 0 and place - last > PAUSE:
                yield begin, last
                begin = -1
            begin, last = (place if begin < 0 else begin), place
    if begin >= 0:
        yield begin, last


def _matched(frames: Sequence[TrackedFrame], looks: Looks, begin: int, end: int) -> dict[int, int]:
    """New names of the tracks after a meeting."""
    members = set[int]().union(*(_meeting(frame) for frame in frames[begin : end + 1]))
    before_span, after_span = range(max(0, begin - AROUND), begin), range(end + 1, min(len(frames), end + 1 + AROUND))
    seen_before = {o.id for place in before_span for o in frames[place].objects}
    new = {o.id for place in range(begin, after_span.stop) for o in frames[place].objects} - seen_before
    before = [p for i in sorted(members & seen_before) if (p := _piece(frames, before_span, i, looks)) is not None]
    after = [p for i in sorted(members | new) if (p := _piece(frames, after_span, i, looks)) is not None]
    names = {}
    for a, b in _assign(before, after):
        names[b.track] = a.track
    # a track whose name another one took goes on under a name that is free
    free = sorted({p.track for p in after} - set(names.values()))
    for piece in after:
        if piece.track not in names:
            own = piece.track if piece.track in free else (free[0] if free else piece.track)
            free = [i for i in free if i != own]
            names[piece.track] = own
    return names


def _assign(before: list[_Piece], after: list[_Piece]) -> list[tuple[_Piece, _Piece]]:
    """The pairs that together continue each other best."""
    if not before or not after:
        return []
    from scipy.optimize import linear_sum_assignment

    worth = np.array([[_continues(a, b) + SAME_TRACK * (a.track == b.track) for b in after] for a in before])
    rows, columns = linear_sum_assignment(-np.maximum(worth, LEAST - 1))
    return [(before[i], after[j]) for i, j in zip(rows, columns, strict=True) if worth[i, j] >= LEAST]


def _renamed(frame: TrackedFrame, names: Mapping[int, int]) -> TrackedFrame:
    """A frame with other ids; of two objects that would have the same the better one keeps it."""
    best: dict[int, TrackedObject] = {}
    for found in frame.objects:
        name = names.get(found.id, found.id)
        if name not in best or found.score > best[name].score:
            best[name] = replace(found, id=name)
    return replace(frame, objects=tuple(best[i] for i in sorted(best)))


def _piece(frames: Sequence[TrackedFrame], span: range, number: int, looks: Looks) -> _Piece | None:
    """The frames of a span in which a track was seen."""
    found = [(place, o) for place in span for o in frames[place].objects if o.id == number]
    if not found:
        return None
    centres = np.array([((o.box[0] + o.box[2]) / 2, (o.box[1] + o.box[3]) / 2) for _, o in found])
    size = float(np.mean([math.sqrt(max(1.0, (o.box[2] - o.box[0]) * (o.box[3] - o.box[1]))) for _, o in found]))
    known = [looks[key].astype(np.float64) for p, o in found if (key := (frames[p].frame, o.box)) in looks]
    look = np.mean(known, 0) if known else np.zeros(1)
    return _Piece(
        number, np.array([p for p, _ in found], np.float64), centres, size, look / max(1e-9, float(np.linalg.norm(look)))
    )


def _continues(before: _Piece, after: _Piece) -> float:
    """How well one piece goes on as the other: likeness less how far apart their lines are, at the middle of both.

    Objects that pass each other are at one place at that moment; before and after it their ways part.
    """
    alike = float(before.look @ after.look) if before.look.shape == after.look.shape else 0.0
    middles = before.places.mean(), after.places.mean()
    apart = sum(math.hypot(*(before.at(t) - after.at(t))) for t in middles) / 2 / max(1.0, (before.size + after.size) / 2)
    return alike - FAR * min(FARTHEST, apart)


def _joined(frames: list[TrackedFrame], looks: Looks) -> list[TrackedFrame]:
    """Tracks that end joined to tracks that begin, where they are one object's."""
    spans: dict[int, tuple[int, int]] = {}
    for place, frame in enumerate(frames):
        for found in frame.objects:
            spans[found.id] = spans.get(found.id, (place, place))[0], place
    pairs = []
    for a, (first, last) in spans.items():
        for b, (begin, end) in spans.items():
            if not 0 < frames[begin].time - frames[last].time <= WAIT:
                continue
            before = _piece(frames, range(max(first, last - AROUND), last + 1), a, looks)
            after = _piece(frames, range(begin, min(end, begin + AROUND) + 1), b, looks)
            if before is not None and after is not None and (worth := _continues(before, after)) >= LEAST:
                pairs.append((-worth, a, b))
    names: dict[int, int] = {}
    for _, a, b in sorted(pairs):
        if a not in names.values() and b not in names:
            names[b] = a

    def final(number: int) -> int:
        while number in names:
            number = names[number]
        return number

    return [_renamed(frame, {o.id: final(o.id) for o in frame.objects}) for frame in frames]
