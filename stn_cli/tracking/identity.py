"""Which track is whose: after the whole video was seen, by what objects look like and where they were going.

Association frame by frame sees one step ahead. Where objects meet, they hide each other, and tracks end, begin or pass from one to another.
So the tracks before a meeting are compared with those after it over many frames, and matched all at once; what is left over and ends or
begins alone is joined in the same way.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from stn_cli.records import TrackedFrame, TrackedObject, overlap
from stn_cli.tracking.kind_settings import IDENTITY
from stn_cli.tracking.looks import Looks


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
        frames: of the whole video, in their order, objects by id.
        looks: of the tracks.

    Returns:
        The same frames, with other ids.
    """
    out = list(frames)
    names = _Names(frames)
    known = 0
    for begin, end in _meetings(frames):
        reach = min(len(out), end + 1 + IDENTITY.around)
        out[known:reach] = [names.given(frame) for frame in frames[known:reach]]
        known = max(known, reach)
        # what this meeting shows decides for all that comes after it; who takes part in it an earlier one may have renamed
        new = _matched(out, looks, begin, end)
        middle = (begin + end + 1) // 2
        out[middle:known] = [_renamed(frame, new) for frame in out[middle:known]]
        names.follow(new, middle)
    out[known:] = [names.given(frame) for frame in frames[known:]]
    return _joined(out, looks)


class _Names:
    """What tracks are called after all meetings so far, so that a frame is renamed once and not again after each of them.

    Several tracks may have got one name. Where a frame shows more than one of them, the one with the highest score keeps it; of equal ones
    the one whose name was lower when they met. Renaming all frames after each meeting would give the same.

    Args:
        frames: of the whole video.
    """

    def __init__(self, frames: Sequence[TrackedFrame]) -> None:
        self._last = {found.id: place for place, frame in enumerate(frames) for found in frame.objects}
        self._tracks: dict[int, list[int]] = {}
        self._name: dict[int, tuple[int, int]] = {}

    def follow(self, names: Mapping[int, int], place: int) -> None:
        """Take up the new names of a meeting, for frames from a place on; tracks that ended before it are forgotten."""
        joined: dict[int, list[int]] = {name: [] for name in (*names, *names.values())}
        for name in sorted(joined):
            joined[names.get(name, name)] += self._tracks.get(name, [name])
        for name, tracks in joined.items():
            alive = self._tracks[name] = [track for track in tracks if self._last.get(track, -1) >= place]
            self._name.update((track, (name, rank)) for rank, track in enumerate(alive))

    def given(self, frame: TrackedFrame) -> TrackedFrame:
        """A frame with the names that its tracks have now."""
        if not any(found.id in self._name for found in frame.objects):
            return frame
        best: dict[int, tuple[float, int, TrackedObject]] = {}
        for found in frame.objects:
            name, rank = self._name.get(found.id, (found.id, 0))
            if name not in best or (found.score, -rank) > best[name][:2]:
                best[name] = found.score, -rank, replace(found, id=name)
        return replace(frame, objects=tuple(best[name][2] for name in sorted(best)))


def _meeting(frame: TrackedFrame) -> set[int]:
    """Tracks that overlap another one in a frame."""
    return {
        track
        for i, one in enumerate(frame.objects)
        for other in frame.objects[i + 1 :]
        if overlap(one.box, other.box) >= IDENTITY.meeting
        for track in (one.id, other.id)
    }


def _meetings(frames: Sequence[TrackedFrame]) -> Iterator[tuple[int, int]]:
    """(first place, last place) of every meeting: with a pause in which there are fewer than before, somebody is hidden and it goes on."""
    later = _overlaps(frames)
    following = next(later, None)
    while following is not None:
        begin, end = following
        following = next(later, None)
        before = _most(frames, range(max(0, begin - IDENTITY.around), begin))
        while (
            following is not None
            and frames[following[0]].time - frames[end].time <= IDENTITY.wait
            and _most(frames, range(end + 1, following[0])) < before
        ):
            end = following[1]
            following = next(later, None)
        yield begin, end


def _most(frames: Sequence[TrackedFrame], span: range) -> int:
    """The most objects in a frame of a span."""
    return max((len(frames[place].objects) for place in span), default=0)


def _overlaps(frames: Sequence[TrackedFrame]) -> Iterator[tuple[int, int]]:
    """(first place, last place) of every time that tracks overlap; with short pauses between them they are one."""
    begin, last = -1, -1
    for place, frame in enumerate(frames):
        if _meeting(frame):
            if begin >= 0 and place - last > IDENTITY.pause:
                yield begin, last
                begin = -1
            begin, last = (place if begin < 0 else begin), place
    if begin >= 0:
        yield begin, last


def _matched(frames: Sequence[TrackedFrame], looks: Looks, begin: int, end: int) -> dict[int, int]:
    """New names of the tracks after a meeting."""
    members = set[int]().union(*(_meeting(frame) for frame in frames[begin : end + 1]))
    before_span, after_span = (
        range(max(0, begin - IDENTITY.around), begin),
        range(end + 1, min(len(frames), end + 1 + IDENTITY.around)),
    )
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

    worth = np.array([[_continues(a, b) + IDENTITY.same_track * (a.track == b.track) for b in after] for a in before])
    rows, columns = linear_sum_assignment(-np.maximum(worth, IDENTITY.least - 1))
    return [(before[i], after[j]) for i, j in zip(rows, columns, strict=True) if worth[i, j] >= IDENTITY.least]


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
    return alike - IDENTITY.far * min(IDENTITY.farthest, apart)


def _joined(frames: list[TrackedFrame], looks: Looks) -> list[TrackedFrame]:
    """Tracks that end joined to tracks that begin, where they are one object's."""
    spans: dict[int, tuple[int, int]] = {}
    for place, frame in enumerate(frames):
        for found in frame.objects:
            spans[found.id] = spans.get(found.id, (place, place))[0], place
    begins = sorted((frames[begin].time, track) for track, (begin, _) in spans.items())
    heads: dict[int, _Piece | None] = {}
    pairs = []
    for a, (first, last) in spans.items():
        ended = frames[last].time
        latest = ended + IDENTITY.margin * IDENTITY.wait
        near = [b for _, b in begins[bisect_right(begins, (ended, math.inf)) : bisect_right(begins, (latest, math.inf))]]
        before = _piece(frames, range(max(first, last - IDENTITY.around), last + 1), a, looks) if near else None
        for b in near:
            begin, end = spans[b]
            if not 0 < frames[begin].time - ended <= IDENTITY.wait:
                continue
            if b not in heads:
                heads[b] = _piece(frames, range(begin, min(end, begin + IDENTITY.around) + 1), b, looks)
            after = heads[b]
            if before is not None and after is not None and (worth := _continues(before, after)) >= IDENTITY.least:
                pairs.append((-worth, a, b))
    earlier: dict[int, int] = {}
    continued: set[int] = set()
    for _, a, b in sorted(pairs):
        if a not in continued and b not in earlier:
            earlier[b] = a
            continued.add(a)
    names: dict[int, int] = {}
    for track in sorted(spans, key=lambda i: spans[i][0]):  # who goes on as another one began after it
        names[track] = names[earlier[track]] if track in earlier else track
    return [_renamed(frame, {o.id: names[o.id] for o in frame.objects}) for frame in frames]
