"""Windows on score maps: the largest one that satisfies the margin, in closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.coloc.search.layout import Layout
from stn_cli.coloc.search.settings import WINDOWS
from stn_cli.runtime.device import in_double

Sides = tuple[float, float] | None
"""Smallest and largest allowed longer side of a window, shares of the letterbox; None where any is."""
T = TypeVar("T")


def largest_windows(score_map: Tensor, sides: Sides = None) -> tuple[Tensor, Tensor]:
    """The window with the largest sum, over every place and a ladder of widths and heights.

    Args:
        score_map: (N, h, w) margin less threshold; strongly negative outside the image.
        sides: smallest and largest allowed longer side of a window, shares of the letterbox.

    Returns:
        boxes (N, 4) in cells, and their sums (N,).
    """
    N, h, w = score_map.shape
    table = F.pad(score_map.cumsum(1).cumsum(2), (1, 0, 1, 0))  # summed-area table: every window in constant time
    best = score_map.new_full((N,), -torch.inf)
    boxes = torch.zeros((N, 4), dtype=torch.long, device=score_map.device)
    ladder = WINDOWS.ladder if sides is None else tuple(sorted({*WINDOWS.ladder, *sides}))
    heights = sorted({max(2, round(h * s)) for s in ladder})
    widths = sorted({max(2, round(w * s)) for s in ladder})
    for bh in heights:
        for bw in widths:
            if not _allowed(max(bh / h, bw / w), min(bh / h, bw / w), sides):
                continue
            sums = table[:, bh:, bw:] - table[:, :-bh, bw:] - table[:, bh:, :-bw] + table[:, :-bh, :-bw]
            value, at = sums.flatten(1).max(1)
            y, x = at // sums.shape[2], at % sums.shape[2]
            better = value > best
            best = torch.where(better, value, best)
            boxes = torch.where(better[:, None], torch.stack([x, y, x + bw, y + bh], 1), boxes)
    return boxes, best


def alternate(
    start: Tensor, rounds: int, place: Callable[[Tensor, int], Tensor], learn: Callable[[Tensor, int], tuple[T, Tensor]]
) -> tuple[Tensor, T, Tensor]:
    """Windows from margins, margins from windows, for some rounds: how every search for a deformable thing goes.

    Args:
        start: (N, h, w) score map of the first round.
        rounds: at least 1.
        place: a score map (N, h, w) and the round's number -> windows (N, 4) in cells.
        learn: windows and the round's number -> what tells inside from outside, and the score map that it makes.

    Returns:
        The last round's windows, what was learnt from them, and its score map.
    """
    margins = start
    for turn in range(rounds):
        boxes = place(margins, turn)
        learnt, margins = learn(boxes, turn)
    return boxes, learnt, margins


def choose_windows(
    margins: Tensor, layout: Layout, threshold: Tensor | float, spread: Tensor | float, prior: float, sides: Sides
) -> Tensor:
    """The largest window of each image that satisfies the margin.

    Args:
        margins: (N, h, w).
        layout: of the set.
        threshold: of the margins.
        spread: of the margins, their standard deviation.
        prior: what the centre is favoured by, standard deviations at the middle of a side.
        sides: smallest and largest allowed longer side, shares of the letterbox.

    Returns:
        (N, 4) in cells.
    """
    return largest_windows(score_map_of(margins, layout, threshold, spread, prior), sides)[0]


def score_map_of(margins: Tensor, layout: Layout, threshold: Tensor | float, spread: Tensor | float, prior: float) -> Tensor:
    """What windows are chosen by: margins above the threshold, the centre favoured.

    Args:
        margins, layout, threshold, spread, prior: as for `choose_windows`.

    Returns:
        (N, h, w) standard deviations; strongly negative beside the images.
    """
    score_map = (margins - threshold) / max(float(spread), 1e-6) - prior * layout.off_centre
    return score_map.masked_fill(~layout.valid, WINDOWS.outside)


def exact_windows(boxes: Tensor, score_map: Tensor, sides: Sides) -> Tensor:
    """Windows whose sides lie between the cells: moved side by side to the largest sum that is near.

    The ladder of `largest_windows` misses a side by up to a tenth. No window becomes smaller than two cells; one that would take a form that
    is not allowed stays as it is.

    Args:
        boxes: (N, 4) in cells.
        score_map: (N, h, w); it is read between the cells.
        sides: smallest and largest allowed longer side, shares of the letterbox.

    Returns:
        (N, 4) in cells, on quarters of one.
    """
    fine = F.interpolate(score_map[:, None], scale_factor=WINDOWS.finer, mode="bilinear", align_corners=False)[:, 0]
    found = in_double(_slid, fine, (boxes * WINDOWS.finer).long()) / WINDOWS.finer
    h, w = score_map.shape[1:]
    shares = (found[:, 2:] - found[:, :2]) / found.new_tensor([w, h])
    return torch.where(_allowed(shares.amax(1), shares.amin(1), sides)[:, None], found, boxes.to(found))


def _slid(fine: Tensor, boxes: Tensor) -> Tensor:
    """Windows (N, 4) of whole cells of a map (N, h, w), each side moved in turn to where the sum is largest."""
    table = F.pad(fine.cumsum(1).cumsum(2), (1, 0, 1, 0))
    rows = torch.arange(len(boxes), device=boxes.device)
    across, down = (torch.arange(n, device=boxes.device)[None] for n in (table.shape[2], table.shape[1]))
    x1, y1, x2, y2 = boxes[..., None].unbind(1)  # (N, 1) each
    for _ in range(WINDOWS.sweeps):
        columns = table[rows, y2[:, 0]] - table[rows, y1[:, 0]]  # the sum of what is left of each x, between the two rows
        x1 = _least(columns, across <= x2 - 2 * WINDOWS.finer)
        x2 = _least(-columns, across >= x1 + 2 * WINDOWS.finer)
        lines = table[rows, :, x2[:, 0]] - table[rows, :, x1[:, 0]]
        y1 = _least(lines, down <= y2 - 2 * WINDOWS.finer)
        y2 = _least(-lines, down >= y1 + 2 * WINDOWS.finer)
    return torch.cat([x1, y1, x2, y2], 1)


def _least(values: Tensor, where: Tensor) -> Tensor:
    """The place (N, 1) of the least of values (N, P) where it is allowed (N, P)."""
    return values.masked_fill(~where, torch.inf).argmin(1, keepdim=True)


def _allowed(longer: Any, shorter: Any, sides: Sides) -> Any:
    """Whether a window may have these sides, shares of the letterbox: numbers, or a tensor of each."""
    fits = longer <= WINDOWS.most_aspect * shorter
    return (
        fits
        if sides is None
        else fits & (longer >= sides[0] * (1 - WINDOWS.slack)) & (longer <= sides[1] * (1 + WINDOWS.slack))
    )
