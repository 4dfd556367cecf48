"""One id for each object: the same as a slow reference that renames all later frames after each meeting, in time that grows with the frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stn_cli.records import PixelBox, TrackedFrame, TrackedObject, corners
from stn_cli.tracking import identity
from stn_cli.tracking.kind_settings import IDENTITY
from stn_cli.tracking.looks import BLOCK, KeptLooks, Looks
from stn_cli.tracking.smooth import refine


@dataclass(frozen=True)
class Made:
    """How the objects of a made video are lost, taken for one another, and look."""

    count: int
    area: float = 120.0
    speed: float = 2.0
    lost: float = 0.1
    broken: float = 0.02
    swapped: float = 0.02
    levels: int = 3
    faces: bool = True


def made(seed: int, length: int, how: Made) -> tuple[list[TrackedFrame], dict[tuple[int, PixelBox], npt.NDArray[np.float16]]]:
    """Objects that wander in a square and meet, under ids that break off and are swapped."""
    rng = np.random.default_rng(seed)
    places, steps = rng.uniform(0, how.area, (how.count, 2)), rng.normal(0, how.speed, (how.count, 2))
    ids = list(range(1, how.count + 1))
    faces = rng.normal(size=(how.count, 16))
    faces /= np.linalg.norm(faces, axis=1, keepdims=True)
    frames, looks = [], {}
    for i in range(length):
        places += steps
        steps[(places < 0) | (places > how.area)] *= -1
        places = places.clip(0, how.area)
        for k in range(how.count):
            if rng.random() < how.broken:
                ids[k] = max(ids) + 1
        if rng.random() < how.swapped:
            a, b = rng.integers(how.count, size=2)
            ids[a], ids[b] = ids[b], ids[a]
        objects = []
        for k in range(how.count):
            if rng.random() < how.lost:
                continue
            x, y = places[k].tolist()
            box = (x, y, x + 20, y + 20)
            objects.append(TrackedObject(ids[k], box, float(rng.integers(1, how.levels + 1)) / how.levels, corners(box)))
            if how.faces:
                looks[i, box] = (faces[k] + rng.normal(0, 0.1, 16)).astype(np.float16)
        frames.append(TrackedFrame(i, i / 25, tuple(sorted(objects, key=lambda o: o.id))))
    return frames, looks


def reference(frames: Sequence[TrackedFrame], looks: Looks) -> list[TrackedFrame]:
    """What `settle` gives, by its definition: every frame after a meeting is renamed, every pair of tracks compared."""
    out = list(frames)
    for begin, end in identity._meetings(frames):
        names = identity._matched(out, looks, begin, end)
        middle = (begin + end + 1) // 2
        out[middle:] = [identity._renamed(f, names) for f in out[middle:]]
    spans: dict[int, tuple[int, int]] = {}
    for place, frame in enumerate(out):
        for found in frame.objects:
            spans[found.id] = spans.get(found.id, (place, place))[0], place
    pairs = []
    for a, (first, last) in spans.items():
        for b, (begin, end) in spans.items():
            if 0 < out[begin].time - out[last].time <= IDENTITY.wait:
                before = identity._piece(out, range(max(first, last - IDENTITY.around), last + 1), a, looks)
                after = identity._piece(out, range(begin, min(end, begin + IDENTITY.around) + 1), b, looks)
                assert before is not None
                assert after is not None
                if (worth := identity._continues(before, after)) >= IDENTITY.least:
                    pairs.append((-worth, a, b))
    joined: dict[int, int] = {}
    for _, a, b in sorted(pairs):
        if a not in joined.values() and b not in joined:
            joined[b] = a

    def final(number: int) -> int:
        while number in joined:
            number = joined[number]
        return number

    return [identity._renamed(frame, {o.id: final(o.id) for o in frame.objects}) for frame in out]


@settings(max_examples=40, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    length=st.integers(1, 120),
    how=st.builds(
        Made,
        count=st.integers(1, 6),
        area=st.sampled_from([60.0, 120.0, 400.0]),
        speed=st.sampled_from([0.5, 2.0, 6.0]),
        lost=st.sampled_from([0.0, 0.1, 0.4]),
        broken=st.sampled_from([0.0, 0.02, 0.1, 0.3]),
        swapped=st.sampled_from([0.0, 0.02, 0.2]),
        levels=st.sampled_from([1, 2, 1000]),
        faces=st.booleans(),
    ),
)
def test_the_same_as_renaming_all_later_frames_after_each_meeting(seed: int, length: int, how: Made) -> None:
    frames, looks = made(seed, length, how)
    assert identity.settle(frames, looks) == reference(frames, looks)


def test_the_work_grows_with_the_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames that are renamed and pieces of tracks that are compared: twice as many for twice the video, not four times."""
    counts = {"_renamed": 0, "_piece": 0, "_continues": 0}

    def counted(name: str) -> None:
        real = getattr(identity, name)

        def called(*arguments: object) -> object:
            counts[name] += 1
            return real(*arguments)

        monkeypatch.setattr(identity, name, called)

    for name in counts:
        counted(name)
    done = []
    for length in (600, 2400):
        counts.update(dict.fromkeys(counts, 0))
        identity.settle(*made(3, length, Made(4, lost=0.05, broken=0.01)))
        done.append(dict(counts))
    for name, count in done[0].items():
        assert count > 50
        assert done[1][name] < 1.5 * 4 * count, name


@pytest.mark.parametrize("seed", range(4))
def test_case_X_never_more_boxes_in_a_frame_than_asked(seed: int) -> None:
    """Gaps are filled beside what was seen of others: where there is no room, not."""
    frames, looks = made(seed, 150, Made(3, lost=0.25, broken=0.05))
    asked = [TrackedFrame(f.frame, f.time, f.objects[:2]) for f in frames]  # the detector's best two
    settled = identity.settle(asked, looks)
    assert any(len(f.objects) > 2 for f in refine(settled, (200, 200), shortest=3))
    out = refine(settled, (200, 200), shortest=3, most=2)
    assert max(len(f.objects) for f in out) == 2
    for before, after in zip(refine(settled, (200, 200), shortest=3), out, strict=True):
        assert [o for o in before.objects if not o.interpolated] == [o for o in after.objects if not o.interpolated]
        assert [o.id for o in after.objects] == sorted({o.id for o in after.objects})


def test_looks_are_found_by_frame_and_box() -> None:
    kept, rng = KeptLooks(), np.random.default_rng(0)
    plain: dict[tuple[int, PixelBox], npt.NDArray[np.float16]] = {}
    for frame in range(BLOCK):
        boxes = [(float(frame), float(k), 9.0, 9.0) for k in range(frame % 5)]
        looks = [rng.normal(size=48).astype(np.float16) for _ in boxes]
        kept.add(frame, boxes, looks)
        plain.update({(frame, box): look for box, look in zip(boxes, looks, strict=True)})
    assert len(kept) == len(plain) > BLOCK
    assert set(kept) == set(plain)
    assert all(np.array_equal(kept[key], look) for key, look in plain.items())
    assert (4, (9.0, 9.0, 9.0, 9.0)) not in kept
    assert (10**6, (0.0, 0.0, 9.0, 9.0)) not in kept
