"""Cutouts of objects, without boxes or outlines by hand: each class of labelled pictures is a set with a common object.

The package's own search, started where a classifier sees the class, gives margins and a window in each picture; GrabCut (Rother et al. 2004)
gives the outline. It is made twice, from the margins and from the window alone: outlines that disagree are of no object, or of half of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cli.coloc.search.outline import grab_cut, without_specks
from stn_cli.encoders.pretrained import standardise
from stn_cli.encoders.small_network import FEATURES, Objectness, SmallNetwork, fused
from stn_cli.pretrain.objectness import SIDE, search_class
from stn_cli.pretrain.pictures import Pictures

Mask = npt.NDArray[np.uint8]

PER_CLASS = 50
"""Pictures of each class that the classifier is fitted on: two of its 128 weights a class per picture."""
ITERATIONS = 2
"""Rounds of GrabCut."""
REACH = 0.35
"""How far beyond the window the object may reach, share of the window's side."""
LEAST_AREA, MOST_AREA = 0.05, 0.75
"""Share of the picture that a trusted outline covers."""
LEAST_AGREEMENT = 0.65
"""IoU of the two outlines of a picture from which they are trusted."""
LEAST_SOLIDITY = 0.55
"""Share of its convex hull that a trusted outline fills."""
LEAST_PART = 0.9
"""Share of an outline's area that its largest part has: two parts are two objects, or none."""
MOST_CONTACT = 0.16
"""Share of a side of the picture along which an outline may run before the object counts as cut off there."""


@dataclass(frozen=True, slots=True)
class ClassSearch:
    """What the search knows of a class's pictures.

    Attributes:
        index: (n,) the pictures.
        boxes: (n, 4) normalised windows.
        margins: (n, h, w) above 0 where the object is.
    """

    index: Tensor
    boxes: Tensor
    margins: Tensor


@dataclass(frozen=True, slots=True)
class Cutout:
    """A picture's object.

    Attributes:
        mask: (S, S) of 0 and 1.
        agreement: IoU of the two outlines.
        cut: sides along which the picture's border cuts the object: left, top, right, bottom.
    """

    mask: Mask
    agreement: float
    cut: tuple[bool, bool, bool, bool]


@torch.inference_mode()
def fit_classifier(network: SmallNetwork, pictures: Pictures, device: torch.device, batch: int = 100) -> nn.Linear:
    """A linear classifier of pooled features: the shipped weights do not hold the one that they were trained with.

    Args:
        network: small, trained.
        pictures: with their labels.
        device: for the network.
        batch: pictures at once.

    Returns:
        The classifier, for features (n, 128).
    """
    labels = pictures.labels.cpu()
    chosen = torch.cat([(labels == label).nonzero()[:PER_CLASS, 0] for label in labels.unique()])
    pooled = torch.cat([look(network, pictures, part, device)[0].mean((2, 3)).cpu() for part in chosen.split(batch)])
    with torch.inference_mode(False), torch.enable_grad():
        x, y = pooled.clone(), labels[chosen].clone()
        model = nn.Linear(FEATURES, int(labels.max()) + 1)
        nn.init.zeros_(model.weight)
        optimiser = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.05)
        for _ in range(200):
            optimiser.zero_grad(set_to_none=True)
            F.cross_entropy(model(x / x.std()), y).backward()
            optimiser.step()
    return model.requires_grad_(False)


def look(network: SmallNetwork, pictures: Pictures, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """What the network sees in pictures at the side of the search.

    Args:
        network: small, trained.
        pictures: all of them.
        index: (n,) which to look at.
        device: for the network.

    Returns:
        Features (n, 128, h, w) and last stage (n, 256, h / 2, w / 2).
    """
    dtype = next(network.parameters()).dtype
    images = F.interpolate(pictures.batch(index).to(device), (SIDE, SIDE), mode="bilinear", align_corners=False)
    features, _, last = network(standardise(images).to(dtype).contiguous(memory_format=torch.channels_last))
    return features.float().contiguous(), last.float().contiguous()


@torch.inference_mode()
def search_classes(
    network: SmallNetwork, head: Objectness, pictures: Pictures, device: torch.device, batch: int = 100
) -> Iterator[ClassSearch]:
    """Search each class's pictures for what they share.

    Args:
        network: small, trained.
        head: its objectness.
        pictures: with their labels.
        device: for the network.
        batch: pictures at once.

    Yields:
        What was found in the pictures of each class.
    """
    quick = fused(network, torch.bfloat16)
    classifier = fit_classifier(quick, pictures, device).to(device)
    for label in pictures.labels.unique().tolist():
        index = (pictures.labels == label).nonzero()[:, 0]
        cells, seen, odds = [], [], []
        for part in index.split(batch):
            features, last = look(quick, pictures, part, device)
            wide = F.interpolate(F.normalize(last, dim=1), features.shape[-2:], mode="bilinear", align_corners=False)
            cells.append(torch.cat([F.normalize(features, dim=1), wide], 1))
            logits = classifier(features.movedim(1, -1))
            seen.append(logits[..., label] - logits.mean(-1))
            odds.append(head(features, last))
        activation, objectness = torch.cat(seen), torch.cat(odds)
        activation = activation / activation.std() + objectness / objectness.std()
        boxes, margins = search_class(torch.cat(cells), activation)
        yield ClassSearch(index.cpu(), boxes.cpu(), margins.cpu())


def cut_out_object(picture: Mask, box: Tensor, margins: npt.NDArray[np.float32]) -> Cutout | None:
    """The object's outline in one picture; None where there is none, or none to be trusted.

    Args:
        picture: (S, S, 3) RGB.
        box: (4,) normalised window.
        margins: (h, w) above 0 where the object is.

    Returns:
        The cutout; None where it is not to be trusted.
    """
    side = picture.shape[0]
    x1, y1, x2, y2 = ((box + 1) * side / 2).tolist()
    dx, dy = REACH * (x2 - x1), REACH * (y2 - y1)
    rows, columns = _span(y1 - dy, y2 + dy, side), _span(x1 - dx, x2 + dx, side)
    likely = cv2.resize(margins, (side, side), interpolation=cv2.INTER_LINEAR) > 0
    by_margin = np.full((side, side), cv2.GC_BGD, np.uint8)
    by_margin[rows, columns] = np.where(likely[rows, columns], cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    by_window = np.full((side, side), cv2.GC_BGD, np.uint8)
    by_window[rows, columns] = cv2.GC_PR_BGD
    by_window[_span(y1, y2, side), _span(x1, x2, side)] = cv2.GC_PR_FGD
    first = _cut_out(picture, by_margin)
    mask = None if first is None else without_specks(_filled(first))
    if first is None or mask is None or not LEAST_AREA < mask.mean() < MOST_AREA:
        return None
    if _solidity(mask) < LEAST_SOLIDITY or _largest_part(mask) < LEAST_PART:
        return None
    second = _cut_out(picture, by_window)
    agreement = 0.0 if second is None else float((first & second).sum() / (first | second).sum())
    if agreement < LEAST_AGREEMENT:
        return None
    sides = mask[:, :2].any(1), mask[:2].any(0), mask[:, -2:].any(1), mask[-2:].any(0)
    left, top, right, bottom = (bool(edge.mean() > MOST_CONTACT) for edge in sides)
    return Cutout(mask, agreement, (left, top, right, bottom))


def _span(low: float, high: float, side: int) -> slice:
    return slice(max(0, round(low)), min(side, round(high)))


def _cut_out(picture: Mask, labels: Mask) -> Mask | None:
    if not (labels == cv2.GC_PR_FGD).any() or not (labels != cv2.GC_PR_FGD).any():
        return None
    own = grab_cut(picture, labels, ITERATIONS)
    return None if own is None else without_specks(own.astype(np.uint8))


def _filled(mask: Mask) -> Mask:
    """Without holes: what lies between the legs of a chair opens to the side, a window in a car does not."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(mask), contours, -1, 1, cv2.FILLED)  # type: ignore[return-value]


def _solidity(mask: Mask) -> float:
    """Area as a share of the convex hull's."""
    points = cv2.findNonZero(mask)
    return float(mask.sum() / max(1.0, cv2.contourArea(cv2.convexHull(points))))


def _largest_part(mask: Mask) -> float:
    """Area of the largest connected part as a share of the whole."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    return float(stats[1:, cv2.CC_STAT_AREA].max() / mask.sum())
