"""What a video teaches: what to follow, and every object of its kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stn_cli.encoders import Encoder, make_encoder
from stn_cli.media.video import VideoFrame
from stn_cli.records import overlap
from stn_cli.tracking.detector import Detector
from stn_cli.tracking.discover import Kept, discover
from stn_cli.tracking.kind_settings import DISCOVERY
from stn_cli.tracking.saliency import box_contrast, colour_map, cut_out, motion_map, parts_of
from tests.videos import discs_along, ground, moving, paint


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return make_encoder("small")


def stream(frames: list[np.ndarray]) -> list[VideoFrame]:
    return [VideoFrame(i, i / 25, f) for i, f in enumerate(frames)]


def test_what_moves_on_its_own_stands_out_of_a_scene_that_moves() -> None:
    wide = ground(size=(160, 240))
    frames = []
    for i in range(7):
        frame = wide[10 + i : 130 + i, 2 * i : 160 + 2 * i].copy()  # the camera pans
        frame[40:70, 60 + 4 * i : 100 + 4 * i] = ground(5)[40:70, 60:100]  # a patch of like texture goes its own way
        frames.append(frame)
    values = motion_map(frames[3], [(frames[2], frames[4]), (frames[0], frames[6])])
    box = (72 / 160, 40 / 120, 112 / 160, 70 / 120)
    assert box_contrast(values, box) > 1
    best = parts_of(values)[0]
    assert overlap(best.box, box) > 0.4


def test_colours_stand_out_and_are_cut_out() -> None:
    frame = ground()
    true = paint(frame, 60, 50)
    box = true[0] / 160, true[1] / 120, true[2] / 160, true[3] / 120
    part = parts_of(colour_map(frame))[0]
    assert overlap(part.box, box) > 0.3
    outline = cut_out(frame, part)
    assert outline is not None
    assert overlap(outline, box) > 0.8
    flat = np.full((60, 80, 3), 127, np.uint8)
    assert parts_of(colour_map(flat)) == []


def test_the_moving_thing_is_discovered(encoder: Encoder) -> None:
    frames, boxes = moving(30)
    anchor = discover(Kept.of(stream(frames), 30), encoder, torch.device("cpu"))
    assert anchor is not None
    true = boxes[anchor.frame]
    assert true is not None
    assert overlap(anchor.box, (true[0] / 160, true[1] / 120, true[2] / 160, true[3] / 120)) > 0.5


@pytest.mark.parametrize("kind", ["still", "noise", "short"])
def test_where_nothing_moves_nothing_is_discovered(encoder: Encoder, kind: str) -> None:
    rng = np.random.default_rng(0)
    still = ground()
    frames = {
        "still": [still] * 20,
        "noise": [np.clip(still.astype(int) + rng.normal(0, 6, still.shape), 0, 255).astype(np.uint8) for _ in range(20)],
        "short": [still] * 2,
    }[kind]
    assert discover(Kept.of(stream(frames), len(frames)), encoder, torch.device("cpu")) is None


def test_of_a_long_video_pieces_are_kept() -> None:
    small = np.zeros((12, 16, 3), np.uint8)
    count = 1000
    kept = Kept.of((VideoFrame(2 * i, i / 25, small) for i in range(count)), count)
    assert len(kept.frames) == DISCOVERY.clips * DISCOVERY.clip
    assert kept.indices[0] == 0
    assert kept.indices[-1] == 2 * (count - 1)
    looks = kept.looks()
    assert {kept.clips[i] for i in looks} == set(range(DISCOVERY.clips))
    before, after = kept.neighbours(0)[0]
    assert before is kept.frames[0]
    assert after is kept.frames[1]
    assert len(Kept.of(stream([small] * 50), 50).frames) == 50
    assert len(Kept.of(stream([small] * 300), None).frames) == DISCOVERY.clips * DISCOVERY.clip  # length not known


def test_every_object_of_the_kind_is_detected_in_other_frames(encoder: Encoder) -> None:
    one, other = ([(30 + 6 * i, 30) for i in range(8)], [(125 - 5 * i, 88) for i in range(8)])
    frames, truth = discs_along(one, other, changing=True)
    detector = Detector(encoder, frames[0], truth[0][0], 2)
    assert detector.learn(frames) > 1.5
    for frame, boxes in zip(frames, truth, strict=True):
        found = detector.detect(frame)[:2]
        assert len(found) == 2
        assert all(max(overlap(box, d.box) for d in found) > 0.5 for box in boxes)
        assert found[0].score >= found[1].score
    assert not any(d.score > 0.4 for d in detector.detect(ground(99)))
