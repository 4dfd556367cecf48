"""Which part an image goes to: the same whatever else is there, and never apart from what looks alike."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest

from stn_cli.data_sets.alike import FINE, near_duplicates, thumbnail
from stn_cli.data_sets.names import LONGEST, plain_label, stems
from stn_cli.data_sets.split import parse_split, split_of, splits_of
from stn_cli.errors import UsageError
from stn_cli.media.decode import Pixels
from stn_cli.media.video import open_video
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("text", "shares"),
    [("80,10,10", (0.8, 0.1, 0.1)), ("100", (1,)), ("0,100", (0, 1)), ("66.6,33.4", (0.666, 0.334)), (" 50, 50 ", (0.5, 0.5))],
)
def test_what_a_split_is(text: str, shares: tuple[float, ...]) -> None:
    assert parse_split(text) == pytest.approx(shares)


@pytest.mark.parametrize("text", ["", "80", "80,10", "80,30", "50,25,15,10", "120,-20", "nan,100", "inf", "a,b", "80;20"])
def test_what_it_is_not(text: str) -> None:
    with pytest.raises(UsageError, match=r"--split .*80,10,10"):
        parse_split(text)


def test_parts_are_as_large_as_was_asked_and_a_share_of_nothing_gets_nothing() -> None:
    names = [f"{n:05d}.jpg" for n in range(4000)]
    counts = Counter(split_of(name, (0.8, 0.1, 0.1)) for name in names)
    assert counts["train"] == pytest.approx(3200, abs=100)  # four standard deviations
    assert counts["val"] == pytest.approx(400, abs=80)
    assert {split_of(name, (0.5, 0.0, 0.5)) for name in names} == {"train", "test"}
    assert {split_of(name, (0.0, 1.0)) for name in names} == {"val"}


def test_added_files_move_no_other() -> None:
    old = [f"{n}.jpg" for n in range(300)]
    before = dict(zip(old, splits_of(old, range(300), (0.8, 0.2)), strict=True))
    new = sorted([*old, *(f"added{n}.jpg" for n in range(200))], key=hash)
    after = dict(zip(new, splits_of(new, range(500), (0.8, 0.2)), strict=True))
    assert {name: after[name] for name in old} == before
    assert len(set(before.values())) == 2


def test_frames_that_are_added_behind_a_clip_do_not_move_it() -> None:
    for clip in range(20):
        frames = [f"clip{clip}/{n:03d}.jpg" for n in range(30)]
        (first,) = set(splits_of(frames[:3], [7, 7, 7], (0.5, 0.5)))
        assert set(splits_of(frames[::-1], [0] * 30, (0.5, 0.5))) == {first}


def picture(seed: int, size: tuple[int, int] = (120, 160)) -> Pixels:
    """(H, W, 3) patches of several sizes, as photographs have."""
    rng = np.random.default_rng(seed)
    out = np.zeros((*size, 3), np.float32)
    for cells in (3, 6, 12, 40):
        out += cv2.resize(rng.random((cells, cells, 3), np.float32), size[::-1], interpolation=cv2.INTER_CUBIC) * 60
    return np.clip(out, 0, 255).astype(np.uint8)


def encoded(pixels: Pixels, quality: int) -> Pixels:
    return cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)  # type: ignore[return-value]


COPIES = {
    "copy": lambda p: p,
    "JPEG of quality 30": lambda p: encoded(p, 30),
    "half": lambda p: cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "three times as large": lambda p: cv2.resize(p, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC),
    "squashed": lambda p: cv2.resize(p, (100, 100), interpolation=cv2.INTER_AREA),
    "darker": lambda p: (p * 0.6).astype(np.uint8),
    "grey": lambda p: cv2.cvtColor(p, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, 2),
    "without its border": lambda p: np.ascontiguousarray(p[3:-3, 4:-4]),
    "moved by a twentieth": lambda p: np.roll(p, p.shape[1] // 20, 1),
}


@pytest.mark.parametrize("how", COPIES)
def test_copies_are_alike_and_other_pictures_are_not(how: str) -> None:
    originals = [picture(seed) for seed in range(12)]
    looks = [thumbnail(p) for p in [*originals, *(COPIES[how](p) for p in originals)]]
    assert near_duplicates(looks) == [*range(12), *range(12)]


def test_pictures_of_one_colour_are_alike_and_to_no_other() -> None:
    plain = [np.full((50, 60, 3), v, np.uint8) for v in (0, 200)]
    ramp = np.arange(60, dtype=np.uint8)[None, :, None].repeat(50, 0).repeat(3, 2) * 4
    assert near_duplicates([thumbnail(p) for p in (*plain, ramp, picture(1), ramp)]) == [0, 0, 2, 3, 2]
    assert near_duplicates([]) == []


def test_a_bright_thing_at_one_place_does_not_make_copies_of_different_grounds() -> None:
    grounds = [
        cv2.resize(np.random.default_rng(seed).integers(90, 130, (30, 40, 3), np.uint8), (160, 120)) for seed in range(6)
    ]
    for ground in grounds:
        cv2.circle(ground, (80, 60), 28, (255, 20, 20), -1)
    moved = np.roll(grounds[0], 3, 1)
    assert near_duplicates([thumbnail(p) for p in (*grounds, moved)]) == [0, 1, 2, 3, 4, 5, 0]


def test_frames_of_a_clip_are_one_group_beside_others() -> None:
    frames = [frame.pixels for frame in open_video(str(ROOT / "sample_data/clip/cup.mp4")).frames()]
    cups = [cv2.imread(str(path))[..., ::-1] for path in sorted((ROOT / "sample_data/cups/images").iterdir())]
    found = near_duplicates([thumbnail(np.ascontiguousarray(p)) for p in [*frames, *cups]])
    assert set(found[: len(frames)]) == {0}
    assert 0 not in found[len(frames) :]
    assert len(set(found[len(frames) :])) >= len(cups) - 4  # one cup on other grounds is no copy, at the same place neither


def test_groups_are_those_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    kinds = [cv2.GaussianBlur(rng.uniform(0, 255, (FINE + 8, FINE + 8)).astype(np.float32), (0, 0), 6) for _ in range(12)]
    kinds.append(np.full((FINE + 8, FINE + 8), 90, np.float32))
    looks = []
    for kind in rng.integers(0, len(kinds), 60):  # cut out at places that are near each other, and noisy
        y, x = rng.integers(0, 4, 2)
        noisy = kinds[kind][y : y + FINE, x : x + FINE] + rng.normal(0, rng.uniform(0, 0.7), (FINE, FINE))
        looks.append(noisy.astype(np.float16))
    first = list(range(len(looks)))
    pairs = [(a, b) for a in range(len(looks)) for b in range(a) if near_duplicates([looks[b], looks[a]]) == [0, 0]]
    for a, b in pairs:
        first = [min(first[a], first[b]) if f in (first[a], first[b]) else f for f in first]
    assert 13 < len(set(first)) < 50
    monkeypatch.setattr("stn_cli.data_sets.alike.AT_ONCE", 7)
    monkeypatch.setattr("stn_cli.data_sets.alike.AGAINST", 5)
    assert near_duplicates(looks) == first


def test_more_than_are_compared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [thumbnail(picture(seed)) for seed in (*range(7), 2, 5)]
    expected = [0, 1, 2, 3, 4, 5, 6, 2, 5]
    assert near_duplicates(looks) == expected
    monkeypatch.setattr("stn_cli.data_sets.alike.AT_ONCE", 2)
    assert near_duplicates(looks) == expected
    assert looks[0].shape == (FINE, FINE)


def test_names_without_folders_stay_apart() -> None:
    names = [
        "a/x.jpg",
        "a_x.jpg",
        "b.jpg",
        "b.png",
        "B.tif",
        "c.jpg",
        "é.jpg",
        "e\u0301.png",
        "d.v2.jpg",
        ".hidden.jpg",
        "-o.jpg",
        "q\ud8ff.jpg",
    ]
    names[-1] = "q\udcff.jpg"  # a byte that is not UTF-8
    found = stems(names)
    folded = [stem.casefold() for stem in found]
    assert len(set(folded)) == len(names)
    assert found[5] == "c"
    assert found[8] == "d.v2"
    assert found[9] == "_hidden"
    assert found[10] == "_o"
    assert all("~" in stem for stem in (*found[:5], *found[6:8]))
    assert all(not set(stem) & set('/\\:*?"<>|%') for stem in found)
    for stem in found:
        stem.encode("utf-8")
    assert stems(["c.jpg"]) == ["c"]  # what a picture is called alone
    assert len(stems(["ü" * 127 + ".jpg"])[0].encode()) <= LONGEST
    assert stems(["x~0123456789ab.jpg"]) != ["x~0123456789ab"]  # looks like what tells others apart


def test_labels_as_folders() -> None:
    assert [plain_label(name) for name in ("cat", "a/b", "..", ".git", "x.", "Bürste 2", "~")] == [
        "cat", "a_b", "__", "_git", "x_", "Bürste 2", "_",
    ]  # fmt: skip
