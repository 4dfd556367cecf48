"""Find every object of one kind in a frame, learnt from one box and the frames of the video themselves.

What one box taught finds the most similar objects of other frames; they teach the next round, seen in a mirror too, and so on: the
co-localisation's own loop, over the objects of a video instead of the images of a folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.encoders import Encoder
from stn_cli.geometry import boxes_around, clip_boxes
from stn_cli.media.decode import Pixels
from stn_cli.runtime.suppression import nms
from stn_cli.tracking.foreground import Foreground
from stn_cli.tracking.kind_settings import DETECTOR
from stn_cli.tracking.settings import BOX, TEMPLATE, VIEW
from stn_cli.tracking.template import Template
from stn_cli.tracking.varied import with_varied
from stn_cli.tracking.view import Eye, View, window_around, windows_over


@dataclass(frozen=True, slots=True)
class Detection:
    """One object in one frame.

    Attributes:
        box: (x1, y1, x2, y2) in pixels of the frame, cut to it.
        score: in [0, 1].
        look: (D,) features of its parts in their places, to tell it from others by.
    """

    box: tuple[float, float, float, float]
    score: float
    look: Tensor


class Detector:
    """Objects of one kind.

    Args:
        encoder: gives the features.
        frame: (H, W, 3) uint8 RGB.
        box: (x1, y1, x2, y2) of one object in it, pixels.
        objects: how many there are in each frame at most.
        device: to work on.
        seed: of the boxes that are tried.
    """

    def __init__(
        self,
        encoder: Encoder,
        frame: Pixels,
        box: Sequence[float],
        objects: int,
        device: torch.device | str = "cpu",
        seed: int = 0,
    ) -> None:
        self.device = torch.device(device)
        self.objects = objects
        self._generator = torch.Generator().manual_seed(seed)
        self._eye = Eye(encoder, self.device)
        first = torch.tensor([float(v) for v in box], device=self.device)
        self._sides = (first[2:] - first[:2]).clamp(min=BOX.least_side)
        self._aspect = (self._sides[0] / self._sides[1]).log()
        self._size = frame.shape[0], frame.shape[1]
        with torch.inference_mode():
            view = self._eye.look(frame, window_around(first))
            width = len(view.cells) * DETECTOR.look_parts**2
            self._mixing = torch.randn((width, DETECTOR.look), generator=self._generator).to(self.device)
            self._template = Template([view], first, self._generator)
            self._foreground = Foreground(view, first)
            both = [
                self._template.equations(v, b, TEMPLATE.first_boxes)
                for v, b in ((view, first), (view.mirrored(), view.mirror(first)))
            ]
            self._template.relearn(both, first=True)

    def scale_to(self, frame: tuple[int, int]) -> None:
        """Go on with frames of another size of the same video.

        Args:
            frame: (height, width) of them.
        """
        self._sides = self._sides * (max(frame) / max(self._size))
        self._size = frame

    @torch.inference_mode()
    def learn(self, frames: Sequence[Pixels], heard: Callable[[str], None] = lambda _: None) -> float:
        """Learn from frames of the video.

        Args:
            frames: (H, W, 3) uint8 RGB, all of one size.
            heard: called with the name of each step.

        Returns:
            The mean number of objects that were believed in each, in the last round.
        """
        taught = 0
        for _ in range(DETECTOR.rounds):
            equations: list[tuple[Tensor, Tensor]] = []
            taught = 0
            for frame in frames:
                boxes, scores, _ = self._find(frame)
                for number in range(min(len(boxes), self.objects)):
                    if float(scores[number]) < DETECTOR.least_taught:
                        break
                    box, others = boxes[number], torch.cat([boxes[:number], boxes[number + 1 :]])
                    view = self._eye.look(frame, window_around(box))
                    self._foreground = self._foreground.learned(view, box, self._foreground.map(view))
                    equations.append(self._template.equations(view, box, others=others))
                    equations.append(self._template.equations(view.mirrored(), view.mirror(box), others=view.mirror(others)))
                    taught += 1
                heard("what is alike")
            if equations:
                self._template.relearn(equations)
        return taught / max(1, len(frames))

    @torch.inference_mode()
    def detect(self, frame: Pixels) -> list[Detection]:
        """The objects of a frame.

        Args:
            frame: (H, W, 3) uint8 RGB.

        Returns:
            What was found, best first.
        """
        boxes, scores, looks = self._find(frame)
        return [
            Detection((b[0], b[1], b[2], b[3]), min(1.0, max(0.0, s)), look)
            for b, s, look in zip(clip_boxes(boxes, self._size).tolist(), scores.tolist(), looks, strict=True)
        ]

    def _find(self, frame: Pixels) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (M, 4), their scores and looks, best first."""
        windows = windows_over(self._size, torch.cat([self._sides * 0, self._sides]), VIEW.step)
        found = [part for view in self._eye.look_at([frame] * len(windows), windows) for part in self._find_in(view)]
        if not found:
            none = self._sides.new_zeros(0)
            return none.view(0, 4), none, none.view(0, 1)
        boxes, scores, looks = (torch.stack(column) for column in zip(*found, strict=True))
        keep = nms(boxes, scores, DETECTOR.same)[: 4 * self.objects]
        keep = keep[scores[keep] > DETECTOR.least]
        return boxes[keep], scores[keep], looks[keep]

    def _find_in(self, view: View) -> list[tuple[Tensor, Tensor, Tensor]]:
        odds, weighed = self._foreground.map(view), self._template.weighed(view)
        places = view.places(DETECTOR.places, self._sides)
        boxes = torch.cat([boxes_around(places, (self._sides * zoom).expand_as(places)) for zoom in DETECTOR.zooms])
        worth = self._worth(view, odds, weighed, boxes)
        peaks = nms(boxes, worth, DETECTOR.apart)[: DETECTOR.peaks]
        out = []
        for peak in peaks[worth[peaks] > DETECTOR.promising]:
            box = self._refined(view, odds, weighed, boxes[peak])
            score = (
                self._template.fit(view, box[None], weighed)[0]
                + DETECTOR.believed_likeness * self._foreground.likeness(view, odds, box[None])[0]
            )
            parts = view.sample(view.cells, box[None], DETECTOR.look_parts, DETECTOR.look_zoom).flatten()
            out.append((box, score, F.normalize(parts @ self._mixing, dim=0)))
        return out

    def _refined(self, view: View, odds: Tensor, weighed: Tensor, box: Tensor) -> Tensor:
        best = box[None]
        for spread, count in zip(BOX.spreads, DETECTOR.counts, strict=True):
            tried = with_varied(best, spread, count, self._generator)
            best = tried[self._worth(view, odds, weighed, tried).topk(DETECTOR.kept).indices]
        return best.mean(0)

    def _worth(self, view: View, odds: Tensor, weighed: Tensor, boxes: Tensor) -> Tensor:
        sides = boxes[:, 2:] - boxes[:, :2]
        aspect = (sides[:, 0] / sides[:, 1]).log() - self._aspect
        fit = self._template.fit(view, boxes, weighed) + BOX.likeness * self._foreground.likeness(view, odds, boxes)
        resized = (sides / self._sides).log().mean(1)
        return fit - DETECTOR.reshaped * aspect.square() - DETECTOR.resized * resized.square()
