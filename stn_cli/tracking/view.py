"""Windows of frames as the follower sees them: cells of features, and colours.

A window is cut at whole pixels and resized on the CPU, where frames are decoded: 128 x 128 pixels go to the device, not the frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.coloc.search.discriminant import Projection
from stn_cli.encoders import Encoder
from stn_cli.geometry import index_to_normalised
from stn_cli.media.decode import Pixels
from stn_cli.tracking.edges import edges
from stn_cli.tracking.settings import VIEW


@dataclass(frozen=True, slots=True)
class View:
    """One window.

    Attributes:
        left, top, side: where it lies in the frame, pixels.
        frame: (height, width) of the frame.
        cells: (C, h, w) features.
        colours: (n, n) number of each pixel's colour; n is 2 h.
    """

    left: int
    top: int
    side: int
    frame: tuple[int, int]
    cells: Tensor
    colours: Tensor

    def centres(self, count: int) -> tuple[Tensor, Tensor]:
        """x and y (count,) in frame pixels of the middles of `count` parts of the window."""
        at = (torch.arange(count, device=self.cells.device) + 0.5) * (self.side / count)
        return at + self.left, at + self.top

    def on_frame(self, count: int) -> Tensor:
        """Which of count x count parts of the window lie on the frame; beside it the window repeats the frame's edge."""
        x, y = self.centres(count)
        return ((y > 0) & (y < self.frame[0]))[:, None] & ((x > 0) & (x < self.frame[1]))

    def inside(self, box: Tensor, count: int) -> Tensor:
        """Which of count x count parts of the window have their middle in a box (4,) of frame pixels."""
        x, y = self.centres(count)
        return ((y > box[1]) & (y < box[3]))[:, None] & ((x > box[0]) & (x < box[2]))

    def middle(self) -> Tensor:
        """The window's middle (2,), frame pixels."""
        return torch.tensor([self.left + self.side / 2, self.top + self.side / 2], device=self.cells.device)

    def places(self, count: int, sides: Tensor) -> Tensor:
        """A lattice of middles of boxes that reaches to the window's border.

        Args:
            count: of places along a side.
            sides: (2,) of the boxes, pixels of the frame.

        Returns:
            (count ** 2, 2) x and y, pixels of the frame.
        """
        reach = (self.side - 0.5 * float(sides.min())) / 2
        at = torch.linspace(-reach, reach, count, device=self.cells.device)
        return torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).view(-1, 2) + self.middle()

    def mirrored(self) -> View:
        """The same window seen in a mirror."""
        return replace(self, cells=self.cells.flip(-1), colours=self.colours.flip(-1))

    def mirror(self, boxes: Tensor) -> Tensor:
        """Boxes (..., 4) of the window, seen in a mirror."""
        x1, y1, x2, y2 = boxes.unbind(-1)
        return torch.stack([2 * self.left + self.side - x2, y1, 2 * self.left + self.side - x1, y2], -1)

    def sample(self, maps: Tensor, boxes: Tensor, points: int, zoom: float) -> Tensor:
        """Read maps in boxes.

        Args:
            maps: (C, h, w) of the window.
            boxes: (N, 4) in pixels of the frame.
            points: places along a side of a box.
            zoom: how much beyond the box they reach.

        Returns:
            (N, C, points, points).
        """
        grid = self._grid(boxes, points, zoom)
        out = F.grid_sample(maps[None], grid.view(1, -1, points, 2), align_corners=False, padding_mode="border")[0]
        return out.unflatten(1, (len(boxes), points)).transpose(0, 1)

    def weighed(self, maps: Tensor, weights: Tensor) -> Tensor:
        """Maps weighed for each place of a box, for `sum_of`.

        Args:
            maps: (C, h, w) of the window.
            weights: (C, points, points).

        Returns:
            (points ** 2, 1, h, w).
        """
        return (weights.flatten(1).T @ maps.flatten(1)).view(-1, 1, *maps.shape[1:])

    def sum_of(self, weighed: Tensor, boxes: Tensor, points: int, zoom: float) -> Tensor:
        """What `sample` would read in each box, times the weights, summed.

        Reading is linear: reading one weighed map at each point is several times faster than weighing what was read.

        Args:
            weighed: (points ** 2, 1, h, w), from `weighed`.
            boxes: (N, 4) in pixels of the frame.
            points, zoom: as for `sample`.

        Returns:
            (N,).
        """
        grid = self._grid(boxes, points, zoom).view(len(boxes), -1, 1, 2).transpose(0, 1)
        return F.grid_sample(weighed, grid, align_corners=False, padding_mode="border").sum((0, 1, 3))

    def _grid(self, boxes: Tensor, points: int, zoom: float) -> Tensor:
        """Places (N, points ** 2 * 2), x and y in turn, in boxes (N, 4), normalised coordinates of the window."""
        steps, order = _lattice(points, zoom, boxes.device)
        x, y = (-2 * at / self.side - 1 for at in (self.left, self.top))
        corners = torch.add(boxes.new_tensor([x, y, x, y]), boxes, alpha=2 / self.side)
        return torch.lerp(corners[:, :2, None], corners[:, 2:, None], steps).flatten(1).index_select(1, order)


@cache
def _lattice(points: int, zoom: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where points lie between a box's sides, 0 to 1 for `zoom` 1; and the order in which x and y of all make a lattice."""
    with torch.inference_mode(False):
        steps = 0.5 + zoom / 2 * index_to_normalised(torch.arange(points, dtype=torch.float32), points)
        rows, columns = torch.meshgrid(torch.arange(points), torch.arange(points), indexing="ij")
        return steps.to(device), torch.stack([columns, points + rows], -1).flatten().to(device)


def window_around(box: Tensor, zoom: float = 1.0) -> tuple[int, int, int]:
    """The window that an object is looked at in.

    Args:
        box: (4,) in pixels of the frame.
        zoom: of its usual side.

    Returns:
        (left, top, side), whole pixels.
    """
    x1, y1, x2, y2 = box.tolist()
    w, h = max(1.0, x2 - x1), max(1.0, y2 - y1)
    side = max(VIEW.least_side, round(zoom * max(VIEW.reach * (w * h) ** 0.5, VIEW.least_reach * max(w, h))))
    return round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2), side


def windows_over(frame: tuple[int, int], box: Tensor, step: float, most: int | None = None) -> list[tuple[int, int, int]]:
    """Windows that cover a frame, for objects like a box.

    Args:
        frame: (height, width).
        box: (4,) the object's.
        step: between windows, share of their side.
        most: windows; where there would be more, they are larger.

    Returns:
        (left, top, side) of each, row by row.
    """
    h, w = frame
    zoom = 1.0
    while True:
        side = window_around(box, zoom)[2]
        across, down = (max(1, math.ceil((length - side) / (step * side)) + 1) for length in (w, h))
        if most is None or across * down <= most:
            break
        zoom *= VIEW.growth
    lefts, tops = (
        [(length - side) / 2] if n == 1 else [i * (length - side) / (n - 1) for i in range(n)]
        for length, n in ((w, across), (h, down))
    )
    return [(round(left), round(top), side) for top in tops for left in lefts]


def cut_window(frame: Pixels, left: int, top: int, side: int) -> Pixels:
    """Cut a window out of a frame, as it is looked at; beside the frame its edge is repeated.

    Args:
        frame: (H, W, 3).
        left, top, side: of the window, pixels.

    Returns:
        (S, S, 3).
    """
    return resized_part(frame, left, top, (side, side), (VIEW.side, VIEW.side))


def resized_part(frame: Pixels, left: int, top: int, sides: tuple[int, int], size: tuple[int, int]) -> Pixels:
    """A part of a frame, resized; beside the frame its edge is repeated.

    Args:
        frame: (H, W, 3).
        left, top: of the part, whole pixels; they may lie beside the frame.
        sides: (w, h) of it, whole pixels.
        size: (w, h) of the result.

    Returns:
        (h, w, 3).
    """
    h, w = frame.shape[:2]
    x1, y1 = min(max(left, 0), w - 1), min(max(top, 0), h - 1)
    x2, y2 = min(max(left + sides[0], x1 + 1), w), min(max(top + sides[1], y1 + 1), h)
    part = frame[y1:y2, x1:x2]
    # resize before the border is repeated: a window may lie far outside, and be large
    across, down = size[0] / sides[0], size[1] / sides[1]
    x, y = min(size[0] - 1, max(0, round((x1 - left) * across))), min(size[1] - 1, max(0, round((y1 - top) * down)))
    pw, ph = min(size[0] - x, max(1, round((x2 - x1) * across))), min(size[1] - y, max(1, round((y2 - y1) * down)))
    while part.shape[0] >= 4 * ph and part.shape[1] >= 4 * pw:  # halving is much faster than one step, and means the same
        part = cv2.resize(part, (part.shape[1] // 2, part.shape[0] // 2))  # type: ignore[assignment]
    small = cv2.resize(part, (pw, ph), interpolation=cv2.INTER_AREA if across < 1 else cv2.INTER_LINEAR)
    if (pw, ph) == size:
        return small  # type: ignore[return-value]
    return cv2.copyMakeBorder(small, y, size[1] - y - ph, x, size[0] - x - pw, cv2.BORDER_REPLICATE)  # type: ignore[return-value]


class Eye:
    """Looks at windows with an encoder. What it has seen first decides what it looks for: the components of that window's features.

    Args:
        encoder: a dense one gives features, any other edges and colours alone.
        device: of the encoder.
    """

    def __init__(self, encoder: Encoder, device: torch.device) -> None:
        self.encoder, self.device = encoder, device
        self._projection: Projection | None = None
        self._scale = torch.ones((), device=device)
        self._mean = self._std = torch.zeros((), device=device)

    def look(self, frame: Pixels, window: tuple[int, int, int]) -> View:
        """What is in a window (left, top, side) of a frame (H, W, 3)."""
        return self.look_at([frame], [window])[0]

    def look_at(self, frames: list[Pixels], windows: list[tuple[int, int, int]]) -> list[View]:
        """Look at several windows at once.

        Args:
            frames: (H, W, 3) uint8 RGB.
            windows: (left, top, side) of a window of each.

        Returns:
            What is in them.
        """
        cuts = np.stack([cut_window(frame, *window) for frame, window in zip(frames, windows, strict=True)])
        images = torch.from_numpy(cuts).to(self.device).permute(0, 3, 1, 2).float() / 255
        cells = self._cells(images, torch.from_numpy(np.stack([edges(cut) for cut in cuts])).to(self.device))
        half = VIEW.side // VIEW.cell * 2
        bins = torch.from_numpy(np.stack([cv2.resize(cut, (half, half), interpolation=cv2.INTER_AREA) for cut in cuts]) >> 4)
        numbers = (bins.to(self.device, torch.int64) * bins.new_tensor([256, 16, 1], dtype=torch.int64).to(self.device)).sum(-1)
        return [
            View(*window, (frame.shape[0], frame.shape[1]), cells[i], numbers[i])
            for i, (frame, window) in enumerate(zip(frames, windows, strict=True))
        ]

    def _cells(self, images: Tensor, edges: Tensor) -> Tensor:
        seen = self.encoder.appearance(images, objectness=False).cells if self.encoder.dense else None
        if self._std.ndim == 0:
            self._begin(edges, seen)
        edges = (edges - self._mean) / self._std
        if seen is None or self._projection is None:
            return edges
        z = self._projection(seen).movedim(-1, 1) / self._scale
        z = F.interpolate(z, edges.shape[-2:], mode="bilinear", align_corners=False)
        return torch.cat([z, edges * (VIEW.edges * (z.shape[1] / edges.shape[1]) ** 0.5)], 1)

    def _begin(self, edges: Tensor, seen: Tensor | None) -> None:
        self._mean = edges.mean((0, 2, 3))[:, None, None]
        self._std = edges.std((0, 2, 3)).clamp(min=1e-2)[:, None, None]
        if seen is not None:
            self._projection = Projection.of(seen.movedim(1, -1).flatten(0, -2), 0.5, VIEW.components)
            self._scale = self._projection(seen).std().clamp(min=1e-6)
