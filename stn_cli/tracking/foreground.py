"""Which pixels of a window are the object's: a discriminant of cells, and histograms of colours.

Features know where the object is, but are blurred over some 20 pixels; colours know where it ends. Both are learnt from the boxes that
were believed, cell by cell: what lies outside of the box, and what inside of it looks like the outside, is not the object's.
"""

from __future__ import annotations

import copy
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.tracking.settings import FOREGROUND, LEARNING, VIEW
from stn_cli.tracking.view import View


class Foreground:
    """Probability that a pixel is the object's, and how it is usually spread over the box."""

    def __init__(self, view: View, box: Tensor) -> None:
        normal, wanted = self._equations(view, *self._weights(view, box))
        for _ in range(FOREGROUND.rounds):
            self._solve(normal, wanted)
            normal, wanted = self._equations(view, *self._split(*self._weights(view, box), self._odds(view), FOREGROUND.doubt))
        self._first = self._normal, self._wanted = normal, wanted
        self._solve(normal, wanted)
        self._object = self._first_object = self._beside = torch.zeros(VIEW.colours**3, device=box.device)
        inside = view.inside(box, len(view.colours)) & view.on_frame(len(view.colours))
        outside = (~view.inside(box, len(view.colours)) & view.on_frame(len(view.colours))).float()
        middle = inside * _middle(view, box, len(view.colours))
        odds = self._fine(self._odds(view))
        for _ in range(FOREGROUND.rounds):
            self._object = self._first_object = _histogram(view.colours, middle * odds)
            self._beside = _histogram(view.colours, outside)
            odds = self.map(view)
            outside = outside.maximum(inside * FOREGROUND.doubt * (1 - odds))
        self._first_profile = self._profile = self.profiles(view, self.map(view), box[None])[0]
        self._settle()

    def map(self, view: View) -> Tensor:
        """Where the object's pixels are.

        Args:
            view: of a window.

        Returns:
            (n, n) probability that a pixel is the object's.
        """
        odds = self._fine(self._odds(view)).clamp(0.01, 0.99)
        colours = ((self._mix(self._first_object, self._object) + FOREGROUND.rare) / (self._beside + FOREGROUND.rare)).log()
        return torch.sigmoid(FOREGROUND.cells_weight * odds.logit() + FOREGROUND.colours_weight * colours[view.colours])

    def profiles(self, view: View, odds: Tensor, boxes: Tensor) -> Tensor:
        """How the object's pixels are spread over boxes and a little around them.

        Args:
            view: of a window.
            odds: (n, n) of it, from `map`.
            boxes: (N, 4) in pixels of the frame.

        Returns:
            (N, D).
        """
        return view.sample(F.avg_pool2d(odds[None], 2), boxes, FOREGROUND.profile, FOREGROUND.profile_zoom).flatten(1)

    def likeness(self, view: View, odds: Tensor, boxes: Tensor) -> Tensor:
        """How much the spread over boxes is the usual one.

        Args:
            view: of a window.
            odds: (n, n) of it, from `map`.
            boxes: (N, 4) in pixels of the frame.

        Returns:
            (N,): 0 where it is the usual one, -1 where it is as far from it as a flat one.
        """
        far = (self.profiles(view, odds, boxes) - self._usual).square().sum(1)
        return far * self._per_unlike

    def _settle(self) -> None:
        self._usual = self._mix(self._first_profile, self._profile)
        flat = (self._usual - self._usual.mean()).square().mean().clamp(min=1e-3)
        self._per_unlike = -1 / (flat * self._usual.numel())

    def learned(self, view: View, box: Tensor, odds: Tensor) -> Foreground:
        """Learn from a box that is believed.

        Args:
            view: of a window.
            box: (4,) in pixels of the frame.
            odds: (n, n) that the box was found by.

        Returns:
            A new one; this one stays as it is.
        """
        out = copy.copy(self)
        coarse = self._odds(view)
        normal, wanted = self._equations(view, *self._split(*self._weights(view, box), coarse, FOREGROUND.later_doubt))
        out._normal = (1 - LEARNING.cells_rate) * self._normal + LEARNING.cells_rate * normal
        out._wanted = (1 - LEARNING.cells_rate) * self._wanted + LEARNING.cells_rate * wanted
        out._solve(self._mix(self._first[0], out._normal), self._mix(self._first[1], out._wanted))
        n = len(view.colours)
        on, inside = view.on_frame(n), view.inside(box, n)
        fresh = _histogram(view.colours, (inside & on) * self._fine(coarse))
        out._object = (1 - LEARNING.colours_rate) * self._object + LEARNING.colours_rate * fresh
        out._beside = (1 - LEARNING.colours_rate) * self._beside + LEARNING.colours_rate * _histogram(
            view.colours, (~inside & on).float()
        )
        out._profile = (1 - LEARNING.profile_rate) * self._profile + LEARNING.profile_rate * self.profiles(
            view, odds, box[None]
        )[0]
        out._settle()
        return out

    @staticmethod
    def _mix(first: Tensor, later: Tensor) -> Tensor:
        return LEARNING.first_frame * first + (1 - LEARNING.first_frame) * later

    @staticmethod
    def _weights(view: View, box: Tensor) -> tuple[Tensor, Tensor]:
        """What cells count as the object and as background, (h, w) each; both sum to 1."""
        n = view.cells.shape[-1]
        on = view.on_frame(n)
        edge = (FOREGROUND.near - 1) / 2 * (box[2:] - box[:2])
        inside = (view.inside(box, n) & on) * _middle(view, box, n)
        outside = (~view.inside(box + torch.cat([-edge, edge]), n) & on).float()
        return inside / inside.sum().clamp(min=1e-6), outside / outside.sum().clamp(min=1e-6)

    @staticmethod
    def _split(inside: Tensor, outside: Tensor, odds: Tensor, doubt: float) -> tuple[Tensor, Tensor]:
        """Cells in the box count as what they look like."""
        own, other = inside * odds, outside + doubt * inside * (1 - odds)
        return own / own.sum().clamp(min=1e-6), other / other.sum().clamp(min=1e-6)

    @staticmethod
    def _equations(view: View, inside: Tensor, outside: Tensor) -> tuple[Tensor, Tensor]:
        """Normal equations of the regression of +1 on the object and -1 beside it."""
        cells = _with_one(view.cells.flatten(1).T)
        weight = 0.5 * (inside + outside).flatten()
        target = ((inside - outside) / (inside + outside).clamp(min=1e-9)).flatten()
        weighted = cells * weight[:, None]
        return weighted.T @ cells, weighted.T @ target

    def _solve(self, normal: Tensor, wanted: Tensor) -> None:
        ridge = FOREGROUND.shrinkage * normal.diagonal()[:-1].mean().clamp(min=1e-9)
        self._direction = torch.linalg.solve(normal + ridge * torch.eye(len(normal), device=normal.device), wanted)

    def _odds(self, view: View) -> Tensor:
        """(h, w) probability by the cells alone."""
        margin = torch.einsum("c,chw->hw", self._direction[:-1], view.cells) + self._direction[-1]
        return torch.sigmoid(margin / FOREGROUND.softness)

    @staticmethod
    def _fine(odds: Tensor) -> Tensor:
        return F.interpolate(odds[None, None], scale_factor=2, mode="bilinear", align_corners=False)[0, 0]


def _middle(view: View, box: Tensor, count: int) -> Tensor:
    x, y = view.centres(count)
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).clamp(min=1e-3) / 2
    far = ((x - centre[0]) / half[0]).square() + ((y - centre[1]) / half[1]).square()[:, None]
    return (-FOREGROUND.middle * far).exp()


def _histogram(colours: Tensor, weights: Tensor) -> Tensor:
    """Share of each colour, blurred by one bin."""
    counts = torch.zeros(VIEW.colours**3, device=weights.device).index_add_(0, colours.flatten(), weights.flatten().float())
    step = _blurring(weights.device)
    n = VIEW.colours
    cube = step @ (step @ counts.view(n, -1)).view(n, n, n) @ step
    flat = cube.flatten()
    return flat / flat.sum().clamp(min=1e-6)


@cache
def _blurring(device: torch.device) -> Tensor:
    """(n, n) for n bins: a half of each bin stays, a quarter goes to each side; nothing comes in from beyond the ends."""
    with torch.inference_mode(False):
        one = torch.eye(VIEW.colours, device=device)
        return 0.5 * one + 0.25 * (one.roll(1, 0).tril() + one.roll(-1, 0).triu())


def _with_one(rows: Tensor) -> Tensor:
    return torch.cat([rows, rows.new_ones(len(rows), 1)], 1)
