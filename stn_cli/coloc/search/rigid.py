"""Search for a rigid thing: one that keeps its form, so that one embedding of its layout is the same in every image.

When the hinge of the objective is active it is linear in what can be chosen: each image takes the crop z with the smallest
|z - p|^2 - mean_r |z - r|^2, p the mean of all images' crops and r its own random patches; then p
is computed anew. Many restarts run at once as one matrix product. Its size is the largest at which the margin still holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.coloc.crops import Crops, cut
from stn_cli.coloc.objective import SIZE_REWARD, triplet_margin_loss
from stn_cli.coloc.search.settings import RIGID
from stn_cli.coloc.search.square_windows import UPRIGHT, SquareWindows, square_windows
from stn_cli.encoders import Encoder, embed_crops
from stn_cli.stn import Pyramid


@dataclass(slots=True)
class RigidResult:
    """What a search for a rigid thing found.

    Attributes:
        side: of the crop, as a share of the letterbox.
        loss: the triplet margin loss of the chosen crops.
        prototype: (D,) their mean, in units in which the data set's mean squared norm is 1.
        scale: embeddings are divided by this.
        angles: that crops were tried at.
        curve: (side, loss) for every side that was tried.
    """

    side: float
    loss: float
    prototype: Tensor
    scale: float
    angles: tuple[float, ...]
    curve: list[tuple[float, float]]

    @property
    def objective(self) -> float:
        """Loss less the reward for size."""
        return self.loss - SIZE_REWARD * 2 * math.log(self.side)


def embed_cut(encoder: Encoder, images: Tensor | Pyramid, crops: Crops) -> Tensor:
    """e of crops as they are cut, before it is divided by the set's scale.

    Args:
        encoder: gives the structure.
        images: (B, 3, S, S), or a pyramid of them.
        crops: R of each.

    Returns:
        (B, R, D), differentiable in the crops.
    """
    pictures = cut(images, crops, encoder.patch)  # (B, R, 3, patch, patch)
    return embed_crops(encoder, pictures.flatten(0, 1)).view(*pictures.shape[:2], -1)


def search_side(
    found: SquareWindows, generator: torch.Generator, restarts: int = RIGID.restarts
) -> tuple[float, Tensor, Tensor]:
    """The best prototype at one side.

    Args:
        found: the windows of that side.
        generator: of the restarts and of the random patches, on the CPU.
        restarts: prototypes that are searched from at once.

    Returns:
        The triplet loss of the restart with the lowest, its windows (N,), and their prototype (D,).
    """
    device = found.inside.device
    n, windows_each = found.inside.shape
    rows = torch.arange(n, device=device)[:, None]
    candidates = found.inside.flatten().nonzero().flatten()
    pick = candidates[torch.randint(len(candidates), (restarts,), generator=generator).to(device)]
    p = found.take(pick // windows_each, pick % windows_each)  # (K, D)
    chosen = torch.full((n, restarts), -1, device=device)
    terms = torch.cat([found.margin_terms(part, z) for part, z in found.parts()])
    for _ in range(RIGID.rounds):
        before, total, chosen = chosen, torch.zeros_like(p), torch.empty_like(chosen)
        for part, z in found.parts():
            cost = terms[part][..., None] - 2 * (z @ p.T)  # (n, P, K), up to |p|^2
            chosen[part] = cost.argmin(1)
            total += z[rows[: len(z)], chosen[part]].sum(0)
        if torch.equal(before, chosen):
            break
        p = total / n
    usable = found.inside.to(p) + 1e-12
    drawn = torch.multinomial(usable.cpu(), RIGID.random_patches, replacement=True, generator=generator)
    random = found.take(rows, drawn.to(device))  # (N, R, D)
    picked = found.take(rows, chosen)  # (N, K, D)
    losses = torch.stack([triplet_margin_loss(picked[:, k], random) for k in range(restarts)])
    best = int(losses.argmin())
    return float(losses[best]), chosen[:, best], p[best]


def search_rigid(
    encoder: Encoder,
    images: Tensor,
    rectangles: Tensor,
    *,
    seed: int,
    sides: tuple[float, float] | None = None,
    ladder: tuple[float, ...] = RIGID.ladder,
    least: float = 0.0,
    angles: tuple[float, ...] = UPRIGHT,
    taken: Tensor | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> RigidResult | None:
    """Try every side of the ladder; keep the one with the best loss less size reward.

    Args:
        encoder: gives the structure.
        images: (N, 3, S, S) letterboxes.
        rectangles: (N, 4) the images on them.
        seed: of the restarts.
        sides: the smallest and the largest side to try, shares of the letterbox.
        ladder: sides that are tried, shares of the letterbox.
        least: of these, the smallest that is worth a try.
        angles: that crops are tried at, radians.
        taken: (N, K, 4) boxes of objects that were found before, where this one is not.
        progress: told what is being done.

    Returns:
        What was found, or None where no window of any side that is tried fits into every image.
    """
    generator = torch.Generator().manual_seed(seed)
    low, high = sides or (0.0, 1.0)
    steps = [s for s in ladder if low <= s <= high] or [math.sqrt(low * high)]
    best: RigidResult | None = None
    curve: list[tuple[float, float]] = []
    for side in (s for s in steps if s >= least):
        found = square_windows(encoder, images, rectangles, side, angles=angles)
        if taken is not None:
            found.close(taken)
        if not bool(found.inside.any(1).all()):
            continue
        loss, _, prototype = search_side(found, generator)
        curve.append((side, loss))
        progress(f"crops of {side:.2f}: loss {loss:.3f}")
        rigid = RigidResult(side, loss, prototype, found.scale, angles, curve)
        if best is None or rigid.objective < best.objective:
            best = rigid
    return best


def apply_rigid(
    rigid: RigidResult,
    encoder: Encoder,
    images: Tensor,
    rectangles: Tensor,
    stretches: tuple[float, ...] = (1.0,),
    taken: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The window of each image that fits the prototype best, over a few sides around the common one.

    Args:
        rigid: what was found.
        encoder, images, rectangles, taken: as for `search_rigid`.
        stretches: sides that are tried, in units of the common one.

    Returns:
        Boxes (N, 4) before they are turned about their centres, and angles (N,), radians.
    """
    best_cost = torch.full((len(images),), math.inf, device=images.device)
    boxes = images.new_zeros((len(images), 4))
    angles = images.new_zeros(len(images))
    for stretch in stretches:
        side = min(1.0, rigid.side * stretch)
        found = square_windows(encoder, images, rectangles, side, rigid.scale, rigid.angles)
        if taken is not None:
            found.close(taken)
        if len(found.angles) == 0:
            continue
        square = rigid.prototype.square().sum()
        costs = [found.margin_terms(part, z) - 2 * z @ rigid.prototype + square for part, z in found.parts()]
        value, at = torch.cat(costs).min(1)
        rewarded = value - SIZE_REWARD * 2 * math.log(stretch)
        better = rewarded < best_cost
        best_cost = torch.where(better, rewarded, best_cost)
        box, angle = found.poses(at)
        boxes = torch.where(better[:, None], box, boxes)
        angles = torch.where(better, angle, angles)
    return boxes, angles
