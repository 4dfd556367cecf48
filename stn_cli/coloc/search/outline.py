"""From cells to pixels: the object's outline inside a found window, by GrabCut (Rother et al. 2004).

Dense features know where the object is, but are blurred over some 20 pixels. Colours know where it ends: two mixtures of Gaussians, for
the object and for what is beside it, begin with the score map's two sides and are separated along the image's edges.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stn_cli.coloc.search.settings import OUTLINE
from stn_cli.geometry import Frame, box_iou
from stn_cli.media.decode import Pixels
from stn_cli.runtime.ordered import ordered_map
from stn_cli.runtime.threads import default_workers


def outline(
    pixels: npt.NDArray[np.uint8],
    frames: list[Frame],
    boxes: Tensor,
    margins: Tensor,
    threshold: float,
    workers: int | None = None,
) -> Tensor:
    """The box of one object's outline in each image.

    Args:
        pixels: (N, S, S, 3) letterboxes, uint8 RGB.
        frames: where the images lie on them.
        boxes: (N, 4) windows, normalised letterbox boxes.
        margins: (N, h, w) the score map.
        threshold: at which a cell counts for the object.
        workers: threads; one per core when left out. The results are the same with any number.

    Returns:
        Boxes (N, 4) of outline and window together, normalised letterbox boxes; the window's own where no outline was found.
    """
    windows = boxes.cpu()
    maps = margins.float().cpu().numpy()

    def one(i: int) -> Tensor:
        mask = _cut_out(pixels[i], frames[i], windows[i], maps[i], threshold)
        if mask is None:
            return windows[i]
        found = _box_of(mask)
        if float(box_iou(found, windows[i])) < OUTLINE.agrees:
            return windows[i]
        return OUTLINE.weight * found + (1 - OUTLINE.weight) * windows[i]

    return torch.stack(list(ordered_map(one, range(len(windows)), workers or default_workers()))).to(boxes)


def _cut_out(
    letterbox: Pixels, frame: Frame, window: Tensor, margins: npt.NDArray[np.float32], threshold: float
) -> npt.NDArray[np.uint8] | None:
    """The object's pixels on the letterbox (S, S), 0 or 1; None where there is nothing to tell apart."""
    side = letterbox.shape[0]
    x1, y1, x2, y2 = ((window + 1) * side / 2).tolist()
    dx, dy = OUTLINE.reach * (x2 - x1), OUTLINE.reach * (y2 - y1)
    left, top = max(0, int(x1 - dx)), max(0, int(y1 - dy))
    right, bottom = min(side, int(x2 + dx)), min(side, int(y2 + dy))
    labels = np.full((side, side), cv2.GC_BGD, np.uint8)
    labels[top:bottom, left:right] = cv2.GC_PR_BGD
    likely = cv2.resize(margins, (side, side), interpolation=cv2.INTER_LINEAR) > threshold
    labels[likely & (labels == cv2.GC_PR_BGD)] = cv2.GC_PR_FGD
    x, y, w, h = frame.content
    part = np.ascontiguousarray(labels[y : y + h, x : x + w])
    if not (part == cv2.GC_PR_FGD).any() or not (part != cv2.GC_PR_FGD).any():
        return None
    own = _grab_cut_reduced(letterbox[y : y + h, x : x + w], part)
    if own is None:
        return None
    mask = np.zeros((side, side), np.uint8)
    mask[y : y + h, x : x + w] = own
    return without_specks(mask)


def _grab_cut_reduced(image: Pixels, labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
    """GrabCut of an image that is made smaller first: its time is by the pixel. The object's pixels at full size, 0 or 1."""
    h, w = labels.shape
    size = max(1, round(w / OUTLINE.reduction)), max(1, round(h / OUTLINE.reduction))
    small = np.asarray(cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA), np.uint8)
    own = grab_cut(small, np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST), np.uint8), OUTLINE.iterations)
    if own is None:
        return None
    return np.asarray(cv2.resize(own.astype(np.uint8), (w, h), interpolation=cv2.INTER_NEAREST), np.uint8)


def grab_cut(image: Pixels, labels: npt.NDArray[np.uint8], iterations: int) -> npt.NDArray[np.bool_] | None:
    """GrabCut from labels.

    Args:
        image: (H, W, 3).
        labels: (H, W) of OpenCV's four; they are changed.
        iterations: of it.

    Returns:
        The object's pixels (H, W); None where the mixtures of colours cannot be made.
    """
    cv2.setRNGSeed(0)  # its k-means draws from the thread's generator
    models = np.zeros((1, 65)), np.zeros((1, 65))
    try:
        cv2.grabCut(np.ascontiguousarray(image), labels, None, *models, iterations, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    except cv2.error:  # fewer colours than the mixtures need, or one side empty
        return None
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)


def without_specks(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
    """A mask opened by 3 x 3 pixels, without its small parts.

    Args:
        mask: (S, S) of 0 and 1.

    Returns:
        The same; None when nothing is left.
    """
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened)
    if count < 2:
        return None
    area = stats[:, cv2.CC_STAT_AREA].copy()
    area[0] = 0
    return np.isin(labels, np.flatnonzero(area > OUTLINE.least_part * area.max())).astype(np.uint8)


def _box_of(mask: npt.NDArray[np.uint8]) -> Tensor:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=torch.float32)
    return box * (2 / mask.shape[0]) - 1
