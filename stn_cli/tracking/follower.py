"""Follow one object from a first box: look around the predicted place, take the box that fits best, learn from it.

Three things speak for a box: the layout of what is in it (`Template`), how the object's pixels are spread over it (`Foreground`), and that
it is near to where and as large as the object is expected. When the best box fits badly the object is absent: nothing is learnt, and
it is looked for in the whole frame, some windows in each, until it is found again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.encoders import Encoder
from stn_cli.geometry import box_iou, boxes_around, clip_boxes
from stn_cli.media.decode import Pixels
from stn_cli.tracking.foreground import Foreground
from stn_cli.tracking.glimpse import Glimpse
from stn_cli.tracking.settings import BOX, GLIMPSE, LEARNING, PRESENCE, VIEW
from stn_cli.tracking.template import Template
from stn_cli.tracking.varied import with_varied
from stn_cli.tracking.view import Eye, View, window_around, windows_over


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one frame showed.

    Attributes:
        box: (x1, y1, x2, y2) in pixels of the frame, cut to it; where it was last seen when it is absent.
        score: in [0, 1], the expected intersection over union of the box with the object's.
        present: whether it was seen.
    """

    box: tuple[float, float, float, float]
    score: float
    present: bool


class Follower:
    """One object through frames.

    Args:
        encoder: gives the features.
        frame: (H, W, 3) uint8 RGB, the first one.
        box: (x1, y1, x2, y2) of the object in it, pixels.
        device: to work on.
        seed: of the boxes that are tried.
    """

    def __init__(
        self, encoder: Encoder, frame: Pixels, box: Sequence[float], device: torch.device | str = "cpu", seed: int = 0
    ) -> None:
        self.device = torch.device(device)
        self._generator = torch.Generator().manual_seed(seed)
        self._eye = Eye(encoder, self.device)
        self.frame_size = frame.shape[0], frame.shape[1]
        first = torch.tensor([float(v) for v in box], device=self.device)
        self._centre, self._sides = (first[:2] + first[2:]) / 2, (first[2:] - first[:2]).clamp(min=BOX.least_side)
        self._first_sides = self._sides
        self._speed = torch.zeros(2, device=self.device)
        self._seen, self._absent = 0, 0
        self._usual = self._score = 0.0
        self._glimpse: Glimpse | None = None
        self._glimpses = 0
        self._learner = ThreadPoolExecutor(1, "learn")
        self._lesson: Future[tuple[Template, Foreground]] | None = None
        self._windows: list[tuple[int, int, int]] = []
        self._in_each = 1
        with torch.inference_mode():
            view = self._eye.look(frame, window_around(self._box()))
            # what the network makes of an object depends on where in the window it is: all later ones are cut around an expectation
            others = [self._window_beside() for _ in range(BOX.first_views - 1)]
            views = [view, *self._eye.look_at([frame] * len(others), others)]
            self._template = Template(views, self._box(), torch.Generator().manual_seed(seed + 1))
            self._foreground = Foreground(view, self._box())

    def _window_beside(self) -> tuple[int, int, int]:
        """A window in which the object is not quite in the middle, nor quite as large as usual."""
        left, top, side = window_around(self._box())
        x, y, larger = (2 * torch.rand(3, generator=self._generator) - 1).tolist()
        other = round(side * math.exp(BOX.view_zoom * larger))
        return (
            round(left + BOX.view_shift * side * x + (side - other) / 2),
            round(top + BOX.view_shift * side * y + (side - other) / 2),
            other,
        )

    @torch.inference_mode()
    def step(self, frame: Pixels, proposals: Sequence[Sequence[float]] = ()) -> Sighting:
        """Look at the next frame.

        Args:
            frame: (H, W, 3) uint8 RGB.
            proposals: boxes (x1, y1, x2, y2) where a detector sees the object; one that fits clearly better is taken.

        Returns:
            What the frame showed.
        """
        glimpsed = self._glimpsed(frame, proposals)
        if glimpsed is not None:
            return glimpsed
        expected = self._centre + self._speed
        view = self._eye.look(frame, window_around(boxes_around(expected[None], self._sides[None])[0]))
        odds = self._foreground.map(view)
        box, fit = self._search(view, odds, expected, BOX.far)
        taught = self._seen >= LEARNING.solve_every + LEARNING.lesson_every
        present = max(PRESENCE.there if taught else PRESENCE.untaught, PRESENCE.there_share * self._usual)
        returned = max(PRESENCE.back, PRESENCE.back_share * self._usual)
        least, share = (returned, PRESENCE.back_on_frame) if self._absent else (present, PRESENCE.on_frame)
        lost = fit < least or self._on_frame(box) < share
        rivals = [r for r in self._rivals(frame, box, proposals, lost) if self._on_frame(r[2]) >= PRESENCE.back_on_frame]
        best = max(rivals, key=lambda rival: rival[3], default=None)
        if best is not None and best[3] >= (returned if lost else max(returned, fit + BOX.better)):
            view, odds, box, fit = best
            self._speed, lost = torch.zeros_like(self._speed), False
        score = max(0.0, min(1.0, fit))
        if lost:
            self._absent += 1
            self._speed = BOX.momentum * self._speed
            return Sighting(self._clipped(self._box()), score, False)
        self._usual += PRESENCE.usual_rate * (fit - self._usual)
        self._believe(view, odds, box)
        self._score = score
        if self._seen > GLIMPSE.after:
            self._glimpse, self._glimpses = Glimpse(frame, self._box().tolist(), view.side), GLIMPSE.in_a_row
        return Sighting(self._clipped(box), score, True)

    def _glimpsed(self, frame: Pixels, proposals: Sequence[Sequence[float]]) -> Sighting | None:
        """Where the object went since the last frame, if a glimpse tells."""
        left, self._glimpses = self._glimpses, 0
        if self._glimpse is None or not left:
            return None
        x, y = self._speed.tolist()
        moved = self._glimpse.moved(frame, (x, y))
        if moved is None:
            return None
        centre = self._centre + self._centre.new_tensor(moved)
        if self._others(proposals, boxes_around(centre[None], self._sides[None])[0]):
            return None
        self._place(centre, self._sides)
        self._glimpses = left - 1
        return Sighting(self._clipped(self._box()), self._score, True)

    def _search(self, view: View, odds: Tensor, expected: Tensor, pull: float) -> tuple[Tensor, float]:
        """The best box of a window and its fit: places on a lattice, then boxes around the best ones; `pull` is towards the expected place."""
        weighed = self._template.weighed(view)
        stretched = float((self._sides / self._first_sides).log().diff())

        def worth(boxes: Tensor) -> Tensor:
            """What boxes (N, 4) are chosen by (N,)."""
            centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
            change = (sides / self._sides).log()
            cost = BOX.resized * change.square().sum(1) + BOX.reshaped * (change[:, 1] - change[:, 0] + stretched).square()
            if pull:
                cost = cost + pull / (view.side / 2) ** 2 * (centres - expected).square().sum(1)
            fits = self._template.fit(view, boxes, weighed)
            return fits + BOX.likeness * self._foreground.likeness(view, odds, boxes) - cost

        places = view.places(BOX.places, self._sides)
        boxes = boxes_around(places, self._sides.expand_as(places))
        best = boxes[worth(boxes).topk(BOX.peaks).indices]
        for spread, count in zip(BOX.spreads, BOX.counts, strict=True):
            boxes = with_varied(best, spread, count, self._generator)
            best = boxes[worth(boxes).topk(BOX.kept).indices]
        box = best.mean(0)
        return box, float(self._template.fit(view, box[None], weighed))

    def _place(self, centre: Tensor, sides: Tensor) -> None:
        h, w = self.frame_size
        centre = centre.clamp(min=0).minimum(centre.new_tensor([w, h]))
        if not self._absent:
            self._speed = BOX.momentum * self._speed + (1 - BOX.momentum) * (centre - self._centre)
        self._centre, self._sides = centre, sides.clamp(min=BOX.least_side).minimum(centre.new_tensor([w, h]) * BOX.most_side)
        self._absent = 0

    def _believe(self, view: View, odds: Tensor, box: Tensor) -> None:
        self._place((box[:2] + box[2:]) / 2, box[2:] - box[:2])
        self._seen += 1
        if self._seen % LEARNING.lesson_every == 0:
            self._take_lesson()
            self._lesson = self._learner.submit(self._learn, view, self._box(), odds, self._seen % LEARNING.solve_every == 0)

    def _take_lesson(self) -> None:
        """What was learnt from the frame before counts from now on: learning runs beside the look at the next frames, until the next lesson."""
        if self._lesson is not None:
            self._template, self._foreground = self._lesson.result()
            self._lesson = None

    def _learn(self, view: View, box: Tensor, odds: Tensor, solve: bool) -> tuple[Template, Foreground]:
        with torch.inference_mode():
            return self._template.learned(view, box, solve=solve), self._foreground.learned(view, box, odds)

    def _box(self) -> Tensor:
        return boxes_around(self._centre[None], self._sides[None])[0]

    def _clipped(self, box: Tensor) -> tuple[float, float, float, float]:
        x1, y1, x2, y2 = clip_boxes(box, self.frame_size).tolist()
        return x1, y1, x2, y2

    def _on_frame(self, box: Tensor) -> float:
        """Share of a box (4,) that lies on the frame."""
        x1, y1, x2, y2 = box.tolist()
        left, top, right, bottom = self._clipped(box)
        return (right - left) * (bottom - top) / max(1e-6, (x2 - x1) * (y2 - y1))

    def _rivals(
        self, frame: Pixels, box: Tensor, proposals: Sequence[Sequence[float]], lost: bool
    ) -> list[tuple[View, Tensor, Tensor, float]]:
        """Where else the object may be: at proposals that disagree; when it is lost, in some windows of the frame, others in each."""
        windows = [window_around(p) for p in self._others(proposals, box)]
        if lost:
            if not self._windows:
                self._windows = self._all_windows()
                self._in_each = min(PRESENCE.most_windows, -(-len(self._windows) // PRESENCE.frames_of_a_pass))
            windows += self._windows[: self._in_each]
            self._windows = self._windows[self._in_each :]
        found = []
        for view in self._eye.look_at([frame] * len(windows), windows) if windows else ():
            odds = self._foreground.map(view)
            place, fit = self._search(view, odds, view.middle(), 0.0)
            found.append((view, odds, place, fit))
        return found

    def _others(self, proposals: Sequence[Sequence[float]], box: Tensor) -> list[Tensor]:
        """The proposals that are not at a box (4,)."""
        given = (torch.tensor([float(v) for v in proposal], device=self.device) for proposal in proposals)
        return [p for p in given if float(box_iou(p, box)) < BOX.agrees]

    def _all_windows(self) -> list[tuple[int, int, int]]:
        """Windows that cover the frame, those near to where the object was last seen first."""
        x, y = self._centre.tolist()
        windows = windows_over(self.frame_size, self._box(), VIEW.step, PRESENCE.frames_of_a_pass * PRESENCE.most_windows)
        return sorted(windows, key=lambda v: math.hypot(v[0] + v[2] / 2 - x, v[1] + v[2] / 2 - y))
