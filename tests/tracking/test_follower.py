"""One object from its first box: followed, lost, found again."""

from __future__ import annotations

import dataclasses
import itertools

import cv2
import numpy as np
import pytest
import torch

from stn_cli.encoders import Encoder, make_encoder
from stn_cli.geometry import box_iou
from stn_cli.tracking.edges import edges
from stn_cli.tracking.follower import Follower, Sighting
from stn_cli.tracking.foreground import Foreground
from stn_cli.tracking.glimpse import Glimpse
from stn_cli.tracking.settings import GLIMPSE, VIEW
from stn_cli.tracking.template import Template
from stn_cli.tracking.view import Eye, cut_window, window_around, windows_over
from tests.videos import PixelBox, discs_along, ground, moving, paint


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return make_encoder("small")


def overlap(a: PixelBox, b: PixelBox) -> float:
    return float(box_iou(torch.tensor(a), torch.tensor(b)))


def follow(encoder: Encoder, frames: list[np.ndarray], box: PixelBox, **options: object) -> list[Sighting]:
    follower = Follower(encoder, frames[0], box, **options)  # type: ignore[arg-type]
    return [follower.step(frame) for frame in frames[1:]]


def test_it_stays_on_the_object_and_says_how_sure_it_is(encoder: Encoder) -> None:
    frames, boxes = moving(25)
    assert boxes[0] is not None
    seen = follow(encoder, frames, boxes[0])
    assert all(s.present for s in seen)
    ious = [overlap(s.box, box) for s, box in zip(seen, boxes[1:], strict=True) if box is not None]
    assert min(ious) > 0.6
    assert np.mean(ious) > 0.8
    assert all(0 <= s.score <= 1 for s in seen)


def test_an_absent_object_is_not_reported_and_is_found_again(encoder: Encoder) -> None:
    frames, boxes = moving(40, gone=range(12, 24))
    assert boxes[0] is not None
    seen = [None, *follow(encoder, frames, boxes[0])]
    away = [seen[i].present for i in range(12, 24)]  # type: ignore[union-attr]
    assert sum(away) <= 1
    back = [i for i in range(24, 40) if seen[i].present and overlap(seen[i].box, boxes[i]) > 0.5]  # type: ignore[union-attr,arg-type]
    assert back
    assert back[0] - 24 <= 10  # within ten frames
    assert len(back) >= 40 - back[0] - 1


def test_a_fit_is_judged_beside_the_usual_one(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit of .36 is good enough for an object that never fitted much better, and a sign of absence for one that fits at .9."""
    frames, boxes = moving(3)
    assert boxes[0] is not None

    def seen(fits: list[float]) -> list[bool]:
        follower = Follower(encoder, frames[0], boxes[0])  # type: ignore[arg-type]
        monkeypatch.setattr(follower, "_rivals", lambda *_: [])
        monkeypatch.setattr(follower, "_glimpsed", lambda *_: None)
        out = []
        for fit in fits:
            monkeypatch.setattr(follower, "_search", lambda *_, fit=fit: (torch.tensor(boxes[1]), fit))
            out.append(follower.step(frames[1]).present)
        return out

    assert seen([0.45] * 12 + [0.36]) == [True] * 13
    assert seen([0.9] * 12 + [0.36, 0.5, 0.6, 0.36]) == [True] * 12 + [False, False, True, False]
    # before a lesson counts a fit may fall further: nothing has been learnt yet
    assert seen([0.5, 0.22, 0.22]) == [True] * 3
    assert seen([0.5] * 8 + [0.22]) == [True] * 8 + [False]


def test_the_same_seed_gives_the_same_boxes(encoder: Encoder) -> None:
    frames, boxes = moving(6)
    assert boxes[0] is not None
    assert follow(encoder, frames, boxes[0]) == follow(encoder, frames, boxes[0])


def test_a_proposal_that_fits_better_is_taken(encoder: Encoder) -> None:
    still = ground(size=(240, 320))
    first, far = still.copy(), still.copy()
    box = paint(first, 40, 40)
    there = paint(far, 280, 200)
    follower = Follower(encoder, first, box)
    lost = follower.step(far)
    if not lost.present:  # far outside of the window: only chance finds it at once
        found = follower.step(far, [tuple(v + 3 for v in there)])
        assert found.present
        assert overlap(found.box, there) > 0.5
    else:
        assert overlap(lost.box, there) > 0.5


def test_what_has_left_the_frame_is_not_there(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """However well it fits: beside the frame its edge is repeated, which may look like anything."""
    frames, boxes = moving(3)
    assert boxes[0] is not None
    follower = Follower(encoder, frames[0], boxes[0])
    monkeypatch.setattr(follower, "_glimpsed", lambda *_: None)
    seen = []
    for share in (1.0, 0.5, 0.25, 0.5, 0.7, 0.5, 0.0):  # of the box that lies on the frame, which is 160 wide
        left = 160 - 28 * share
        monkeypatch.setattr(follower, "_search", lambda *_, x=left: (torch.tensor([x, 40.0, x + 28, 68.0]), 0.9))
        seen.append(follower.step(frames[1]).present)
    assert seen == [True, True, False, False, True, True, False]


def test_boxes_at_the_border_are_cut_to_the_frame(encoder: Encoder) -> None:
    frames, _ = discs_along([(20 - 3 * i, 60) for i in range(6)])
    for seen in follow(encoder, frames, (6, 46, 34, 74)):
        assert seen.box[0] >= 0
        assert seen.box[2] <= 160


def test_an_encoder_without_weights_follows_too() -> None:
    frames, boxes = moving(12)
    assert boxes[0] is not None
    seen = follow(make_encoder("gradient"), frames, boxes[0])
    assert overlap(seen[-1].box, boxes[-1]) > 0.5  # type: ignore[arg-type]


def test_windows_and_what_they_show() -> None:
    frame = ground(size=(100, 140))
    left, top, side = window_around(torch.tensor([50.0, 40.0, 70.0, 60.0]))
    assert (left, top, side) == (20, 10, 80)
    assert cut_window(frame, left, top, side).shape == (VIEW.side, VIEW.side, 3)
    outside = cut_window(frame, -500, -500, 40)  # far outside: the corner's colour everywhere
    assert np.abs(outside.astype(int) - frame[0, 0]).max() <= 8
    covered = np.zeros((100, 140), bool)
    for x, y, s in windows_over((100, 140), torch.tensor([0.0, 0.0, 12.0, 12.0]), 0.6):
        covered[max(0, y) : y + s, max(0, x) : x + s] = True
    assert covered.all()
    few = windows_over((2000, 3000), torch.tensor([0.0, 0.0, 12.0, 12.0]), 0.6, 48)
    assert len(few) <= 48


def test_edges_of_a_window_are_the_gradient_encoders(encoder: Encoder) -> None:
    still = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 255, (128, 128, 3), np.uint8), (0, 0), 1.5)
    images = torch.from_numpy(still).permute(2, 0, 1)[None] / 255
    wanted = make_encoder("gradient").appearance(images).cells[0]
    torch.testing.assert_close(torch.from_numpy(edges(still)), wanted, atol=6e-3, rtol=0)


def test_a_window_reads_what_lies_in_a_box(encoder: Encoder) -> None:
    frame = ground()
    box = torch.tensor(paint(frame, 70, 50))
    view = Eye(encoder, torch.device("cpu")).look(frame, window_around(box))
    n = view.cells.shape[-1]
    x, y = view.centres(n)
    position = torch.stack([x.expand(n, n), y[:, None].expand(n, n)])
    read = view.sample(position, box[None], 5, 1.0)[0]
    wanted = box[0] + (box[2] - box[0]) * (torch.arange(5) + 0.5) / 5
    torch.testing.assert_close(read[0, 0], wanted, atol=0.01, rtol=0)
    boxes = torch.cat([box[None], box + torch.randn(6, 4, generator=torch.Generator().manual_seed(0)) * 5])
    weights = torch.randn(len(view.cells), 5, 5, generator=torch.Generator().manual_seed(1))
    read = (view.sample(view.cells, boxes, 5, 1.4) * weights).sum((1, 2, 3))
    torch.testing.assert_close(view.sum_of(view.weighed(view.cells, weights), boxes, 5, 1.4), read, atol=1e-3, rtol=1e-3)
    mirrored = view.mirror(view.mirror(box))
    torch.testing.assert_close(mirrored, box)
    assert torch.equal(view.mirrored().mirrored().cells, view.cells)


def test_the_template_and_the_foreground_prefer_the_true_box(encoder: Encoder) -> None:
    frame = ground()
    box = torch.tensor(paint(frame, 70, 60))
    view = Eye(encoder, torch.device("cpu")).look(frame, window_around(box))
    template = Template([view], box, torch.Generator().manual_seed(0))
    moved = torch.stack([box, box + 8, box + torch.tensor([-8.0, -8, 8, 8]), box + torch.tensor([7.0, 7, -7, -7])])
    fits = template.fit(view, moved, template.weighed(view))
    assert int(fits.argmax()) == 0
    assert float(fits[0]) > 0.8
    found = Foreground(view, box)
    odds = found.map(view)
    inside = view.inside(box + torch.tensor([4.0, 4, -4, -4]), len(odds))
    outside = ~view.inside(box + torch.tensor([-6.0, -6, 6, 6]), len(odds))
    assert float(odds[inside].mean()) > 0.8
    assert float(odds[outside].mean()) < 0.2
    likeness = found.likeness(view, odds, moved)
    assert int(likeness.argmax()) == 0
    assert float(likeness[0]) == pytest.approx(0, abs=1e-4)


def test_what_lies_on_another_object_is_no_counterexample(encoder: Encoder) -> None:
    frame = ground()
    box = torch.tensor(paint(frame, 50, 60))
    other = torch.tensor(paint(frame, 90, 60))
    view = Eye(encoder, torch.device("cpu")).look(frame, window_around(box))
    template = Template([view], box, torch.Generator().manual_seed(0))
    template.relearn([template.equations(view, box, 400)], first=True)
    alone = float(template.fit(view, other[None], template.weighed(view))[0])
    template.relearn([template.equations(view, box, 400, other[None])], first=True)
    assert float(template.fit(view, other[None], template.weighed(view))[0]) > alone


def test_a_view_knows_where_the_frame_ends(encoder: Encoder) -> None:
    view = Eye(encoder, torch.device("cpu")).look(ground(), (-40, 20, 80))
    on = view.on_frame(8)
    assert on[:, :4].sum() == 0
    assert on[:, 4:].all()
    assert dataclasses.replace(view, left=0).on_frame(8).all()


@pytest.mark.parametrize("step", [(3.0, -2.0), (0.4, 1.7), (-9.0, 5.0)])
def test_a_glimpse_tells_how_far_it_went(step: tuple[float, float]) -> None:
    still = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 255, (200, 240, 3), np.uint8), (0, 0), 2)
    box = (100.0, 80.0, 130.0, 115.0)
    glimpse = Glimpse(still, box, 130)
    there = cv2.warpAffine(still, np.array([[1, 0, step[0]], [0, 1, step[1]]]), (240, 200))
    moved = glimpse.moved(there, (0.0, 0.0))
    assert moved is not None
    assert np.abs(np.array(moved) - step).max() < 0.3
    again = glimpse.moved(still, (-step[0], -step[1]))  # from there, not from where it was looked at
    assert again is not None
    assert np.abs(np.array(again) + step).max() < 0.3
    assert glimpse.moved(still.copy()[::-1].copy(), (0.0, 0.0)) is None  # something else is there
    assert glimpse.moved(still, (60.0, 0.0)) is None  # expected where it is not
    assert Glimpse(np.full_like(still, 9), box, 130).moved(still, (0.0, 0.0)) is None  # nothing to tell it by
    assert Glimpse(still, (100.0, 80.0, 103.0, 84.0), 130).moved(still, (0.0, 0.0)) is None  # too small to tell


def test_some_frames_are_glimpsed_at_and_an_object_that_changes_is_looked_at(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    real = Follower._search

    def search(self: Follower, *given: object) -> object:
        looks.append(self.number)  # type: ignore[attr-defined]
        return real(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Follower, "_search", search)
    for changed in (False, True):
        looks.clear()
        frames, boxes = discs_along([(100 + 2 * i, 120) for i in range(30)], size=(240, 320))
        frames = [255 - frame if changed and i % 2 else frame for i, frame in enumerate(frames)]
        box = boxes[-1][0]
        follower = Follower(encoder, frames[0], (box[0] - 58, box[1], box[2] - 58, box[3]))
        for follower.number, frame in enumerate(frames[1:]):  # type: ignore[attr-defined]
            seen = follower.step(frame)
        assert changed or overlap(seen.box, box) > 0.6
        glimpsed = sorted(set(range(29)) - set(looks))
        runs = [len(list(run)) for seen_at, run in itertools.groupby(range(29), glimpsed.__contains__) if seen_at]
        assert max(runs, default=0) <= GLIMPSE.in_a_row, glimpsed
        assert min(glimpsed, default=99) > GLIMPSE.after
        assert not glimpsed if changed else len(glimpsed) >= 5, glimpsed
