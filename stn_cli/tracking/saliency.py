"""What stands out in a frame of a video: what moves otherwise than the camera makes the scene move, and what has other colours.

All frames of a video share their background, so that what is common to them says little; what moves on its own says much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from stn_cli.coloc.search.outline import grab_cut
from stn_cli.media.decode import Pixels
from stn_cli.records import overlap
from stn_cli.tracking.kind_settings import SALIENCY

Map = npt.NDArray[np.float32]


def reduced(frame: Pixels, side: int) -> Pixels:
    """Make a frame smaller, if it is larger than asked for.

    Args:
        frame: (H, W, 3).
        side: longer side at most, pixels.

    Returns:
        (h, w, 3).
    """
    scale = side / max(frame.shape[:2])
    if scale >= 1:
        return frame
    size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def motion_map(frame: Pixels, neighbours: list[tuple[Pixels, Pixels]]) -> Map:
    """How much each pixel moves against the scene.

    Dense optical flow (DIS, Kroeger et al. 2016) less the affine motion that most of the frame agrees on, in units of what is left
    over in most of the frame. Of two neighbours the lesser counts: what is uncovered on one side is not on the other.

    Args:
        frame: (H, W, 3).
        neighbours: (before, after) for each step.

    Returns:
        (h, w) of the frame, reduced.
    """
    own = _grey(frame)
    maps = [np.minimum(_against_scene(own, _grey(before)), _against_scene(own, _grey(after))) for before, after in neighbours]
    total: Any = sum(np.log1p(m) for m in maps)
    return (total / len(maps)).astype(np.float32)


def _grey(frame: Pixels) -> Any:
    return cv2.cvtColor(reduced(frame, SALIENCY.side), cv2.COLOR_RGB2GRAY)


def _against_scene(own: Any, other: Any) -> Map:
    flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(own, other, None)  # type: ignore[call-overload]
    h, w = own.shape
    every = SALIENCY.model_every
    ys, xs = (v.ravel() for v in np.mgrid[every // 2 : h : every, every // 2 : w : every])
    here = np.stack([xs, ys], 1).astype(np.float32)
    cv2.setRNGSeed(0)
    model: Any
    model, _ = cv2.estimateAffine2D(here, here + flow[ys, xs], method=cv2.RANSAC, ransacReprojThreshold=SALIENCY.ground_error)
    if model is None:
        return np.zeros((h, w), np.float32)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    scene_x, scene_y = (row[0] * x + row[1] * y + row[2] for row in model)
    left = np.hypot(flow[..., 0] - (scene_x - x), flow[..., 1] - (scene_y - y))
    return (left / (np.median(left) + SALIENCY.noise)).astype(np.float32)


def colour_map(frame: Pixels) -> Map:
    """How unlike the frame's usual colours, and those around it, each pixel's are.

    Args:
        frame: (H, W, 3).

    Returns:
        (h, w) of the frame, reduced.
    """
    small = reduced(frame, SALIENCY.side)
    colours = cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32), (0, 0), SALIENCY.colour_blur)
    rows = colours.reshape(-1, 3)
    rows = rows - np.median(rows, 0)
    spread = np.cov(rows.T) + SALIENCY.colour_noise * np.eye(3)
    unusual = np.sqrt(np.einsum("ij,jk,ik->i", rows, np.linalg.inv(spread), rows)).reshape(colours.shape[:2])
    around = cv2.GaussianBlur(colours, (0, 0), max(colours.shape) / SALIENCY.around)
    local = cv2.GaussianBlur(np.sqrt(np.square(colours - around).sum(2)), (0, 0), SALIENCY.local_blur)
    total: Any = unusual / (unusual.std() + 1e-6) + local / (local.std() + 1e-6)
    return total.astype(np.float32)


def standard(values: Map) -> Map:
    """Bring a map to mean 0 and spread 1, and cut off its extremes.

    Args:
        values: (h, w).

    Returns:
        (h, w).
    """
    return np.clip((values - values.mean()) / (values.std() + 1e-6), *SALIENCY.extremes)


@dataclass(frozen=True, slots=True)
class SalientPart:
    """A connected part of a map.

    Attributes:
        box: (x1, y1, x2, y2), shares of the frame.
        mask: (h, w) of the map.
        contrast: its mean less that of a ring around it, in standard deviations of the map.
    """

    box: tuple[float, float, float, float]
    mask: npt.NDArray[np.bool_]
    contrast: float


def parts_of(values: Map) -> list[SalientPart]:
    """The parts of a map that stand out most, at any threshold.

    Args:
        values: (h, w).

    Returns:
        The best few, most contrast first.
    """
    h, w = values.shape
    found = []
    for level in SALIENCY.levels:
        above = (values > values.mean() + level * values.std()).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(
            cv2.morphologyEx(above, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        )
        for number in range(1, count):
            x, y, bw, bh, area = (int(v) for v in stats[number])
            if not SALIENCY.least_area <= area <= SALIENCY.most_area * h * w:
                continue
            mask = labels[y : y + bh, x : x + bw] == number
            inside = float(values[y : y + bh, x : x + bw][mask].mean())
            contrast = (inside - _ring_mean(values, x, y, bw, bh, SALIENCY.part_ring)) / float(values.std() + 1e-6)
            touches = x <= 1 or y <= 1 or x + bw >= w - 1 or y + bh >= h - 1
            box = x / w, y / h, (x + bw) / w, (y + bh) / h
            found.append(SalientPart(box, labels == number, contrast * (SALIENCY.at_border if touches else 1.0)))
    kept: list[SalientPart] = []
    for part in sorted(found, key=lambda p: -p.contrast):
        if all(overlap(part.box, other.box) < SALIENCY.same for other in kept):
            kept.append(part)
    return kept[: SALIENCY.most_parts]


def box_contrast(values: Map, box: tuple[float, float, float, float]) -> float:
    """How much a box stands out of what is around it.

    Args:
        values: (h, w) of a frame.
        box: (x1, y1, x2, y2), shares of the frame.

    Returns:
        Mean inside less that of a ring around it, in standard deviations of the map.
    """
    h, w = values.shape
    x, y = min(int(box[0] * w), w - 1), min(int(box[1] * h), h - 1)
    bw, bh = max(1, min(w, int(np.ceil(box[2] * w))) - x), max(1, min(h, int(np.ceil(box[3] * h))) - y)
    inside = float(values[y : y + bh, x : x + bw].mean())
    return (inside - _ring_mean(values, x, y, bw, bh, SALIENCY.box_ring)) / float(values.std() + 1e-6)


def _ring_mean(values: Map, x: int, y: int, bw: int, bh: int, reach: float) -> float:
    dx, dy = max(2, int(reach * bw)), max(2, int(reach * bh))
    around = values[max(0, y - dy) : y + bh + dy, max(0, x - dx) : x + bw + dx]
    inside = values[y : y + bh, x : x + bw]
    return float((around.sum() - inside.sum()) / max(1, around.size - inside.size))


def cut_out(frame: Pixels, part: SalientPart) -> tuple[float, float, float, float] | None:
    """The outline of the object that a part belongs to, by GrabCut.

    Args:
        frame: (H, W, 3).
        part: of a map of it.

    Returns:
        Its box (x1, y1, x2, y2), shares of the frame; None where nothing is left.
    """
    h, w = frame.shape[:2]
    x1, y1, x2, y2 = int(part.box[0] * w), int(part.box[1] * h), int(np.ceil(part.box[2] * w)), int(np.ceil(part.box[3] * h))
    dx, dy = int(SALIENCY.cut_reach * (x2 - x1)) + 2, int(SALIENCY.cut_reach * (y2 - y1)) + 2
    left, top, right, bottom = max(0, x1 - 2 * dx), max(0, y1 - 2 * dy), min(w, x2 + 2 * dx), min(h, y2 + 2 * dy)
    labels = np.full((h, w), cv2.GC_BGD, np.uint8)
    labels[max(0, y1 - dy) : y2 + dy, max(0, x1 - dx) : x2 + dx] = cv2.GC_PR_BGD
    labels[cv2.resize(part.mask.astype(np.uint8), (w, h), interpolation=cv2.INTER_NEAREST) > 0] = cv2.GC_PR_FGD
    window = frame[top:bottom, left:right]
    scale = min(1.0, SALIENCY.cut_side / max(window.shape[:2]))
    size = max(1, round(window.shape[1] * scale)), max(1, round(window.shape[0] * scale))
    small: Any = cv2.resize(window, size, interpolation=cv2.INTER_AREA)
    wanted: Any = cv2.resize(labels[top:bottom, left:right], size, interpolation=cv2.INTER_NEAREST)
    own = grab_cut(small, wanted, SALIENCY.cut_rounds)
    if own is None:
        return None
    count, _, stats, _ = cv2.connectedComponentsWithStats(
        cv2.morphologyEx(own.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    )
    if count < 2:
        return None
    x, y, bw, bh, _ = (int(v) for v in stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())])
    return (left + x / scale) / w, (top + y / scale) / h, (left + (x + bw) / scale) / w, (top + (y + bh) / scale) / h
