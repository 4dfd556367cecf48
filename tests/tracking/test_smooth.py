"""Gaps, smoothing, and one id for each object."""

from __future__ import annotations

import numpy as np
import pytest

from stn_cli.records import TrackedFrame, TrackedObject, corners
from stn_cli.tracking.identity import settle
from stn_cli.tracking.settings import FINISH
from stn_cli.tracking.smooth import refine, smooth_rows

SIZE = (200, 300)


def thing(number: int, x: float, y: float, side: float = 20, score: float = 0.8) -> TrackedObject:
    box = (x, y, x + side, y + side)
    return TrackedObject(number, box, score, corners(box))


def test_short_gaps_are_filled_and_marked() -> None:
    frames = [
        TrackedFrame(i, i / 10, () if i in (3, 4) else (thing(1, 10.0 * i, 50, score=0.9 if i < 3 else 0.6),)) for i in range(8)
    ]
    out = refine(frames, SIZE)
    assert [len(f.objects) for f in out] == [1] * 8
    assert [f.objects[0].interpolated for f in out] == [i in (3, 4) for i in range(8)]
    for i, frame in enumerate(out):  # a steady motion stays as it is
        assert frame.objects[0].box == pytest.approx((10 * i, 50, 10 * i + 20, 70), abs=1e-6)
    assert out[3].objects[0].score == 0.6
    assert out[3].objects[0].quad == corners(out[3].objects[0].box)


def test_long_gaps_stay() -> None:
    gone = range(3, 3 + int(FINISH.gap * 10) + 1)
    frames = [TrackedFrame(i, i / 10, () if i in gone else (thing(1, 10.0 * i, 50),)) for i in range(15)]
    out = refine(frames, SIZE)
    assert [bool(f.objects) for f in out] == [i not in gone for i in range(15)]


def test_jitter_is_smoothed_and_boxes_stay_in_the_frame() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 3, (60, 2))
    frames = [TrackedFrame(i, i / 25, (thing(1, 2.0 * i + noise[i, 0], 178 + noise[i, 1]),)) for i in range(60)]
    out = refine(frames, SIZE, sigmas=(1.5, 1.5))
    before = np.array([f.objects[0].box[0] for f in frames]) - 2.0 * np.arange(60)
    after = np.array([f.objects[0].box[0] for f in out]) - 2.0 * np.arange(60)
    assert after.std() < 0.7 * before.std()
    assert all(f.objects[0].box[3] <= SIZE[0] for f in out)
    assert refine(frames, (300, 300), sigmas=(0, 0)) == frames


def test_sizes_are_smoothed_more_than_places() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 3, (60, 2))
    frames = [TrackedFrame(i, i / 25, (thing(1, 100 + dx, 90, 20 + larger),)) for i, (dx, larger) in enumerate(noise.tolist())]
    boxes = np.array([f.objects[0].box for f in frames])
    out = np.array([f.objects[0].box for f in refine(frames, SIZE)])
    places, sides = ((b[:, 0] + b[:, 2]) / 2 for b in (boxes, out)), (b[:, 2] - b[:, 0] for b in (boxes, out))
    before, after = (p.std() for p in places)
    assert 0.6 < after / before < 1
    before, after = (s.std() for s in sides)
    assert after / before < 0.6


def test_tracks_of_a_moment_are_noise_where_there_are_several() -> None:
    frames = [TrackedFrame(i, i / 25, (thing(1, 10, 10), *((thing(2, 90, 90),) if i in (4, 5) else ()))) for i in range(10)]
    assert {o.id for f in refine(frames, SIZE, shortest=3) for o in f.objects} == {1}
    assert {o.id for f in refine(frames, SIZE) for o in f.objects} == {1, 2}


def test_smoothing_keeps_lines_and_short_rows() -> None:
    line = np.stack([np.arange(20.0), 5 - 2 * np.arange(20.0)], 1)
    np.testing.assert_allclose(smooth_rows(line, 2.0), line, atol=1e-9)
    assert smooth_rows(line[:3], 2.0).shape == (3, 2)


def crossing(swapped: bool, looks: bool) -> tuple[list[TrackedFrame], dict[object, object]]:
    """Two objects that pass each other on one line; at the meeting association may take one for the other."""
    frames, seen = [], {}
    rng = np.random.default_rng(0)
    faces = rng.normal(size=(2, 16))
    faces /= np.linalg.norm(faces, axis=1, keepdims=True)
    for i in range(50):
        xs = 10 + 4.0 * i, 210 - 4.0 * i
        objects = []
        for k, x in enumerate(xs):
            number = 1 + (1 - k if swapped and i >= 25 else k)
            objects.append(thing(number, x, 50 + 4 * k))
            if looks:
                seen[i, objects[-1].box] = faces[k].astype(np.float16)
        frames.append(TrackedFrame(i, i / 25, tuple(objects)))
    return frames, seen  # type: ignore[return-value]


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("looks", [False, True])
def test_objects_that_meet_keep_their_ids(swapped: bool, looks: bool) -> None:
    frames, seen = crossing(swapped, looks)
    out = settle(frames, seen)  # type: ignore[arg-type]
    for i in (*range(20), *range(32, 50)):
        first = next(o for o in out[i].objects if o.id == 1)
        assert first.box[0] == pytest.approx(10 + 4.0 * i), i


@pytest.mark.parametrize("later", [1, 2])
def test_a_meeting_goes_on_while_somebody_is_hidden(later: int) -> None:
    """Two objects that cross while one hides the other: one of the ids stays at what is seen of both, the other is given anew."""
    frames = []
    for i in range(48):
        ways = thing(1, 10 + 4.0 * i, 40 + 1.0 * i), thing(2, 14 + 4.0 * i, 80 - 1.0 * i)
        if 16 <= i < 26:
            objects: tuple[TrackedObject, ...] = (thing(later, 12 + 4.0 * i, 60),)
        elif i < 16:
            objects = ways
        else:  # the wrong one has kept the id
            names = (3, later) if later == 1 else (later, 3)
            objects = tuple(
                sorted((thing(n, w.box[0], w.box[1]) for n, w in zip(names, ways, strict=True)), key=lambda o: o.id)
            )
        frames.append(TrackedFrame(i, i / 25, objects))
    out = settle(frames, {})
    for i in (*range(16), *range(32, 48)):
        assert {o.id: o.box[1] for o in out[i].objects} == pytest.approx({1: 40 + i, 2: 80 - i}), i


def test_a_track_that_goes_on_under_another_id_is_joined() -> None:
    frames = []
    for i in range(40):
        number = 1 if i < 18 else 2
        frames.append(TrackedFrame(i, i / 25, () if 18 <= i < 24 else (thing(number, 5.0 * i, 50),)))
    out = settle(frames, {})
    assert {o.id for f in out for o in f.objects} == {1}
    apart = [
        TrackedFrame(f.frame, f.time, tuple(thing(o.id, o.box[0], 50 if o.id == 1 else 150) for o in f.objects)) for f in frames
    ]
    assert {o.id for f in settle(apart, {}) for o in f.objects} == {1, 2}  # elsewhere: another one


def test_no_frame_has_an_id_twice() -> None:
    rng = np.random.default_rng(1)
    frames = []
    for i in range(80):
        objects = tuple(
            thing(k, float(rng.uniform(0, 80)), float(rng.uniform(0, 80))) for k in range(1, 5) if rng.uniform() > 0.3
        )
        frames.append(TrackedFrame(i, i / 25, objects))
    for frame in settle(frames, {}):
        ids = [o.id for o in frame.objects]
        assert ids == sorted(set(ids))


def test_who_was_renamed_at_one_meeting_is_known_by_the_new_name_at_the_next() -> None:
    """Three objects that look alike: 1 and 2 pass each other and are taken for one another, then the one meets 3 and is again."""
    frames = []
    for i in range(90):
        xs = 10 + 3.0 * i, 130 - 3.0 * i, 220.0  # the first passes the second at frame 20, and the third at frame 70
        ids = (1, 2, 3) if i < 20 else (2, 1, 3) if i < 70 else (3, 1, 2)
        frames.append(
            TrackedFrame(i, i / 25, tuple(sorted((thing(k, x, 50) for k, x in zip(ids, xs, strict=True)), key=lambda o: o.id)))
        )
    out = settle(frames, {})
    for i in (*range(10), *range(32, 58), *range(82, 90)):
        assert {o.id: o.box[0] for o in out[i].objects} == pytest.approx({1: 10 + 3.0 * i, 2: 130 - 3.0 * i, 3: 220}), i
