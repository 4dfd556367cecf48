"""Search for a thing that keeps its form: one rigid embedding, the same in every image.

When the hinge of the objective is active it is linear in what can be chosen: each image takes the crop z with the smallest
|z - p|^2 - mean_r |z - r|^2, p the mean of all images' crops and r its own random patches; then p
is computed anew. Many restarts run at once as one matrix product. Its size is the largest at which the margin still holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.coloc.encoder import Encoder, embed_windows
from stn_cli.coloc.objective import SIZE_REWARD, triplet_margin_loss

RESTARTS = 32
ROUNDS = 20
RANDOM_PATCHES = 16
LADDER = tuple(0.125 * 1.122**i for i in range(17))
"""Sides that are tried, as shares of the canvas: .125 to .79, six to a doubling."""
STRETCHES = (0.79, 0.89, 1.0, 1.12, 1.26)
"""Sides around the common one that single images may take."""


@dataclass(slots=True)
class Windows:
    """Every window of one side in every image.

    Attributes:
        z: (N, P, D) embeddings, mean squared norm 1 over the data set.
        boxes: (P, 4) normalised canvas boxes, the same for every image.
        inside: (N, P) whether the window lies on the image.
        scale: what the embeddings were divided by.
    """

    z: Tensor
    boxes: Tensor
    inside: Tensor
    scale: float

    def margin_terms(self) -> Tensor:
        """(N, P) |z|^2 - mean_r |z - r|^2 with r all windows of the same image: the part of the cost that no prototype changes."""
        share = self.inside.to(self.z) / self.inside.sum(1, keepdim=True).clamp(min=1)
        mean = torch.einsum("npd,np->nd", self.z, share)
        square = (self.z.square().sum(-1) * share).sum(1)
        terms = 2 * torch.einsum("npd,nd->np", self.z, mean) - square[:, None]
        return terms.masked_fill(~self.inside, math.inf)


@dataclass(slots=True)
class Template:
    """What a search for a rigid thing found.

    Attributes:
        side: of the crop, as a share of the canvas.
        loss: the triplet margin loss of the chosen crops.
        prototype: (D,) their mean, in units in which the data set's mean squared norm is 1.
        scale: embeddings are divided by this.
        boxes: (N, 4) the chosen crops, normalised canvas boxes.
        margins: (N,) mean_r |z - r|^2 - |z - p|^2 of each: positive where the crop is more like the others than like its own image.
        curve: (side, loss) for every side that was tried.
    """

    side: float
    loss: float
    prototype: Tensor
    scale: float
    boxes: Tensor
    margins: Tensor
    curve: list[tuple[float, float]]

    @property
    def objective(self) -> float:
        """Loss less the reward for size."""
        return self.loss - SIZE_REWARD * 2 * math.log(self.side)


def windows(encoder: Encoder, images: Tensor, rectangles: Tensor, side: float, scale: float | None = None) -> Windows:
    """Embed all windows of one side (share of the canvas): the images are scaled so that a window has `patch` pixels."""
    S = images.shape[-1]
    L = max(encoder.patch, round(encoder.patch / side))
    z_parts = []
    for part in images.split(32):
        scaled = F.interpolate(part, size=(L, L), mode="bilinear", antialias=L < S, align_corners=False)
        z, left = embed_windows(encoder, scaled)
        z_parts.append(z)
    z = torch.cat(z_parts)
    at = left * (2 / L) - 1
    wide = 2 * encoder.patch / L
    x, y = at.repeat(len(at)), at.repeat_interleave(len(at))
    boxes = torch.stack([x, y, x + wide, y + wide], -1)
    slack = 2 / S  # a pixel
    inside = (boxes[None, :, :2] >= rectangles[:, None, :2] - slack).all(-1)
    inside &= (boxes[None, :, 2:] <= rectangles[:, None, 2:] + slack).all(-1)
    if scale is None:
        scale = float(z.square().sum(-1)[inside].mean().sqrt().clamp(min=1e-6)) if bool(inside.any()) else 1.0
    return Windows(z / scale, boxes, inside, scale)


def search_side(found: Windows, generator: torch.Generator, restarts: int = RESTARTS) -> tuple[float, Tensor, Tensor]:
    """The best prototype at one side.

    Returns:
        (loss, chosen windows (N,), prototype (D,)); the restart with the lowest triplet loss.
    """
    N = len(found.z)
    terms = found.margin_terms()
    candidates = found.inside.flatten().nonzero().flatten()
    pick = torch.randint(len(candidates), (restarts,), generator=generator).to(candidates.device)
    p = found.z.flatten(0, 1)[candidates[pick]]  # (K, D)
    rows = torch.arange(N, device=found.z.device)[:, None]
    chosen = torch.full((N, restarts), -1, device=found.z.device)
    for _ in range(ROUNDS):
        cost = terms[..., None] - 2 * (found.z @ p.T)  # (N, P, K), up to |p|^2
        before, chosen = chosen, cost.argmin(1)
        if torch.equal(before, chosen):
            break
        p = found.z[rows, chosen].mean(0)
    usable = found.inside.to(found.z) + 1e-12
    drawn = torch.multinomial(usable.cpu(), RANDOM_PATCHES, replacement=True, generator=generator)
    random = found.z[rows, drawn.to(rows.device)]  # (N, R, D)
    losses = torch.stack([triplet_margin_loss(found.z[rows[:, 0], chosen[:, k]], random) for k in range(restarts)])
    best = int(losses.argmin())
    return float(losses[best]), chosen[:, best], p[best]


def search_template(
    encoder: Encoder,
    images: Tensor,
    rectangles: Tensor,
    *,
    seed: int,
    sides: tuple[float, float] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Template | None:
    """Try every side of the ladder; keep the one with the best loss less size reward; then let single images stretch.

    Args:
        encoder: gives the structure.
        images: (N, 3, S, S) canvases.
        rectangles: (N, 4) the images on them.
        seed: of the restarts.
        sides: the smallest and the largest side to try, shares of the canvas.
        progress: told what is being done.

    Returns:
        The template, or None where no window of any side fits into every image.
    """
    generator = torch.Generator().manual_seed(seed)
    low, high = sides or (0.0, 1.0)
    ladder = [s for s in LADDER if low <= s <= high] or [math.sqrt(low * high)]
    best: Template | None = None
    curve: list[tuple[float, float]] = []
    for side in ladder:
        found = windows(encoder, images, rectangles, side)
        if not bool(found.inside.any(1).all()):
            continue
        loss, chosen, prototype = search_side(found, generator)
        curve.append((side, loss))
        progress(f"crops of {side:.2f}: loss {loss:.3f}")
        rows = torch.arange(len(images), device=images.device)
        margin = -(found.margin_terms()[rows, chosen] - 2 * found.z[rows, chosen] @ prototype + prototype.square().sum())
        template = Template(side, loss, prototype, found.scale, found.boxes[chosen], margin, curve)
        if best is None or template.objective < best.objective:
            best = template
    return best


def apply_template(
    template: Template,
    encoder: Encoder,
    images: Tensor,
    rectangles: Tensor,
    stretches: tuple[float, ...] = (1.0,),
) -> tuple[Tensor, Tensor]:
    """The window of each image that fits the template best, over a few sides around the common one.

    Returns:
        boxes (N, 4) and margins (N,).
    """
    best_cost = torch.full((len(images),), math.inf, device=images.device)
    boxes = images.new_zeros((len(images), 4))
    margins = images.new_zeros(len(images))
    for stretch in stretches:
        found = windows(encoder, images, rectangles, min(1.0, template.side * stretch), template.scale)
        if found.z.shape[1] == 0:
            continue
        cost = found.margin_terms() - 2 * found.z @ template.prototype + template.prototype.square().sum()
        value, at = cost.min(1)
        rewarded = value - SIZE_REWARD * 2 * math.log(stretch)
        better = rewarded < best_cost
        best_cost = torch.where(better, rewarded, best_cost)
        boxes = torch.where(better[:, None], found.boxes[at], boxes)
        margins = torch.where(better, -value, margins)
    return boxes, margins
